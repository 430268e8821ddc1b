"""Small line charts as SVG, so that a report needs no script and no network."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320, 180, 44, 24, 8
COLORS = ("#2f6fd0", "#c8453b", "#2e9b6a", "#9a5bd0", "#c98a1b", "#3aa6b9", "#7a6f5d", "#d06fa0")

Line = tuple[str, Sequence[float], Sequence[float]]


def line_chart(
    lines: Sequence[Line],
    *,
    x_label: str = "",
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    radii: Sequence[Sequence[float]] | None = None,
) -> Markup:
    """Draw lines.

    lines (Sequence[tuple]): Name, x values and y values of each.
    y_range (Optional[Tuple[float, float]]): Limits of the y axis; None takes them from the data.
    diagonal (bool): Whether to draw the line x = y.
    radii (Optional[Sequence[Sequence[float]]]): Size of each line's dots in pixels, if not all
        are alike.
    RETURNS (Markup): An SVG element.
    """
    xs = [x for _, values, _ in lines for x in values] or [0.0]
    ys = [y for _, _, values in lines for y in values] or [0.0]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = y_range or (min(ys), max(ys))
    if diagonal:
        x_low, x_high = y_low, y_high

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1.0)
        up = (y - y_low) / ((y_high - y_low) or 1.0)
        return (
            LEFT + across * (WIDTH - LEFT - 8),
            HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP),
        )

    parts = []
    for k in range(5):
        value = y_low + (y_high - y_low) * k / 4
        _, y = place(x_low, value)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 8}" y2="{y:.1f}" stroke="#e3e8ec"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    for value, anchor in ((x_low, "start"), (x_high, "end")):
        x, _ = place(value, y_low)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{_short(value)}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    if diagonal:
        (x1, y1), (x2, y2) = place(x_low, y_low), place(x_high, y_high)
        parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#9aa7b3" '
            'stroke-dasharray="4 3"/>'
        )
    for k, (_, x_values, y_values) in enumerate(lines):
        points = [place(x, y) for x, y in zip(x_values, y_values, strict=True)]
        color = COLORS[k % len(COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
            + "".join(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{color}"/>'
                for (x, y), r in zip(points, radii[k] if radii else [2.5] * len(points))
            )
        )
    legend = Markup(" ").join(
        Markup('<span style="color: {}; font-size: .85rem">&#9632; {}</span>').format(
            COLORS[k % len(COLORS)], name
        )
        for k, (name, _, _) in enumerate(lines)
        if name
    )
    svg = Markup(  # every string from outside is escaped above
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="#5b6b7b">{"".join(parts)}</svg>'
    )
    return svg + Markup("<div>") + legend + Markup("</div>")


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"
