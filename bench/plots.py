"""Two kinds of plots, as SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 110, 44, 50
COLOURS = ("#0b6e99", "#c4501b", "#5b7f2b", "#7a4d9e")
Points = Sequence[tuple[float, float]]


def lines(title: str, across: str, up: str, series: Mapping[str, Points], bound: tuple[str, float]) -> str:
    """Lines over a logarithmic axis, with one dashed line for *bound*."""
    points = [point for line in series.values() for point in line]
    right = max(x for x, _ in points)
    low = math.floor(math.log10(min(bound[1], *(y for _, y in points))))
    high = math.ceil(math.log10(max(bound[1], *(y for _, y in points))))

    def at(x: float, y: float) -> tuple[float, float]:
        inner = HEIGHT - TOP - BOTTOM
        return (
            LEFT + x / right * (WIDTH - LEFT - RIGHT),
            TOP + (high - math.log10(max(y, 10**low))) / max(1, high - low) * inner,
        )

    out = _begin(title, HEIGHT)
    for power in range(low, high + 1):
        y = at(0, 10**power)[1]
        out.append(_line(LEFT, y, WIDTH - RIGHT, y, "#dddddd"))
        out.append(_text(LEFT - 8, y + 4, f"{10.0**power:g}", "end"))
    for x in sorted({x for x, _ in points}):
        out.append(_text(at(x, 1)[0], HEIGHT - BOTTOM + 18, f"{x:g}", "middle"))
    y = at(0, bound[1])[1]
    out.append(_line(LEFT, y, WIDTH - RIGHT, y, "#444444", 'stroke-dasharray="6 4"'))
    out.append(_text(WIDTH - RIGHT + 6, y + 4, bound[0], "start"))
    for colour, (name, line) in zip(COLOURS, series.items(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in (at(*p) for p in line)]
        x, y = at(*line[-1])
        out.append(_text(min(x + 9, WIDTH - RIGHT + 6), y - 8, name, "start", colour))
    out.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, "middle"))
    turned = f'transform="rotate(-90 16 {HEIGHT / 2})" text-anchor="middle"'
    out.append(f'<text x="16" y="{HEIGHT / 2}" {turned}>{escape(up)}</text>')
    return _end(out)


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """One bar a row, from zero."""
    height, step, left = 60 + 26 * len(rows), 26, 250
    most = max(value for _, value in rows)
    out = _begin(title, height)
    for number, (name, value) in enumerate(rows):
        y = 48 + number * step
        length = value / most * (WIDTH - left - 130)
        out.append(_text(left - 8, y + 13, name, "end"))
        out.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" fill="{COLOURS[0]}"/>')
        out.append(_text(left + length + 6, y + 13, f"{value:,.0f} {unit}", "start"))
    return _end(out)


def _begin(title: str, height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12" fill="#222222" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]


def _end(out: list[str]) -> str:
    return "\n".join([*out, "</svg>", ""])


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}" {more}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
