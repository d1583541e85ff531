"""The ingest graph: raw records in; validated tables, explained dead letters and a ledger that adds up out.

.. code-block:: text

    chunks ─► Decode ─┬─ rows ─────► window ─► Converge validated.<dataset> ─┐ (losers: to ops.dead_letter, before the rows)
                      ├─ late ─────► window ─► Converge late.<dataset> ──────┤ outcomes of positions
                      ├─ rejected ─► window ─► Converge ops.dead_letter ─────┼─► CommitLedger
                      └─ filtered ───────────────────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, AfterWatermark, DefaultTrigger
from apache_beam.transforms.window import FixedWindows

from contracts.compiler.schemas import row_schema
from contracts.model import Contract
from contracts.source import SourceSpec
from transforms.account import CommitLedger
from transforms.converge.transform import ConvergeIntoTable
from transforms.decode import ConflictLetters, Cut, DecodeRecords
from transforms.lake.location import Lake
from transforms.lake.raw import RawChunk
from transforms.lake.tables import (
    DEAD_LETTER_SCHEMA,
    DEAD_LETTERS,
    LEDGER,
    LEDGER_SCHEMA,
    Layout,
    ensure_table,
)
from transforms.outcomes import Outcome

_BEAM_LATENESS_MARGIN_S = 60  # so that Beam can only drop what was already routed as late


@dataclass(frozen=True, kw_only=True)
class IngestGraph:
    """Everything that the graph needs to know.

    lake, contract, spec: where to, what it means, how it comes. cut: windows, shards and lateness. run_id: names the run in what it
    writes. pane_s: processing time between the early and between the late panes of a window; None for Beam's default trigger
    (FnApiRunner knows no processing time; bounded input fires each window once, which is the same fold).
    commit_every_s: processing time between commits; None commits once, at the end of bounded input.
    """

    lake: Lake
    contract: Contract
    spec: SourceSpec
    run_id: str
    cut: Cut = field(default_factory=Cut)
    pane_s: int | None = None
    commit_every_s: int | None = None

    @property
    def table(self) -> str:
        """The published table."""
        return f"validated.{self.contract.name}"

    @property
    def late_table(self) -> str:
        """Rows that came too late, in the same shape."""
        return f"late.{self.contract.name}"

    def prepare(self) -> None:
        """Make the lake and its tables.

        Raises:
            LayoutMismatchError: a table has another layout.
        """
        self.lake.create()
        layout = Layout(num_shards=self.cut.num_shards)
        ensure_table(self.lake, self.table, row_schema(self.contract), layout)
        ensure_table(self.lake, self.late_table, row_schema(self.contract), layout)
        ensure_table(self.lake, DEAD_LETTERS, DEAD_LETTER_SCHEMA, layout)
        ensure_table(self.lake, LEDGER, LEDGER_SCHEMA, None)

    def build(self, chunks: beam.PCollection[RawChunk]) -> None:
        """Add the graph behind raw chunks, however they are read."""
        event_id, every_s = self.contract.event_id, self.commit_every_s
        letters = ConflictLetters(self.contract, self.cut, self.run_id)
        decoded = chunks | "DecodeRecords" >> DecodeRecords(self.contract, self.spec, self.cut, self.run_id)
        validated = (
            decoded.rows
            | "WindowRows" >> self._windows()
            | "ConvergeRows"
            >> ConvergeIntoTable(
                self.lake, self.table, event_id, Outcome.ACCEPTED, self.run_id, commit_every_s=every_s, letters=letters
            )
        )
        late = (
            decoded.late
            | "WindowLate" >> self._windows()
            | "ConvergeLate"
            >> ConvergeIntoTable(self.lake, self.late_table, event_id, Outcome.LATE, self.run_id, commit_every_s=every_s)
        )
        dead = (
            decoded.rejected
            | "WindowDeadLetters" >> self._windows()
            | "ConvergeDeadLetters"
            >> ConvergeIntoTable(
                self.lake, DEAD_LETTERS, "dead_letter_id", Outcome.DEAD_LETTER, self.run_id, commit_every_s=every_s
            )
        )
        outcomes = (validated.outcomes, late.outcomes, dead.outcomes, decoded.filtered) | "AllOutcomes" >> beam.Flatten()
        _ = outcomes | "CommitLedger" >> CommitLedger(self.lake, self.run_id, commit_every_s=every_s)

    def _windows(self) -> beam.WindowInto:
        pane = AfterProcessingTime(self.pane_s) if self.pane_s is not None else None
        return beam.WindowInto(
            FixedWindows(self.cut.window_s),
            trigger=AfterWatermark(early=pane, late=pane) if pane else DefaultTrigger(),
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=self.cut.allowed_lateness_s + _BEAM_LATENESS_MARGIN_S,
        )
