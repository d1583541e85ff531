"""The ingest graph: raw records in; validated tables, explained dead letters and a ledger that adds up out.

.. code-block:: text

    files ───────┐
    Kafka ───────┤
    landed raw ──┴─► Decode ─┬─ rows ─────► window ─► Converge validated.<dataset> ─┐ (losers: to ops.dead_letter, before the rows)
                             ├─ late ─────► panes ──► Converge late.<dataset> ──────┤ outcomes of positions
                             ├─ rejected ─► panes ──► Converge ops.dead_letter ─────┼─► CommitLedger
                             ├─ filtered ───────────────────────────────────────────┘
                             └─ in order ─► PublishRows headrace.validated.<dataset>  (where asked for: at once)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import gcd

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, AfterWatermark, DefaultTrigger, TriggerFn
from apache_beam.transforms.window import FixedWindows

from contracts.compiler.schemas import row_schema
from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from contracts.spec.suppressions import NOTHING, Suppressions
from contracts.units import HOUR_S
from lake.kept_contracts import keep_contract
from lake.ledger.outcomes import Outcome
from lake.location import Lake
from lake.runs.tally import Tally
from lake.tables.audit import begin_audit
from lake.tables.iceberg import (
    DEAD_LETTER_SCHEMA,
    DEAD_LETTERS,
    LEDGER,
    LEDGER_SCHEMA,
    Layout,
    ensure_table,
)
from lake.tables.ranges import Ranging
from lake.tables.sweep import Swept
from pipelines.ingest.sources import RawSource
from quality.gate_report import GateOptions, GateReport
from transforms.account import CommitLedger
from transforms.converge.gate import gate_beside, settle_and_gate
from transforms.converge.settle import settle
from transforms.converge.transform import ConvergeIntoTable, bounded, timed_panes
from transforms.converge.upkeep import SweepBeside, UpkeepPlan
from transforms.cut import Cut
from transforms.decode.decode import DecodeRecords
from transforms.immediate import PublishRows, RowsTopic
from transforms.letters import ConflictLetters

_BEAM_LATENESS_MARGIN_S = 60  # so that Beam can only drop what was already routed as late


@dataclass(frozen=True, kw_only=True)
class Panes:
    """When things happen in unbounded input, in seconds of processing time.

    early_s: between panes of a window that is still open; None for none. late_s: until what came late for a window, dead letters
    and late rows are folded. commit_s: between commits of a table. keep_snapshots_s: how far back a table can be read as it was.
    most_batches: of a pane of rows; it fires earlier where it has so many. With ``Cut.batch_bytes`` that bounds what a runner holds
    of a window at once, however full the window is; a window of moderate size has fewer.
    """

    early_s: int | None = None
    late_s: int = 30
    commit_s: int = 10
    keep_snapshots_s: int = 3_600
    most_batches: int = 64


@dataclass(frozen=True, kw_only=True)
class IngestGraph:
    """Everything that the graph needs to know.

    lake, contract, spec: where to, what it means, how it comes. cut: windows, shards and lateness. run_id: names the run in what it
    writes. panes: None for bounded input on FnApiRunner, which knows no processing time: each window fires once and each table is
    committed at the end, which is the same fold. immediate: where rows go as soon as they are decoded; None for nowhere.
    suppressions: ids whose records are filtered out, whatever they hold. tally: where workers on this machine say how far they are.
    epoch: with which outcomes are said, 0 for a job's own (``FileOutcomes``).
    """

    lake: Lake
    contract: Contract
    spec: SourceSpec
    run_id: str
    cut: Cut = field(default_factory=Cut)
    panes: Panes | None = None
    immediate: RowsTopic | None = None
    suppressions: Suppressions = NOTHING
    tally: Tally | None = None
    epoch: int = 0

    @property
    def table(self) -> str:
        """The published table."""
        return self.contract.table

    @property
    def late_table(self) -> str:
        """Rows that came too late, in the same shape."""
        return self.contract.late_table

    def prepare(self) -> None:
        """Make the lake and its tables.

        Raises:
            LayoutMismatchError: a table has another layout.
        """
        self.lake.create()
        layout, rule = Layout(num_shards=self.cut.num_shards), self.contract.deduplication
        deduplicated = replace(layout, horizon_s=rule.horizon_s, derived=rule.derived)
        comments = {column.name: column.description for column in self.contract.columns}
        required = [column.name for column in self.contract.columns if column.required]
        for table, cut in ((self.table, deduplicated), (self.late_table, layout)):
            ensure_table(self.lake, table, row_schema(self.contract), cut, comments, required)
        ensure_table(self.lake, DEAD_LETTERS, DEAD_LETTER_SCHEMA, layout)
        ensure_table(self.lake, LEDGER, LEDGER_SCHEMA, None)
        if self._is_gated:
            begin_audit(self.lake, self.table, self.contract.quality.partition_s, self.run_id)
        keep_contract(self.lake, self.contract)

    def settle(self) -> Swept:
        """Apply the horizon to everything that was published; see ``sweep``.

        Raises:
            ComponentDownError: no commit succeeded before the deadline; may be done again.
        """
        return settle(self.lake, self.contract, self.run_id, self.cut)

    def gate(self) -> tuple[Swept, GateReport | None]:
        """Apply the horizon, and take what was committed through the gate of the dataset; see ``settle_and_gate``.

        Raises:
            ConfigurationError: the audit branch was deleted and is lost; a rule asks for what is not installed.
            ComponentDownError: no commit succeeded before the deadline; may be done again.
        """
        return settle_and_gate(self.lake, self.contract, GateOptions(run_id=self.run_id), self.cut)

    @property
    def _is_gated(self) -> bool:
        return self.contract.gated and self.lake.branch is None

    @property
    def _row_ranging(self) -> Ranging:
        """Of a gated table no range reaches over the end of a partition: it is published whole or not at all."""
        ranging = self.cut.row_ranging
        return (
            replace(ranging, window_s=gcd(ranging.window_s, self.contract.quality.partition_s)) if self.contract.gated else ranging
        )

    def build(self, source: RawSource, pipeline: beam.Pipeline) -> None:
        """Add the graph to a pipeline."""
        raw = source.read(pipeline)
        immediate = self.immediate is not None
        decoded = raw | "DecodeRecords" >> DecodeRecords(
            self.contract, self.spec, self.cut, self.run_id, immediate, self.suppressions, self.tally, self.lake
        )
        if self.immediate:
            _ = decoded.in_order | "PublishRows" >> PublishRows(self.immediate, self.contract)
        letters = ConflictLetters(self.contract, self.cut, self.run_id)
        event_id = self.contract.event_id
        validated = (
            decoded.rows
            | "WindowRows" >> self._windows()
            | "ConvergeRows"
            >> self._converge(self.table, event_id, Outcome.ACCEPTED, letters, self._sweeps, ranging=self._row_ranging)
        )
        late = (
            decoded.late
            | "LatePanes" >> self._panes()
            | "ConvergeLate" >> self._converge(self.late_table, event_id, Outcome.LATE, ranging=self._late_ranging)
        )
        dead = (
            decoded.rejected
            | "DeadLetterPanes" >> self._panes()
            | "ConvergeDeadLetters" >> self._converge(DEAD_LETTERS, "dead_letter_id", Outcome.DEAD_LETTER)
        )
        outcomes = (validated, late, dead, decoded.filtered) | "AllOutcomes" >> beam.Flatten()
        _ = outcomes | "CommitLedger" >> CommitLedger(
            self.lake, self.run_id, commit_every_s=self._commit_every_s, upkeep=self._upkeep, epoch=self.epoch
        )

    @property
    def _late_ranging(self) -> Ranging:
        """Late rows are few and reach far back: longer ranges than those of windows that are full."""
        return self.cut.ranging if self.cut.by_density else Ranging(max(self.cut.window_s, HOUR_S))

    @property
    def _commit_every_s(self) -> int | None:
        return self.panes.commit_s if self.panes else None

    @property
    def _upkeep(self) -> UpkeepPlan | None:
        """While input never ends, tables are kept in shape beside it; else the next run or a person does."""
        if self.panes is None:
            return None
        return UpkeepPlan(closed_after_s=self.cut.allowed_lateness_s + 2 * self.cut.window_s, keep_s=self.panes.keep_snapshots_s)

    @property
    def _sweeps(self) -> SweepBeside | None:
        """While input never ends, the horizon is applied and the gate passed beside it; else at the end of the run."""
        if self.panes is None or (self.contract.deduplication.horizon_s == 0 and not self.contract.gated):
            return None
        if not self.contract.gated:
            return SweepBeside(self.table, partial(settle, self.lake, self.contract, self.run_id, self.cut))
        options = GateOptions(run_id=self.run_id, is_complete=False, lateness_s=self.cut.allowed_lateness_s)
        return SweepBeside(self.table, partial(gate_beside, self.lake, self.contract, options, self.cut))

    def _converge(
        self,
        table: str,
        key: str,
        outcome: Outcome,
        letters: ConflictLetters | None = None,
        sweeps: SweepBeside | None = None,
        *,
        ranging: Ranging | None = None,
    ) -> ConvergeIntoTable:
        lake = self.lake.auditing([table]) if self._is_gated and table == self.table else self.lake
        return ConvergeIntoTable(
            lake, table, key, ranging or self.cut.ranging, outcome, self.run_id, commit_every_s=self._commit_every_s,
            letters=letters, upkeep=self._upkeep, sweeps=sweeps, dataset=self.contract.dataset,
        )  # fmt: skip

    def _windows(self) -> beam.WindowInto:
        """A row's own window, folded when the watermark passes its end."""
        panes = self.panes
        trigger: TriggerFn = DefaultTrigger()
        if panes:
            early = AfterProcessingTime(panes.early_s) if panes.early_s else None
            late, most = AfterProcessingTime(panes.late_s), panes.most_batches
            trigger = AfterWatermark(early=bounded(early, most), late=bounded(late, most))
        return beam.WindowInto(
            FixedWindows(self.cut.window_s),
            trigger=trigger,
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=self.cut.allowed_lateness_s + _BEAM_LATENESS_MARGIN_S,
        )

    def _panes(self) -> beam.WindowInto:
        """Rows of any time, folded every few seconds: whatever the watermark is, none is dropped."""
        return timed_panes(self.panes.late_s, self.panes.most_batches) if self.panes else timed_panes(None)
