"""Runs over poisoned records, with secrets in environment, files and URLs: none of it is in what they print, log or note.

Poison may lie where data lies: in raw files, tables and dead letters. Everything else is searched: stdout and stderr at the most
talkative level, manifests and notes of runs, states of deliveries, logs of Flink and of its Python workers, and command lines of
every process while the runs go on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject
from tests.support.kafka import Broker, Record
from tests.support.processes import ROOT

POISON = "canary"  # in every value, key and secret below, and in no name of ours
MAIL, USER, SECRET, TOKEN = f"{POISON}@example.com", f"{POISON}-user", f"{POISON}-write-key", f"{POISON}-token"
_DATA = ("raw", "warehouse", "catalog.db", "deliveries")  # of a lake
_DEADLINE_S = 180.0


def _event(number: int, **more: object) -> bytes:
    event = {
        "messageId": f"{POISON}-{number}", "type": "track", "event": f"{POISON} bought", "userId": USER, "anonymousId": POISON,
        "originalTimestamp": f"2026-11-02T10:{number % 60:02d}:00Z", f"{POISON}_field": MAIL,
        "properties": {f"{POISON}_key": MAIL}, "traits": {"email": MAIL}, "context": {"ip": "203.0.113.7", "userAgent": POISON,
        "consent": {"categoryPreferences": {"analytics": True}}},
        **more,
    }  # fmt: skip
    return json.dumps(event).encode()


RECORDS = [
    *(_event(n) for n in range(40)),
    _event(3, event=f"{POISON} conflicts"),
    _event(50, type=POISON),
    _event(51, originalTimestamp=POISON),
    _event(52, properties=POISON),
    _event(53, context={"ip": MAIL}),
    _event(54, userId={POISON: MAIL}),
    _event(55, traits={POISON: "x" * 40_000}),
    f'{{"{POISON}": "{MAIL}'.encode(),
    POISON.encode() + b"\xff\xfe",
]


class Heard:
    """What commands printed, and command lines of processes meanwhile."""

    def __init__(self, project: DeliveryProject, **environment: str) -> None:
        self.project, self.environment = project, environment
        self.said: dict[str, str] = {}
        self.lines: set[str] = set()

    def run(self, *arguments: object, codes: tuple[int, ...] = (0,), level: str = "debug") -> None:
        """A command to its end."""
        given = ["--log-level", level, *map(str, arguments), "--project", str(self.project.folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        with self._watching():
            done = subprocess.run(
                [sys.executable, "-m", "cli.main", *given],
                cwd=self.project.folder,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_DEADLINE_S,
                check=False,
            )
        self.said[" ".join(map(str, arguments[:2])) + f" {level}"] = done.stdout + done.stderr
        assert done.returncode in codes, done.stderr[-3000:]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.05):
                for process in Path("/proc").glob("[0-9]*"):
                    with suppress(OSError):
                        self.lines.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def poisoned(self, *logs: Path) -> list[str]:
        """Where poison is found, and what stands around it."""
        places = {**self.said, "command lines": "\n".join(line for line in self.lines if "devstack.cdp" not in line)}
        lake = Path(self.project.lake)
        for file in (*lake.rglob("*"), *(file for folder in logs for file in folder.rglob("*"))):
            if file.is_file() and not (file.is_relative_to(lake) and file.relative_to(lake).parts[0] in _DATA):
                places[str(file)] = file.read_text("utf-8", "replace")
        return [f"{place}: {line[:300]}" for place, text in places.items() for line in text.splitlines() if POISON in line.lower()]


@pytest.fixture
def project(tmp_path: Path) -> DeliveryProject:
    """With a destination whose key is in the environment."""
    made = DeliveryProject(tmp_path / "shop")
    made.write({**made.spec, "credentials": {"write_key": "env:WRITE_KEY"}})
    with (made.folder / "headrace.yaml").open("a") as file:
        file.write("replay: {maxAge: 36500d}\n")
    return made


def test_runs_over_files_and_deliveries_tell_no_value_and_no_secret(project: DeliveryProject, tmp_path: Path) -> None:
    file = tmp_path / "in" / "events.jsonl"
    file.parent.mkdir()
    file.write_bytes(b"\n".join(RECORDS) + b"\n")
    with CdpEndpoint.started(write_keys=[f"web={SECRET}"]) as cdp:
        heard = Heard(
            project, WRITE_KEY=SECRET, SEGMENT_ENDPOINT=f"{cdp.url}/v1/batch",
            SEGMENT_EXPORT=f"http://127.0.0.1:9/v1/export?token={TOKEN}",
        )  # fmt: skip
        read = ("--input", file, "--max-rejected", "100%", "--allow-damaged")
        heard.run("ingest", "web", *read, "--workers", 2)
        heard.run("ingest", "web", *read, "--json", level="info")
        heard.run("deadletter", "list")
        heard.run("deadletter", "stats", "--since", "1h")
        heard.run("deadletter", "ticket")
        heard.run("status")
        heard.run("lake", "check", "--verify")
        heard.run("replay", "run", "again", "--dataset", "customer_event", *RANGE, codes=(0, 1))
        heard.run("replay", "diff", "again")
        cdp.faults(script=["503"])
        heard.run("deliver", project.name, *RANGE, codes=(0, 1, 3))
        cdp.faults()
        heard.run("deliver", project.name, *RANGE, codes=(0, 1))
        heard.run("reconcile", project.name, *RANGE, codes=(2, 3))
        assert len(cdp.ledger()) > 30, "the secret was the right one"
    (project.folder / "headrace.yaml").write_text(
        f"lake: {project.lake}\nsources: [{ROOT}/examples/webshop/sources]\n"
        f"catalog: postgresql+psycopg://u:{POISON}@127.0.0.1:1/catalog\n"
    )
    heard.run("lake", "files", codes=(2, 3))
    assert heard.poisoned() == []
    heard.said["what a leak would be"] = MAIL
    assert heard.poisoned() == [f"what a leak would be: {MAIL}"]


def test_a_stream_on_flink_tells_none_either_nor_do_its_logs(project: DeliveryProject, stack: Stack, tmp_path: Path) -> None:
    settings = tmp_path / "client.properties"
    settings.write_text(f"sasl.password={POISON}-password\nsasl.username={POISON}\nclient.id=web\n")
    broker = Broker(stack.kafka_bootstrap)
    heard = Heard(project, WRITE_KEY=SECRET)
    with broker.topic() as topic:
        broker.send(topic, [Record(record) for record in RECORDS])
        where = ("--runner", "flink", "--flink", stack.flink_rest, "--workers", 1)
        read = ("--input", broker.uri(topic), "--client-config", settings, "--until", "now", "--max-rejected", "100%")
        heard.run("ingest", "web", *read, *where)
        heard.run("job", "list", "--all", "--flink", stack.flink_rest)
        heard.run("status")
        heard.run("deadletter", "list")
    assert heard.poisoned(stack.layout.logs) == []
