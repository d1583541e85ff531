"""From a destination and a contract to the events that are sent: who may go, and in which shape. Pure.

A row comes as canonical JSON (from a topic) or as columns (from a table); both give the same event, byte for byte. An event is JSON
with sorted keys and without blanks, so that a hash of it can be compared with what a destination says that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import repeat
from operator import attrgetter
from types import NoneType
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.compiler.rows import canonical_values
from contracts.spec.destination import CONSENT_COLUMN, Condition, Destination, Placement
from contracts.spec.model import ColumnType, Contract
from contracts.spec.source import plain_text
from contracts.spec.suppressions import Suppressions

FILTERED, SUPPRESSED, UNKNOWN, DENIED = "filtered", "suppressed", "consent_unknown", "consent_denied"


_ENCODE = msgspec.json.Encoder(order="deterministic").encode  # dictionaries sorted; structs as they are defined, which is sorted
Row = Any  # a msgspec struct with the columns that the destination needs
Columns = Mapping[str, Sequence[Any]]  # canonical values, by column
Build = Callable[[Columns, int], Sequence[Any]]  # values of one place of so many events; None where it stays empty


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
        self._build = _object(_tree(destination, contract), "Event", always=True)
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
            for i, held in enumerate(_held(condition, columns)):
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


def _held(condition: Condition, columns: Columns) -> list[bool]:
    """Whether a condition holds, by row."""
    values, among, negated = columns[condition.column], condition.among, condition.negated
    if {str, NoneType}.issuperset(map(type, values)):  # each distinct text is looked at once
        held = {value: (value in among) != negated for value in set(values)}
        return list(map(held.__getitem__, values))
    return [(_text(value) in among) != negated for value in values]


def _text(value: Any) -> str | None:
    """A canonical value, or its JSON form, as conditions name it: both give the same."""
    return str(value) if isinstance(value, date | Decimal) else plain_text(value)


def _json_type(kind: ColumnType) -> Any:
    """The type of a column's values in canonical JSON."""
    types: dict[ColumnType, Any] = {
        ColumnType.INTEGER: int, ColumnType.NUMBER: float, ColumnType.BOOLEAN: bool, ColumnType.TIMESTAMP: int,
        ColumnType.BOOLEAN_MAP: dict[str, bool | None],
    }  # fmt: skip
    return types.get(kind, str) | None


@dataclass
class _Node:
    """One place of an event. values: columns that may fill it, the first with a value does; inner: places in it."""

    values: list[Build] = field(default_factory=list)
    inner: dict[str, _Node] = field(default_factory=dict)

    def at(self, steps: Sequence[str]) -> _Node:
        """The node at these steps below."""
        node = self
        for step in steps:
            node = node.inner.setdefault(step, _Node())
        return node


def _tree(destination: Destination, contract: Contract) -> _Node:
    root = _Node()
    for path in destination.paths:
        root.at(path.steps)
    for placement in destination.placements:
        node = root.at(placement.path.steps)
        node.values.append(_value(placement, contract.by_name[placement.column].type, decoded=bool(node.inner)))
    for path, value in destination.constants.items():
        root.at(path.steps).values[:] = [_constant(value)]
    return root


def _value(placement: Placement, kind: ColumnType, *, decoded: bool) -> Build:
    """Values of one column as events hold them. decoded: something else goes into the same object."""
    column, when = placement.column, placement.when
    convert = _converter(kind, decoded)

    def build(columns: Columns, _count: int) -> Sequence[Any]:
        values = columns[column]
        if when is not None:
            values = [v if held else None for v, held in zip(values, _held(when, columns), strict=True)]
        return values if convert is None else convert(values)

    return build


def _constant(value: Any) -> Build:
    return lambda _columns, count: [value] * count


def _place(node: _Node, name: str) -> Build:
    """The values of a place."""
    if node.inner:
        return _merged(node) if node.values else _object(node, name, always=False)
    first, *others = node.values
    if not others:
        return first

    def build(columns: Columns, count: int) -> Sequence[Any]:
        found = first(columns, count)
        for other in others:
            if None not in found:
                break
            found = [b if a is None else a for a, b in zip(found, other(columns, count), strict=True)]
        return found

    return build


def _object(node: _Node, name: str, *, always: bool) -> Build:
    """Objects with what goes into them; None where all of it is empty, unless ``always``."""
    names = sorted(node.inner)
    fields: list[tuple[str, Any, Any]] = [(f"f{number}", Any, None) for number in range(len(names))]
    renamed = {f"f{number}": name for number, name in enumerate(names)}
    kind = msgspec.defstruct(name, fields, omit_defaults=True, gc=False, rename=renamed)
    builds = [_place(node.inner[inner], f"{name}_{number}") for number, inner in enumerate(names)]
    empty = (None,) * len(names)

    def build(columns: Columns, count: int) -> Sequence[Any]:
        values = [place(columns, count) for place in builds]
        nulls = [column.count(None) for column in values]
        if not always and sum(nulls) == count * len(names):
            return [None] * count
        if always or 0 in nulls:
            return list(map(kind, *values))
        return [None if row == empty else kind(*row) for row in zip(*values, strict=True)]

    return build


def _merged(node: _Node) -> Build:
    """Objects of JSON columns with what goes into them; that takes the place of what the JSON has there."""
    base: Build | None = _place(_Node(values=node.values), "") if node.values else None
    builds = {name: _merged(inner) if inner.inner else _place(inner, "") for name, inner in node.inner.items()}

    def build(columns: Columns, count: int) -> Sequence[Any]:
        below = repeat(None, count) if base is None else base(columns, count)
        made = [dict(value) if isinstance(value, dict) else {} for value in below]
        for name, place in builds.items():
            for tree, value in zip(made, place(columns, count), strict=True):
                if isinstance(value, dict) and isinstance(tree.get(name), dict):
                    tree[name] = _over(tree[name], value)
                elif value is not None:
                    tree[name] = value
        return [tree or None for tree in made]

    return build


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both objects in one; where they meet, ``above`` holds."""
    merged = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            merged[name] = _over(below[name], above[name])
    return merged


def _converter(kind: ColumnType, decoded: bool) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """From canonical values, or their JSON form, to what events hold; None where they are the same."""
    if kind is ColumnType.TIMESTAMP:
        return timestamp_texts
    if kind is ColumnType.JSON:
        return _each(msgspec.json.decode if decoded else msgspec.Raw)
    if kind is ColumnType.DATE:
        return _each(lambda value: value.isoformat() if isinstance(value, date) else value)
    if kind is ColumnType.DECIMAL:
        return _each(lambda value: msgspec.Raw(format(Decimal(value).normalize(), "f").encode()))
    return None


def _each(convert: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    return lambda values: [None if value is None else convert(value) for value in values]


def timestamp_texts(values: Sequence[int | None]) -> Sequence[str | None]:
    """Microseconds since 1970 as ISO 8601 in UTC: with milliseconds, as the dialects write it, or six digits where it has them."""
    if None not in values:
        return _texts_of_known(values)
    texts = _texts_of_known([0 if value is None else value for value in values])
    return [None if value is None else text for text, value in zip(texts, values, strict=True)]


def _texts_of_known(values: Sequence[int | None]) -> Sequence[str | None]:
    known = np.array(values, dtype="int64")
    times = known.astype("datetime64[us]")
    texts: list[str | None] = np.datetime_as_string(times, unit="ms", timezone="UTC").tolist()
    for i in np.flatnonzero(known % 1000).tolist():
        texts[i] = str(np.datetime_as_string(times[i], unit="us", timezone="UTC"))
    return texts
