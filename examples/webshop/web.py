"""The website's events: one JSON object a line, in plain, gzip and zstd files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from random import Random

import msgspec

from examples.webshop.defects import COPIES, EVENT_DEFECTS, Copy, EventDefect, due
from examples.webshop.files import WEB_STYLES, compress, set_mtime, truncate_gzip, write_lines
from examples.webshop.people import iso
from examples.webshop.sessions import TRACK, Sessions, Shop
from examples.webshop.truth import DEAD_LETTER, DUPLICATE, FILTERED, OUT_OR_DUPLICATE, Row, Truth

RECORDS_PER_FILE = 40_000
DAMAGED_RECORDS = 400
RESENT_FILE = 1  # this file lies there under a second name too


def write_web(shop: Shop, directory: Path, total: int, rng: Random, truth: Truth) -> None:
    """All of DIR/web, some `total` records.

    Bounded: one file's records are in memory at a time.
    """
    sessions = Sessions(shop, "web", rng)
    files = max(len(WEB_STYLES), -(-total // RECORDS_PER_FILE))
    cuts = [total * number // files for number in range(files + 1)]
    carried: list[Row] = []
    for number in range(files):
        first, last = cuts[number], cuts[number + 1]
        rows = _visit(sessions, first / total, last / total, last - first - len(carried))
        end_ms = max(row.at_ms for row in rows)
        spoil_events(rows, due(EVENT_DEFECTS, "web", first, last, total), rng)
        rows += carried
        copies = copy_events(rows, due(COPIES, "web", first, last, total), end_ms, rng)
        carried = [copy for copy in copies if copy.at_ms > end_ms]
        rows += [copy for copy in copies if copy.at_ms <= end_ms]
        if last == total:
            rows += carried
        rows.sort(key=lambda row: row.at_ms)
        _write_file(directory, number, rows, truth)
    _write_damaged(sessions, directory, truth)
    _write_strays(shop, directory)


def _visit(sessions: Sessions, start: float, end: float, size: int) -> list[Row]:
    """At least `size` sound records of sessions between two fractions of all the traffic."""
    rows: list[Row] = []
    while len(rows) < size:
        start_ms = sessions.shop.calendar.at_ms(start + (end - start) * len(rows) / size)
        person, device = sessions.pick(start_ms)
        rows += sessions.run(person, device, start_ms)
    return rows


def spoil_events(rows: list[Row], entries: list[EventDefect], rng: Random) -> None:
    """Give track events of a file their defects, in place."""
    tracks = [index for index, row in enumerate(rows) if row.kind == TRACK]
    for defect, index in zip(entries, rng.sample(tracks, min(len(entries), len(tracks))), strict=False):
        rows[index] = spoil(rows[index], defect, rng)


def spoil(row: Row, defect: EventDefect, rng: Random) -> Row:
    """The same record with a defect, and the truth about it."""
    return row._replace(
        person=None if defect.expected == FILTERED else row.person,  # synthetic traffic is nobody's
        body=defect.make(row.body, rng),
        event_id=row.event_id if defect.keeps_id else None,
        expected=defect.expected,
        code=defect.code,
        defect=defect.name,
    )


def copy_events(rows: list[Row], entries: list[Copy], end_ms: int, rng: Random) -> list[Row]:
    """Copies of sound records; `at_ms` says where they belong. The originals learn in place that they have one."""
    sound = [index for index, row in enumerate(rows) if not row.defect]
    copies: list[Row] = []
    for entry, index in zip(entries, rng.sample(sound, min(len(entries), len(sound))), strict=False):
        delay_ms = rng.randrange(4_000, 900_000)
        original = rows[index]
        at_ms = end_ms + delay_ms if entry.next_file else min(original.at_ms + delay_ms, end_ms)
        for again in range(1, entry.times + 1):
            rows[index], copy = copy_event(original, entry, again * max(at_ms - original.at_ms, 1), rng)
            copies.append(copy)
    return copies


def copy_event(original: Row, entry: Copy, delay_ms: int, rng: Random) -> tuple[Row, Row]:
    """A record and its copy, which the collector receives `delay_ms` later, unless they are wholly identical."""
    original = original._replace(group=original.event_id)
    if entry.without_id:
        body = original.body.replace(f'"messageId":"{original.event_id}",'.encode(), b"")
        original = original._replace(event_id=None, body=body)
    copy = original._replace(at_ms=original.at_ms + delay_ms, expected=DUPLICATE, defect=entry.name)
    if entry.identical:
        return original._replace(expected=OUT_OR_DUPLICATE), copy._replace(expected=OUT_OR_DUPLICATE)
    body = _sent_again(original.body, delay_ms)
    if entry.conflicting:
        event = msgspec.json.decode(body)
        event["properties"] = {**event.get("properties", {}), "revision": rng.randrange(2, 10)}
        body = msgspec.json.encode(event)
        copy = copy._replace(expected=DEAD_LETTER, code="conflicting_duplicate")
    return original, copy._replace(body=body)


def _sent_again(body: bytes, delay_ms: int) -> bytes:
    """The same text but for the transport times; the events of a batch have none, their envelope has."""
    event = msgspec.json.decode(body)
    for name in ("sentAt", "receivedAt"):
        if name in event:
            old_ms = round(datetime.fromisoformat(event[name]).timestamp() * 1000)
            new = f'"{name}":"{iso(old_ms + delay_ms)}"'
            body = body.replace(f'"{name}":"{event[name]}"'.encode(), new.encode())
    return body


def _write_file(directory: Path, number: int, rows: list[Row], truth: Truth) -> None:
    """One file in its style, and for one of them the same bytes under a second name."""
    style = WEB_STYLES[number % len(WEB_STYLES)]
    path = directory / f"events-{number:04d}{style.suffix}"
    write_lines(path, [row.body for row in rows], style)
    set_mtime(path, rows[-1].at_ms)
    copy = None
    if number == RESENT_FILE:
        copy = f"resent-{number:04d}{style.suffix}"
        (directory / copy).write_bytes(path.read_bytes())
        set_mtime(directory / copy, rows[-1].at_ms)  # the same, since it stands in for a missing receivedAt
    truth.add_file("web", f"web/{path.name}", rows, copy and f"web/{copy}")


def _write_damaged(sessions: Sessions, directory: Path, truth: Truth) -> None:
    """A gzip file whose upload broke off: its whole lines are good, all the rest is one damaged record."""
    rows = _visit(sessions, 0.999, 1.0, DAMAGED_RECORDS)
    data, whole_lines = truncate_gzip(compress(b"".join(row.body + b"\n" for row in rows), ".gz"))
    path = directory / "events-damaged.jsonl.gz"
    path.write_bytes(data)
    set_mtime(path, rows[-1].at_ms)
    damage = Row(0, None, None, b"", expected=DEAD_LETTER, code="damaged_input", defect="damaged_file")
    truth.add_file("web", f"web/{path.name}", [*rows[:whole_lines], damage])


def _write_strays(shop: Shop, directory: Path) -> None:
    """An empty file, and two that a reader must pass over."""
    strays = {
        "events-empty.jsonl": b"",
        ".DS_Store": b"\x00\x00\x00\x01Bud1\x00\x00\x10\x00",
        "upload.tmp": b'{"messageId":"half an upl',
    }
    for name, data in strays.items():
        (directory / name).write_bytes(data)
        set_mtime(directory / name, shop.calendar.end_ms)
