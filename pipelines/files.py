"""The ingest graph over files: land them, run the graph slice by slice, and prove by the ledger what became of every record.

FnApiRunner holds every shuffle in memory, so bounded input is taken in slices of ``--slice-bytes``, one graph run each; the fold
makes that equal to one run. Everything can be killed at any point and run again: raw files and tables only ever change whole.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import apache_beam as beam

from contracts.codes import Code
from contracts.project import Project
from contracts.source import SourceSpec
from pipelines.ingest import IngestGraph
from pipelines.manifest import write_manifest, write_started
from pipelines.options import duration, flag, option, share, size, whole
from pipelines.version import VERSION
from runners.direct import run_bounded
from transforms.converge.publish import table_totals
from transforms.decode import Cut
from transforms.lake.ledger import LedgerEntry, compute_ledger, unfinished
from transforms.lake.location import Lake
from transforms.lake.raw import InputFile, Landing, RawChunk, RawFile, expand_inputs, land_file

_SMALL_RUN_BYTES = 1 << 30


def _window(text: str) -> int | None:
    if text == "auto":
        return None
    seconds = duration(text)
    if seconds % 60 or 86_400 % seconds:
        raise ValueError("auto, or whole minutes that divide a day, such as 1h or 1d")
    return seconds


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """Options of ``headrace ingest``."""

    source: str
    input: tuple[str, ...] = option(
        "What to ingest: a file, a folder or a quoted glob; may be given several times.", metavar="URI", repeated=True
    )
    lake: str | None = option("The lake's folder; headrace.yaml may name it.", metavar="URI", default=None)
    workers: int = option(
        "1 runs in this process, more start that many worker processes.", whole(1, 64), metavar="N", default=1, shown_default="1"
    )
    slice_bytes: int = option(
        "Decompressed input that one graph run takes; bounds memory.", size, metavar="SIZE", default=512 << 20, shown_default="512M"
    )
    window: int | None = option(
        "Event-time window of one fold; auto takes a day for runs up to 1 GiB decompressed, else an hour.",
        _window, metavar="DURATION", default=None, shown_default="auto",
    )  # fmt: skip
    num_shards: int = option(
        "Shards of the tables; fixed when a table is made.", whole(1, 1024), metavar="N", default=4, shown_default="4"
    )
    max_rejected: float = option(
        "Exit 1 if a larger share of the records becomes dead letters.", share, metavar="SHARE", default=0.1, shown_default="10%"
    )
    allow_damaged: bool = option("Damaged or unreadable input is reported, but does not fail the run.", flag, default=False)
    beam_options: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Progress:
    """Where a run is. step: what is done now. done, total: bytes or files of that step."""

    step: Literal["land", "ingest", "account"]
    done: int
    total: int
    note: str = ""


@dataclass
class IngestReport:
    """What a run did. reasons: why the exit code is not 0, one sentence each."""

    run_id: str
    source: str
    dataset: str
    ledger: LedgerEntry
    landings: list[Landing]
    ingested: list[RawFile]
    manifest: dict[str, Any]
    reasons: list[str]

    @property
    def exit_code(self) -> int:
        """0 or 1, see the command line's reference."""
        return 1 if self.reasons else 0


