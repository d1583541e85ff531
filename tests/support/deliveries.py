"""Deliveries to a real endpoint: rows with a known order and consent, ``headrace deliver`` as a process, what arrived."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from click.testing import CliRunner
from confluent_kafka import Producer

from cli.main import main
from contracts.compiler.rows import canonical_rows
from contracts.spec.project import BUILT_IN_DESTINATIONS, Project
from devstack.cdp.component import WRITE_KEY
from lake.location import Lake
from lake.tables.data_files import read_rows
from lake.tables.iceberg import published_files
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from tests.support.cdp import CdpEndpoint
from tests.support.processes import ROOT
from tests.support.shop import WEBSHOP
from transforms.kafka.connection import KafkaCluster, KafkaConnection

BEGIN = datetime(2026, 11, 2, 8, tzinfo=UTC)
RANGE = ("--start", "2026-11-02T00:00:00Z", "--end", "2026-11-03T00:00:00Z")
DESTINATION = "segment"
# Choices of consent, and why the built-in destination, which needs analytics, does not take a row with them.
CONSENTS: tuple[tuple[dict[str, bool] | None, str], ...] = (
    ({"analytics": True, "marketing": False}, ""),
    ({"analytics": True}, ""),
    ({"analytics": False, "marketing": True}, "consent_denied:analytics"),  # refused, or withdrawn
    ({"marketing": True}, "consent_unknown:analytics"),
    ({}, "consent_unknown:analytics"),
    (None, "consent_unknown:analytics"),
)
_SHARES = (60, 20, 8, 4, 4, 4)
_COMMAND_S = 600.0


@dataclass(frozen=True)
class Sample:
    """Events as a source has them, in order of time. users: of each; withheld: reason of each that may not leave."""

    lines: list[str]
    ids: list[str]
    users: list[str]
    withheld: dict[str, str]

    @classmethod
    def of(cls, count: int, *, users: int | None = None, seed: int = 7, consents: Sequence[int] = _SHARES) -> Sample:
        """So many events over four hours."""
        rng = Random(seed)
        people = users or max(count // 25, 1)
        step = timedelta(hours=4) / count
        lines, ids, owners, withheld = [], [], [], {}
        for number in range(count):
            event_id, user = f"e-{seed}-{number:07d}", f"u-{rng.randrange(people)}"
            consent, reason = rng.choices(CONSENTS, consents)[0]
            payload = {
                "messageId": event_id, "type": "track", "event": f"Product Viewed {rng.randrange(40)}", "userId": user,
                "originalTimestamp": (BEGIN + number * step).isoformat().replace("+00:00", "Z"),
                "properties": {
                    "sku": f"SKU-{rng.randrange(5_000):05d}", "price": rng.randrange(9_900) / 100, "note": "x" * rng.randrange(400),
                },
                "context": {"page": {"url": f"https://shop.example.com/p/{rng.randrange(500)}"}, "locale": "de-DE"},
            }  # fmt: skip
            if consent is not None:
                payload["context"]["consent"] = {"categoryPreferences": consent}
            lines.append(json.dumps(payload))
            ids.append(event_id)
            owners.append(user)
            if reason:
                withheld[event_id] = reason
        return cls(lines, ids, owners, withheld)

    @property
    def payloads(self) -> list[dict[str, Any]]:
        """The events as their source has them."""
        return [json.loads(line) for line in self.lines]

    @property
    def delivered(self) -> set[str]:
        """Ids that may leave."""
        return set(self.ids) - set(self.withheld)

    def order_of_users(self) -> dict[str, list[str]]:
        """Ids that may leave, by user, in order."""
        order: dict[str, list[str]] = {}
        for event_id, user in zip(self.ids, self.users, strict=True):
            if event_id not in self.withheld:
                order.setdefault(user, []).append(event_id)
        return order


class DeliveryProject:
    """A project with the web source, the built-in destination with limits of its own, and a lake.

    name: of the destination, so that several may share a lake. lake: None for one of its own, a folder.
    """

    def __init__(
        self, folder: Path, *, name: str = DESTINATION, lake: Path | str | None = None, catalog: str | None = None, **limits: float
    ) -> None:
        self.folder, self.name, self.lake = folder, name, lake or folder / "lake"
        (folder / "destinations").mkdir(parents=True)
        spec = yaml.safe_load((BUILT_IN_DESTINATIONS / f"{DESTINATION}.yaml").read_text())
        spec["destination"] = name
        spec["limits"] = {"requests_per_s": 50, "in_flight": 4, "linger_s": 0.2, **limits}
        spec["export"] = "${SEGMENT_EXPORT:-http://localhost:9}/v1/export"
        (folder / "write-key").write_text(WRITE_KEY)  # a file: workers of a cluster do not have our environment
        spec["credentials"] = {"write_key": f"file:{folder / 'write-key'}"}
        self.write(spec)
        (folder / "headrace.yaml").write_text(
            f"lake: {self.lake}\nsources: ['{WEBSHOP / 'sources'}']\n" + (f"catalog: {catalog}\n" if catalog else "")
        )

    @property
    def spec(self) -> dict[str, Any]:
        """The destination as its file says it."""
        found: dict[str, Any] = yaml.safe_load((self.folder / "destinations" / f"{self.name}.yaml").read_text())
        return found

    def write(self, spec: dict[str, Any]) -> None:
        """Change the destination."""
        (self.folder / "destinations" / f"{self.name}.yaml").write_text(yaml.safe_dump(spec))

    @property
    def project(self) -> Project:
        """As its files are now."""
        return Project.load(self.folder)

    def ingest(self, sample: Sample) -> None:
        """Into the validated table."""
        path = self.folder / f"{sample.ids[0]}.jsonl"
        path.write_text("\n".join(sample.lines) + "\n")
        moment = (BEGIN + timedelta(hours=5)).timestamp()
        os.utime(path, (moment, moment))  # when it was received
        options = IngestOptions(source="web", input=(str(path),), window=3_600)
        report = ingest_files(options, self.project, lambda _: None)
        assert report.exit_code == 0, report.reasons
        assert report.ledger.out == len(sample.ids), report.ledger

    def publish(self, bootstrap: str, topic: str, partitions: int, only: Sample | None = None) -> None:
        """The rows of the table, or of one sample, to a topic, as the immediate branch does: in order of time, by user."""
        contract = self.project.destination(self.name)[1]
        KafkaCluster(KafkaConnection(bootstrap, None)).ensure_topic(topic, partitions)
        table = Lake.at(str(self.lake)).load(f"validated.{contract.name}")
        rows = pa.concat_tables([read_rows(file.path) for file in published_files(table)])
        if only:
            rows = rows.filter(pc.is_in(rows.column("event_id"), pa.array(only.ids)))
        rows = rows.sort_by([("_window_time", "ascending"), ("_position", "ascending")])
        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
        times = rows.column("_window_time").cast("int64").to_pylist()
        keys = rows.column("user_id").to_pylist()
        for value, key, time_us in zip(canonical_rows(contract)(rows), keys, times, strict=True):
            producer.produce(topic, value, key, headers=[("window_time", str(time_us).encode())])
            producer.poll(0)
        assert producer.flush(60) == 0

    def environment(self, cdp: CdpEndpoint) -> dict[str, str]:
        """What a delivery to this endpoint needs to know."""
        return {
            **os.environ, "PYTHONPATH": str(ROOT), "SEGMENT_ENDPOINT": f"{cdp.url}/v1/batch",
            "SEGMENT_EXPORT": cdp.url,
        }  # fmt: skip

    def start(self, cdp: CdpEndpoint, *options: str) -> subprocess.Popen[str]:
        """``headrace deliver`` in a process group of its own."""
        return subprocess.Popen(
            self._command("deliver", self.name, *options), cwd=ROOT, env=self.environment(cdp), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *arguments, "--project", str(self.folder), "--json"]

    def deliver(self, cdp: CdpEndpoint, *options: str, code: int = 0) -> dict[str, Any]:
        """``headrace deliver`` to its end; its manifest."""
        process = self.start(cdp, *options)
        out, err = process.communicate(timeout=_COMMAND_S)
        assert process.returncode == code, f"exit {process.returncode}\n{err[-3000:]}"
        return dict(json.loads(out)) if out else {}

    def invoke(self, cdp: CdpEndpoint | None, *arguments: str, code: int = 0) -> Any:
        """The same in this process, which is quicker; the text that it printed where it failed."""
        environment = self.environment(cdp) if cdp else {"SEGMENT_ENDPOINT": "http://localhost:9/v1/batch"}
        result = CliRunner(env=environment).invoke(main, [*arguments, "--project", str(self.folder), "--json"])
        assert result.exit_code == code, f"exit {result.exit_code}\n{result.output[-3000:]}\n{result.exception!r}"
        return json.loads(result.stdout) if result.stdout else result.stderr

    def headrace(self, cdp: CdpEndpoint, *arguments: str, code: int = 0) -> Any:
        """A verb's JSON document."""
        done = subprocess.run(
            self._command(*arguments), cwd=ROOT, env=self.environment(cdp), capture_output=True, text=True, timeout=_COMMAND_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, f"exit {done.returncode}\n{done.stderr[-3000:]}"
        return json.loads(done.stdout) if done.stdout else None


def arrived(cdp: CdpEndpoint) -> dict[str, list[str]]:
    """Ids that had an effect, by user, in the order of their effects; each once, or it fails."""
    rows = cdp.ledger()
    ids = [row["messageId"] for row in rows]
    assert len(ids) == len(set(ids))
    order: dict[str, list[str]] = {}
    for row in rows:
        order.setdefault(row["user"], []).append(row["messageId"])
    return order


def calm_requests(project: DeliveryProject, sample: Sample) -> int:
    """How many requests a delivery of the range takes that nothing disturbs. Nothing of it is left."""
    with CdpEndpoint.started() as cdp:
        project.deliver(cdp, *RANGE)
        assert arrived(cdp) == sample.order_of_users()
        shutil.rmtree(Path(project.lake) / "deliveries")
        return int(cdp.counters()["requests"])
