"""One HTML page that needs nothing else: no script, nothing from elsewhere, light and dark. What pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.text import printable

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #e3e5e9; --back: #ffffff; --panel: #f7f8fa;
  --green: #1a7f4b; --red: #c2352b; --amber: #b7791f; --blue: #4a6fa5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa1ab; --line: #2e3238; --back: #16181b; --panel: #1e2125;
  --green: #4cc38a; --red: #f0766c; --amber: #e2b04a; --blue: #86a9d8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.5rem 4rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: .95rem; margin: 1.25rem 0 .25rem; } ul { margin: .2rem 0 .4rem; padding-left: 1.1rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; white-space: nowrap; } td.t { overflow-wrap: anywhere; } .one { white-space: nowrap; }
td.t:first-child { min-width: 8rem; }
code, .hash { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; min-width: 7.5rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.green { color: var(--green); } .red { color: var(--red); } .amber { color: var(--amber); } .blue { color: var(--blue); }
svg rect.green { fill: var(--green); } svg rect.red { fill: var(--red); } svg rect.amber { fill: var(--amber); }
svg rect.blue { fill: var(--blue); }
svg polyline { fill: none; stroke: var(--soft); stroke-width: 1; } svg circle.green { fill: var(--green); }
svg circle.red { fill: var(--red); } svg circle.blue { fill: var(--blue); } svg circle.soft { fill: var(--soft); }
svg { display: block; margin-top: .3rem; background: var(--panel); border-radius: 3px; }
details { border-bottom: 1px solid var(--line); padding: .35rem 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
details > div { padding: .4rem 0 .6rem 1.1rem; }
"""


def page_of(title: str, parts: Iterable[str]) -> str:
    """The page as text. title: any text; parts: HTML."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{text_of(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{text_of(title)}</h1>\n{body}\n"
        "</body>\n</html>\n"
    )


def write_html(page: str, path: Path) -> None:
    """Write a page; a file that is there is written anew.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        path.write_bytes(page.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ConfigurationError(f"page {path}: cannot be written: {error.strerror}") from None


def text_of(value: Any) -> str:
    """A value as HTML, escaped; whole numbers with thousands separators."""
    if value is None:
        return '<span class="soft">no value</span>'
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(printable(str(value), keep="\n\t"))


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> str:
    """A table of cells that are HTML already. numeric: names of the columns that stand to the right."""
    kinds = ['class="n"' if name in numeric else 'class="t"' for name in columns]
    head = "".join(f"<th {kind}>{text_of(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    body = "\n".join("<tr>" + "".join(f"<td {k}>{c}</td>" for c, k in zip(row, kinds, strict=True)) + "</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def tiles_of(tiles: Iterable[tuple[str, int, str]]) -> str:
    """Large numbers side by side: colour ("" for none), number, what it counts."""
    cells = "".join(
        f'<div class="tile"><b class="{colour}">{text_of(number)}</b><span>{text_of(told)}</span></div>'
        for colour, number, told in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def bar_of(parts: Sequence[tuple[str, int, str]], most: int) -> str:
    """A bar of parts: colour, length, what it counts; as long as all of them together are compared with ``most``."""
    width, drawn, at = 160, [], 0.0
    for colour, number, _ in parts:
        length = width * number / most
        if length:
            drawn.append(f'<rect class="{colour}" x="{at:.2f}" y="0" width="{max(length, 1):.2f}" height="10"></rect>')
        at += length
    told = ", ".join(f"{number:,} {text_of(name)}" for _, number, name in parts if number)
    return f'<svg width="{width}" height="10" role="img" aria-label="{told}">{"".join(drawn)}</svg>'


def plot_of(points: Sequence[tuple[float | None, str, str]]) -> str:
    """A line over time with a dot for each point: value, colour and when, the earliest first. Points without a value are gaps."""
    known = [(number, value, colour) for number, (value, colour, _) in enumerate(points) if value is not None]
    if not known:
        return ""
    width, height, edge = 180, 36, 3
    low, high = (bound(value for _, value, _ in known) for bound in (min, max))
    step = (width - 2 * edge) / max(len(points) - 1, 1)
    places = [
        (
            edge + number * step,
            height / 2 if high == low else height - edge - (height - 2 * edge) * (value - low) / (high - low),
            colour,
        )
        for number, value, colour in known
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    bad = [(x, y, colour) for x, y, colour in places if colour != "green"]
    dots = "".join(f'<circle class="{c}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"></circle>' for x, y, c in (*places[-1:], *bad))
    told = f"{len(known):,} values from {points[0][2]} to {points[-1][2]}, {low:,.4g} to {high:,.4g}, the last {known[-1][1]:,.4g}"
    drawn = f'<svg width="{width}" height="{height}" role="img" aria-label="{text_of(told)}">'
    return f'{drawn}<polyline points="{line}"></polyline>{dots}</svg><span class="soft">{low:,.4g} to {high:,.4g}</span>'
