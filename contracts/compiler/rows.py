"""From checked columns to finished rows: computed columns, identity, order and hashes.

The canonical JSON of a row (the basis of every hash, see docs/reference/lake.md): an object of the contract's columns that have a
value, keys sorted by code point, no blanks, UTF-8; timestamps as integer microseconds, dates as YYYY-MM-DD, decimals as
strings with the column's scale, JSON columns as strings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import xxhash

from contracts.compiler.clocks import EARLIEST_US, LATEST_US, NO_TIME_US, is_clock_time, within_reason
from contracts.compiler.columns import Values
from contracts.compiler.revisions import revision_number
from contracts.compiler.values import CANONICAL_JSON
from contracts.spec.model import Contract
from contracts.spec.source import ClockBounds
from contracts.units import DAY_US, HOUR_US

# How far a client's clock may be from the collector's, where the source spec does not say.
MAX_BEHIND_US = 30 * DAY_US
MAX_AHEAD_US = HOUR_US
_ANY_US = LATEST_US - EARLIEST_US
_NULL_RANK = b"\1"


class FinishedColumns(dict[str, Values]):
    """Contract columns plus the provenance columns that rows carry (see ``provenance`` in schemas.py).

    row_json: the canonical JSON of each row, once it is finished.
    """

    row_json: list[bytes]


class RowFinisher:
    """Adds to checked columns everything that is computed from a row alone, and its hashes.

    Pure: the same record gives the same row in every run, batch, order and place.
    """

    def __init__(self, contract: Contract, clock: ClockBounds | None = None, revision: int = 1) -> None:
        """Clock: the source's bounds; None where it has none of its own. revision: of the source spec."""
        self._contract, self._revision = contract, revision_number(contract, revision)
        corrects = contract.event_time is not None  # without a skew model there is nothing to correct an old time to
        self._clock = clock or ClockBounds(MAX_BEHIND_US if corrects else None, MAX_AHEAD_US)
        names = sorted(column.name for column in contract.columns)
        stable = [n for n in names if not contract.by_name[n].transport and n != contract.event_id]
        self._row_json = _row_encoder(names)
        self._stable_json = _row_encoder(stable)

    def finish(self, checked: dict[str, Values], received_at: Sequence[int], *, from_log: bool = True) -> FinishedColumns:
        """Compute the rest of each row.

        Args:
            checked: canonical values of the mapped columns.
            received_at: what stands in where the payload does not say when it was received; microseconds.
            from_log: it is the record time of a log (NO_TIME_US where there is none), and so a clock. The modification time of a
                file is none: it confirms a time, and never contradicts one.
        """
        contract = self._contract
        columns = FinishedColumns(checked)
        nothing: Values = [None] * len(received_at)
        said = columns[contract.received_at] if contract.received_at else nothing
        logs = [us or None for us in received_at] if from_log else nothing
        clocks = [b if a is None or not is_clock_time(a) else a for a, b in zip(said, logs, strict=True)]
        if contract.kind == "entity":  # a contact that was last changed years ago is no broken clock
            times = self._first(contract.window_time, columns, nothing)
            columns["_window_time"] = [
                within_reason(b) if a is None else within_reason(a) for a, b in zip(times, received_at, strict=True)
            ]
            columns["_time_corrected"] = [a is not None and a != b for a, b in zip(times, columns["_window_time"], strict=True)]
        else:
            self._set_times(columns, clocks, nothing if from_log else list(received_at))
        stand_ins = columns["_window_time"] if from_log else received_at
        received = [b if a is None else a for a, b in zip(clocks, stand_ins, strict=True)]
        if contract.received_at:
            columns[contract.received_at] = [b if a is None else a for a, b in zip(said, received, strict=True)]
        fingerprints = list(map(xxhash.xxh3_128_digest, self._stable_json(columns)))
        self._identify(columns, fingerprints)
        columns["_received_at"] = received
        columns["_fingerprint"] = fingerprints
        columns.row_json = self._row_json(columns)
        columns["_row_hash"] = list(map(xxhash.xxh3_128_digest, columns.row_json))
        columns["_rank"] = self._ranks(columns, len(fingerprints))
        columns["_revision"] = [self._revision] * len(fingerprints)
        return columns

    def _identify(self, columns: FinishedColumns, fingerprints: list[bytes]) -> None:
        contract = self._contract
        if contract.event_id_from:
            *_, last = parts = [columns[name] for name in contract.event_id_from]
            columns[contract.event_id] = [
                xxhash.xxh3_128_hexdigest(fingerprint if version is None else CANONICAL_JSON.encode(key))
                for fingerprint, version, key in zip(fingerprints, last, zip(*parts, strict=True), strict=True)
            ]
            return
        ids = columns[contract.event_id]
        if None in ids:
            pairs = zip(ids, fingerprints, strict=True)
            columns[contract.event_id] = [derived_id(fp) if value is None else value for value, fp in pairs]

    def _first(self, names: Sequence[str], columns: FinishedColumns, nothing: Values) -> Values:
        """Of each row the first value of these columns."""
        found = nothing
        for name in names:
            found = [b if a is None else a for a, b in zip(found, columns[name], strict=True)]
        return found

    def _set_times(self, columns: FinishedColumns, clocks: Values, stand_ins: Values) -> None:
        """Window and event time of events. clocks: None where a row has none. stand_ins: a file's modification time, or None."""
        rule = self._contract.event_time
        nothing: Values = [None] * len(clocks)
        times = self._first(self._contract.window_time, columns, nothing)
        originals, sents = (columns[rule.original], columns[rule.sent]) if rule else (nothing, nothing)
        behind = _ANY_US if self._clock.max_behind_us is None else self._clock.max_behind_us
        ahead = _ANY_US if self._clock.max_ahead_us is None else self._clock.max_ahead_us
        windows: list[int] = []
        flags: list[bool] = []
        estimates: Values = []
        for time, original, sent, clock, stand_in in zip(times, originals, sents, clocks, stand_ins, strict=True):
            now = stand_in if clock is None else clock
            if now is None:  # a log without a record time: all that is left are the record's own times
                own = sent if time is None else time
                windows.append(NO_TIME_US if own is None else within_reason(own))
                flags.append(True)
                estimates.append(None)
                continue
            low, high = max(now - behind, EARLIEST_US), min(now + ahead, LATEST_US)
            estimate = None if original is None or sent is None else now - (sent - original)
            bounded = estimate if estimate is not None and low <= estimate <= high else None
            if time is None or low <= time <= high:
                windows.append(now if time is None else time)
                flags.append(estimate is not bounded)
            elif clock is None:  # nothing to correct it by; what stands in for a clock has nothing to say of it either
                bounded = None
                windows.append(within_reason(time))
                flags.append(windows[-1] != time)
            else:
                windows.append(now if bounded is None else bounded)
                flags.append(True)
            estimates.append(bounded)
        columns["_window_time"], columns["_time_corrected"] = windows, flags
        if rule:
            columns[rule.column] = estimates

    def _ranks(self, columns: FinishedColumns, count: int) -> Values:
        """The order columns as bytes that compare like them, nulls last."""
        ranks: Values = [b""] * count
        for name in self._contract.order:
            parts = [_NULL_RANK if v is None else b"\0" + (v + 2**63).to_bytes(8, "big") for v in columns[name]]
            ranks = [a + b for a, b in zip(ranks, parts, strict=True)] if any(ranks) else parts
        return ranks


