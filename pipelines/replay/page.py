"""The document of ``headrace replay diff`` as one HTML page: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError

_KINDS = ("added", "removed", "changed")
_BARS = (*_KINDS, "since")
_OPEN_WINDOWS = 60  # more are folded away until asked for
_LEDGER = ("records_in", "out", "duplicate", "late", "filtered", "dead_letter", "outside", "pending")
_LEDGER_NAMES = ("in", "validated", "duplicate", "late", "filtered", "dead letter", "other windows", "pending")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #e3e5e9; --back: #ffffff; --panel: #f7f8fa;
  --added: #1a7f4b; --removed: #c2352b; --changed: #b7791f; --since: #4a6fa5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa1ab; --line: #2e3238; --back: #16181b; --panel: #1e2125;
  --added: #4cc38a; --removed: #f0766c; --changed: #e2b04a; --since: #86a9d8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.5rem 4rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; white-space: nowrap; } td.t { overflow-wrap: anywhere; } .one { white-space: nowrap; }
code, .hash { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; min-width: 7.5rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.added { color: var(--added); } .removed { color: var(--removed); } .changed { color: var(--changed); }
.since { color: var(--since); }
svg rect.added { fill: var(--added); } svg rect.removed { fill: var(--removed); } svg rect.changed { fill: var(--changed); }
svg rect.since { fill: var(--since); }
svg { display: block; margin-top: .3rem; background: var(--panel); border-radius: 3px; }
details { border-bottom: 1px solid var(--line); padding: .35rem 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
details > div { padding: .4rem 0 .6rem 1.1rem; }
"""


