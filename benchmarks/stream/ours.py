"""The streaming job under load: ``headrace ingest web --runner flink``, as users start it, and what is read back from its lake."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyiceberg.table import Table

from benchmarks.stream.bed import PARTITIONS, SLOTS, RunFailedError, Sent, require_once, run_json
from benchmarks.stream.figures import Visible
from contracts.spec.project import Project
from devstack.stack import Stack
from lake.ledger.ledger import LedgerEntry, frontier, log_ledger
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import landed_up_to
from lake.tables.iceberg import DEAD_LETTERS, LEDGER, files_of, manifests_of
from lake.tables.publish import ROWS_PROPERTY, table_totals
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
class OurJob:
    """The job over one topic. immediate: where rows go at once; None for nowhere."""

    stack: Stack
    folder: Path
    topic: str
    immediate: str | None
    _begins: dict[LogId, int] = field(default_factory=dict)

    @property
    def lake(self) -> Lake:
        """A lake of its own."""
        return Lake.at(str(self.folder / "lake"))

    def start(self) -> str:
        """Submit it; Flink's id of the job."""
        address = f"kafka://{self.stack.kafka_bootstrap}/{self.topic}"
        submitted = run_json(
            "cli.main", "ingest", SOURCE, "--input", address, "--lake", self.lake.root, "--project", str(PROJECT),
            "--runner", "flink", "--flink", self.stack.flink_rest, "--workers", str(SLOTS),
            "--immediate", self.immediate or "off", "--json",
        )  # fmt: skip
        topic_id = KafkaCluster(KafkaConnection(self.stack.kafka_bootstrap)).describe([self.topic])[self.topic].topic_id
        self._begins = {LogId(self.topic, topic_id, number): 0 for number in range(PARTITIONS)}
        return str(submitted["job_id"])

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
            self._begins[log] = frontier(self.lake, spec, log, self._begins[log]) or 0
        return all(reached >= sent.ends.get(log.partition, 0) for log, reached in self._begins.items())

    def check(self, sent: Sent) -> None:
        """Every event is published once, and the ledger adds up.

        Raises:
            RunFailedError: they are not, or it does not.
        """
        require_once(self._table(TABLE).scan(selected_fields=("event_id",)).to_arrow()["event_id"].cast(pa.string()), sent)
        spec, _ = Project.load(PROJECT).source(SOURCE)
        entry = sum((log_ledger(self.lake, spec, TABLE, log) for log in self._begins), LedgerEntry())
        if not entry.balanced or entry.records_in != len(sent.lines):
            raise RunFailedError(f"the ledger does not add up to the {len(sent.lines):,} messages that were sent: {entry}")

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


def _snapshots(table: Table) -> list:  # type: ignore[type-arg]
    snapshots = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)
    if snapshots and snapshots[0].parent_snapshot_id is not None:
        raise RunFailedError("the first snapshots of the run have expired; runs of less than an hour can be read back")
    return snapshots
