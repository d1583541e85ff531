"""The document of ``headrace reconcile`` as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from operations.html import bar_of, page_of, table_of, text_of, tiles_of, write_html
from operations.reconcile.classes import ALARMS, CLASSES

_COLOURS = {
    "delivered": "green", "other_copy": "green", "pending": "blue", "refused": "amber",
    "missing": "red", "extra": "red", "different": "red",
}  # fmt: skip
_BARS = ("missing", "extra", "different", "refused", "pending")
_OPEN_WINDOWS = 60  # more are folded away until asked for


def write_page(document: Mapping[str, Any], path: Path) -> None:
    """Write the page; a file that is there is written anew.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_html(page(document), path)


def page(document: Mapping[str, Any]) -> str:
    """The page as text. Every value of the document is escaped."""
    title = f"Reconciliation of {document['destination']} with {document['dataset']}"
    return page_of(title, (part for section in _SECTIONS for part in section(document)))


def _summary(document: Mapping[str, Any]) -> Iterator[str]:
    span, classes = document["range"], document["classes"]
    yield f'<p class="soft">{text_of(span["start"])} to {text_of(span["end"])}, by window time</p>'
    found = sum(classes[name] for name in ALARMS)
    summary = f"{found:,} ids are not as they should be." if found else "Nothing is missing, extra or different."
    yield f'<p><b class="{"red" if found else "green"}">{summary}</b></p>'
    if not document["adds_up"]:
        yield '<p class="red">The classes do not add up to the ids: this is an error of the comparison.</p>'
    if ids_only := document["contents"]["ids_only"]:
        yield f"<p>Contents of {text_of(ids_only)} events were not compared, their ids were.</p>"
    yield tiles_of((_COLOURS.get(name, "") if classes[name] else "soft", classes[name], name) for name in CLASSES)


def _causes(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [
            f'<span class="one {_COLOURS.get(kind, "soft")}">{text_of(kind)}</span>', _one_line(cause["cause"]),
            text_of(cause["ids"]), text_of("—" if cause["delivered_by_us"] is None else cause["delivered_by_us"]),
            text_of(cause["told"]), text_of(cause["do"] or "—"),
        ]
        for kind in reversed(CLASSES)
        for cause in document["causes"].get(kind, [])
    ]  # fmt: skip
    if rows:
        yield "<h2>Causes, and what to do</h2>"
        yield table_of(("", "cause", "ids", "with receipt", "what it is", "what to do"), rows, ("ids", "with receipt"))


def _one_line(text: str) -> str:
    """Short texts stay whole."""
    return f'<span class="one">{text_of(text)}</span>' if len(text) <= 32 else text_of(text)


def _windows(document: Mapping[str, Any]) -> Iterator[str]:
    windows = document["windows"]
    if not windows:
        return
    most = max(sum(window[kind] for kind in _BARS) for window in windows)
    rows = [
        [
            f'<span class="one">{text_of(window["from"])}</span>',
            *(f'<span class="{_COLOURS.get(k, "") if window[k] else "soft"}">{text_of(window[k])}</span>' for k in CLASSES),
            bar_of([(_COLOURS[kind], window[kind], kind) for kind in _BARS], most),
        ]
        for window in windows
    ]
    columns = ("window from", *CLASSES, "share")
    yield f"<h2>When: windows of {_length(document['window_minutes'])} with something to look at</h2>"
    yield table_of(columns, rows[:_OPEN_WINDOWS], CLASSES)
    if len(rows) > _OPEN_WINDOWS:
        yield f"<details><summary>{text_of(len(rows) - _OPEN_WINDOWS)} more</summary>"
        yield table_of(columns, rows[_OPEN_WINDOWS:], CLASSES) + "</details>"


def _length(minutes: int) -> str:
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _samples(document: Mapping[str, Any]) -> Iterator[str]:
    shown = [(kind, cause) for kind in reversed(CLASSES) for cause in document["causes"].get(kind, []) if cause["samples"]]
    if shown:
        yield "<h2>Samples</h2>"
    for kind, cause in shown:
        rows = [[f"<code>{text_of(s['id'])}</code>", text_of(s["window_time"]), text_of(s["event_type"])] for s in cause["samples"]]
        summary = f"{text_of(kind)}, {text_of(cause['cause'])}: {text_of(len(rows))} of {text_of(cause['ids'])}"
        yield f"<details><summary>{summary}</summary><div>{table_of(('id', 'window time', 'type'), rows, ())}</div></details>"


def _about(document: Mapping[str, Any]) -> Iterator[str]:
    export = document["export"]
    facts = {
        "rows of the range": document["rows"],
        "their ids": document["ids"],
        "of these and others at the destination": document["ids_at_destination"],
        "export": export["from"],
        "as of": export["as_of"],
        "events read": export["events"],
        "of ids read before": export["repeated"],
        "of other ranges": export["of_other_ranges"],
        "ahead of the table": export["ahead_of_the_table"],
        "contents compared": document["contents"]["compared"],
        "pending while younger than": f"{document['settle_s']:g} s",
    }
    yield "<h2>What was compared</h2>"
    yield table_of(("", " "), [[text_of(name), f"<code>{text_of(value)}</code>"] for name, value in facts.items()], ())


_SECTIONS = (_summary, _causes, _windows, _samples, _about)
