"""The shape of a destination's events: a tree of places, and a function for each that fills it, many events at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal
from itertools import repeat
from types import NoneType
from typing import Any

import msgspec
import numpy as np

from contracts.compiler.exact import decode_json
from contracts.spec.destination import Condition, Destination, Placement
from contracts.spec.model import ColumnType, Contract
from contracts.spec.text import plain_text

_EXACT = Context(prec=76)  # the default context rounds at 28 digits; columns have up to 38
Columns = Mapping[str, Sequence[Any]]  # canonical values, by column
Build = Callable[[Columns, int], Sequence[Any]]  # values of one place of so many events; None where it stays empty


def event_builder(destination: Destination, contract: Contract) -> Build:
    """Makes the events of a destination from columns."""
    return _object(_tree(destination, contract), "Event", always=True)


def condition_held(condition: Condition, columns: Columns) -> list[bool]:
    """Whether a condition holds, by row."""
    values, among, negated = columns[condition.column], condition.among, condition.negated
    if {str, NoneType}.issuperset(map(type, values)):  # each distinct text is looked at once
        held = {value: (value in among) != negated for value in set(values)}
        return list(map(held.__getitem__, values))
    return [(_text(value) in among) != negated for value in values]


def _text(value: Any) -> str | None:
    """A canonical value, or its JSON form, as conditions name it: both give the same."""
    return str(value) if isinstance(value, date | Decimal) else plain_text(value)


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
            values = [v if held else None for v, held in zip(values, condition_held(when, columns), strict=True)]
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
        return _each(decode_json if decoded else msgspec.Raw)
    if kind is ColumnType.DATE:
        return _each(lambda value: value.isoformat() if isinstance(value, date) else value)
    if kind is ColumnType.DECIMAL:
        return _each(lambda value: msgspec.Raw(format(Decimal(value).normalize(_EXACT), "f").encode()))
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