def write_page(document: Mapping[str, Any], path: Path) -> None:
    """Write the page.

    Args:
        document: what ``difference`` gave.
        path: the file; one that is there is written anew.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        path.write_bytes(page(document).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ConfigurationError(f"page {path}: cannot be written: {error.strerror}") from None


def page(document: Mapping[str, Any]) -> str:
    """The page as text. Every value of the document is escaped."""
    title = f"Replay {document['replay']} of {document['dataset']}"
    body = "\n".join(part for section in _SECTIONS for part in section(document))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    if value is None:
        return '<span class="soft">no value</span>'
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str]) -> str:
    """A table of cells that are HTML already. numeric: names of the columns that stand to the right."""
    kinds = ['class="n"' if name in numeric else 'class="t"' for name in columns]
    head = "".join(f"<th {kind}>{escape(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    body = "\n".join("<tr>" + "".join(f"<td {k}>{c}</td>" for c, k in zip(row, kinds, strict=True)) + "</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _summary(document: Mapping[str, Any]) -> Iterator[str]:
    totals = document["totals"]
    yield f'<p class="soft">{_text(document["state"])}</p>'
    if document["equal"]:
        yield (
            f"<p>Nothing differs: {_text(document['windows_in_all'])} windows, {_text(totals['live_rows'])} rows, content hash "
            f'<span class="hash">{_text(totals["live_hash"])}</span>.</p>'
        )
        return
    tiles = [
        ("", document["windows_in_all"], "windows"), ("", len(document["windows"]), "of them differ"),
        ("", totals["live_rows"], "rows live"), ("", totals["replay_rows"], "rows in the replay"), ("", totals["same"], "the same"),
        *((kind, totals[kind], kind) for kind in _KINDS), ("since", totals["since"], "published live since"),
    ]  # fmt: skip
    cells = "".join(f'<div class="tile"><b class="{kind}">{_text(n)}</b><span>{told}</span></div>' for kind, n, told in tiles)
    yield f'<div class="tiles">{cells}</div>'
    if totals["since"]:
        yield '<p class="soft">What live jobs published since the replay began is folded in when it is promoted.</p>'


def _windows(document: Mapping[str, Any]) -> Iterator[str]:
    windows = document["windows"]
    if not windows:
        return
    most = max(sum(w[kind] for kind in _BARS) for w in windows)
    counts = ("live rows", "replay rows", *_BARS)
    rows = [
        [
            f'<span class="one">{_text(w["from"])}</span>', _text(w["live_rows"]), _text(w["replay_rows"]),
            *(f'<span class="{k}">{_text(w[k])}</span>' if w[k] else '<span class="soft">0</span>' for k in _BARS), _bar(w, most),
            f'<span class="hash" title="live {_text(w["live_hash"])}, replay {_text(w["replay_hash"])}">'
            f"{_text(w['live_hash'][:8])} → {_text(w['replay_hash'][:8])}</span>",
        ]
        for w in windows
    ]  # fmt: skip
    columns = ("window from", *counts, "share", "content hash")
    yield "<h2>Windows that differ</h2>"
    yield f"<p class='soft'>Equal: {_text(document['windows_equal'])} of {_text(document['windows_in_all'])}.</p>"
    yield _table(columns, rows[:_OPEN_WINDOWS], counts)
    if len(rows) > _OPEN_WINDOWS:
        yield f"<details><summary>{_text(len(rows) - _OPEN_WINDOWS)} more</summary>"
        yield _table(columns, rows[_OPEN_WINDOWS:], counts) + "</details>"


def _bar(window: Mapping[str, Any], most: int) -> str:
    """What differs in a window, as long as it is much compared with the window where most does."""
    width, parts, at = 160, [], 0.0
    for kind in _BARS:
        length = width * window[kind] / most
        if length:
            parts.append(f'<rect class="{kind}" x="{at:.2f}" y="0" width="{max(length, 1):.2f}" height="10"></rect>')
        at += length
    told = ", ".join(f"{window[kind]:,} {kind}" for kind in _BARS if window[kind])
    return f'<svg width="{width}" height="10" role="img" aria-label="{told}">{"".join(parts)}</svg>'


def _why(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [f'<span class="{kind}">{kind}</span>', _text(why), _text(count)]
        for kind in _KINDS
        for why, count in document["why"][kind].items()
    ]
    if rows:
        yield "<h2>Reasons</h2>"
        yield _table(("", "why", "rows"), rows, ("rows",))
    if document["columns"]:
        yield "<h2>Columns that differ</h2>"
        yield _table(("column", "changed rows"), [[_text(k), _text(v)] for k, v in document["columns"].items()], ("changed rows",))


def _ledgers(document: Mapping[str, Any]) -> Iterator[str]:
    rows, codes = [], []
    for source, sides in document["ledger"].items():
        rows += [[_text(source), side, *(_text(sides[side][name]) for name in _LEDGER)] for side in ("live", "replay")]
        for code in sorted({*sides["live"]["codes"], *sides["replay"]["codes"]}):
            codes.append([_text(source), _text(code), *(_text(sides[side]["codes"].get(code, 0)) for side in ("live", "replay"))])
    if rows:
        yield "<h2>What became of the raw that the replay read</h2>"
        yield _table(("source", "ledger", *_LEDGER_NAMES), rows, _LEDGER_NAMES)
    if codes:
        yield "<h2>Dead letters by code</h2>"
        yield _table(("source", "code", "live", "replay"), codes, ("live", "replay"))


def _samples(document: Mapping[str, Any]) -> Iterator[str]:
    for kind in _KINDS:
        samples = document["samples"][kind]
        if samples:
            yield f"<h2>{kind.capitalize()}: {_text(len(samples))} of {_text(document['totals'][kind])}</h2>"
        for sample in samples:
            lines = [f"<p>{_text(sample['source'])} <code>{_text(sample['raw_file'])}:{_text(sample['position'])}</code></p>"]
            if "live_raw_file" in sample:
                there = f"{_text(sample['live_raw_file'])}:{_text(sample['live_position'])}"
                lines.append(f'<p class="soft">live: {_text(sample["live_source"])} <code>{there}</code></p>')
            if cells := sample.get("columns"):
                rows = [[_text(cell["column"]), _text(cell["live"]), _text(cell["replay"])] for cell in cells]
                lines.append(_table(("column", "live", "replay"), rows, ()))
            told = f"<code>{_text(sample['event_id'])}</code> at {_text(sample['window_time'])}: {_text(sample['why'])}"
            yield f"<details><summary>{told}</summary><div>{''.join(lines)}</div></details>"


def _about(document: Mapping[str, Any]) -> Iterator[str]:
    versions, totals = document["contract_versions"], document["totals"]
    facts = {
        "ranges": "; ".join(f"{low} to {high}" for low, high in document["ranges"]),
        "branch": document["branch"],
        "contract version": f"{', '.join(versions['live']) or 'not known'} live, {versions['replay']} in the replay",
        "code version of the replay": document["code_version"],
        "content hash": f"{totals['live_hash']} live, {totals['replay_hash']} in the replay",
        **{f"snapshot, {side}": f"{at['snapshot_id'] or 'none'} ({at['ref']})" for side, at in document["snapshots"].items()},
        "next": document["next"],
    }
    yield "<h2>What was compared</h2>"
    yield _table(("", " "), [[_text(k), f"<code>{_text(v)}</code>"] for k, v in facts.items() if v], ())


_SECTIONS = (_summary, _windows, _why, _ledgers, _samples, _about)
