"""The pages in a browser: headless Chromium, and axe-core where it is at hand."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

AXE = os.environ.get("AXE", "")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
SERIOUS = ("serious", "critical")


def browse(page: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
         f"--user-data-dir={folder / 'profile'}",
         "--enable-logging=stderr", "--virtual-time-budget=3000", *arguments, page.as_uri()],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


def with_script(page: Path, out: Path, script: str) -> Path:
    """RETURNS (Path): The page with a script of ours, whose answer is in an element "answer"."""
    text = page.read_text(encoding="utf8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    tell = (
        "const tell = (value) => { const p = document.createElement('pre'); p.id = 'answer';"
        "p.textContent = JSON.stringify(value); document.body.append(p); };"
    )
    out.write_text(text.replace("</body>", f"<script>{tell}{script}</script></body>"), "utf8")
    return out


def answer(done: subprocess.CompletedProcess):
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def page(report_folder) -> Path:
    return report_folder / "report.html"


def test_it_opens_without_a_complaint_or_a_request(page, tmp_path):
    """A page with an error or an image from elsewhere fails this."""
    requests, picture = tmp_path / "net.json", tmp_path / "page.png"
    done = browse(page, tmp_path, f"--log-net-log={requests}", f"--screenshot={picture}",
                  "--window-size=1280,2400")  # fmt: skip
    assert picture.stat().st_size > 10_000, done.stderr[-500:]
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/"]+)', requests.read_text()))
    # The browser asks its makers for updates and the time, whatever it shows.
    assert not {h for h in hosts if not h.endswith((".googleapis.com", ".google.com"))}


def test_plots_filters_and_links_work(page, tmp_path):
    script = """
      const get = (id) => document.getElementById(id);
      const plots = document.querySelectorAll(".plot canvas").length;
      const all = document.querySelectorAll(".passage").length;
      const link = document.querySelector("ol.weak a[data-filter]");
      link.click();
      const filter = JSON.parse(link.dataset.filter);
      const some = document.querySelectorAll(".passage").length;
      const rows = [...document.querySelectorAll(".passage tbody th")].map((th) => th.textContent);
      const marked = document.querySelectorAll(".passage mark").length;
      get("find-all").click();
      get("find").value = "no such word";
      get("find").dispatchEvent(new Event("input"));
      const none = get("found").textContent;
      get("label-filter").value = "nnp";
      get("label-filter").dispatchEvent(new Event("input"));
      const labels = get("label-count").textContent;
      const heading = get("label-table").tHead.rows[0].cells[3];
      heading.firstChild.click();
      const cells = [...get("label-table").tBodies[0].rows].map((row) => row.cells[3]);
      const sorted = cells.map((cell) => Number(cell.textContent));
      tell({plots, all, some, rows, filter, marked, none, labels, sorted,
            order: heading.getAttribute("aria-sort"), focus: document.activeElement.id});
    """
    told = answer(browse(with_script(page, tmp_path / "page.html", script), tmp_path, "--dump-dom"))
    assert told["plots"] >= 6 and told["all"] >= 1
    assert 1 <= told["some"] <= told["all"] and set(told["rows"]) == {told["filter"]["task"]}
    assert told["none"] == "No passage has such a mistake"
    assert re.fullmatch(r"1 of \d+ labels", told["labels"])
    assert told["order"] == "ascending" and told["sorted"] == sorted(told["sorted"])
    assert told["focus"] == "mistakes"


# A window has a least width, a frame has none.
FRAME = """<!DOCTYPE html><html lang="en"><title>t</title><body style="margin: 0">
<iframe id="f" title="t" style="width: 390px; height: 900px; border: 0"></iframe>
<script>
const f = document.getElementById("f");
f.srcdoc = PAGE;
f.addEventListener("load", () => {
  const d = f.contentDocument;
  const p = document.createElement("pre");
  p.id = "answer";
  const wide = [...d.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, .skip, .plot")
    && e.getBoundingClientRect().right > 391).map((e) => e.tagName + "." + e.className);
  const root = d.documentElement;
  p.textContent = JSON.stringify([root.scrollWidth, root.clientWidth, wide]);
  document.body.append(p);
});
</script></body></html>"""


def test_a_phone_needs_no_scrolling_to_the_side(page, tmp_path):
    out = tmp_path / "frame.html"
    embedded = json.dumps(page.read_text(encoding="utf8")).replace("<", "\\u003c")
    out.write_text(FRAME.replace("PAGE", embedded), "utf8")
    scrolled, width, wide = answer(browse(out, tmp_path, "--dump-dom"))
    assert width == 390 and scrolled == width and wide == []


@pytest.mark.skipif(not AXE, reason="AXE does not name axe.min.js of axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_findings(page, tmp_path, scheme):
    script = (
        Path(AXE).read_text(encoding="utf8").replace("</script", "<\\/script")
        + ";for (const d of document.querySelectorAll('details')) d.open = true;"
        "axe.run().then((r) => tell(r.violations.map((v) => [v.impact, v.id, v.nodes.length,"
        " v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary])),"
        " (e) => tell([['critical', String(e)]]));"
    )
    number = {"dark": 0, "light": 1}[scheme]
    done = browse(with_script(page, tmp_path / "page.html", script), tmp_path, "--dump-dom",
                  f"--blink-settings=preferredColorScheme={number}",
                  "--virtual-time-budget=60000")  # fmt: skip
    found = answer(done)
    assert [violation for violation in found if violation[0] in SERIOUS] == []
