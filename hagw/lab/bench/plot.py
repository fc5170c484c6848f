"""Plots as inline SVG: rates over time, lines stacked, events marked. No scripts, no files."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

WIDTH: Final = 900
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 110, 24, 26
_COLOURS: Final = ("#3e63dd", "#e5832a", "#2a9d6a", "#9a5bd0", "#c2456b")
_TICKS: Final = 4


def rates(title: str, timeline: Mapping[str, Any]) -> str:
    """Return an SVG of a timeline: each line's rate, stacked, what arrived as a black line, events as marks."""
    step, lines, arrived = timeline["step_s"], timeline["lines"], timeline["arrived"]
    count = max([len(arrived), *(len(values) for values in lines.values())], default=0)
    if count < 2:
        return ""
    stacked = list(_stacked(list(lines.values()), count))
    top = nice(max([*arrived, *(stacked[-1] if stacked else [0.0]), 1.0]))
    area = _Area(count * step, top)
    parts = [
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img font-size=11 fill=currentColor><title>{escape(title)}</title>"
    ]
    parts.append(f"<text x={_LEFT} y=14 font-weight=600>{escape(title)}</text>")
    parts += _axes(area)
    below = [0.0] * count
    for index, (name, upper) in enumerate(zip(lines, stacked, strict=True)):
        colour = _COLOURS[index % len(_COLOURS)]
        outline = [area.at(i * step, value) for i, value in enumerate(upper)]
        outline += [area.at(i * step, below[i]) for i in range(count - 1, -1, -1)]
        parts.append(f"<polygon points='{' '.join(outline)}' fill='{colour}' fill-opacity=.75 />")
        y = _TOP + 14 + 16 * index
        parts.append(f"<rect x={WIDTH - _RIGHT + 12} y={y - 9} width=10 height=10 fill='{colour}' />")
        parts.append(f"<text x={WIDTH - _RIGHT + 27} y={y}>{escape(name)}</text>")
        below = upper
    way = " ".join(area.at(i * step, value) for i, value in enumerate(arrived))
    parts.append(f"<polyline points='{way}' fill=none stroke=currentColor stroke-width=1.2 />")
    parts.append(f"<text x={WIDTH - _RIGHT + 12} y={_TOP + 14 + 16 * len(lines)}>— arrived</text>")
    parts += _marks(area, timeline["events"])
    return "".join([*parts, "</svg>"])


def nice(value: float) -> float:
    """Return the next number not below a value that divides an axis well: 1, 2, 2.5 or 5 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= value)


class _Area:
    """Where a time and a rate are on the picture."""

    def __init__(self, lasts_s: float, top_bps: float) -> None:
        self.lasts_s, self.top_bps = lasts_s, top_bps

    def x(self, at_s: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(max(at_s / self.lasts_s, 0.0), 1.0)

    def y(self, bps: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max(bps / self.top_bps, 0.0), 1.0)

    def at(self, at_s: float, bps: float) -> str:
        return f"{self.x(at_s):.1f},{self.y(bps):.1f}"


def _stacked(rows: Sequence[Sequence[float]], count: int) -> Iterator[list[float]]:
    below = [0.0] * count
    for row in rows:
        padded = [*row, *[0.0] * (count - len(row))]
        below = [under + value for under, value in zip(below, padded, strict=True)]
        yield below


def _axes(area: _Area) -> Iterator[str]:
    for index in range(_TICKS + 1):
        bps, at_s = area.top_bps * index / _TICKS, area.lasts_s * index / _TICKS
        y, x = area.y(bps), area.x(at_s)
        yield f"<line x1={_LEFT} x2={WIDTH - _RIGHT} y1={y:.1f} y2={y:.1f} stroke=currentColor stroke-opacity=.15 />"
        yield f"<text x={_LEFT - 6} y={y + 4:.1f} text-anchor=end>{bps / 1e6:g}</text>"
        yield f"<text x={x:.1f} y={HEIGHT - 8} text-anchor=middle>{at_s:.3g} s</text>"
    yield f"<text x={_LEFT - 50} y={_TOP - 10}>Mbit/s</text>"


def _marks(area: _Area, events: Sequence[Sequence[Any]]) -> Iterator[str]:
    for index, (at_s, words) in enumerate(events):
        x, y = area.x(at_s), _TOP + 10 + 12 * (index % 3)
        yield f"<line x1={x:.1f} x2={x:.1f} y1={_TOP} y2={HEIGHT - _BOTTOM} stroke='#cd2b31' stroke-dasharray='4 3' />"
        yield f"<text x={x + 4:.1f} y={y} fill='#cd2b31'>{escape(str(words))}</text>"
