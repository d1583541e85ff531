"""Rules about keys: that they are unique, and that another table has them too.

What is kept of a partition are its distinct keys, as many as MOST_KEYS of them. Of more, only those of one bucket are counted as
the rows come, and the rows are read again for each other bucket: exact, whatever their number.

Keys of a whole other table are remembered from one partition to the next, where all of them fit into MOST_REMEMBERED bytes; else
that table is read again for each partition.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.compiler.schemas import TIMESTAMP
from contracts.spec.quality import QualityRule, Reference
from contracts.units import SECOND_US, us_text
from quality.measure import PLACE, Context, Measure, Samples, is_true, judged_share, listed
from quality.verdicts import RuleVerdict, Verdict
from quality.view import WINDOW_TIME, TableView

MOST_KEYS = 2_000_000
MOST_REMEMBERED = 256 << 20  # bytes, of the distinct keys of all other tables
_LOOKED_UP = 500_000  # rows of the other side at once
_COUNTED = pa.schema([pa.field("key", pa.string()), pa.field("rows", pa.int64()), pa.field("due", pa.int64())])


def key_of(rows: pa.RecordBatch, columns: Sequence[str]) -> pa.StringArray:
    """The key of each row as a text; null where a part of it is null."""
    parts = [rows.column(name).cast(pa.string()) for name in columns]
    if len(parts) == 1:
        return parts[0]
    told = [part for text in parts for part in (pc.binary_length(text).cast(pa.string()), ":", text)]
    return pc.binary_join_element_wise(*told, "")


class KeyCounts:
    """Rows by key, and how many of them are due; of one bucket of the keys where there are too many for all."""

    def __init__(self, bucket: int = 0, buckets: int = 1, most: int | None = None) -> None:
        self.bucket, self.buckets = bucket, buckets
        self._most = MOST_KEYS if most is None else most
        self._parts: list[pa.Table] = []
        self._loose, self._merged = 0, 0

    def add(self, keys: pa.StringArray, due: pa.BooleanArray) -> None:
        """Take in the keys of some rows; those without one do not count."""
        rows = pa.table({"key": keys, "due": due.cast(pa.int64())}).filter(pc.is_valid(keys))
        counted = rows.group_by("key").aggregate([([], "count_all"), ("due", "sum")])
        part = pa.Table.from_arrays([counted.column(n) for n in ("key", "count_all", "due_sum")], schema=_COUNTED)
        if self.buckets > 1:
            part = part.filter(self._mine(part.column("key")))
        self._parts.append(part)
        self._loose += len(part)
        if self._loose > max(self._merged, 100_000):
            self._merge()

    def table(self) -> pa.Table:
        """Each key once."""
        self._merge()
        return self._parts[0]

    def _merge(self) -> None:
        every = pa.concat_tables([_COUNTED.empty_table(), *self._parts])
        merged = every.group_by("key").aggregate([("rows", "sum"), ("due", "sum")])
        table = pa.Table.from_arrays([merged.column(n) for n in ("key", "rows_sum", "due_sum")], schema=_COUNTED)
        while len(table) > self._most and self.bucket == 0:
            self.buckets *= 2
            table = table.filter(self._mine(table.column("key")))
        self._parts, self._loose, self._merged = [table], 0, len(table)

    def _mine(self, keys: pa.ChunkedArray) -> pa.BooleanArray:
        numbers = np.fromiter(
            (xxhash.xxh3_64_intdigest(key.encode()) % self.buckets for key in keys.to_pylist()), np.int64, len(keys)
        )
        return pa.array(numbers == self.bucket)


class _Keyed(Measure):
    """A rule that counts rows by key."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.columns = (*rule.columns, WINDOW_TIME)
        self._counts = KeyCounts()
        self.samples = Samples()

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        self._counts.add(key_of(rows, self.rule.columns), self.due(rows))

    def due(self, rows: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows may be judged already."""
        return pa.repeat(pa.scalar(True), len(rows))

    def counts(self) -> Iterator[pa.Table]:
        """Rows by key, each key in one of the tables."""
        yield self._counts.table()
        for bucket in range(1, self._counts.buckets):
            counts = KeyCounts(bucket, self._counts.buckets)
            for rows in self._again():
                counts.add(key_of(rows, self.rule.columns), self.due(rows))
            yield counts.table()

    def sample(self, keys: pa.Array, *, due: bool = False) -> None:
        """Remember the first rows that have one of these keys. due: only of those that may be judged already."""
        if (len(keys) and not len(self.samples.first())) or len(keys):
            for rows in self._again():
                chosen = is_true(pc.is_in(key_of(rows, self.rule.columns), value_set=keys))
                chosen = pc.and_(chosen, self.due(rows)) if due else chosen
                if chosen.true_count:
                    self.samples.add(rows, chosen)

    def _again(self) -> Iterator[pa.RecordBatch]:
        """The rows of the partition once more."""
        partition = self.context.partition
        for rows in self.context.view.batches([*PLACE, *self.columns], partition.from_us, partition.to_us):
            own = rows.filter(pc.equal(rows.column("_source"), self.rule.source)) if self.rule.source else rows
            if len(own):
                yield own


class Unique(_Keyed):
    """``duplicateValues`` and ``unique``: rows whose key another row has, but for one of each key; rows without a key do not count.

    With ``across`` also that one, where an earlier row has the key.
    """

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        keyed = failing = 0
        partition = self.context.partition
        for counts in self.counts():
            keyed += pc.sum(counts.column("rows")).as_py() or 0
            own = pc.subtract(counts.column("rows"), 1)
            earlier = pa.nulls(0, pa.string())
            if self.rule.across_s:
                since = partition.from_us - self.rule.across_s * SECOND_US
                other = self.context.view.batches([*self.rule.columns, "_source"], since, partition.from_us)
                earlier = found_in(counts.column("key"), self._of_source(other), self.rule.columns)
            more = pc.is_in(counts.column("key"), value_set=earlier).cast(pa.int64())
            failing += pc.sum(pc.add(own, more)).as_py() or 0
            self.sample(counts.column("key").filter(pc.greater(pc.add(own, more), 0)).combine_chunks())
        more = " here or earlier" if self.rule.across_s else ""
        return judged_share(self, failing, keyed, f"repeat the {listed(self.rule.columns)} of another one{more}", self.samples)

    def _of_source(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows in batches:
            yield rows.filter(pc.equal(rows.column("_source"), self.rule.source)) if self.rule.source else rows


class _Other(_Keyed):
    """A rule that looks for keys elsewhere."""

    def known_to(
        self, keys: pa.ChunkedArray, view: TableView, reference: Reference, span: tuple[int, int] | None = None
    ) -> pa.StringArray:
        """Which of some distinct keys the other side has, within a stretch of time or anywhere."""
        known = None if span else self._remembered(view, reference)
        if known is not None:
            return _among(known, keys)
        return found_in(keys, _rows_of(view, reference, *(span or ())), reference.columns)

    def _remembered(self, view: TableView, reference: Reference) -> pa.StringArray | None:
        memory = self.context.references.keys
        if reference not in memory:
            left = MOST_REMEMBERED - sum(keys.nbytes for keys in memory.values() if keys is not None)
            memory[reference] = distinct(_rows_of(view, reference), reference.columns, left)
        return memory[reference]


class References(_Other):
    """``references``: rows whose key is not in another dataset.

    A row is due when that dataset has rows that are later than it by the grace period. What is not due and not there is open: as
    long as it could turn the verdict, there is none.
    """

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        assert rule.reference is not None
        self._reference: Reference = rule.reference
        self._view = context.references.view(self._reference.dataset)
        self._newest_us = self._view.newest_us() if self._view else None

    def due(self, rows: pa.RecordBatch) -> pa.BooleanArray:
        """See _Keyed."""
        if not self.rule.grace_s or self._newest_us is None:
            return pa.repeat(pa.scalar(not self.rule.grace_s), len(rows))
        last_us = self._newest_us - self.rule.grace_s * SECOND_US
        return pc.less_equal(rows.column(WINDOW_TIME), pa.scalar(last_us, TIMESTAMP))

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        dataset, rule = self._reference.dataset, self.rule
        if self._view is None:
            return self.told(Verdict.SKIPPED, None, f"There is no table of {dataset} yet.")
        keyed = missing = waiting = 0
        for counts in self.counts():
            keyed += pc.sum(counts.column("rows")).as_py() or 0
            there = self.known_to(counts.column("key"), self._view, self._reference)
            lacking = counts.filter(pc.invert(pc.is_in(counts.column("key"), value_set=there)))
            due = pc.sum(lacking.column("due")).as_py() or 0
            missing += due
            waiting += (pc.sum(lacking.column("rows")).as_py() or 0) - due
            self.sample(lacking.filter(pc.greater(lacking.column("due"), 0)).column("key").combine_chunks(), due=True)
        what = f"have a {listed(rule.columns)} that {dataset} does not have"
        told = judged_share(self, missing, keyed, what, self.samples)
        if waiting:
            until = f", whose rows reach {us_text(self._newest_us, 'seconds')}" if self._newest_us is not None else ""
            told = replace(told, detail=f"{told.detail} {waiting:,} more may still come to {dataset}{until}.")
            if judged_share(self, missing + waiting, keyed, what, self.samples).verdict is not told.verdict:
                return replace(told, verdict=Verdict.SKIPPED, samples=())
        return told


class Agreement(_Other):
    """``agreement``: the percentage of distinct keys that another dataset, or another source of it, has too."""

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        rule, partition, reference = self.rule, self.context.partition, self.rule.reference
        assert reference is not None
        view = self.context.references.view(reference.dataset)
        if view is None:
            return self.told(Verdict.SKIPPED, None, f"There is no table of {reference.dataset} yet.")
        around = None if rule.within_s is None else rule.within_s * SECOND_US
        span = None if around is None else (partition.from_us - around, partition.to_us + around)
        keys = agreeing = 0
        for counts in self.counts():
            there = self.known_to(counts.column("key"), view, reference, span)
            keys, agreeing = keys + len(counts), agreeing + len(there)
            lacking = counts.column("key").filter(pc.invert(pc.is_in(counts.column("key"), value_set=there)))
            self.sample(lacking.combine_chunks())
        if not keys:
            return self.told(Verdict.SKIPPED, None, f"There are no rows with {listed(rule.columns)} to judge.")
        other = f"{reference.dataset} of {reference.source}" if reference.source else reference.dataset
        told = self.compared(100 * agreeing / keys, f"{agreeing:,} of {keys:,} {listed(rule.columns)} are in {other}")
        return replace(told, failing=keys - agreeing, samples=self.samples.first() if told.verdict is Verdict.FAILED else ())


def found_in(keys: pa.ChunkedArray, other: Iterable[pa.RecordBatch], columns: Sequence[str]) -> pa.StringArray:
    """Which of some distinct keys rows of another table have."""
    found = [pa.nulls(0, pa.string())]
    waiting: list[pa.Array] = []

    def look_up() -> None:
        if waiting and len(keys):
            there = pc.unique(pa.concat_arrays(waiting))
            found.append(pc.unique(pa.concat_arrays([found.pop(), _among(there, keys)])))
        waiting.clear()

    for rows in other:
        waiting.append(key_of(rows, columns))
        if sum(map(len, waiting)) >= _LOOKED_UP:
            look_up()
    look_up()
    return found[0]


def distinct(rows: Iterable[pa.RecordBatch], columns: Sequence[str], most_bytes: int) -> pa.StringArray | None:
    """The distinct keys of rows; None where they need more memory than may be used."""
    found, waiting, size = pa.nulls(0, pa.string()), [], 0
    for batch in itertools.chain(rows, [None]):
        if batch is not None:
            waiting.append(pc.unique(key_of(batch, columns)))
            size += waiting[-1].nbytes
        if waiting and (batch is None or size > max(found.nbytes, most_bytes // 8)):
            found, waiting, size = pc.unique(pa.concat_arrays([found, *waiting])), [], 0
            if found.nbytes > most_bytes:
                return None
    return found


def _among(there: pa.StringArray, keys: pa.ChunkedArray) -> pa.StringArray:
    valid = there.drop_null()
    return valid.filter(pc.is_in(valid, value_set=keys.combine_chunks()))


def _rows_of(
    view: TableView, reference: Reference, from_us: int | None = None, to_us: int | None = None
) -> Iterator[pa.RecordBatch]:
    for rows in view.batches([*reference.columns, "_source"], from_us, to_us):
        yield rows.filter(pc.equal(rows.column("_source"), reference.source)) if reference.source else rows
