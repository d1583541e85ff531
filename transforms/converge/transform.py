"""The converge branch as a PTransform: batches in, published table and committed outcomes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam import coders
from apache_beam.metrics import Metrics
from apache_beam.transforms.trigger import AccumulationMode, AfterAny, AfterCount, AfterProcessingTime, Repeatedly, TriggerFn
from apache_beam.transforms.window import GlobalWindows
from pyiceberg.table import Table

from lake.ledger.folds import LostNotes, committed_outcomes
from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.location import Lake
from lake.tables.iceberg import PublishedFile, known_files
from lake.tables.ipc import decode_rows
from lake.tables.letters import publish_letters
from lake.tables.publish import RangeFold, fold_ranges, publish, with_lost
from lake.tables.ranges import Ranging
from transforms.batch import RowBatch
from transforms.converge.upkeep import SweepBeside, UpkeepPlan

coders.registry.register_coder(RangeFold, coders.FastPrimitivesCoder)
Letters = Callable[[pa.Table, pa.Table], Iterable[tuple[int, int, int, pa.Table]]]


class ConvergeIntoTable(beam.PTransform[Any, Any]):
    """Fold batches into an Iceberg table.

    Input: (shard, RowBatch), rows of any time; a batch's rows belong to its shard. Output: PositionOutcomes of the positions that
        came in, once their rows are committed; of ACCEPTED ones that lost to another position also DUPLICATE.
    Windowing: the pipeline's, with its triggers; panes are discarding. It only decides when rows are folded: where they belong,
        they say themselves. Commits happen in the global window, one transaction per pane.
    Guarantees: the table holds the fold (``fold_rows``) of everything that ever came in, whatever the order, repetition or number
        of jobs; it changes atomically; an outcome is emitted only after the rows behind it are committed.

    Args:
        lake: where the table lies.
        table: its name; it exists.
        key: the key column.
        ranging: the ranges that new rows are folded into.
        outcome: what it means for a position that its row came in here.
        run_id: goes into the snapshot's properties.
        commit_every_s: processing time between commits; None commits once, at the end of bounded input.
        upkeep: done now and then between commits; None for never.
        sweeps: of the table, begun after commits; None for never.
        letters: makes dead letters (range, shard, rows) of rows that lost against another fingerprint and of those that beat them.
            They are committed before the rows, so that a crash between the two forgets nobody; None writes none.
        dataset: which the rows are of; goes into the ledger.
    """

    def __init__(
        self,
        lake: Lake,
        table: str,
        key: str,
        ranging: Ranging,
        outcome: Outcome,
        run_id: str,
        *,
        commit_every_s: int | None = None,
        letters: Letters | None = None,
        upkeep: UpkeepPlan | None = None,
        sweeps: SweepBeside | None = None,
        dataset: str | None = None,
    ) -> None:
        super().__init__()
        self._commits = timed_panes(commit_every_s)
        self._fold = _FoldFn(lake, table, key, ranging)
        self._commit = _CommitFn(lake, table, key, outcome, run_id, letters, upkeep, sweeps, dataset)

    def expand(self, pcoll: beam.PCollection[tuple[int, RowBatch]]) -> beam.PCollection[PositionOutcomes]:
        """See the class."""
        return (
            pcoll
            | "GroupByShard" >> beam.GroupByKey()
            | "Fold" >> beam.ParDo(self._fold)
            | "Global" >> self._commits
            | "OneCommitter" >> beam.GroupByKey()
            | "Commit" >> beam.ParDo(self._commit)
        )


def timed_panes(every_s: int | None, most: int | None = None) -> beam.WindowInto:
    """The global window: fired at the end of bounded input, or every so many seconds of processing time.

    Args:
        every_s: None for bounded input.
        most: elements of a pane; it fires earlier where it has so many. None for any number.
    """
    if every_s is None:
        return beam.WindowInto(GlobalWindows())
    return beam.WindowInto(
        GlobalWindows(),
        trigger=Repeatedly(bounded(AfterProcessingTime(every_s), most)),
        accumulation_mode=AccumulationMode.DISCARDING,
    )


def bounded(trigger: TriggerFn | None, most: int | None) -> TriggerFn | None:
    """A trigger that also fires once a pane has so many elements: a runner holds a pane that fires in memory, as a whole."""
    if most is None:
        return trigger
    return AfterAny(trigger, AfterCount(most)) if trigger else AfterCount(most)


@beam.typehints.with_output_types(tuple[int, RangeFold])
class _FoldFn(beam.DoFn):
    def __init__(self, lake: Lake, table: str, key: str, ranging: Ranging) -> None:
        self._lake, self._name, self._key, self._ranging = lake, table, key, ranging
        self._table: Table | None = None
        self._known: list[PublishedFile] = []
        self._rows = Metrics.counter("converge", f"{table}/rows_in")

    def start_bundle(self) -> None:
        self._table = None

    def process(self, element: tuple[int, Iterable[RowBatch]]) -> Iterator[tuple[int, RangeFold]]:
        shard, batches = element
        tables = [batch.rows for batch in batches]
        if not tables:  # the empty pane that fires when a window expires
            return
        if self._table is None:
            self._table = self._lake.load(self._name)
            self._known = known_files(self._table, self._lake.branch_of(self._name))
        incoming = pa.concat_tables(tables)
        self._rows.inc(len(incoming))
        ranging = self._ranging
        for fold in fold_ranges(
            self._table, self._known, incoming, ranging.spans, key=self._key, shard=shard, most_rows=ranging.most_rows
        ):
            yield 0, fold


@beam.typehints.with_output_types(PositionOutcomes)
class _CommitFn(beam.DoFn):
    _dataset: str | None = None  # graphs of versions before have none

    def __init__(
        self,
        lake: Lake,
        table: str,
        key: str,
        outcome: Outcome,
        run_id: str,
        letters: Letters | None,
        upkeep: UpkeepPlan | None,
        sweeps: SweepBeside | None,
        dataset: str | None,
    ) -> None:
        self._lake, self._name, self._key, self._outcome, self._run_id = lake, table, key, outcome, run_id
        self._letters, self._upkeep, self._sweeps, self._dataset = letters, upkeep, sweeps, dataset

    def process(self, element: tuple[int, Iterable[RangeFold]]) -> Iterator[PositionOutcomes]:
        folds = list(element[1])
        if not folds:
            return
        accepts = self._outcome is Outcome.ACCEPTED
        folds = [with_lost(fold) for fold in folds] if accepts else folds
        notes, letters = LostNotes(self._lake, self._dataset, self._run_id), self._letters

        def before(folds: Sequence[RangeFold]) -> None:
            if letters:
                commit_letters(self._lake, folds, letters, self._run_id)
            if accepts:
                notes.write(folds)

        published = publish(self._lake, self._name, folds, key=self._key, run_id=self._run_id, before=before)
        yield from committed_outcomes(published, self._outcome, self._dataset)
        if self._upkeep:
            self._upkeep.step(self._lake, self._name, max(fold.to_us for fold in published), self._run_id)
        if self._sweeps:
            self._sweeps.step()


def commit_letters(lake: Lake, folds: Sequence[RangeFold], letters: Letters, run_id: str) -> None:
    """Commit the dead letters of rows that lost in folds."""
    losers = [decode_rows(data) for fold in folds for data in fold.losers]
    if not losers:
        return
    won = [decode_rows(data) for fold in folds for data in fold.won]
    found = letters(pa.concat_tables(losers, promote_options="default"), pa.concat_tables(won, promote_options="default"))
    publish_letters(lake, found, run_id)
