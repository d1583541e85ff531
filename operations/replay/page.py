"""The document of ``headrace replay diff`` as one HTML page: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from operations.html import bar_of, page_of, table_of, text_of, tiles_of, write_html
from pipelines.replay.costs import told_cost

_KINDS = ("added", "removed", "changed")
_BARS = (*_KINDS, "since")
_COLOURS = {"added": "green", "removed": "red", "changed": "amber", "since": "blue"}
_OPEN_WINDOWS = 60  # more are folded away until asked for
_LEDGER = ("records_in", "out", "duplicate", "late", "filtered", "dead_letter", "outside", "pending", "lost")
_LEDGER_NAMES = ("in", "validated", "duplicate", "late", "filtered", "dead letter", "other windows", "pending", "lost")


def write_page(document: Mapping[str, Any], path: Path) -> None:
    """Write the page.

    Args:
        document: what ``difference`` gave.
        path: the file; one that is there is written anew.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_html(page(document), path)


def page(document: Mapping[str, Any]) -> str:
    """The page as text. Every value of the document is escaped."""
    title = f"Replay {document['replay']} of {document['dataset']}"
    return page_of(title, (part for section in _SECTIONS for part in section(document)))


def _summary(document: Mapping[str, Any]) -> Iterator[str]:
    totals = document["totals"]
    yield f'<p class="soft">{text_of(document["state"])}</p>'
    if told := told_cost(document):
        yield f'<p class="soft">{text_of(told[0].upper() + told[1:])}.</p>'
    if document["equal"]:
        yield (
            f"<p>Nothing differs: {text_of(document['windows_in_all'])} windows, {text_of(totals['live_rows'])} rows, content hash "
            f'<span class="hash">{text_of(totals["live_hash"])}</span>.</p>'
        )
        return
    yield tiles_of([
        ("", document["windows_in_all"], "windows"), ("", len(document["windows"]), "of them differ"),
        ("", totals["live_rows"], "rows live"), ("", totals["replay_rows"], "rows in the replay"), ("", totals["same"], "the same"),
        *((_COLOURS[kind], totals[kind], kind) for kind in _KINDS), (_COLOURS["since"], totals["since"], "published live since"),
    ])  # fmt: skip
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
            f'<span class="one">{text_of(w["from"])}</span>', text_of(w["live_rows"]), text_of(w["replay_rows"]),
            *(f'<span class="{_COLOURS[k] if w[k] else "soft"}">{text_of(w[k])}</span>' for k in _BARS), _bar(w, most),
            f'<span class="hash" title="live {text_of(w["live_hash"])}, replay {text_of(w["replay_hash"])}">'
            f"{text_of(w['live_hash'][:8])} → {text_of(w['replay_hash'][:8])}</span>",
        ]
        for w in windows
    ]  # fmt: skip
    columns = ("window from", *counts, "share", "content hash")
    yield "<h2>Windows that differ</h2>"
    yield f"<p class='soft'>Equal: {text_of(document['windows_equal'])} of {text_of(document['windows_in_all'])}.</p>"
    yield table_of(columns, rows[:_OPEN_WINDOWS], counts)
    if len(rows) > _OPEN_WINDOWS:
        yield f"<details><summary>{text_of(len(rows) - _OPEN_WINDOWS)} more</summary>"
        yield table_of(columns, rows[_OPEN_WINDOWS:], counts) + "</details>"


def _bar(window: Mapping[str, Any], most: int) -> str:
    """What differs in a window, as long as it is much compared with the window where most does."""
    return bar_of([(_COLOURS[kind], window[kind], kind) for kind in _BARS], most)


def _why(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [f'<span class="{_COLOURS[kind]}">{kind}</span>', text_of(why), text_of(count)]
        for kind in _KINDS
        for why, count in document["why"][kind].items()
    ]
    if rows:
        yield "<h2>Reasons</h2>"
        yield table_of(("", "why", "rows"), rows, ("rows",))
    if document["columns"]:
        yield "<h2>Columns that differ</h2>"
        yield table_of(
            ("column", "changed rows"), [[text_of(k), text_of(v)] for k, v in document["columns"].items()], ("changed rows",)
        )


def _ledgers(document: Mapping[str, Any]) -> Iterator[str]:
    rows, codes = [], []
    for source, sides in document["ledger"].items():
        rows += [[text_of(source), side, *(text_of(sides[side][name]) for name in _LEDGER)] for side in ("live", "replay")]
        for code in sorted({*sides["live"]["codes"], *sides["replay"]["codes"]}):
            codes.append(
                [text_of(source), text_of(code), *(text_of(sides[side]["codes"].get(code, 0)) for side in ("live", "replay"))]
            )
    if rows:
        yield "<h2>What became of the raw that the replay read</h2>"
        yield table_of(("source", "ledger", *_LEDGER_NAMES), rows, _LEDGER_NAMES)
    if codes:
        yield "<h2>Dead letters by code</h2>"
        yield table_of(("source", "code", "live", "replay"), codes, ("live", "replay"))


def _samples(document: Mapping[str, Any]) -> Iterator[str]:
    for kind in _KINDS:
        samples = document["samples"][kind]
        if samples:
            yield f"<h2>{kind.capitalize()}: {text_of(len(samples))} of {text_of(document['totals'][kind])}</h2>"
        for sample in samples:
            lines = [f"<p>{text_of(sample['source'])} <code>{text_of(sample['raw_file'])}:{text_of(sample['position'])}</code></p>"]
            if "live_raw_file" in sample:
                there = f"{text_of(sample['live_raw_file'])}:{text_of(sample['live_position'])}"
                lines.append(f'<p class="soft">live: {text_of(sample["live_source"])} <code>{there}</code></p>')
            if cells := sample.get("columns"):
                rows = [[text_of(cell["column"]), text_of(cell["live"]), text_of(cell["replay"])] for cell in cells]
                lines.append(table_of(("column", "live", "replay"), rows, ()))
            told = f"<code>{text_of(sample['event_id'])}</code> at {text_of(sample['window_time'])}: {text_of(sample['why'])}"
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
    yield table_of(("", " "), [[text_of(k), f"<code>{text_of(v)}</code>"] for k, v in facts.items() if v], ())


_SECTIONS = (_summary, _windows, _why, _ledgers, _samples, _about)
