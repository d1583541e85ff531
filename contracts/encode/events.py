"""From a destination and a contract to the events that are sent: who may go, and in which shape. Pure.

A row comes as canonical JSON (from a topic) or as columns (from a table); both give the same event, byte for byte. An event is JSON
with sorted keys and without blanks, so that a hash of it can be compared with what a destination says that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.compiler.exact import json_form
from contracts.compiler.rows import canonical_values
from contracts.encode.shape import Columns, condition_held, event_builder
from contracts.spec.destination import CONSENT_COLUMN, Destination
from contracts.spec.model import ColumnType, Contract
from contracts.spec.suppressions import Suppressions

FILTERED, SUPPRESSED, UNKNOWN, DENIED = "filtered", "suppressed", "consent_unknown", "consent_denied"


_ENCODE = msgspec.json.Encoder(
    order="deterministic", enc_hook=json_form
).encode  # dictionaries sorted; structs as they are defined, which is sorted
Row = Any  # a msgspec struct with the columns that the destination needs


class EventEncoder:
    """Makes the events of one destination, many at a time. For several threads.

    Args:
        destination: checked against the contract.
        contract: of its dataset.
        suppressions: ids that must not leave.
    """

    def __init__(self, destination: Destination, contract: Contract, suppressions: Suppressions) -> None:
        self._destination, self._suppressions = destination, suppressions
        suppressed = [name for name in suppressions.by_column if name in contract.by_name]
        sent = {p.column for p in destination.placements} | {c.column for c in destination.only} | {contract.event_id}
        sent |= {p.when.column for p in destination.placements if p.when}
        named = sent | {*suppressed, *contract.partition_key} | ({CONSENT_COLUMN} if destination.consent else set())
        self.columns = (contract.event_id, *sorted(named - {contract.event_id}))
        self._suppressed = suppressed
        fields: list[Any] = [
            (name, str) if name == contract.event_id else (name, _json_type(contract.by_name[name].type), None)
            for name in self.columns
        ]
        self._row_type = msgspec.defstruct("DeliveredRow", fields, gc=False)
        self._decode = msgspec.json.Decoder(self._row_type).decode
        self._build = event_builder(destination, contract)
        self._all_consent = CONSENT_COLUMN in sent
        self._event_id, self._keys = contract.event_id, (*contract.partition_key, contract.event_id)

    def row(self, canonical: bytes) -> Row:
        """A row from its canonical JSON.

        Raises:
            msgspec.MsgspecError: it is no such JSON: values are not of the contract's types, or it has no id.
        """
        return self._decode(canonical)

    def of_rows(self, rows: Sequence[Row]) -> Columns:
        """Rows as columns."""
        return {name: list(map(attrgetter(name), rows)) for name in self.columns}

    def of_table(self, rows: pa.Table) -> Columns:
        """The columns of finished rows, narrowed or not; ``self.columns`` are needed."""
        columns = {name: rows.column(name) for name in self.columns}
        return {name: _choices(c) if pa.types.is_struct(c.type) else canonical_values(c) for name, c in columns.items()}

    def narrowed(self, rows: pa.Table) -> pa.Table:
        """Finished rows with no more of consent than the categories that are asked for: a map takes long to sort and to read."""
        if self._all_consent or CONSENT_COLUMN not in self.columns:
            return rows
        column, categories = rows.column(CONSENT_COLUMN).combine_chunks(), self._destination.consent
        choices = [pc.map_lookup(column, pa.scalar(category), "last") for category in categories]
        return rows.set_column(
            rows.column_names.index(CONSENT_COLUMN), CONSENT_COLUMN, pa.StructArray.from_arrays(choices, categories)
        )

    def event_ids(self, columns: Columns) -> list[str]:
        """Their ids, which a destination knows repeats by."""
        return list(map(str, columns[self._event_id]))

    def keys(self, columns: Columns) -> list[str]:
        """Whose rows they are: the first of the contract's ``partitionKey`` columns with a value, else the event id."""
        first, *others = (columns[name] for name in self._keys)
        for values in others:
            if None not in first:
                break
            first = [b if a is None else a for a, b in zip(first, values, strict=True)]
        return list(map(str, first))

    def keys_of_table(self, rows: pa.Table) -> list[str]:
        """Whose finished rows they are; see ``keys``."""
        return self.keys({name: canonical_values(rows.column(name)) for name in self._keys})

    def reasons(self, columns: Columns) -> list[str]:
        """Why each row may not leave: "" where it may, else FILTERED, SUPPRESSED, or UNKNOWN or DENIED with ``:category``.

        What is not wanted is filtered before anything else is asked.
        """
        reasons = [""] * len(columns[self._event_id])
        for category in reversed(self._destination.consent):
            unknown, denied = f"{UNKNOWN}:{category}", f"{DENIED}:{category}"
            for i, choices in enumerate(columns[CONSENT_COLUMN]):
                choice = choices.get(category) if choices else None
                if choice is not True:
                    reasons[i] = unknown if choice is None else denied
        for i in self._suppressions.matching({name: columns[name] for name in self._suppressed}):
            reasons[i] = SUPPRESSED
        for condition in self._destination.only:
            for i, held in enumerate(condition_held(condition, columns)):
                if not held:
                    reasons[i] = FILTERED
        return reasons

    def events(self, columns: Columns) -> list[bytes]:
        """The events as they are sent."""
        return list(map(_ENCODE, self._build(columns, len(columns[self._event_id]))))


def event_digest(event: bytes) -> bytes:
    """What events are compared by: the hash of their JSON with sorted keys; 16 bytes."""
    return xxhash.xxh3_128_digest(event)


def _choices(consent: pa.ChunkedArray) -> list[dict[str, bool | None]]:
    """Choices of rows, by category; rows that chose alike share a dictionary."""
    categories = [field.name for field in consent.type]
    chosen = list(zip(*(column.to_pylist() for column in consent.flatten()), strict=True))
    known = {values: dict(zip(categories, values, strict=True)) for values in set(chosen)}
    return list(map(known.__getitem__, chosen))


def _json_type(kind: ColumnType) -> Any:
    """The type of a column's values in canonical JSON."""
    types: dict[ColumnType, Any] = {
        ColumnType.INTEGER: int, ColumnType.NUMBER: float, ColumnType.BOOLEAN: bool, ColumnType.TIMESTAMP: int,
        ColumnType.BOOLEAN_MAP: dict[str, bool | None],
    }  # fmt: skip
    return types.get(kind, str) | None
