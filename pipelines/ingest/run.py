"""What runs of the ingest graph have in common, whatever they read: their names, progress, verdict and manifest."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from contracts.codes import Code
from contracts.version import VERSION
from lake.ledger.ledger import LedgerEntry
from lake.runs.manifest import write_manifest, write_started
from lake.tables.publish import table_totals
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.options import IngestOptions


@dataclass(frozen=True)
class Progress:
    """Where a run is. step: what is done now. done, total: bytes, files or messages of that step; total 0 where no end is known."""

    step: Literal["land", "ingest", "read", "account", "compare", "deliver"]
    done: int
    total: int
    note: str = ""


Report = Callable[[Progress], None]


@dataclass
class IngestReport:
    """What a bounded run did. inputs: what it read, in words. reasons: why the exit code is not 0, one sentence each."""

    run_id: str
    source: str
    dataset: str
    inputs: str
    ledger: LedgerEntry
    manifest: dict[str, Any]
    reasons: list[str]

    @property
    def exit_code(self) -> int:
        """0 or 1, see the command line's reference."""
        return 1 if self.reasons else 0


@dataclass
class RunClock:
    """When a run began, and how long its steps took."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    timings: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def done(self, step: str) -> None:
        """A step ended now."""
        now = time.monotonic()
        self.timings[step] = now - self._last
        self._last = now

    def told(self) -> dict[str, float]:
        """Seconds per step and in all, as a manifest says them."""
        total = (datetime.now(UTC) - self.started).total_seconds()
        return {f"{name}_s": round(seconds, 3) for name, seconds in (self.timings | {"total": total}).items()}


def new_run_id(source: str, clock: RunClock) -> str:
    """``<time>-<source>-<random>``; sorts by time."""
    return f"{clock.started:%Y%m%dT%H%M%S%f}Z-{source}-{secrets.token_hex(3)}"


def begin(graph: IngestGraph, clock: RunClock) -> None:
    """Make lake and tables, and note that the run began.

    Raises:
        LayoutMismatchError: a table has another layout.
    """
    graph.prepare()
    write_started(graph.lake, graph.run_id, clock.started, graph.spec.name)


def finish(
    graph: IngestGraph,
    options: IngestOptions,
    clock: RunClock,
    entry: LedgerEntry,
    reasons: Sequence[str],
    *,
    inputs: list[dict[str, Any]],
    summary: str,
    more: dict[str, Any],
) -> IngestReport:
    """Judge a bounded run by its ledger, and write its manifest."""
    told = [*_ledger_reasons(entry, options), *reasons]
    if not told and not options.allow_damaged and (count := entry.codes.get(Code.DAMAGED_INPUT)):
        told.append(f"{count} records are damaged: headrace deadletter list --code damaged_input tells where")
    table = graph.lake.catalog().load_table(graph.table)
    rows, digest = table_totals(table)
    snapshot = table.current_snapshot()
    source, contract = graph.spec.name, graph.contract
    manifest = {
        "run_id": graph.run_id,
        "pipeline": "ingest",
        "version": VERSION,
        "started_at": clock.started,
        "finished_at": datetime.now(UTC),
        "source": source,
        "options": {name: value for name, value in asdict(options).items() if value is not None},
        "contracts": {contract.name: contract.version},
        "inputs": inputs,
        **more,
        "ledger": {source: asdict(entry)},
        "datasets": {
            contract.name: {
                "table": graph.table,
                "rows": rows,
                "content_hash": f"{digest:032x}",
                "snapshot_id": snapshot.snapshot_id if snapshot else None,
            }
        },
        "timings": clock.told(),
        "verdict": {"exit_code": 1 if told else 0, "reasons": told},
    }
    write_manifest(graph.lake, graph.run_id, manifest)
    return IngestReport(graph.run_id, source, contract.name, summary, entry, manifest, told)


def _ledger_reasons(entry: LedgerEntry, options: IngestOptions) -> list[str]:
    reasons = []
    if not entry.balanced:
        reasons.append(f"the ledger does not add up: {entry.pending} of {entry.records_in} records have no outcome; run it again")
    if entry.records_in and entry.dead_letter / entry.records_in > options.max_rejected:
        share_rejected = entry.dead_letter / entry.records_in
        reasons.append(f"{share_rejected:.1%} of the records were rejected, more than --max-rejected {options.max_rejected:.0%}")
    return reasons
