"""What is delivered: a table of web events that may all leave, and the same events as the client libraries take them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from benchmarks.ingest import sample as web
from benchmarks.ingest.measure import run_measured
from contracts.encode.events import EventEncoder
from contracts.spec.project import BUILT_IN_DESTINATIONS, Project
from contracts.spec.suppressions import NOTHING
from devstack.cdp.component import WRITE_KEY
from lake.location import Lake
from lake.tables.data_files import read_rows
from lake.tables.iceberg import published_files
from transforms.deliver.http.dialects import Segment

DESTINATION, TABLE = "segment", "validated.customer_event"
RANGE = ("2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z")
_IN_FLIGHT = 4
_ORDER = ("_window_time", "_source", "_raw_file", "_position")
_WEBSHOP = Path(__file__).parents[2] / "examples/webshop"


@dataclass(frozen=True)
class Sample:
    """A project with a lake, and ``events``: a JSON object a line, in the order of the table, made by the destination's mapping."""

    project: Path
    events: Path
    ids: list[str]
    users: list[str]
    size_bytes: int

    @property
    def lake(self) -> Path:
        """Of the project."""
        return self.project / "lake"

    def point_at(self, url: str) -> None:
        """Let the destination be this endpoint; nothing is limited but what the API limits, and requests at once."""
        spec = yaml.safe_load((BUILT_IN_DESTINATIONS / f"{DESTINATION}.yaml").read_text("utf-8"))
        spec |= {"endpoint": url, "limits": {"in_flight": _IN_FLIGHT}, "credentials": {"write_key": f"file:{self.project / 'key'}"}}
        (self.project / f"destinations/{DESTINATION}.yaml").write_text(yaml.safe_dump(spec), "utf-8")

    def orders(self) -> dict[str, list[str]]:
        """Ids by user, in order."""
        return by_user(zip(self.ids, self.users, strict=True))


def make_sample(events: int, seed: int, folder: Path) -> Sample:
    """About so many events of the demo's generator, all with consent, ingested into a lake of their own.

    Raises:
        RunFailedError: the ingest failed.
    """
    project = folder / "project"
    (project / "destinations").mkdir(parents=True)
    (project / "key").write_text(WRITE_KEY, "utf-8")
    (project / "headrace.yaml").write_text(yaml.safe_dump({"lake": "lake", "sources": [str(_WEBSHOP / "sources")]}), "utf-8")
    given = folder / "web"
    given.mkdir()
    for path in sorted(web.make_sample(events, seed).folder.glob("*.jsonl")):
        copy = given / path.name
        copy.write_bytes(b"".join(_consenting(path)))
        os.utime(copy, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))  # when it was received
    command = ["-m", "cli.main", "ingest", "web", "--input", str(given), "--window", "1h", "--project", str(project)]
    run_measured(command, sorted(os.sched_getaffinity(0)), folder / "ingest.log")
    return _described(project, folder / "events.jsonl")


def _consenting(path: Path) -> Iterator[bytes]:
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            event = json.loads(line)
            event["context"]["consent"] = {"categoryPreferences": {"analytics": True, "advertising": False}}
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # broken on purpose, by the generator
        written = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        if len(written) < Segment.limits.event_bytes // 2:  # larger than that is only what nobody takes
            yield written


def _described(project: Path, path: Path) -> Sample:
    """Events of the table as the destination gets them."""
    sample = Sample(project, path, [], [], 0)
    sample.point_at("http://localhost:9/v1/batch")
    loaded = Project.load(project)
    destination, contract = loaded.destination(DESTINATION)
    encoder = EventEncoder(destination, contract, NOTHING)
    rows = table_rows(sample)
    columns = encoder.of_table(rows)
    events = encoder.events(columns)
    path.write_bytes(b"\n".join(events) + b"\n")
    return Sample(project, path, encoder.event_ids(columns), encoder.keys(columns), sum(map(len, events)))


def table_rows(sample: Sample) -> pa.Table:
    """The rows of the table in the order in which they are delivered."""
    files = published_files(Lake.at(str(sample.lake)).load(TABLE))
    rows = pa.concat_tables([read_rows(file.path) for file in files])
    return rows.sort_by([(name, "ascending") for name in _ORDER])


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a sample as dictionaries."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def by_user(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Ids by user, in order, from pairs of id and user."""
    found: dict[str, list[str]] = {}
    for event_id, user in pairs:
        found.setdefault(user, []).append(event_id)
    return found
