"""What became of each id: exactly one class, and a cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.encode.events import FILTERED
from contracts.spec.model import Contract
from contracts.units import DAY_US
from lake.location import Lake
from operations.reconcile.classes import (
    AFTER_EXPORT,
    ALTERED,
    DELIVERED,
    DIFFERENT,
    EXTRA,
    FIRST_SEEN,
    LATE,
    MISSING,
    NEVER_SENT,
    NOT_VALIDATED,
    NOT_YET,
    OTHER_COPY,
    PENDING,
    REFUSED,
    REJECTED,
    SENT,
    SENT_OTHER,
    UNKNOWN_ID,
    WITHHELD,
    WITHHELD_BEFORE,
    WITHIN_HORIZON,
)
from operations.reconcile.compare import Comparison, Unmatched
from operations.reconcile.evidence import (
    Receipts,
    ReceiptsQuestion,
    contents_of_copies,
    dropped_in_range,
    in_late,
    in_other_ranges,
    pairs_of,
    rejected,
)
from operations.reconcile.rows import GOES, Bools, Ints, RangeRows, RowIndex
from transforms.deliver.table import Digests

_AHEAD = "ahead"
_NEAR_US = DAY_US  # rows of one id and cell of time are much closer (see lake/tables/fold.py)
_NONE: Ints = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Group:
    """Ids of one class and cause. rows: their first rows; unmatched: of those that have none, places among the unmatched.

    sent: how many of them were delivered by this project, as receipts say; None where that was not asked.
    """

    kind: str
    cause: str
    rows: Ints = field(default_factory=lambda: _NONE)
    unmatched: Ints = field(default_factory=lambda: _NONE)
    sent: int | None = None

    @property
    def count(self) -> int:
        """How many."""
        return len(self.rows) + len(self.unmatched)


@dataclass(frozen=True)
class Judgement:
    """All groups.

    unmatched: ids without a row that belong here. ids: how many the range's rows have. elsewhere: ids whose row is of another
    range. ahead: ids that were delivered a moment ago, and whose rows will be validated soon.
    """

    groups: list[Group]
    unmatched: Unmatched
    ids: int
    elsewhere: int
    ahead: int

    @property
    def adds_up(self) -> bool:
        """Whether every id of the range's rows, and every unmatched id that belongs here, is in exactly one group."""
        rows = [group.rows for group in self.groups]
        unmatched = [group.unmatched for group in self.groups]
        return _once(rows) == self.ids and _once(unmatched) == len(self.unmatched) - self.ahead


def _once(groups: Sequence[Ints]) -> int | None:
    """How many places these are; None where one is there twice."""
    met = np.zeros(max((int(group.max()) + 1 for group in groups if len(group)), default=0), dtype=bool)
    for group in groups:
        met[group] = True
    count = int(met.sum())
    return count if count == sum(map(len, groups)) else None


