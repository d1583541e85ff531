"""What a run leaves behind: ``_runs/<run_id>/manifest.json``, written last, and a note that it began, written first."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from contracts.errors import HeadraceError
from contracts.text import json_text
from contracts.units import utc_text
from contracts.version import VERSION
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.runs.basis import RunBasis
from lake.runs.clock import RunClock
from lake.runs.cost import RunCost
from lake.runs.process import ProcessIdentity
from lake.storage import storage_of
from lake.tables.iceberg import settled_snapshot
from lake.tables.publish import table_totals

MANIFEST, STARTED, ENDED = "manifest.json", "started.json", "ended.json"
STOPPED, FAILED, KILLED = "stopped", "failed", "killed"


@dataclass(frozen=True)
class PublishedTable:
    """A dataset's table after a run."""

    table: str
    rows: int
    content_hash: str
    snapshot_id: int | None


@dataclass(frozen=True)
class BranchTable:
    """A dataset's table as a replay left it on its branch."""

    table: str
    branch: str
    rows: int
    content_hash: str


@dataclass(frozen=True)
class IngestDetails:
    """Of an ingest. inputs: what it read, one mapping each. ingested_files: those that were not done yet; None of topics."""

    inputs: Sequence[Mapping[str, Any]]
    ingested_files: int | None = None


@dataclass(frozen=True)
class ReplayDetails:
    """Of a run of a replay. ranges: what it rebuilds, microseconds."""

    replay: str
    branch: str
    ranges: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class PromotionDetails:
    """Of a promotion or a rollback. ranges: what was replaced, microseconds. changes: what that changed."""

    ranges: Sequence[tuple[int, int]]
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class ReprocessDetails:
    """Of a run that reprocesses dead letters. recipe: how records were repaired. letters: how many, by what came of them."""

    selection: Mapping[str, Any]
    recipe: str | None
    letters: Mapping[str, int]


@dataclass(frozen=True)
class DeliveryDetails:
    """Of a delivery. rows_from: in words. counts: rows by what became of them."""

    destination: str
    rows_from: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Verdict:
    """reasons: why a run is no success, one sentence each. paused: whether a replay stopped because it was asked to."""

    reasons: Sequence[str] = ()
    paused: bool | None = None

    @property
    def exit_code(self) -> int:
        """0 or 1, see the command line's reference."""
        return 1 if self.reasons else 0


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """A run that ended; docs/reference/lake.md has the fields. What is None is not written.

    options: the options dataclass of the pipeline. details: what only this pipeline has to say. gates: by dataset, what its gate
    holds and released. cost: of a bounded ingest or a replay, what it took.
    """

    run_id: str
    pipeline: str
    source: str
    clock: RunClock
    details: IngestDetails | ReplayDetails | PromotionDetails | ReprocessDetails | DeliveryDetails
    options: Any = None
    contracts: Mapping[str, str] | None = None
    ledger: Mapping[str, LedgerEntry] | None = None
    datasets: Mapping[str, PublishedTable | BranchTable] | None = None
    gates: Mapping[str, Mapping[str, Any]] | None = None
    cost: RunCost | None = None
    verdict: Verdict = Verdict()

    def document(self) -> dict[str, Any]:
        """As it is written; finished now."""
        document = {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "version": VERSION,
            "started_at": self.clock.started,
            "finished_at": datetime.now(UTC),
            "source": self.source,
            "options": None if self.options is None else given_options(self.options),
            "contracts": self.contracts,
            **asdict(self.details),
            "ledger": None if self.ledger is None else {name: asdict(entry) for name, entry in self.ledger.items()},
            "datasets": None if self.datasets is None else {name: asdict(table) for name, table in self.datasets.items()},
            "gates": self.gates,
            "cost": None if self.cost is None else self.cost.document(),
            "timings": self.clock.seconds(),
            "verdict": {"exit_code": self.verdict.exit_code, **_known(asdict(self.verdict))},
        }
        return _known(document)


