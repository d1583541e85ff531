"""Why there are dead letters: counted by cause, with when, how many before, an example, and what to do about it.

A cause is what a letter's first violation says: dataset, stage, code, rule, path and source. Letters are counted column by column,
file by file; only the causes that are shown become Python's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.project import Project
from contracts.units import DAY_US, HOUR_US
from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN
from operations.deadletters.examples import examples_at
from operations.deadletters.files import LetterFile
from operations.deadletters.hiding import Hiding
from operations.deadletters.remedies import Remedy, remedy_of
from operations.deadletters.selection import ROW, LetterSelection, rows_of, selected_files
from operations.deadletters.states import States, read_states

T = TypeVar("T")
GROUPED_BY = ("code", "rule", "path", "source", "dataset", "stage")
_THREADS = 2
_FILE_BITS = 40  # of a place: the file, then the row
_MOST_BUCKETS = 48  # marks of a sparkline
_LENGTHS_US = (HOUR_US, 4 * HOUR_US, DAY_US, 7 * DAY_US, 28 * DAY_US, 364 * DAY_US)
_GROUPED_AT = 1 << 17  # letters at once: Arrow plans each grouping anew
_MERGED_AT = 1 << 18  # groups
_EDGES = [("first", "min"), ("last", "max"), ("place", "min")]


class Sort(StrEnum):
    """Which causes come first."""

    LETTERS = "letters"  # that have the most
    GROWTH = "growth"  # that have the most more than in the span before
    LAST = "last"  # that came last: a burst that is over may have more letters than what fails now


_SORTED_BY = {Sort.LETTERS: "letters", Sort.GROWTH: "growth", Sort.LAST: "last"}


@dataclass(frozen=True)
class Cause:
    """Letters with one cause, or of several where they are counted by less.

    what: the fields that they are counted by, the path as it may be shown. expected: in words of the contract. letters: how many.
    before: how many in the span before, None where none was asked for. first_us, last_us: of their times. buckets: how many by
    stretch of time. share: of all that were counted. example: of one: dead_letter_id, position, shape. remedy: what to do; None of
    recovered ones.
    """

    what: Mapping[str, str]
    expected: str
    letters: int
    before: int | None
    first_us: int
    last_us: int
    buckets: tuple[int, ...]
    share: float
    example: Mapping[str, Any] | None = None
    remedy: Remedy | None = None


@dataclass(frozen=True)
class Causes:
    """What was counted.

    letters, before: in all. by: the fields. causes: the most frequent, the first one first. others: how many causes more there
    are, and other_letters how many letters have them. bucket_us: length of a bucket; from_us: where the first one begins. states:
    that letters were counted of.
    """

    letters: int = 0
    before: int | None = None
    by: tuple[str, ...] = GROUPED_BY
    causes: tuple[Cause, ...] = ()
    others: int = 0
    other_letters: int = 0
    bucket_us: int = HOUR_US
    from_us: int = 0
    states: tuple[str, ...] = ()


def count_causes(
    lake: Lake,
    project: Project,
    selection: LetterSelection,
    *,
    by: Sequence[str] = GROUPED_BY,
    limit: int = 10,
    sort: Sort = Sort.LETTERS,
    now_us: int | None = None,
) -> Causes:
    """Selected letters counted by cause.

    Args:
        lake: where.
        project: whose specs say what of a path may be shown, and who owns what.
        selection: which; with a time since when, the span of that length before it is counted too.
        by: some of GROUPED_BY; "path" is shown without keys of payloads.
        limit: how many causes at most.
        sort: which come first.
        now_us: where a span without an end ends, microseconds since 1970; the clock's.

    Returns:
        Causes in that order; of equal ones those with more letters first. Memory grows with the number of different causes and
        hours, not with letters.
    """
    files, groups = _counted(lake, selection, tuple(by), time.time_ns() // 1_000 if now_us is None else now_us)
    told = Causes(by=tuple(by), states=tuple(map(str, selection.standing)))
    if groups is None:
        return replace(told, before=0 if selection.since_us is not None else None)
    return _told(lake, project, selection, files, groups, limit, sort, told)


def _with_span_before(selection: LetterSelection, now_us: int) -> LetterSelection:
    """The selection with the span before it, as long as itself; without an end it ends now."""
    if selection.since_us is None:
        return selection
    until_us = now_us if selection.until_us is None else selection.until_us
    return replace(selection, since_us=selection.since_us - max(until_us - selection.since_us, 1))


def _counted(lake: Lake, selection: LetterSelection, by: tuple[str, ...], now_us: int) -> tuple[list[LetterFile], pa.Table | None]:
    """Letters by cause, hour, and whether they are of the span or of the one before; with the files that places mean."""
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
        self._parts.append(self._named(counted.aggregate([("hour", "count"), *_EDGES])))
        if sum(map(len, self._parts)) >= _MERGED_AT:
            self._parts = [self._merged()]

    def all(self) -> pa.Table | None:
        """What was counted; None if nothing was."""
        return self._merged() if self._parts else None

    def _merged(self) -> pa.Table:
        return self._named(pa.concat_tables(self._parts).group_by(self._names).aggregate([("letters", "sum"), *_EDGES]))

    def _named(self, counted: pa.Table) -> pa.Table:
        return counted.rename_columns([*self._names, "letters", "first", "last", "place"])


def _told(
    lake: Lake,
    project: Project,
    selection: LetterSelection,
    files: Sequence[LetterFile],
    groups: pa.Table,
    limit: int,
    sort: Sort,
    told: Causes,
) -> Causes:
    """The first causes of groups."""
    now, earlier = groups.filter(groups.column("now")), groups.filter(pc.invert(groups.column("now")))
    asked = selection.since_us is not None
    letters = pc.sum(now.column("letters")).as_py() or 0
    told = replace(told, letters=letters, before=(pc.sum(earlier.column("letters")).as_py() or 0) if asked else None)
    if not letters:
        return told
    causes = _by_cause(now, earlier, told.by)
    order = [(_SORTED_BY[sort], "descending"), ("letters", "descending"), *((name, "ascending") for name in told.by)]
    shown = causes.take(pc.select_k_unstable(causes, limit, order))
    buckets = _Buckets.of(now, selection)
    examples = examples_at(files, map(_place, shown.column("place").to_pylist()))
    hiding = Hiding(lake, project)
    listed = [
        _cause(row, told, buckets.counts(_same(now, row, told.by)), examples[_place(row["place"])], hiding, project)
        for row in shown.to_pylist()
    ]
    return replace(
        told,
        causes=tuple(listed),
        others=len(causes) - len(shown),
        other_letters=letters - sum(cause.letters for cause in listed),
        bucket_us=buckets.length_us,
        from_us=buckets.from_us,
    )


def _place(number: int) -> tuple[int, int]:
    return divmod(number, 1 << _FILE_BITS)


def _cause(
    row: Mapping[str, Any], told: Causes, buckets: tuple[int, ...], example: Mapping[str, Any], hiding: Hiding, project: Project
) -> Cause:
    what = {name: row[name] for name in told.by}
    if "path" in what:
        what["path"] = hiding.path(example["source"], example["violation"])
    return Cause(
        what=what,
        expected=str(example["violation"]["expected"]),
        letters=row["letters"],
        before=None if told.before is None else row["before"],
        first_us=row["first"],
        last_us=row["last"],
        buckets=buckets,
        share=row["letters"] / told.letters,
        example={name: example[name] for name in ("dead_letter_id", "position", "shape")},
        remedy=None if example["code"] == WITHDRAWN else remedy_of(example, project),
    )


def _by_cause(now: pa.Table, earlier: pa.Table, by: Sequence[str]) -> pa.Table:
    """Over all hours, with how many letters each cause had before, and how many more it has now."""
    causes = now.group_by(list(by)).aggregate([("letters", "sum"), *_EDGES])
    causes = causes.rename_columns([*by, "letters", "first", "last", "place"])
    before = earlier.group_by(list(by)).aggregate([("letters", "sum")]).rename_columns([*by, "before"])
    causes = causes.join(before, list(by))
    counted = pc.fill_null(causes.column("before"), 0)
    causes = causes.set_column(causes.schema.get_field_index("before"), "before", counted)
    return causes.append_column("growth", pc.subtract(causes.column("letters"), counted))


def _same(groups: pa.Table, row: Mapping[str, Any], by: Sequence[str]) -> pa.Table:
    for name in by:
        groups = groups.filter(pc.equal(groups.column(name), row[name]))
    return groups


@dataclass(frozen=True)
class _Buckets:
    """Stretches of time, so long that they are few."""

    from_us: int
    length_us: int
    count: int

    @classmethod
    def of(cls, groups: pa.Table, selection: LetterSelection) -> _Buckets:
        """From the time since when, or the first letter, to the time until when, or the last."""
        hours = groups.column("hour")
        first = pc.min(hours).as_py() or 0 if selection.since_us is None else selection.since_us // HOUR_US
        last = pc.max(hours).as_py() or 0 if selection.until_us is None else (selection.until_us - 1) // HOUR_US
        first_us, last_us = first * HOUR_US, last * HOUR_US
        fits = (n for n in _LENGTHS_US if last_us // n - first_us // n < _MOST_BUCKETS)
        length_us = next(fits, -(-(last_us - first_us) // _MOST_BUCKETS))
        from_us = first_us // length_us * length_us
        return cls(from_us, length_us, (last_us - from_us) // length_us + 1)

    def counts(self, groups: pa.Table) -> tuple[int, ...]:
        """Letters by bucket."""
        places = (groups.column("hour").to_numpy() * HOUR_US - self.from_us) // self.length_us
        letters = groups.column("letters").to_numpy()
        return tuple(np.bincount(places, weights=letters, minlength=self.count).astype(np.int64).tolist())