def canonical_rows(contract: Contract) -> Callable[[pa.Table], list[bytes]]:
    """A function that gives the canonical JSON of finished rows: what their ``_row_hash`` is the hash of."""
    names = sorted(column.name for column in contract.columns)
    encode = _row_encoder(names)

    def encode_rows(rows: pa.Table) -> list[bytes]:
        return encode(FinishedColumns({name: canonical_values(rows.column(name)) for name in names}))

    return encode_rows


def canonical_values(column: pa.ChunkedArray) -> Values:
    """Values of a column of finished rows as the canonical JSON is made of."""
    if pa.types.is_timestamp(column.type):
        return list(column.cast(pa.int64()).to_pylist())
    if pa.types.is_map(column.type):
        return [None if value is None else dict(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def _row_encoder(names: list[str]) -> Callable[[FinishedColumns], list[bytes]]:
    """A function that gives the canonical JSON of each row, restricted to these sorted columns."""
    fields: list[tuple[str, Any, Any]] = [(name, Any, None) for name in names]
    row_type = msgspec.defstruct("CanonicalRow", fields, omit_defaults=True, gc=False)
    encode = CANONICAL_JSON.encode

    def encode_rows(columns: FinishedColumns) -> list[bytes]:
        return list(map(encode, map(row_type, *(columns[name] for name in names))))

    return encode_rows


def derived_id(fingerprint: bytes) -> str:
    """The event id of a record that has none."""
    return f"fp-{fingerprint.hex()}"
