"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const byId = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Text from data becomes text nodes, never markup.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Plots: drawn anew when the width, the colours or the x axis change.
  const plots = new Map();
  let across = 0;
  const draw = (chart) => {
    const host = byId(chart.id);
    plots.get(chart.id)?.destroy();
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "13px system-ui" };
    const x = chart.x[Math.min(across, chart.x.length - 1)];
    const series = chart.series.map((line) => ({
      label: line.name,
      stroke: css(line.color === null ? "--soft" : `--c${line.color}`),
      width: 2,
      dash: line.dash ? [7, 5] : [],
      points: { show: line.color !== null && x.values.length < 60, size: 8 },
      spanGaps: line.spans,
      ...(line.drawn ? {} : { scale: "hidden", paths: () => null, points: { show: false } }),
      value: (_, y) => (y === null ? "–" : String(y)),
    }));
    const plot = new uPlot(
      {
        width: host.clientWidth,
        height: 300,
        scales: { x: { time: false, range: chart.limits ?? undefined }, y: { range: chart.limits ?? undefined }, hidden: {} },
        series: [{ label: x.name, value: (_, v) => (v === null ? "–" : String(v)) }, ...series],
        axes: [{ ...axis, label: x.name, labelFont: "13px system-ui", labelSize: 22 }, { ...axis, label: chart.unit, labelFont: "13px system-ui", labelSize: 22, size: 56 }],
        cursor: { drag: { x: false, y: false } },
      },
      [x.values, ...chart.series.map((line) => line.values)],
      host
    );
    plots.set(chart.id, plot);
  };
  const drawAll = () => data.charts.forEach(draw);
  for (const chart of data.charts) {
    let at = -1;
    byId(chart.id).addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const plot = plots.get(chart.id);
      const xs = plot.data[0];
      at = Math.max(0, Math.min(xs.length - 1, at + step));
      plot.setCursor({ left: plot.valToPos(xs[at], "x"), top: 20 });
    });
    draw(chart);
    let width = byId(chart.id).clientWidth;
    new ResizeObserver(([entry]) => {
      const now = Math.round(entry.contentRect.width);
      if (now !== width) {
        width = now;
        requestAnimationFrame(() => draw(chart));
      }
    }).observe(byId(chart.id));
  }
  byId("across")?.addEventListener("change", (event) => {
    across = Number(event.target.value);
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is white, whatever the screen is.
  const printing = (is) => () => {
    document.documentElement.classList.toggle("printing", is);
    drawAll();
  };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));

  // The table of labels: sorted by a click on a heading, filtered by words.
  const table = byId("label-table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const number = (text) => (text.trim() === "" ? NaN : Number(text));
    [...table.tHead.rows[0].cells].forEach((heading, k) => {
      const button = make("button", { type: "button" }, heading.textContent);
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const cell = (row) => row.cells[k].textContent;
        rows.sort((a, b) => {
          const [x, y] = [number(cell(a)), number(cell(b))];
          const order = isNaN(x) || isNaN(y) ? cell(a).localeCompare(cell(b)) : x - y;
          return down ? -order : order;
        });
        body.append(...rows);
      });
    });
    const count = () => {
      const words = byId("label-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = [0, 1, 2].map((k) => row.cells[k].textContent.toLowerCase()).join(" ");
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      byId("label-count").textContent = `${shown} of ${rows.length} labels`;
    };
    byId("label-filter").addEventListener("input", count);
    count();
  }

  // Mistakes: a passage once, what is wrong marked in it and listed below.
  if (!byId("passages")) return;
  const PAGE = 15;
  const { tasks, passages, nothing } = data;
  const controls = ["corpus", "task", "gold", "own"].map((name) => [name, byId(`find-${name}`)]);
  const value = (mistake) => ({ corpus: tasks[mistake[0]].corpus, task: tasks[mistake[0]].title, gold: mistake[1], own: mistake[2] });
  for (const [name, select] of controls) {
    const values = new Set(passages.flatMap((p) => p.m.map((mistake) => value(mistake)[name])));
    for (const one of [...values].sort()) select.append(make("option", { value: `=${one}` }, one || nothing));
  }
  const is = (mistake) => controls.every(([name, select]) => !select.value || select.value === `=${value(mistake)[name]}`);
  const label = (text, task) => make("span", { class: "tag", style: `--own: var(--c${task.color})` }, text || nothing);
  const covered = (place) => (place === null ? [] : place.length === 4 ? [place.slice(0, 2), place.slice(2)] : [place]);
  const words = (passage, place) => covered(place).map(([a, b]) => passage.w.slice(Math.max(0, a), b).join("").trim()).join(" → ");
  const show = (passage, mistakes) => {
    const marked = new Map();
    for (const mistake of mistakes)
      for (const [a, b] of [...covered(mistake[3]), ...covered(mistake[4])])
        for (let i = a; i < b; i++) if (!marked.has(i)) marked.set(i, mistake[0]);
    const text = make("p", { class: "words", dir: "auto" });
    for (let i = 0; i < passage.w.length; ) {
      const own = marked.get(i);
      let end = i + 1;
      while (end < passage.w.length && marked.get(end) === own) end++;
      const part = passage.w.slice(i, end).join("");
      if (own === undefined) text.append(part);
      else text.append(make("mark", { style: `--own: var(--c${tasks[own].color})` }, part.trimEnd()), part.slice(part.trimEnd().length));
      i = end;
    }
    const rows = mistakes.map((mistake) => {
      const task = tasks[mistake[0]];
      const cell = (name, place) => make("td", { class: "text", dir: "auto" }, label(name, task), " ", words(passage, place));
      const head = make("th", { class: "text", scope: "row" }, make("span", { class: "swatch", style: `--own: var(--c${task.color})` }), task.title);
      return make("tr", {}, head, cell(mistake[1], mistake[3]), cell(mistake[2], mistake[4]));
    });
    const titles = ["task", "gold", "predicted"].map((name) => make("th", { class: "text", scope: "col" }, name));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows));
    const place = passage.s ? `, from word ${passage.s + 1}` : "";
    return make("article", { class: "passage" }, make("h3", { class: "soft" }, `${passage.c}, doc ${passage.n}${place}`), text, table);
  };
  let found = [];
  let shown = 0;
  const more = () => {
    byId("passages").append(...found.slice(shown, shown + PAGE).map(([passage, mistakes]) => show(passage, mistakes)));
    shown = Math.min(found.length, shown + PAGE);
    byId("more").hidden = shown === found.length;
    byId("found").textContent = found.length ? `${shown} of ${found.length} passages are shown` : "No passage has such a mistake";
  };
  const search = () => {
    const wanted = byId("find").value.toLowerCase().trim();
    found = passages
      .map((passage) => [passage, passage.m.filter(is)])
      .filter(([passage, mistakes]) => mistakes.length && (!wanted || passage.w.join("").toLowerCase().includes(wanted) || mistakes.some((m) => m[1].toLowerCase() === wanted || m[2].toLowerCase() === wanted)));
    byId("passages").replaceChildren();
    shown = 0;
    more();
  };
  const set = (filter) => {
    byId("find").value = "";
    for (const [name, select] of controls) select.value = filter[name] === undefined ? "" : `=${filter[name]}`;
    search();
  };
  byId("find").addEventListener("input", search);
  for (const [, select] of controls) select.addEventListener("change", search);
  byId("more").addEventListener("click", more);
  byId("find-all").addEventListener("click", () => set({}));
  for (const link of document.querySelectorAll("a[data-filter]"))
    link.addEventListener("click", () => {
      set(JSON.parse(link.dataset.filter));
      byId("mistakes").focus({ preventScroll: true });
    });
  search();
})();
