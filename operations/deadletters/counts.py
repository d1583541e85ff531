"""Letters counted by cause and hour, column by column, file by file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from contracts.units import HOUR_US
from lake.location import Lake
from operations.deadletters.files import LetterFile
from operations.deadletters.selection import ROW, LetterSelection, rows_of, selected_files
from operations.deadletters.states import States, read_states

T = TypeVar("T")
_THREADS = 2
_FILE_BITS = 40  # of a place: the file, then the row
_GROUPED_AT = 1 << 17  # letters at once: Arrow plans each grouping anew
_MERGED_AT = 1 << 18  # groups
EDGES = [("first", "min"), ("last", "max"), ("place", "min")]


def _with_span_before(selection: LetterSelection, now_us: int) -> LetterSelection:
    """The selection with the span before it, as long as itself; without an end it ends now."""
    if selection.since_us is None:
        return selection
    until_us = now_us if selection.until_us is None else selection.until_us
    return replace(selection, since_us=selection.since_us - max(until_us - selection.since_us, 1))


def counted_letters(
    lake: Lake, selection: LetterSelection, by: tuple[str, ...], now_us: int
) -> tuple[list[LetterFile], pa.Table | None]:
    """Letters by cause, hour, and whether they are of the span or of the one before.

    Returns:
        The files that places mean, and the groups: columns ``by``, hour, now, letters, first, last (microseconds), place; None
        where nothing was selected. Memory grows with the number of groups, not with letters.
    """
    wider = _with_span_before(selection, now_us)
    states, files = read_states(lake), selected_files(lake, wider)
    groups, keys = _Groups(by), []
    for found in _side_by_side(lambda at: list(_keys_of(at, files[at], wider, states, by, selection)), range(len(files))):
        keys += found
        if sum(map(len, keys)) >= _GROUPED_AT:
            groups.add(keys)
            keys = []
    if keys:
        groups.add(keys)
    return files, groups.all()


def _side_by_side(function: Callable[[int], T], items: Iterable[int]) -> Iterator[T]:
    """What a function gives of each, in order; a few at once, since Arrow lets go of Python while it reads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future[T]] = deque()
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _keys_of(
    number: int, file: LetterFile, wider: LetterSelection, states: States, by: Sequence[str], selection: LetterSelection
) -> Iterator[pa.Table]:
    for batch in rows_of(file, wider, states, [*by, selection.time_column, ROW]):
        yield _keys(batch, number, selection, by)


def _keys(batch: pa.RecordBatch, file: int, selection: LetterSelection, by: Sequence[str]) -> pa.Table:
    """What is counted by, of each letter."""
    keys: dict[str, Any] = {name: batch.column(name) for name in by}
    us = batch.column(selection.time_column).cast(pa.int64()).to_numpy()
    now = np.ones(len(us), dtype=bool) if selection.since_us is None else us >= selection.since_us
    return pa.table(
        keys
        | {"hour": us // HOUR_US, "now": now, "first": us, "last": us, "place": batch.column(ROW).to_numpy() + (file << _FILE_BITS)}
    )


class _Groups:
    """Letters counted by keys, as they come. What is held grows with how many different keys there are."""

    def __init__(self, by: Sequence[str]) -> None:
        self._names = [*by, "hour", "now"]
        self._parts: list[pa.Table] = []

    def add(self, keys: Sequence[pa.Table]) -> None:
        """Count letters."""
        counted = pa.concat_tables(keys).group_by(self._names)
        self._parts.append(self._named(counted.aggregate([("hour", "count"), *EDGES])))
        if sum(map(len, self._parts)) >= _MERGED_AT:
            self._parts = [self._merged()]

    def all(self) -> pa.Table | None:
        """What was counted; None if nothing was."""
        return self._merged() if self._parts else None

    def _merged(self) -> pa.Table:
        return self._named(pa.concat_tables(self._parts).group_by(self._names).aggregate([("letters", "sum"), *EDGES]))

    def _named(self, counted: pa.Table) -> pa.Table:
        return counted.rename_columns([*self._names, "letters", "first", "last", "place"])


def file_and_row(number: int) -> tuple[int, int]:
    """Which file and row a place of the groups means."""
    return divmod(number, 1 << _FILE_BITS)