def ingest_files(options: IngestOptions, project: Project, report: Callable[[Progress], None]) -> IngestReport:
    """Run ``headrace ingest`` over files.

    Args:
        options: what the user asked for.
        project: where contracts and sources lie.
        report: is told of progress.

    Raises:
        ConfigurationError: options, contract, source or layout do not fit; nothing was written.
        ComponentDownError: the catalog does not answer; may be run again.
    """
    spec, contract = project.source(options.source)
    inputs = expand_inputs(options.input)
    lake = Lake.at(project.lake_location(options.lake), project.catalog)
    started, clock = datetime.now(UTC), time.monotonic()
    run_id = f"{started:%Y%m%dT%H%M%S%f}Z-{spec.name}-{secrets.token_hex(3)}"
    cut = Cut(num_shards=options.num_shards)
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id=run_id, cut=cut)
    graph.prepare()
    write_started(lake, run_id, started, spec.name)
    landings = list(_land(lake, spec, inputs, report))
    timings = {"land_s": time.monotonic() - clock}
    files = list({landing.file.raw_file: landing.file for landing in landings if landing.file}.values())
    todo = unfinished(lake, files)
    total_bytes = sum(size for file in todo for *_, size in file.chunks)
    window_s = options.window or (86_400 if total_bytes <= _SMALL_RUN_BYTES else 3_600)
    graph = replace(graph, cut=replace(cut, window_s=window_s))
    _run_slices(graph, todo, options, report)
    timings["ingest_s"] = time.monotonic() - clock - timings["land_s"]
    report(Progress("account", 0, 1))
    entry = compute_ledger(lake, {spec.name: graph.table}, files)[spec.name]
    reasons = _verdict(entry, landings, options)
    timings["total_s"] = time.monotonic() - clock
    table = lake.catalog().load_table(graph.table)
    rows, digest = table_totals(table)
    snapshot = table.current_snapshot()
    manifest = {
        "run_id": run_id,
        "pipeline": "ingest",
        "version": VERSION,
        "started_at": started,
        "finished_at": datetime.now(UTC),
        "source": spec.name,
        "options": asdict(options),
        "contracts": {contract.name: contract.version},
        "inputs": [_input_entry(landing) for landing in landings],
        "ingested_files": len(todo),
        "ledger": {spec.name: asdict(entry)},
        "datasets": {
            contract.name: {
                "table": graph.table,
                "rows": rows,
                "content_hash": f"{digest:032x}",
                "snapshot_id": snapshot.snapshot_id if snapshot else None,
            }
        },
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
        "verdict": {"exit_code": 1 if reasons else 0, "reasons": reasons},
    }
    write_manifest(lake, run_id, manifest)
    return IngestReport(run_id, spec.name, contract.name, entry, landings, todo, manifest, reasons)


def _land(lake: Lake, spec: SourceSpec, inputs: Sequence[InputFile], report: Callable[[Progress], None]) -> Iterator[Landing]:
    """One by one, the oldest first: of equal files the earliest gives the time at which they were received."""
    for number, file in enumerate(inputs, 1):
        yield land_file(lake, spec, file)
        report(Progress("land", number, len(inputs), file.uri.rsplit("/", 1)[-1]))


def _run_slices(graph: IngestGraph, files: Sequence[RawFile], options: IngestOptions, report: Callable[[Progress], None]) -> None:
    slices = list(plan_slices([chunk for file in files for chunk in file.as_chunks(graph.lake)], options.slice_bytes))
    total, done = sum(chunk.size_bytes for part in slices for chunk in part), 0
    for number, part in enumerate(slices, 1):
        report(Progress("ingest", done, total, f"slice {number} of {len(slices)}"))

        def build(pipeline: beam.Pipeline, chunks: list[RawChunk] = part) -> None:
            graph.build(pipeline | "Chunks" >> beam.Create(chunks, reshuffle=options.workers > 1))

        run_bounded(build, workers=options.workers, extra=options.beam_options)
        done += sum(chunk.size_bytes for chunk in part)
    report(Progress("ingest", done, total))


def plan_slices(chunks: Sequence[RawChunk], slice_bytes: int) -> Iterator[list[RawChunk]]:
    """Chunks in order, cut into slices of at most this many decompressed bytes (or one chunk)."""
    part: list[RawChunk] = []
    size = 0
    for chunk in chunks:
        if part and size + chunk.size_bytes > slice_bytes:
            yield part
            part, size = [], 0
        part.append(chunk)
        size += chunk.size_bytes
    if part:
        yield part


def _verdict(entry: LedgerEntry, landings: Sequence[Landing], options: IngestOptions) -> list[str]:
    reasons = []
    if not entry.balanced:
        reasons.append(f"the ledger does not add up: {entry.pending} of {entry.records_in} records have no outcome; run it again")
    if entry.records_in and entry.dead_letter / entry.records_in > options.max_rejected:
        share_rejected = entry.dead_letter / entry.records_in
        reasons.append(f"{share_rejected:.1%} of the records were rejected, more than --max-rejected {options.max_rejected:.0%}")
    if not options.allow_damaged:
        reasons += [f"{landing.uri}: a part of it cannot be read" for landing in landings if landing.file and landing.file.damaged]
        if not reasons and (count := entry.codes.get(Code.DAMAGED_INPUT)):
            reasons.append(f"{count} records are damaged: headrace deadletter list --code damaged_input tells where")
        bad = ("vanished", "unreadable", "changing")
        reasons += [f"{landing.uri}: {landing.status}: {landing.detail}" for landing in landings if landing.status in bad]
    return reasons


def _input_entry(landing: Landing) -> dict[str, Any]:
    entry: dict[str, Any] = {"uri": landing.uri, "status": landing.status}
    if landing.detail:
        entry["detail"] = landing.detail
    if landing.file:
        entry |= {"raw_file": landing.file.raw_file, "records": landing.file.records, "damaged": landing.file.damaged}
    return entry
