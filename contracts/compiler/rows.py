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

from contracts.compiler.columns import Values
from contracts.compiler.timestamps import MAX_US, MIN_US
from contracts.compiler.values import CANONICAL_JSON
from contracts.spec.model import Contract
from contracts.units import DAY_US, HOUR_US

# How far a client's clock may be from the collector's before window_time is taken from the collector's.
MAX_BEHIND_US = 30 * DAY_US
MAX_AHEAD_US = HOUR_US
_NULL_RANK = b"\1"


class FinishedColumns(dict[str, Values]):
    """Contract columns plus the provenance columns that rows carry (see ``provenance`` in schemas.py)."""


class RowFinisher:
    """Adds to checked columns everything that is computed from a row alone, and its hashes.

    Pure: the same record gives the same row in every run, batch, order and place.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        names = sorted(column.name for column in contract.columns)
        stable = [n for n in names if not contract.by_name[n].transport and n != contract.event_id]
        self._row_json = _row_encoder(names)
        self._stable_json = _row_encoder(stable)

    def finish(self, checked: dict[str, Values], received_at: Sequence[int]) -> FinishedColumns:
        """Compute the rest of each row.

        Args:
            checked: canonical values of the mapped columns.
            received_at: when each record was received, where the payload does not say; microseconds.
        """
        contract = self._contract
        columns = FinishedColumns(checked)
        received: Sequence[int] = received_at
        if contract.received_at:
            received = [b if a is None else a for a, b in zip(columns[contract.received_at], received_at, strict=True)]
            columns[contract.received_at] = list(received)
        if contract.event_time:
            rule = contract.event_time
            triples = zip(received, columns[rule.original], columns[rule.sent], strict=True)
            estimates = [None if a is None or b is None else now - (b - a) for now, a, b in triples]
            columns[rule.column] = [us if us is not None and MIN_US <= us <= MAX_US else None for us in estimates]
        fingerprints = [xxhash.xxh3_128_digest(row) for row in self._stable_json(columns)]
        self._identify(columns, fingerprints)
        columns["_window_time"], columns["_time_corrected"] = self._window_time(columns, received)
        columns["_received_at"] = list(received)
        columns["_fingerprint"] = fingerprints
        columns["_row_hash"] = [xxhash.xxh3_128_digest(row) for row in self._row_json(columns)]
        columns["_rank"] = self._ranks(columns, len(fingerprints))
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
            columns[contract.event_id] = [f"fp-{fp.hex()}" if value is None else value for value, fp in pairs]

    def _window_time(self, columns: FinishedColumns, received: Sequence[int]) -> tuple[Values, Values]:
        contract = self._contract
        times: Sequence[int | None] = [None] * len(received)
        for name in contract.window_time:
            times = [b if a is None else a for a, b in zip(times, columns[name], strict=True)]
        if contract.kind == "entity":  # a contact that was last changed years ago is no broken clock
            return [b if a is None else a for a, b in zip(times, received, strict=True)], [False] * len(received)
        corrected = columns[contract.event_time.column] if contract.event_time else [None] * len(received)
        out: list[int] = []
        flags: list[bool] = []
        for time, estimate, now in zip(times, corrected, received, strict=True):
            low, high = now - MAX_BEHIND_US, now + MAX_AHEAD_US
            if time is not None and low <= time <= high:
                out.append(time)
                flags.append(False)
            else:
                out.append(estimate if estimate is not None and low <= estimate <= high else now)
                flags.append(time is not None)
        return out, flags

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
