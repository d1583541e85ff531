"""The streaming job under load: ``headrace ingest web --runner flink``, as users start it, and what is read back from its lake."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from benchmarks.stream.bed import PARTITIONS, RunFailedError, Sent, require_once, run_json
from benchmarks.stream.figures import Visible
from benchmarks.stream.on_flink import OnFlink
from benchmarks.stream.producer import COPY
from benchmarks.stream.sweeps import SweepFigures, commits_of_sweeps, swept
from contracts.codes import Code
from contracts.spec.project import Project
from devstack.stack import Stack
from lake.ledger.ledger import LedgerEntry, frontier, log_ledger
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import landed_up_to
from lake.tables.iceberg import (
    DEAD_LETTERS,
    LEDGER,
    ROWS_PROPERTY,
    dropped_branch,
    dropped_rows,
    files_of,
    manifests_of,
    settled_age_s,
)
from lake.tables.publish import table_totals
from transforms.kafka.connection import KafkaCluster, KafkaConnection

PROJECT = Path(__file__).parents[2] / "examples/webshop"
SOURCE, TABLE, LATE_TABLE = "web", "validated.customer_event", "late.customer_event"
_MICROS = 1_000_000


@dataclass(frozen=True)
class Written:
    """What was written to a table: commits, data files, rows in them."""

    commits: int
    files: int
    rows: int


@dataclass
class OurJob(OnFlink):
    """The job over one topic. immediate: where rows go at once; None for nowhere."""

    stack: Stack
    folder: Path
    topic: str
    immediate: str | None
    _begins: dict[LogId, int] = field(default_factory=dict)
    _logged: int = 0

    @property
    def lake(self) -> Lake:
        """A lake of its own."""
        return Lake.at(str(self.folder / "lake"))

    def start(self) -> None:
        """Submit it."""
        self._logged = self._log.stat().st_size
        address = f"kafka://{self.stack.kafka_bootstrap}/{self.topic}"
        workers = self.stack.settings.slots * self.stack.settings.taskmanagers
        submitted = run_json(
            "cli.main", "ingest", SOURCE, "--input", address, "--lake", self.lake.root, "--project", str(PROJECT),
            "--runner", "flink", "--flink", self.stack.flink_rest, "--workers", str(workers),
            "--immediate", self.immediate or "off", "--json",
        )  # fmt: skip
        topic_id = KafkaCluster(KafkaConnection(self.stack.kafka_bootstrap)).describe([self.topic])[self.topic].topic_id
        self._begins = {LogId(self.topic, topic_id, number): 0 for number in range(PARTITIONS)}
        self._job_id = str(submitted["job_id"])

    def taken(self) -> int:
        """Messages that are landed."""
        return sum(landed_up_to(self.lake, SOURCE, log, 0) for log in self._begins)

    def published(self) -> int:
        """Rows in the table."""
        return table_totals(self._table(TABLE))[0]

    def settled(self, sent: Sent) -> bool:
        """Whether every message has a committed outcome."""
        spec, _ = Project.load(PROJECT).source(SOURCE)
        for log in self._begins:
            self._begins[log] = frontier(self.lake, spec, log, self._begins[log]) or self._begins[log]
        return all(reached >= sent.ends.get(log.partition, 0) for log, reached in self._begins.items())

    def settled_age_s(self) -> float:
        """For how long the oldest commit that no sweep has seen has waited."""
        return settled_age_s(self._table(TABLE), time.time()) or 0.0

    def left(self, sent: Sent) -> int:
        """Copies of events of other minutes that are still published."""
        return len(sent.ids(COPY)) - dropped_rows(self._table(TABLE), None)

    def check(self, sent: Sent) -> None:
        """Every event is published once, each copy of another minute is dropped, and the ledger adds up.

        Raises:
            RunFailedError: they are not, or it does not.
        """
        require_once(self._table(TABLE).scan(selected_fields=("event_id",)).to_arrow()["event_id"].cast(pa.string()), sent)
        entry, copies = self._ledger(), sent.ids(COPY).combine_chunks()
        if not entry.balanced or entry.records_in != len(sent.lines):
            raise RunFailedError(f"the ledger does not add up to the {len(sent.lines):,} messages that were sent: {entry}")
        dropped = self._dropped()
        if not dropped.sort().equals(copies.sort()):
            raise RunFailedError(
                f"{len(dropped):,} rows are dropped, which are not those of the {len(copies):,} copies that were sent"
            )
        if (entry.codes.get(Code.CONFLICTING_DUPLICATE, 0), entry.out) != (len(copies), len(sent.events)):
            raise RunFailedError(f"the ledger does not tell {len(copies):,} copies of {len(sent.events):,} events: {entry}")

    def sweeps(self, left: int, ages_s: Sequence[float]) -> SweepFigures:
        """What the sweeps did, after ``check``. left, ages_s: see SweepFigures."""
        entry, table = self._ledger(), self._table(TABLE)
        with self._log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._logged)
            done, put_off = swept(log, TABLE)
        dropped = len(self._dropped())
        return SweepFigures(
            published=entry.out, dropped=dropped, folded=entry.duplicate, refused=entry.dead_letter - dropped, left=left,
            sweeps=done, put_off=put_off, settled_age_s=ages_s,
            commits=commits_of_sweeps(_lineage(table, "main"), _lineage(table, dropped_branch(None))),
        )  # fmt: skip

    @property
    def _log(self) -> Path:
        """Where the cluster writes what the Python workers say."""
        return self.stack.layout.logs / "taskmanager.log"

    def _ledger(self) -> LedgerEntry:
        spec, _ = Project.load(PROJECT).source(SOURCE)
        return sum((log_ledger(self.lake, spec, TABLE, log) for log in self._begins), LedgerEntry())

    def _dropped(self) -> pa.Array:
        """Ids of the rows that the horizon drops."""
        table = self._table(TABLE)
        snapshot = table.metadata.snapshot_by_name(dropped_branch(None))
        if snapshot is None:
            return pa.array([], pa.string())
        rows = table.scan(selected_fields=("event_id",), snapshot_id=snapshot.snapshot_id).to_arrow()
        return rows["event_id"].cast(pa.string()).combine_chunks()

    def windows(self) -> list[Visible]:
        """Per window and shard the commit that first showed rows of it.

        Raises:
            RunFailedError: the first snapshots are gone already.
        """
        table = self._table(TABLE)
        known: set[str] = set()
        shown: set[tuple[int, int]] = set()
        found: list[Visible] = []
        for snapshot in _snapshots(table):
            for manifest in manifests_of(table, snapshot):
                for file in files_of(table, manifest):
                    if file.path in known:
                        continue
                    known.add(file.path)
                    if (file.to_us, file.shard) not in shown:
                        shown.add((file.to_us, file.shard))
                        found.append(Visible(file.to_us / _MICROS, snapshot.timestamp_ms / 1_000, file.rows))
        return found

    def written(self) -> dict[str, Written]:
        """By table, since the run began.

        Raises:
            RunFailedError: the first snapshots are gone already.
        """
        return {name: self._written(name) for name in (TABLE, LATE_TABLE, DEAD_LETTERS, LEDGER)}

    def _written(self, name: str) -> Written:
        commits = files = rows = 0
        for snapshot in _snapshots(self._table(name)):
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            commits += name == LEDGER or ROWS_PROPERTY in summary  # the others are halves of a transaction
            files += int(summary.get("added-data-files", 0))
            rows += int(summary.get("added-records", 0))
        return Written(commits, files, rows)

    def _table(self, name: str) -> Table:
        return self.lake.catalog().load_table(name)


def _lineage(table: Table, branch: str) -> list[Snapshot]:
    """The snapshots of a branch, the oldest first."""
    by_id, found = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}, list[Snapshot]()
    at = table.metadata.snapshot_by_name(branch)
    while at:
        found.append(at)
        at = by_id.get(at.parent_snapshot_id or -1)
    return found[::-1]


def _snapshots(table: Table) -> list:  # type: ignore[type-arg]
    snapshots = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)
    if snapshots and snapshots[0].parent_snapshot_id is not None:
        raise RunFailedError("the first snapshots of the run have expired; runs of less than an hour can be read back")
    return snapshots