@dataclass(frozen=True)
class RunSummary:
    """One run, as ``headrace status`` shows it.

    state: finished, running, stopped (by Ctrl-C), failed (by an error; why: which), or killed (before it could say anything).
    manifest: the document; of a run that has not finished only source and pipeline. bases: what it worked by, the first first;
    several where it went on by another, none where an earlier version noted it.
    """

    run_id: str
    state: str
    started_at: str
    manifest: dict[str, Any]
    why: str | None = None
    bases: tuple[RunBasis, ...] = ()

    @property
    def broke_off(self) -> bool:
        """Whether it ended before its end."""
        return self.state in (STOPPED, FAILED, KILLED)

    @property
    def source(self) -> str:
        """What it reads, or the destination that it writes to."""
        return str(self.manifest["source"])

    @property
    def pipeline(self) -> str:
        """Which."""
        return str(self.manifest["pipeline"])

    @property
    def contracts(self) -> dict[str, str]:
        """Version by dataset."""
        return dict(self.manifest.get("contracts", {}))

    @property
    def ledger(self) -> LedgerEntry | None:
        """Of all its sources; None where it has none, or none yet."""
        entries = self.manifest.get("ledger")
        return None if entries is None else sum((LedgerEntry(**entry) for entry in entries.values()), LedgerEntry())

    @property
    def cost(self) -> RunCost | None:
        """What it took; None where that was not noted, as by an earlier version."""
        known = self.manifest.get("cost")
        return RunCost.parse(known) if known else None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by step, ``total_s`` in all."""
        return dict(self.manifest.get("timings", {}))

    @property
    def verdict(self) -> str:
        """Of a finished run: why it is no success, or ok."""
        return "; ".join(self.manifest["verdict"]["reasons"]) or "ok"


def published_table(lake: Lake, name: str) -> PublishedTable:
    """The settled snapshot of a table; a bounded run has swept before it asks."""
    table = lake.load(name)
    snapshot = settled_snapshot(table)
    rows, digest = table_totals(table, snapshot)
    return PublishedTable(name, rows, f"{digest:032x}", snapshot.snapshot_id if snapshot else None)


def given_options(options: Any) -> dict[str, Any]:
    """The options that were given, or have a default."""
    return _known(asdict(options))


def _known(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def write_started(
    lake: Lake, run_id: str, started: datetime, source: str, pipeline: str = "ingest", basis: RunBasis | None = None
) -> None:
    """Note that a run began, and where. source: what it reads, or the destination that it writes to. basis: what it works by."""
    process = ProcessIdentity.of(os.getpid())
    bases = _bases(lake, run_id, started, basis) if basis else []
    note = {
        "run_id": run_id,
        "started_at": utc_text(started, "milliseconds"),
        "pipeline": pipeline,
        "source": source,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        **({"start_ticks": process.start_ticks, "boot_id": process.boot_id} if process else {}),
        **({"works_by": [each.document() for each in bases]} if bases else {}),
    }
    write_document(run_file(lake, run_id, STARTED), note)


def _bases(lake: Lake, run_id: str, at: datetime, basis: RunBasis) -> list[RunBasis]:
    """What a run worked by until now, where it goes on, and this one where it differs."""
    try:
        known = _noted_bases(json.loads(lake.storage.read(run_file(lake, run_id, STARTED))))
    except (FileNotFoundError, ValueError):
        known = ()
    if known and replace(known[-1], since="") == RunBasis.parse(json.loads(encoded(basis))):
        return list(known)
    return [*known, replace(basis, since=utc_text(at, "milliseconds"))]


def _noted_bases(note: Mapping[str, Any]) -> tuple[RunBasis, ...]:
    return tuple(RunBasis.parse(each) for each in note.get("works_by", ()))


@contextmanager
def started(
    lake: Lake, run_id: str, at: datetime, source: str, pipeline: str = "ingest", basis: RunBasis | None = None
) -> Iterator[None]:
    """Note that a run began; and, where the block ends by Ctrl-C or an error, that it was stopped or failed, and why.

    Of a run that is killed nothing is noted, and so it is told from these. Arguments: see ``write_started``.
    """
    lake.storage.delete(run_file(lake, run_id, ENDED))  # of the same run, which goes on
    write_started(lake, run_id, at, source, pipeline, basis)
    try:
        yield
    except KeyboardInterrupt:
        _write_ended(lake, run_id, STOPPED, None)
        raise
    except Exception as error:
        _write_ended(lake, run_id, FAILED, str(error) if isinstance(error, HeadraceError) else type(error).__name__)
        raise


def _write_ended(lake: Lake, run_id: str, how: str, why: str | None) -> None:
    """As well as it can: what made the run fail may make this fail too."""
    with suppress(Exception):
        note = {"how": how, "why": why, "at": utc_text(datetime.now(UTC), "milliseconds")}
        write_document(run_file(lake, run_id, ENDED), _known(note))


def write_manifest(lake: Lake, manifest: RunManifest) -> dict[str, Any]:
    """Write a run's manifest; it appears whole. Returns the document."""
    document = manifest.document()
    write_document(run_file(lake, manifest.run_id, MANIFEST), document)
    return document