@dataclass(frozen=True)
class Judge:
    """What is asked.

    young_us: delivered since then, an id may be ahead of its row. as_of_us: when the export was made. horizon_us: the table's.
    """

    lake: Lake
    table: str
    contract: Contract
    destination: str
    as_of_us: int
    young_us: int
    horizon_us: int

    def judge(self, rows: RangeRows, index: RowIndex, comparison: Comparison) -> Judgement:
        """Put every id into its class."""
        firsts = index.firsts
        goes = np.logical_or.reduceat(index.reasons == GOES, firsts) if len(firsts) else np.zeros(0, dtype=bool)
        there, differs = comparison.there[firsts], comparison.differs[firsts]
        unmatched, copies, elsewhere = self._belonging(rows, index, comparison.unmatched())
        receipts = self._receipts(rows, index, comparison, firsts[(goes != there) | differs], unmatched)
        without_row, ahead = self._without_row(receipts, unmatched, ~copies)
        is_copy = self._are_copies(rows, index, comparison)[firsts]
        groups = [
            Group(DELIVERED, "", firsts[goes & there & ~differs]),
            *self._not_there(index, receipts, firsts[goes & ~there]),
            self._other_copies(index, receipts, firsts[goes & there & differs & is_copy], unmatched, np.flatnonzero(copies)),
            *self._different(index, comparison, receipts, firsts[goes & there & differs & ~is_copy]),
            *self._withheld(index, firsts[~goes & ~there]),
            *self._left_anyway(index, receipts, firsts[~goes & there]),
            *without_row,
        ]
        return Judgement([g for g in groups if g.count], unmatched, len(firsts), elsewhere, ahead)

    def _belonging(self, rows: RangeRows, index: RowIndex, unmatched: Unmatched) -> tuple[Unmatched, Bools, int]:
        """Unmatched ids that belong here, which of them are published in another range and dropped here, and how many do not."""
        if not len(unmatched):
            return unmatched, np.zeros(0, dtype=bool), 0
        key = self.contract.event_id
        away = in_other_ranges(self.lake, self.table, rows, index, key, unmatched.ids)
        copies = away & dropped_in_range(self.lake, self.table, rows, key, unmatched.ids)
        here = ~away | copies
        return unmatched.where(here), copies[here], int((~here).sum())

    def _are_copies(self, rows: RangeRows, index: RowIndex, comparison: Comparison) -> Bools:
        """By row; of an id's first row whether every event of it that differs is another copy of the id."""
        at, numbers, contents = comparison.contents()
        ids = comparison.differing()
        copies = contents_of_copies(self.lake, self.table, rows, self.contract.event_id, ids.unique())
        is_copy = np.zeros(len(ids), dtype=bool)
        is_copy[numbers[np.isin(pairs_of(index.ids[at], contents), copies)]] = True
        found = np.zeros(len(index), dtype=bool)
        found[at] = True
        found[at[~is_copy[numbers]]] = False
        return found

    def _receipts(self, rows: RangeRows, index: RowIndex, comparison: Comparison, asked: Ints, unmatched: Unmatched) -> Receipts:
        """Receipts of ids that are not simply there, and of what they were sent as.

        Those of a row have its window time, or nearly, or that of a copy within the horizon. Of an event that no row explains they
        may have any.
        """
        near_us = max(_NEAR_US, self.horizon_us)
        own, _ = index.with_rows(asked)
        at, _, contents = comparison.contents()
        contested = pairs_of(index.ids[at], contents)
        question = ReceiptsQuestion(
            lake=self.lake,
            destination=self.destination,
            ids=np.unique(np.concatenate([index.ids[asked], unmatched.hashes])),
            pairs=np.unique(np.concatenate([pairs_of(index.ids[own], index.sent[own]), contested])),
            as_of_us=self.as_of_us,
            recent_us=self.young_us,
        )
        found = Receipts(question.ids)
        question.ask(found, (rows.start_us - near_us, rows.end_us + near_us))
        unexplained = np.setdiff1d(index.ids[at], index.ids[at[np.isin(contested, found.sent)]])
        unknown = unmatched.hashes[~found.delivered[found.places(unmatched.hashes)]]
        question.ask(found, None, np.concatenate([unexplained, unknown]))
        return found

    def _not_there(self, index: RowIndex, receipts: Receipts, at: Ints) -> list[Group]:
        places = receipts.places(index.ids[at])
        rows, which = index.with_rows(at)
        was_sent = np.isin(pairs_of(index.ids[rows], index.sent[rows]), receipts.sent)
        own = np.bincount(which, was_sent, len(at)) > 0
        young = _any(index, at, index.young & (index.reasons == GOES))
        after, delivered = receipts.after[places], receipts.delivered[places]
        refused = receipts.refused[places] & ~delivered & ~after
        rest = ~(after | delivered | refused)
        withheld = receipts.withheld[places]
        reasons = receipts.reasons[places]
        return [
            Group(PENDING, AFTER_EXPORT, at[after & ~delivered]),
            Group(PENDING, NOT_YET, at[rest & young]),
            *(Group(REFUSED, why, at[refused & (reasons == n)]) for n, why in enumerate(receipts.reason_texts)),
            Group(MISSING, SENT, at[delivered & own], sent=int((delivered & own).sum())),
            Group(MISSING, SENT_OTHER, at[delivered & ~own], sent=int((delivered & ~own).sum())),
            Group(MISSING, WITHHELD_BEFORE, at[rest & ~young & withheld], sent=0),
            Group(MISSING, NEVER_SENT, at[rest & ~young & ~withheld], sent=0),
        ]

    def _other_copies(self, index: RowIndex, receipts: Receipts, at: Ints, unmatched: Unmatched, places: Ints) -> Group:
        sent = _delivered(receipts, index.ids[at]) + _delivered(receipts, unmatched.hashes[places])
        return Group(OTHER_COPY, WITHIN_HORIZON, at, places, sent)

    def _different(self, index: RowIndex, comparison: Comparison, receipts: Receipts, at: Ints) -> list[Group]:
        rows, _, contents = comparison.contents()
        sent = np.unique(rows[np.isin(pairs_of(index.ids[rows], contents), receipts.sent)])
        first_seen = np.isin(at, sent)
        return [
            Group(DIFFERENT, FIRST_SEEN, at[first_seen], sent=int(first_seen.sum())),
            Group(DIFFERENT, ALTERED, at[~first_seen], sent=_delivered(receipts, index.ids[at[~first_seen]])),
        ]

    def _withheld(self, index: RowIndex, at: Ints) -> list[Group]:
        reasons = index.reasons[at]
        return [
            Group(FILTERED, "", at[reasons == n]) if why == FILTERED else Group(WITHHELD, why, at[reasons == n])
            for n, why in enumerate(index.reason_texts)
        ]

    def _left_anyway(self, index: RowIndex, receipts: Receipts, at: Ints) -> list[Group]:
        reasons = index.reasons[at]
        return [
            Group(EXTRA, why if why == FILTERED else f"{WITHHELD}:{why}", own, sent=_delivered(receipts, index.ids[own]))
            for n, why in enumerate(index.reason_texts)
            if len(own := at[reasons == n])
        ]

    def _without_row(self, receipts: Receipts, unmatched: Unmatched, asked: Bools) -> tuple[list[Group], int]:
        """Groups of unmatched ids, of those that are asked for, and how many are just ahead of their rows."""
        if not len(unmatched):
            return [], 0
        places = receipts.places(unmatched.hashes)
        late = in_late(self.lake, self.contract, unmatched.ids)
        codes = rejected(self.lake, self.contract, unmatched.ids)
        sent = receipts.delivered[places]
        recent = receipts.recent[places] | receipts.after[places]
        of_cause: dict[str, list[int]] = {}
        for i, (is_late, code, was_sent, is_recent) in enumerate(
            zip(late.tolist(), codes, sent.tolist(), recent.tolist(), strict=True)
        ):
            cause = (
                LATE
                if is_late
                else f"{REJECTED}:{code}"
                if code
                else _AHEAD
                if is_recent
                else NOT_VALIDATED
                if was_sent
                else UNKNOWN_ID
            )
            if asked[i]:
                of_cause.setdefault(cause, []).append(i)
        ahead = of_cause.pop(_AHEAD, [])
        found = {cause: np.array(own, dtype=np.int64) for cause, own in of_cause.items()}
        return [Group(EXTRA, cause, unmatched=own, sent=int(sent[own].sum())) for cause, own in found.items()], len(ahead)


def _any(index: RowIndex, firsts: Ints, marked: Bools) -> Bools:
    """Whether any row of these ids is marked."""
    rows, which = index.with_rows(firsts)
    return np.bincount(which, marked[rows], len(firsts)) > 0


def _delivered(receipts: Receipts, ids: Digests) -> int:
    return int(receipts.delivered[receipts.places(ids)].sum())
