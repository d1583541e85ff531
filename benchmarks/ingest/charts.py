"""Charts as SVG inside a page: bars with their spread, and lines. No script, nothing from elsewhere, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from operations.html import text_of

_COLOURS = ("var(--blue)", "var(--green)", "var(--amber)", "var(--red)", "#8a63d2", "#0f9aa8", "#c2588c", "var(--soft)")
_LABELS, _BARS, _NUMBERS, _ROW = 220, 460, 300, 22
_WIDTH, _LEGEND, _HEIGHT, _LEFT, _BOTTOM, _TOP = 980, 380, 260, 60, 30, 12
_NAME_WIDTH = 125.0  # of a name under the x axis


@dataclass(frozen=True)
class Bar:
    """label, value; low and high of its spread; note: behind the number."""

    label: str
    value: float
    low: float
    high: float
    colour: str = "blue"
    note: str = ""


def bars_of(bars: Sequence[Bar], unit: str) -> str:
    """Bars side by side, the length being the value."""
    most = max((bar.high for bar in bars), default=1.0) or 1.0
    drawn = []
    for row, bar in enumerate(bars):
        y = row * _ROW
        length, low, high = (_BARS * value / most for value in (bar.value, bar.low, bar.high))
        drawn.append(_text(_LABELS - 8, y + 15, bar.label, "end"))
        drawn.append(f'<rect class="{bar.colour}" x="{_LABELS}" y="{y + 4}" width="{max(length, 1):.1f}" height="14"></rect>')
        if bar.high > bar.low:
            drawn.append(_line(_LABELS + low, y + 11, _LABELS + high, y + 11, 2))
        told = f"{_number(bar.value)} {unit}{' · ' + bar.note if bar.note else ''}"
        drawn.append(_text(_LABELS + max(high, length) + 6, y + 15, told))
    return _svg(_LABELS + _BARS + _NUMBERS, max(len(bars), 1) * _ROW + 6, drawn)


def lines_of(series: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str, names: Sequence[str] = ()) -> str:
    """Lines through points, y from 0.

    Args:
        series: points by name, x ascending.
        x_title: what x is.
        y_title: what y is.
        names: of the places 0, 1, … on the x axis; without them x is a number on a logarithmic axis.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        return '<p class="soft">Nothing recorded yet.</p>'
    scaled = (lambda x: x) if names else math.log10
    xs = [scaled(x) for x, _ in points]
    low, span = min(xs), (max(xs) - min(xs)) or 1.0
    most = max(y for _, y in points) * 1.1 or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        right = _WIDTH - _LEFT - _LEGEND
        return _LEFT + right * (scaled(x) - low) / span, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - y / most)

    bottom = _HEIGHT - _BOTTOM
    drawn = [_line(_LEFT, bottom, _WIDTH - _LEGEND, bottom, 1), _line(_LEFT, _TOP, _LEFT, bottom, 1)]
    for share in (0.0, 0.5, 1.0):
        drawn.append(_text(_LEFT - 6, at(points[0][0], most * share)[1] + 4, _number(most * share), "end"))
    named_to = 0.0
    for x in sorted({x for x, _ in points}):
        if at(x, 0)[0] >= named_to:  # the names between are left out
            drawn.append(_text(at(x, 0)[0], bottom + 16, names[int(x)] if names else f"{x:,.0f}", "middle"))
            named_to = at(x, 0)[0] + _NAME_WIDTH
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [at(x, y) for x, y in line]
        drawn += [_line(*a, *b, 2, colour) for a, b in pairwise(places)]
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" style="fill: {colour}"></circle>' for x, y in places]
        drawn.append(
            f'<rect x="{_WIDTH - _LEGEND + 15}" y="{_TOP + number * 18}" width="10" height="10" style="fill: {colour}"></rect>'
        )
        drawn.append(_text(_WIDTH - _LEGEND + 30, _TOP + number * 18 + 9, name))
    drawn.append(_text(_LEFT + 6, _TOP + 4, y_title))
    drawn.append(_text(_WIDTH - _LEGEND, bottom - 6, x_title, "end"))
    return _svg(_WIDTH, _HEIGHT, drawn)


def _svg(width: float, height: float, drawn: Sequence[str]) -> str:
    style = "font: 12px system-ui, sans-serif; fill: var(--ink); stroke: none"
    body = "".join(drawn)
    return f'<div class="wide"><svg width="{width:.0f}" height="{height:.0f}" role="img"><g style="{style}">{body}</g></svg></div>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text_of(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, width: int, colour: str = "var(--ink)") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" style="stroke: {colour}; stroke-width: {width}"></line>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