def run_file(lake: Lake, run_id: str, name: str) -> str:
    """Where a file of a run lies."""
    return lake.at_key(f"_runs/{run_id}/{name}")


def recent_runs(lake: Lake, limit: int) -> Iterator[RunSummary]:
    """The newest runs first."""
    for run_id in lake.storage.folders(lake.at_key("_runs"))[::-1][:limit]:
        if run := read_run(lake, run_id):
            yield run


def read_run(lake: Lake, run_id: str) -> RunSummary | None:
    """One run; None where it left nothing: it was killed within its first millisecond."""
    storage = lake.storage
    try:
        started = json.loads(storage.read(run_file(lake, run_id, STARTED)))
    except (FileNotFoundError, ValueError):
        return None
    try:
        document = json.loads(storage.read(run_file(lake, run_id, MANIFEST)))
        state, why = "finished", None
    except FileNotFoundError:
        document = {"source": started["source"], "pipeline": started.get("pipeline", "ingest")}
        ended = _read_ended(lake, run_id)
        state, why = ended or ("running" if _alive(started) else KILLED, None)
    return RunSummary(run_id, state, started["started_at"], document, why, _noted_bases(started))


def _read_ended(lake: Lake, run_id: str) -> tuple[str, str | None] | None:
    """How a run broke off, and why; None where it noted nothing."""
    try:
        note = json.loads(lake.storage.read(run_file(lake, run_id, ENDED)))
    except (FileNotFoundError, ValueError):
        return None
    return note["how"], note.get("why")


def is_gone(lake: Lake, run_id: str) -> bool:
    """Whether the process that began a run was one of this machine and is gone."""
    try:
        started = json.loads(lake.storage.read(run_file(lake, run_id, STARTED)))
    except (FileNotFoundError, ValueError):
        return False
    return started["host"] == socket.gethostname() and not _alive(started)


def _alive(started: dict[str, Any]) -> bool:
    if started["host"] != socket.gethostname():
        return False
    try:
        os.kill(started["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, which /proc may hide
        hidden = True
    else:
        hidden = not os.path.exists("/proc")
    now = ProcessIdentity.of(started["pid"])
    if now is None:  # a zombie
        return hidden
    return "boot_id" not in started or (now.start_ticks, now.boot_id) == (started["start_ticks"], started["boot_id"])


def write_document(location: str | os.PathLike[str], document: Any) -> None:
    """Write a JSON document of a run; it appears whole. Dataclasses and times (UTC) are written as JSON."""
    where = os.fspath(location)
    storage_of(where).write(where, encoded(document))


def encoded(document: Any) -> bytes:
    """A document as ``write_document`` writes it."""
    return (json_text(document, _plain) + "\n").encode()


def _plain(value: Any) -> Any:
    return utc_text(value, "milliseconds") if isinstance(value, datetime) else asdict(value)
