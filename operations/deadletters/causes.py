"""Why there are dead letters: counted by cause, with when, how many before, an example, and what to do about it.

A cause is what a letter's first violation says: dataset, stage, code, rule, path and source. Letters are counted column by column,
file by file; only the causes that are shown become Python's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.project import Project
from contracts.units import HOUR_US
from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN
from operations.deadletters.buckets import Buckets
from operations.deadletters.counts import EDGES, counted_letters, file_and_row
from operations.deadletters.examples import examples_at
from operations.deadletters.files import LetterFile
from operations.deadletters.hiding import Hiding
from operations.deadletters.remedies import Remedy, remedy_of
from operations.deadletters.selection import LetterSelection

GROUPED_BY = ("code", "rule", "path", "source", "dataset", "stage")


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
    files, groups = counted_letters(lake, selection, tuple(by), time.time_ns() // 1_000 if now_us is None else now_us)
    told = Causes(by=tuple(by), states=tuple(map(str, selection.standing)))
    if groups is None:
        return replace(told, before=0 if selection.since_us is not None else None)
    return _told(lake, project, selection, files, groups, limit, sort, told)


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
    buckets = Buckets.of(now, selection)
    examples = examples_at(files, map(file_and_row, shown.column("place").to_pylist()))
    hiding = Hiding(lake, project)
    listed = [
        _cause(row, told, buckets.counts(_same(now, row, told.by)), examples[file_and_row(row["place"])], hiding, project)
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
    causes = now.group_by(list(by)).aggregate([("letters", "sum"), *EDGES])
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
