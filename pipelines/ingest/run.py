"""What runs of the ingest graph have in common, whatever they read: their verdict and manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from contracts.codes import Code
from contracts.logs import LogContext
from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from lake.kept_contracts import keep_contract
from lake.kept_specs import keep_source
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.runs.basis import RunBasis
from lake.runs.clock import RunClock
from lake.runs.cost import RunCost
from lake.runs.manifest import IngestDetails, RunManifest, Verdict, given_options, published_table, started, write_manifest
from lake.tables.sweep import Swept
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.options import IngestOptions
from quality.gate_report import GateReport

_MANY_CORRECTED = 0.01


@dataclass
class IngestReport:
    """What a bounded run did. inputs: what it read, in words. reasons: why the exit code is not 0, one sentence each.

    without_ids: no record has an id of its own. chained: see ``Swept``. gate: what the gate of the dataset came to, None without.
    """

    run_id: str
    source: str
    dataset: str
    inputs: str
    ledger: LedgerEntry
    manifest: dict[str, Any]
    reasons: list[str]
    without_ids: bool = False
    chained: int = 0
    gate: GateReport | None = None

    @property
    def warnings(self) -> list[str]:
        """What to look at though the run is a success, one sentence each."""
        entry = self.ledger
        found = []
        if entry.corrected > _MANY_CORRECTED * entry.out:
            found.append(
                f"{entry.corrected:,} of {entry.out:,} rows ({entry.corrected / entry.out:.1%}) have a time that was not believed, "
                "so _time_corrected is true: a clock is wrong, or the source spec needs clock: {max_behind: …, max_ahead: …}"
            )
        if self.without_ids and entry.duplicate:
            found.append(
                f"{entry.duplicate:,} of {entry.records_in:,} records equal another one in every column of {self.dataset} and were "
                "merged with it: this source maps no event id (missing_event_id: derive), so nothing else tells two events apart"
            )
        if self.chained:
            found.append(
                f"{self.chained:,} rows were dropped that are further from the first of their id than the deduplication horizon: "
                "it is used again and again, each time within the horizon of the last. Is it unique? headrace lake why EVENT_ID"
            )
        if self.gate:  # with --allow-held its reasons are none against the run
            found += [*(reason for reason in self.gate.reasons if reason not in self.reasons), *self.gate.warnings]
        return found

    @property
    def exit_code(self) -> int:
        """0 or 1, see the command line's reference."""
        return 1 if self.reasons else 0


@contextmanager
def begun(
    graph: IngestGraph, options: IngestOptions, clock: RunClock, topics: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Iterator[None]:
    """Make lake and tables, and note that the run began, and how it ended where it comes to no manifest. topics: see RunBasis.

    Raises:
        LayoutMismatchError: a table has another layout.
    """
    LogContext.here(graph.run_id, graph.spec.name).apply()
    graph.prepare()
    basis = replace(basis_of(graph.lake, graph.contract, [graph.spec], options), topics=dict(topics))
    with started(graph.lake, graph.run_id, clock.started, graph.spec.name, basis=basis):
        yield


def basis_of(lake: Lake, contract: Contract, specs: Sequence[SourceSpec], options: Any) -> RunBasis:
    """What a run of the ingest graph works by; contract and specs are kept in the lake."""
    return RunBasis(
        contracts={contract.dataset: keep_contract(lake, contract)},
        sources={spec.name: keep_source(lake, spec) for spec in specs},
        options=given_options(options),
    )


def finish(
    graph: IngestGraph,
    options: IngestOptions,
    clock: RunClock,
    entry: LedgerEntry,
    swept: Swept,
    reasons: Sequence[str],
    *,
    details: IngestDetails,
    summary: str,
    gate: GateReport | None = None,
    cost: RunCost | None = None,
) -> IngestReport:
    """Judge a bounded run by its ledger, and write its manifest. cost: what it took, where that was measured."""
    held = gate.reasons if gate and not options.allow_held else ()
    found = [*_ledger_reasons(entry, options), *reasons, *held]
    if not found and not options.allow_damaged and (count := entry.codes.get(Code.DAMAGED_INPUT)):
        found.append(f"{count} records are damaged: headrace deadletter list --code damaged_input tells where")
    source, contract = graph.spec.name, graph.contract
    manifest = RunManifest(
        run_id=graph.run_id,
        pipeline="ingest",
        source=source,
        clock=clock,
        details=details,
        options=options,
        contracts={contract.dataset: contract.version},
        ledger={source: entry},
        datasets={contract.dataset: published_table(graph.lake, graph.table)},
        gates={contract.dataset: gate.document()} if gate else None,
        cost=cost,
        verdict=Verdict(found),
    )
    document = write_manifest(graph.lake, manifest)
    without_ids = graph.spec.missing_event_id == "derive" and not graph.spec.columns.get(contract.event_id)
    return IngestReport(graph.run_id, source, contract.dataset, summary, entry, document, found, without_ids, swept.chained, gate)


def _ledger_reasons(entry: LedgerEntry, options: IngestOptions) -> list[str]:
    reasons = entry.faults
    if entry.records_in and entry.dead_letter / entry.records_in > options.max_rejected:
        share_rejected = entry.dead_letter / entry.records_in
        reasons.append(f"{share_rejected:.1%} of the records were rejected, more than --max-rejected {options.max_rejected:.0%}")
    return reasons
