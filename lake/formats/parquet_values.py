"""Arrow columns as Python values: exact, or ``Unheld`` where no type of ours holds one. Nothing here raises on a file."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.compiler.exact import CANONICAL_JSON, Unheld
from contracts.compiler.timestamps import MAX_US, MIN_US

Values = list[Any]
UNHELD_TIME, UNHELD_TEXT = ("timestamp", "dates and times from year 1 to 9999"), ("encoding", "UTF-8")
_UNREADABLE = Unheld("type", "a value that can be read", None)
_PER_MICROSECOND = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY_US = 86_400_000_000
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def plain_values(column: pa.Array) -> Values:
    """The values of a column. Times of a zone are UTC whatever the zone is called; nanoseconds are cut to microseconds."""
    kind = column.type
    for is_kind, convert in _CONVERTERS:
        if is_kind(kind):
            try:
                return convert(column)
            except (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError):
                return [_one(column, i) for i in range(len(column))]
    try:
        return list(column.to_pylist())
    except Exception:  # a type that has no Python form, or one that needs a library that is not there
        return [_one(column, i) for i in range(len(column))]


def _one(column: pa.Array, index: int) -> Any:
    try:
        return column[index].as_py()
    except Exception:  # as above
        return _UNREADABLE


def _timestamps(column: pa.Array) -> Values:
    kind = column.type
    stored = column.cast(pa.int64())
    numbers = stored.fill_null(0).to_numpy(zero_copy_only=False)
    if kind.unit == "ns":
        micros = numbers // 1_000
        bad = np.zeros(len(numbers), dtype=bool)
    else:
        factor = _PER_MICROSECOND[kind.unit]
        bad = (numbers > MAX_US // factor) | (numbers < MIN_US // factor)
        micros = np.where(bad, 0, numbers) * factor
    held = pa.array(micros, mask=stored.is_null().to_numpy(zero_copy_only=False))
    return _with_unheld(held.cast(pa.timestamp("us", "UTC" if kind.tz else None)).to_pylist(), bad, numbers)


def _dates(column: pa.Array) -> Values:
    stored = column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
    numbers = stored.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    days = numbers if pa.types.is_date32(column.type) else numbers // (_DAY_US // 1_000)
    bad = (days > MAX_US // _DAY_US) | (days < MIN_US // _DAY_US)
    held = pa.array(np.where(bad, 0, days).astype(np.int32), mask=stored.is_null().to_numpy(zero_copy_only=False))
    return _with_unheld(held.cast(pa.date32()).to_pylist(), bad, numbers)


def _times(column: pa.Array) -> Values:
    kind = column.type
    stored = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    numbers = stored.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    bad = (numbers < 0) | (numbers >= _PER_DAY[kind.unit])
    held_numbers = np.where(bad, 0, numbers)
    micros = held_numbers // 1_000 if kind.unit == "ns" else held_numbers * _PER_MICROSECOND[kind.unit]
    held = pa.array(micros, mask=stored.is_null().to_numpy(zero_copy_only=False))
    return _with_unheld(held.cast(pa.time64("us")).to_pylist(), bad, numbers)


def _durations(column: pa.Array) -> Values:
    if column.type.unit == "ns":
        stored = column.cast(pa.int64())
        micros = stored.fill_null(0).to_numpy(zero_copy_only=False) // 1_000
        column = pa.array(micros, mask=stored.is_null().to_numpy(zero_copy_only=False)).cast(pa.duration("us"))
    return list(column.to_pylist())


def _with_unheld(values: Values, bad: Any, stored: Any) -> Values:
    for i in np.flatnonzero(bad).tolist():
        values[i] = Unheld(*UNHELD_TIME, int(stored[i]))
    return values


def _texts(column: pa.Array) -> Values:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [text_of(value) for value in column.cast(pa.large_binary(), safe=False).to_pylist()]


def text_of(stored: bytes | None) -> Any:
    """Bytes that should be UTF-8, as text."""
    try:
        return None if stored is None else stored.decode()
    except UnicodeDecodeError:
        return Unheld(*UNHELD_TEXT, stored)


def _structs(column: pa.Array) -> Values:
    names = [field.name for field in column.type]
    parts = [plain_values(part) for part in column.flatten()]
    rows = zip(*parts, strict=True) if parts else ((),) * len(column)
    return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, _valid(column), strict=True)]


def _lists(column: pa.Array) -> Values:
    items = iter(plain_values(column.flatten()))
    return [None if size is None else list(islice(items, size)) for size in column.value_lengths().to_pylist()]


def _maps(column: pa.Array) -> Values:
    """Of equal keys the last one holds, as in JSON."""
    offsets = column.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    keys = [_key(key) for key in plain_values(column.keys.slice(first, last - first))]
    items = plain_values(column.items.slice(first, last - first))
    places = offsets.to_pylist()
    return [
        dict(zip(keys[a - first : b - first], items[a - first : b - first], strict=True)) if there else None
        for a, b, there in zip(places, places[1:], _valid(column), strict=False)
    ]


def _key(key: Any) -> Any:
    return key if isinstance(key, (str, int)) and not isinstance(key, bool) else CANONICAL_JSON.encode(key).decode().strip('"')


def _dictionaries(column: pa.Array) -> Values:
    """Each value is made once, and only where a row has it."""
    used = pc.unique(column.indices).drop_null()
    made = dict(zip(used.to_pylist(), plain_values(column.dictionary.take(used)), strict=True))
    return [None if index is None else made[index] for index in column.indices.to_pylist()]


def _valid(column: pa.Array) -> Values:
    return list(column.is_valid().to_pylist())


_CONVERTERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Values]], ...] = (
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _durations),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind), _texts),
    (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps),
    (
        lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind),
        _lists,
    ),
    (pa.types.is_dictionary, _dictionaries),
)
