"""A small project with the web source, for replays: what is in it, and what a mended mapping takes out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from cli.main import main
from contracts.spec.project import BUILT_IN_DATASETS, Project
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.tables.publish import table_totals
from operations.replay.promote import Promotion, promote
from pipelines.ingest.run import IngestReport
from pipelines.replay.options import ReplayOptions
from pipelines.replay.run import ReplayReport, run_replay
from tests.support.runs import ingest

WEBSHOP = Path(__file__).parents[2] / "examples" / "webshop"
CONTRACT = BUILT_IN_DATASETS / "customer_event.v1.yaml"
WEB: dict[str, Any] = yaml.safe_load((WEBSHOP / "sources" / "web.yaml").read_text())
ANY_AGE = "replay: {maxAge: 36500d}"  # times are of 2026
HOUR_US = 3_600_000_000
RECEIVED_S = 1_793_577_600 + 13 * 3_600
DAY = 1_793_577_600_000_000  # 2026-11-02T00:00:00Z
TABLE = "validated.customer_event"


def event(number: int, hour: int, **more: Any) -> str:
    """A line of the web source."""
    time = f"2026-11-02T{hour:02d}:{number % 60:02d}:00Z"
    return json.dumps({"messageId": f"m-{number}", "type": "page", "anonymousId": "a", "originalTimestamp": time, **more})


class Shop:
    """A project with the web source, lakes of it, and the command line on it."""

    received_s = RECEIVED_S  # a part of its rows

    def __init__(self, folder: Path, config: str = ANY_AGE, spec: dict[str, Any] = WEB) -> None:
        self.folder, self.spec = folder, spec
        (folder / "sources").mkdir(parents=True)
        (folder / "headrace.yaml").write_text(f"lake: lake\nsources: [sources]\n{config}\n")
        self.write_spec(spec)

    def write_spec(self, spec: dict[str, Any]) -> None:
        """Change the source."""
        (self.folder / "sources" / "web.yaml").write_text(yaml.safe_dump(spec))

    def write_contract(self, deduplication: str) -> None:
        """The built-in contract, with another deduplication."""
        (self.folder / "datasets").mkdir()
        with (self.folder / "headrace.yaml").open("a") as file:
            file.write("datasets: [datasets]\n")
        text = CONTRACT.read_text()
        mended = text.replace(
            "customProperties:\n", f"customProperties:\n  - {{property: deduplication, value: {deduplication}}}\n", 1
        )
        (self.folder / "datasets" / CONTRACT.name).write_text(mended)

    @property
    def project(self) -> Project:
        """As its files are now."""
        return Project.load(self.folder)

    def lake(self, name: str = "lake") -> Lake:
        """One of its lakes."""
        return Lake.at(str(self.folder / name))

    def write_lines(self, name: str, lines: Sequence[str]) -> Path:
        """A file to ingest."""
        path = self.folder / "drop" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        os.utime(path, (self.received_s, self.received_s))
        return path

    def ingest(self, lines: Sequence[str], name: str = "lake", **options: Any) -> IngestReport:
        """Ingest lines as a new file."""
        path = self.write_lines(f"{name}-{len(list(self.folder.glob('drop/*')))}.jsonl", lines)
        given = {"max_rejected": 1.0, "allow_damaged": True, "window": 3_600, **options}
        return ingest(self.lake(name), [path], project=self.project, **given)

    def headrace(self, *arguments: object) -> Result:
        """A command, in this process."""
        return CliRunner().invoke(main, [*map(str, arguments), "--project", str(self.folder)])

    def options(self, name: str, first: int, last: int, **more: Any) -> ReplayOptions:
        """A replay of the hours [first, last)."""
        given = {"start": DAY + first * HOUR_US, "end": DAY + last * HOUR_US, **more}
        return ReplayOptions(name=name, dataset="customer_event", **given)

    def run(self, name: str, first: int, last: int, **more: Any) -> ReplayReport:
        """Run it."""
        return run_replay(self.options(name, first, last, **more), self.project, self.lake(), lambda _: None)

    def promote(self, name: str) -> Promotion:
        """Promote it."""
        return promote(name, self.project, self.lake())

    def state(self, name: str = "lake") -> tuple[int, str]:
        """Rows and content hash of the live table."""
        rows, digest = table_totals(self.lake(name).load(TABLE))
        return rows, f"{digest:032x}"

    def ledger(self, name: str = "lake") -> LedgerEntry:
        """Of the whole source."""
        spec, _ = self.project.source("web")
        return sum(source_ledger(self.lake(name), spec, TABLE).values(), LedgerEntry())


LINES = [event(n, 8 + n % 4) for n in range(120)] + [event(n, 9, type="no such type") for n in range(120, 130)] + ["{broken"]


def strict(spec: dict[str, Any]) -> dict[str, Any]:
    """The source with a filter that takes some of the events out, as a mended mapping might."""
    return {**spec, "filter": [{"path": "messageId", "in": ["m-4", "m-5", "m-44"]}]}
