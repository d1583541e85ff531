"""The apps' events: one SDK batch a line, sent when the device is online again, at times days later."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from examples.webshop.defects import COPIES, EVENT_DEFECTS, Copy, EventDefect, due
from examples.webshop.files import MOBILE_STYLES, set_mtime, write_lines
from examples.webshop.people import DAY_MS, iso
from examples.webshop.sessions import TRACK, Sessions, Shop
from examples.webshop.truth import Row, Truth
from examples.webshop.web import copy_event, spoil

RECORDS_PER_FILE = 40_000
BATCH_MAX = 20
OFFLINE = 0.3  # of the uploads come from a device that was offline
OFFLINE_MAX_DAYS = 6


@dataclass
class Batch:
    """One line: the events of one request. `spoiled` replaces it by a line that is one defective record."""

    at_ms: int
    sent_ms: int
    received_ms: int
    events: list[Row] = field(default_factory=list)
    spoiled: bytes | None = None

    def line(self) -> bytes:
        """The line as the collector wrote it."""
        if self.spoiled is not None:
            return self.spoiled
        events = b",".join([row.body for row in self.events])
        times = f'"sentAt":"{iso(self.sent_ms)}","receivedAt":"{iso(self.received_ms)}"'.encode()
        return b'{"batch":[' + events + b"]," + times + b"}"


def write_mobile(shop: Shop, directory: Path, total: int, rng: Random, truth: Truth) -> None:
    """All of DIR/mobile, some `total` records.

    Bounded: one file's records are in memory at a time.
    """
    sessions = Sessions(shop, "mobile", rng)
    files = max(len(MOBILE_STYLES), -(-total // RECORDS_PER_FILE))
    cuts = [total * number // files for number in range(files + 1)]
    carried: list[Batch] = []
    for number in range(files):
        first, last = cuts[number], cuts[number + 1]
        size = last - first - sum(len(batch.events) for batch in carried)
        batches = _upload(sessions, first / total, last / total, size)
        end_ms = max(batch.at_ms for batch in batches)
        _spoil(batches, due(EVENT_DEFECTS, "mobile", first, last, total), rng)
        copies = _copy_events(batches, due(COPIES, "mobile", first, last, total), end_ms, rng)
        batches += carried
        carried = [copy for copy in copies if copy.at_ms > end_ms]
        batches += [copy for copy in copies if copy.at_ms <= end_ms]
        if last == total:
            batches += carried
        batches.sort(key=lambda batch: batch.at_ms)
        style = MOBILE_STYLES[number % len(MOBILE_STYLES)]
        path = directory / f"batches-{number:04d}{style.suffix}"
        write_lines(path, [batch.line() for batch in batches], style)
        set_mtime(path, batches[-1].at_ms)
        truth.add_file("mobile", f"mobile/{path.name}", [row for batch in batches for row in batch.events])


def _upload(sessions: Sessions, start: float, end: float, size: int) -> list[Batch]:
    """Batches of at least `size` sound records, received between two fractions of all the traffic."""
    rng = sessions.rng
    batches: list[Batch] = []
    made = 0
    while made < size:
        now_ms = sessions.shop.calendar.at_ms(start + (end - start) * made / size)
        person, device = sessions.pick(now_ms)
        rows: list[Row] = []
        if rng.random() < OFFLINE:
            since_ms = now_ms - int(rng.random() ** 2 * OFFLINE_MAX_DAYS * DAY_MS)
            for _ in range(rng.randrange(1, 4)):
                start_ms = max(since_ms, device.busy_until_ms) + rng.randrange(1_000, 600_000)
                rows += sessions.run(person, device, start_ms)
        else:
            rows = sessions.run(person, device, max(now_ms, device.busy_until_ms))
        sent_ms = max(now_ms, rows[-1].at_ms + 500)
        made += len(rows)
        while rows:
            cut = rng.randrange(1, BATCH_MAX + 1)
            received_ms = sent_ms + 40 + int(rng.random() * 400)
            batches.append(Batch(received_ms, sent_ms + device.skew_ms, received_ms, rows[:cut]))
            rows = rows[cut:]
            sent_ms += 500
    return batches


def _spoil(batches: list[Batch], entries: list[EventDefect], rng: Random) -> None:
    """Give track events their defects. Those that spoil a line get a batch of their own."""
    tracks = [(batch, index) for batch in batches for index, row in enumerate(batch.events) if row.kind == TRACK]
    alone: list[tuple[Batch, Row, EventDefect]] = []
    for defect, (batch, index) in zip(entries, rng.sample(tracks, min(len(entries), len(tracks))), strict=False):
        if defect.line:
            alone.append((batch, batch.events[index], defect))
        else:
            batch.events[index] = spoil(batch.events[index], defect, rng)
    for batch, row, defect in alone:
        batch.events.remove(row)
        single = Batch(batch.at_ms, batch.sent_ms, batch.received_ms, [row])
        spoiled = spoil(row._replace(body=single.line()), defect, rng)
        batches.append(Batch(batch.at_ms, batch.sent_ms, batch.received_ms, [spoiled], spoiled.body))
    batches[:] = [batch for batch in batches if batch.events]


def _copy_events(batches: list[Batch], entries: list[Copy], end_ms: int, rng: Random) -> list[Batch]:
    """Copies of sound batches, as the SDK repeats them, until the rates of their records are met."""
    wanted = Counter(entries)
    sound = [batch for batch in batches if all(row.kind and not row.defect for row in batch.events)]
    rng.shuffle(sound)
    copies: list[Batch] = []
    for entry, count in wanted.items():
        made = 0
        while made < count and sound:
            original = sound.pop()
            delay_ms = rng.randrange(4_000, 900_000)
            at_ms = end_ms + delay_ms if entry.next_file else min(original.at_ms + delay_ms, end_ms)
            copies.append(_copy_batch(original, entry, max(at_ms - original.at_ms, 1), rng))
            made += len(copies[-1].events)
    return copies


def _copy_batch(original: Batch, entry: Copy, delay_ms: int, rng: Random) -> Batch:
    """The copy of a batch; its records and those of the original learn of each other."""
    pairs = [copy_event(row, entry, delay_ms, rng) for row in original.events]
    original.events = [row for row, _ in pairs]
    transport_ms = 0 if entry.identical else delay_ms
    return Batch(
        original.at_ms + delay_ms,
        original.sent_ms + transport_ms,
        original.received_ms + transport_ms,
        [copy for _, copy in pairs],
    )
