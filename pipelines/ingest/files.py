"""The ingest graph over files: land them, run the graph, and prove by the ledger what became of every record.

FnApiRunner holds every shuffle in memory, so there bounded input is taken in slices of ``--slice-bytes``, one graph run each; the
fold makes that equal to one run. Everything can be killed at any point and run again: raw files and tables only ever change whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from lake.ledger.ledger import compute_ledger, unfinished
from lake.location import Lake
from lake.raw.files import Landing, RawChunk, land_files
from lake.raw.inputs import InputFile, expand_inputs
from lake.runs.clock import RunClock, new_run_id
from lake.runs.cost import RunCost, written_bytes
from lake.runs.manifest import IngestDetails
from lake.runs.progress import Progress, Report
from lake.runs.usage import Meter
from lake.tables.iceberg import DEAD_LETTERS
from pipelines.ingest.density import window_for
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport, begun, finish
from pipelines.ingest.slices import SLICE_BYTES, WORTH_BYTES, graph_workers, run_slices
from pipelines.ingest.sources import Files
from runners.dataflow import run_on_dataflow
from runners.direct_workers import DirectWorkers
from runners.flink.rest import FlinkRest
from runners.flink.submit import submit, wait
from runners.jobs.submit import flink_job
from transforms.cut import BATCH_BYTES, Cut

_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class HandedOver:
    """The input is landed and the job described for a launcher, which submits it; nobody here waits for it."""

    run_id: str


def ingest_files(options: IngestOptions, project: Project, report: Report) -> IngestReport | HandedOver:
    """Run ``headrace ingest`` over files.

    Args:
        options: what the user asked for.
        project: where contracts and sources lie.
        report: is told of progress.

    Returns:
        What it did; or that a launcher submits the job.

    Raises:
        ConfigurationError: options, contract, source or layout do not fit; nothing was written.
        ComponentDownError: the catalog or the cluster does not answer; may be run again.
    """
    spec, contract = project.source(options.source)
    inputs = expand_inputs(options.input)
    lake = Lake.at(project.lake_location(options.lake), project.catalog)
    if options.runner == "dataflow":
        check_reachable(lake)
    clock = RunClock()
    cut = Cut(num_shards=options.num_shards, batch_bytes=None if options.runner == "direct" else BATCH_BYTES)
    graph = IngestGraph(
        lake=lake, contract=contract, spec=spec, run_id=new_run_id(spec.name, clock), cut=cut,
        suppressions=project.suppressions(contract),
    )  # fmt: skip
    with begun(graph, options, clock), Meter() as meter:
        with graph_workers(_workers_here(options, inputs)) as workers:
            landings = list(_land(lake, spec, inputs, report))
            clock.done("land")
            files = list({landing.file.raw_file: landing.file for landing in landings if landing.file}.values())
            todo = unfinished(lake, spec.name, files)
            chunks = [chunk for file in todo for chunk in file.as_chunks(lake)]
            graph = replace(graph, cut=_cut(cut, graph, chunks, options))
            if not _run(graph, chunks, options, project, report, workers):
                return HandedOver(graph.run_id)
        clock.done("ingest")
        swept, gate = graph.gate()
        clock.done("settle")
        report(Progress("account", 0, 1))
        entry = compute_ledger(lake, spec.name, graph.table, files)
        counts = Counter(landing.status for landing in landings)
        return finish(
            graph,
            options,
            clock,
            entry,
            swept,
            _input_reasons(spec, landings, options),
            details=IngestDetails([_input_entry(landing) for landing in landings], ingested_files=len(todo)),
            gate=gate,
            cost=_cost(meter, graph, chunks, options),
            summary="files: " + ", ".join(f"{count} {status}" for status, count in counts.items()),
        )


def _cost(meter: Meter, graph: IngestGraph, chunks: Sequence[RawChunk], options: IngestOptions) -> RunCost:
    return RunCost.of(
        meter, is_here=options.runner == "direct", workers=options.workers,
        read_records=sum(chunk.records for chunk in chunks), read_bytes=sum(chunk.size_bytes for chunk in chunks),
        written_bytes=written_bytes(graph.lake, (graph.table, graph.contract.late_table, DEAD_LETTERS), graph.run_id),
    )  # fmt: skip


def _cut(cut: Cut, graph: IngestGraph, chunks: Sequence[RawChunk], options: IngestOptions) -> Cut:
    if options.window:
        return replace(cut, window_s=options.window)
    at_once = options.slice_bytes or SLICE_BYTES if options.runner == "direct" else sum(chunk.size_bytes for chunk in chunks)
    return replace(cut, window_s=window_for(chunks, graph.spec, graph.contract, at_once_bytes=at_once), by_density=True)


def _workers_here(options: IngestOptions, inputs: Sequence[InputFile]) -> int | None:
    """Processes that may have something to do."""
    if options.runner != "direct" or (options.slice_bytes is None and sum(file.size_bytes for file in inputs) < WORTH_BYTES):
        return None
    return options.workers


def _land(lake: Lake, spec: SourceSpec, inputs: Sequence[InputFile], report: Report) -> Iterator[Landing]:
    """The oldest first: of equal files the earliest gives the time at which they were received."""
    with closing(land_files(lake, spec, inputs)) as landings:
        for number, landing in enumerate(landings, 1):
            yield landing
            report(Progress("land", number, len(inputs), landing.uri.rsplit("/", 1)[-1]))


def _run(
    graph: IngestGraph,
    chunks: Sequence[RawChunk],
    options: IngestOptions,
    project: Project,
    report: Report,
    workers: DirectWorkers,
) -> bool:
    """Whether it has run; False where only its description was made."""
    if options.runner == "dataflow":  # over nothing too: a launcher takes a missing job for a failure
        return run_on_dataflow(partial(graph.build, Files(chunks)), "headrace-" + graph.run_id.lower(), list(options.beam_options))
    if options.runner == "flink":
        _run_on_flink(graph, chunks, options, project)
    else:
        run_slices(graph, chunks, partial(Files, is_local=True), options, workers, report)
    return True


def _run_on_flink(graph: IngestGraph, chunks: Sequence[RawChunk], options: IngestOptions, project: Project) -> None:
    """One job over everything: a cluster shuffles on disk."""
    if not chunks:
        return
    job = replace(flink_job(options, project), streaming=False)
    wait(submit(partial(graph.build, Files(chunks)), job, graph.run_id, options.beam_options), FlinkRest(job.rest))


def check_reachable(lake: Lake) -> None:
    """Whether workers on Dataflow can reach a lake.

    Raises:
        ConfigurationError: it, or its catalog, lies on this machine.
    """
    if not lake.root.startswith("gs://") or lake.catalog_url.startswith("sqlite"):
        raise ConfigurationError("--runner dataflow: its workers need a gs:// lake, and a catalog on PostgreSQL (headrace.yaml)")


def _input_reasons(spec: SourceSpec, landings: Sequence[Landing], options: IngestOptions) -> list[str]:
    if landings and all(landing.status == "ignored" for landing in landings):
        return [f"nothing was read: all of {len(landings)} inputs are ignored, such as {landings[0].uri}: {landings[0].detail}"]
    files = [landing.file for landing in landings if landing.file]
    if files and not any(file.records for file in files):
        return [f"nothing was read: {len(files)} files hold no record; is this the right input, and format the right one?"]
    lost, total = sum(file.lost_bytes for file in files), sum(size for file in files for *_, size in file.chunks)
    # What is too large may be many records: a batch, or nearly all of a file that has no line ends.
    most = options.max_rejected if spec.records else max(options.max_rejected, _NEARLY_ALL)
    reasons = []
    if lost > most * total:
        reasons.append(f"{lost / total:.1%} of the bytes are in records that are too large, more than --max-rejected")
    if options.allow_damaged:
        return reasons
    reasons += [
        f"{landing.uri}: {landing.detail or 'a part of it cannot be read'}"
        for landing in landings
        if landing.file and landing.file.damaged
    ]
    bad = ("vanished", "unreadable", "changing")
    return reasons + [f"{landing.uri}: {landing.status}: {landing.detail}" for landing in landings if landing.status in bad]


def _input_entry(landing: Landing) -> dict[str, Any]:
    entry: dict[str, Any] = {"uri": landing.uri, "status": landing.status}
    if landing.detail:
        entry["detail"] = landing.detail
    if landing.file:
        entry |= {"raw_file": landing.file.raw_file, "records": landing.file.records, "damaged": landing.file.damaged}
    return entry
