"""The ledger: every accepted event once, every request, in SQLite. What is answered with success is committed before.

Which message ids are known is kept in memory, about 150 bytes each, and read again from the table at the start: an index on disk
takes three times as long as the events themselves, since random ids touch as many of its pages as a request has events.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contracts.errors import ComponentDownError
from devstack.cdp.dialects import Received

_SCHEMA = """
CREATE TABLE IF NOT EXISTS source (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS event (
  seq INTEGER PRIMARY KEY, source INTEGER NOT NULL, message_id TEXT NOT NULL, times INTEGER NOT NULL, user TEXT, type TEXT,
  timestamp TEXT, timestamp_us INTEGER, received_us INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS request (
  seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, source TEXT, path TEXT NOT NULL,
  events INTEGER NOT NULL, accepted INTEGER NOT NULL, repeats INTEGER NOT NULL, rejected INTEGER NOT NULL, dropped INTEGER NOT NULL,
  wire_bytes INTEGER NOT NULL, json_bytes INTEGER NOT NULL, status INTEGER, fault TEXT, idempotency_key TEXT, retry_after TEXT,
  last_event_seq INTEGER);
"""
_PRAGMAS = (
    "locking_mode = EXCLUSIVE",  # another process would not see which ids are known
    "journal_mode = WAL",
    "synchronous = OFF",  # a killed process loses nothing; a machine without power may
    "cache_size = -32768",  # KiB
    "wal_autocheckpoint = 4000",  # pages
)
_LOCK_WAIT_S = 1.0
_INSERT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REPEAT = "UPDATE event SET times = times + ? WHERE seq = ?"
_ROWS = "SELECT seq, message_id, user, type, timestamp, received_us, times, source, payload FROM event"


_Cells = tuple[int, int, str, int, str | None, str | None, str | None, int | None, int, bytes]


class Request(msgspec.Struct, kw_only=True):
    """One request to an ingestion path.

    events: in it; 0 where it was refused before they were counted. accepted: new to the ledger; repeats: known before;
    rejected: named in a 207; dropped: answered with success and not kept. status: None where the connection was reset.
    """

    time_us: int
    source: str | None
    path: str
    events: int = 0
    accepted: int = 0
    repeats: int = 0
    rejected: int = 0
    dropped: int = 0
    wire_bytes: int = 0
    json_bytes: int = 0
    status: int | None = None
    fault: str | None = None
    idempotency_key: str | None = None
    retry_after: str | None = None
    last_event_seq: int | None = None


@dataclass(frozen=True)
class Row:
    """One event of the ledger. times: how often it was received. payload: canonical JSON of the first."""

    seq: int
    message_id: str
    user: str | None
    type: str | None
    timestamp: str | None
    received_us: int
    times: int
    write_key: str
    payload: bytes


class Ledger:
    """The tables in one folder. Not for several threads.

    Args:
        folder: made if it is not there.
        write_keys: names that events may come under.

    Raises:
        ComponentDownError: another process has this folder.
    """

    def __init__(self, folder: Path, write_keys: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "ledger.db", isolation_level=None, timeout=_LOCK_WAIT_S)
        try:
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            raise ComponentDownError(f"{folder / 'ledger.db'}: {error}; stop who uses it, or give another folder: --data") from None
        self._db.executemany("INSERT OR IGNORE INTO source (name) VALUES (?)", [(name,) for name in write_keys])
        self._sources: dict[str, int] = {name: number for number, name in self._db.execute("SELECT id, name FROM source")}
        self._known: dict[int, dict[str, int]] = {number: {} for number in self._sources.values()}  # message id to seq, by source
        self._next_seq = 1 + int(self._db.execute("SELECT coalesce(max(last_event_seq), 0) FROM request").fetchone()[0])
        for seq, source, message_id in self._db.execute("SELECT seq, source, message_id FROM event"):
            self._known[source][message_id] = seq
            self._next_seq = max(self._next_seq, seq + 1)

    def close(self) -> None:
        """Give the files back."""
        self._db.close()

    def record(self, request: Request, events: Sequence[Received] = ()) -> None:
        """Commit a request with its accepted events; sets its ``accepted``, ``repeats`` and ``last_event_seq``.

        **Guarantees**: both or nothing; an event whose message id is known stays as first received, and its ``times`` grows.
        """
        rows, again = self._new_and_repeated(request, events) if events else ([], {})
        columns = msgspec.structs.astuple(request)
        with self._transaction():
            if rows:
                self._db.executemany(_INSERT, rows)
            if again:
                self._db.executemany(_REPEAT, [(count, seq) for seq, count in again.items()])
            self._db.execute(f"INSERT INTO request VALUES (NULL{', ?' * len(columns)})", columns)
        if events:
            known = self._known[rows[0][1]] if rows else {}
            known.update((row[2], row[0]) for row in rows)
            self._next_seq += len(events)

    def _new_and_repeated(self, request: Request, events: Sequence[Received]) -> tuple[list[_Cells], dict[int, int]]:
        """The rows to insert, and how often which row was met again. Each event takes a sequence number, a repeat too."""
        assert request.source is not None
        source = self._sources[request.source]
        known, new, again = self._known[source], dict[str, int](), Counter[int]()
        rows: list[_Cells] = []
        for seq, event in enumerate(events, self._next_seq):
            found = known.get(event.message_id) or new.get(event.message_id)
            if found is None:
                new[event.message_id] = seq
                rows.append(_cells(seq, source, request.time_us, event))
            else:
                again[found] += 1
        request.accepted, request.repeats = len(rows), len(events) - len(rows)
        request.last_event_seq = self._next_seq + len(events) - 1
        return rows, again

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:  # an interrupt too must not leave a transaction open
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- reading

    def rows(
        self, *, after: int = 0, limit: int, write_key: str | None = None, start_us: int | None = None, end_us: int | None = None
    ) -> list[Row]:
        """Events in the order of their first arrival; start (included) and end (not included) are of the events' own time."""
        where, values = ["seq > ?"], [after]
        for clause, value in (("timestamp_us >= ?", start_us), ("timestamp_us < ?", end_us)):
            if value is not None:
                where.append(clause)
                values.append(value)
        if write_key is not None:
            where.append("source = ?")
            values.append(self._sources.get(write_key, -1))
        return list(self._rows(f"{_ROWS} WHERE {' AND '.join(where)} ORDER BY seq LIMIT ?", (*values, limit)))

    def newest(self, limit: int) -> list[Row]:
        """The last events that arrived, newest first."""
        return list(self._rows(f"{_ROWS} ORDER BY seq DESC LIMIT ?", (limit,)))

    def order(self, user: str) -> list[Row]:
        """One user's events in the order of their first arrival."""
        return list(self._rows(f"{_ROWS} WHERE user = ? ORDER BY seq", (user,)))

    def _rows(self, query: str, values: Sequence[object]) -> Iterator[Row]:
        names = {number: name for name, number in self._sources.items()}
        for seq, message_id, user, kind, timestamp, received_us, times, source, payload in self._db.execute(query, values):
            yield Row(seq, message_id, user, kind, timestamp, received_us, times, names[source], payload)

    def requests(self, *, after: int = 0, limit: int = -1) -> Iterator[tuple[int, Request]]:
        """Requests by their own sequence numbers, in order; a negative limit is none."""
        return self._requests("WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))

    def newest_requests(self, limit: int) -> Iterator[tuple[int, Request]]:
        """The last requests, newest first."""
        return self._requests("ORDER BY seq DESC LIMIT ?", (limit,))

    def _requests(self, clause: str, values: Sequence[int]) -> Iterator[tuple[int, Request]]:
        names = Request.__struct_fields__
        for seq, *cells in self._db.execute(f"SELECT seq, {', '.join(names)} FROM request {clause}", values):
            yield seq, Request(**dict(zip(names, cells, strict=True)))

    # --- changing it by hand, so that tests can seed losses and differences

    def put(self, write_key: str, event: Received) -> None:
        """Add an event, or replace the payload of one that is there."""
        source = self._sources[write_key]
        if (found := self._known[source].get(event.message_id)) is None:
            self._db.execute(_INSERT, _cells(self._next_seq, source, now_us(), event))
            self._known[source][event.message_id] = self._next_seq
            self._next_seq += 1
        else:
            sets = "user = ?, type = ?, timestamp = ?, timestamp_us = ?, payload = ?"
            cells = (event.user, event.type, event.timestamp, event.timestamp_us, event.payload)
            self._db.execute(f"UPDATE event SET {sets} WHERE seq = ?", (*cells, found))

    def remove(self, write_key: str, message_id: str) -> None:
        """Forget an event that is there."""
        self._db.execute("DELETE FROM event WHERE seq = ?", (self._known[self._sources[write_key]].pop(message_id),))

    def has(self, write_key: str, message_id: str) -> bool:
        """Whether an event with this id is there."""
        return message_id in self._known[self._sources[write_key]]

    def clear(self) -> None:
        """Forget all events and requests; sequence numbers go on."""
        with self._transaction():
            self._db.execute("DELETE FROM event")
            self._db.execute("DELETE FROM request")
        for known in self._known.values():
            known.clear()


def _cells(seq: int, source: int, time_us: int, event: Received) -> _Cells:
    return (seq, source, event.message_id, 1, event.user, event.type, event.timestamp, event.timestamp_us, time_us, event.payload)


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000


def iso(time_us: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
