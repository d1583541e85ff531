"""docs/reference/exit-codes.md: each kind of error, a command that ends so, and all that it says. Made and held by this test.

HEADRACE_WRITE_PAGES=1 python -m pytest tests/stack/docs/test_exit_codes.py
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from cli import contract_register
from cli import main as command_line
from contracts import errors
from contracts.errors import HeadraceError
from devstack.stack import Stack
from lake.runs.submission import Attempt, record_submission
from tests.support.flink_stub import A, StubCluster, StubJob, serving
from tests.support.kafka import Broker, Record
from tests.support.shop import LINES, Shop, event

PAGE = Path(__file__).parents[3] / "docs/reference/exit-codes.md"
RUN = "20261123T042512483350Z-web-5c9be0"
_TOPIC = "web-events"
_WIDTH = 120  # of the page; a terminal folds lines too
_RUN_ID = re.compile(r"\d{8}T\d{12}Z-web-[0-9a-f]{6}")
_HEAD = """# Exit codes

Made by `tests/stack/docs/test_exit_codes.py`, which runs every command below and holds its whole output.

| code | meaning | who retries |
|---|---|---|
| 0 | Done. | |
| 1 | The data said no. What is good is written all the same. | Nobody: look at the data. |
| 2 | Wrong use. Nothing was published. | Nobody: change what the message names. |
| 3 | A component does not answer, or a job on a cluster failed. | A scheduler, with pauses that grow. |
| 4 | A fault of ours. What was committed stays. | Nobody: send us the file that is named. |
| 130 | Ctrl-C. What was committed stays. | Give the same command again. |

The classes are those of `contracts/errors.py`. With `--json` messages stay on stderr, and stdout has nothing but a document.
"""


@dataclass
class World:
    """A project, a broker, and what stands in for a cluster."""

    shop: Shop
    broker: Broker
    cluster: StubCluster
    topic: str
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str]:
        """A command as the console script runs it: exit code and all that it says, without what differs from time to time."""
        self.monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            command_line.run()
        said = self.capsys.readouterr()
        return int(end.value.code or 0), self.plain(said.out + said.err)

    def plain(self, text: str) -> str:
        """Names of this machine and moment replaced."""
        names = {
            str(self.shop.folder): "/srv", self.broker.bootstrap: "kafka:9092", self.cluster.address: "flink:8081",
            self.topic: _TOPIC, self.topic.replace("web-events", "web-event"): "web-event",
        }  # fmt: skip
        for name, shown in sorted(names.items(), key=lambda item: -len(item[0])):
            text = text.replace(name, shown)
        text = re.sub(r" or web-events-[0-9a-f]+|web-events-[0-9a-f]+ or ", "", text)  # topics of tests beside this one
        text = re.sub(r"headrace-fault-\S+?\.txt", "headrace-fault-….txt", _RUN_ID.sub("20261123T…-web-5c9be0", text))
        lines = (line.rstrip() for line in text.strip().splitlines())
        return "\n".join(line for line in lines if not re.match(r"\d+ s: ", line))


@pytest.fixture
def broker(stack: Stack) -> Broker:
    """Of the stack that tests share."""
    return Broker(stack.kafka_bootstrap)


@pytest.fixture
def world(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    config = {"state.savepoints.dir": "file:/savepoints"}
    with broker.topic(prefix="web-events") as topic, serving(StubCluster(config=config)) as cluster:
        shop = Shop(tmp_path / "project", f"replay: {{maxAge: 36500d}}\nflink: {cluster.address}")
        monkeypatch.chdir(shop.folder)
        monkeypatch.setattr(tempfile, "tempdir", str(shop.folder))
        shop.write_lines("web.jsonl", LINES)
        yield World(shop, broker, cluster, topic, monkeypatch, capsys)


def _data(world: World) -> tuple[int, str]:
    world.shop.write_lines("broken.jsonl", [event(1, 8), "{broken", "{broken too"])
    return world.run("ingest", "web", "--input", "drop/broken.jsonl")


def _offset_gap(world: World) -> tuple[int, str]:
    command = ("ingest", "web", "--input", world.broker.uri(world.topic), "--until", "now", "--max-rejected", "100%")
    world.broker.send(world.topic, [Record(event(n, 8).encode()) for n in range(5)])
    assert world.run(*command)[0] == 0
    world.broker.send(world.topic, [Record(event(n, 8).encode()) for n in range(5, 10)])
    world.broker.delete_before(world.topic, {0: 8})
    return world.run(*command)


def _configuration(world: World) -> tuple[int, str]:
    return world.run("ingest", "wbe", "--input", "drop/web.jsonl")


def _layout(world: World) -> tuple[int, str]:
    command = ("ingest", "web", "--input", "drop/web.jsonl", "--max-rejected", "100%", "--allow-damaged")
    assert world.run(*command)[0] == 0
    return world.run(*command, "--num-shards", "8")


def _topic_missing(world: World) -> tuple[int, str]:
    return world.run("ingest", "web", "--input", world.broker.uri(world.topic.replace("events", "event")), "--until", "now")


def _unknown_job(world: World) -> tuple[int, str]:
    return world.run("job", "stop", A)


def _component_down(world: World) -> tuple[int, str]:
    world.cluster.broken = 503
    return world.run("job", "list")


def _registry_down(world: World) -> tuple[int, str]:
    world.monkeypatch.setattr(contract_register, "_PATIENCE_S", 0.0)
    return world.run("contract", "register", "order", "--registry", "http://localhost:1")


def _savepoint(world: World) -> tuple[int, str]:
    lake = world.shop.lake()
    lake.create()
    argv = ("ingest", "web", "--input", "kafka://kafka:9092/web-events")
    record_submission(lake, RUN, argv, RUN, world.cluster.address, Attempt(A, datetime.now(UTC)))
    trace = "java.util.concurrent.CompletionException: x\nCaused by: java.nio.file.AccessDeniedException: /s\n\tat X.z(X.java:1)"
    world.cluster.jobs.append(StubJob(A, RUN, stop=(0, trace)))
    return world.run("job", "stop", RUN)


def _fault(world: World) -> tuple[int, str]:
    def fail(_context: click.Context) -> None:
        raise ZeroDivisionError("jane@example.com")

    world.monkeypatch.setattr(command_line.main, "invoke", fail)
    return world.run("status")


def _interrupt(world: World) -> tuple[int, str]:
    def interrupted(_context: click.Context) -> None:
        raise KeyboardInterrupt

    world.monkeypatch.setattr(command_line.main, "invoke", interrupted)
    return world.run("ingest", "web", "--input", "drop/web.jsonl")


@dataclass(frozen=True)
class Case:
    """kind: of the error, None where there is no class of it. command: as it is shown. elsewhere: the test, where it is another."""

    kind: type[HeadraceError] | None
    title: str
    code: int
    command: str
    end: Callable[[World], tuple[int, str]] | None
    elsewhere: str = ""


_KAFKA = "kafka://kafka:9092"
CASES = (
    Case(errors.DataError, "too many rejects", 1, "headrace ingest web --input drop/broken.jsonl", _data),
    Case(errors.OffsetGapError, "", 1, f"headrace ingest web --input {_KAFKA}/web-events --until now", _offset_gap),
    Case(errors.CeilingError, "", 1, "headrace replay run mend-utm --max-memory 2G", None,
         "tests/graph/pipelines/replay/test_costs.py"),
    Case(errors.ConfigurationError, "", 2, "headrace ingest wbe --input drop/web.jsonl", _configuration),
    Case(errors.LayoutMismatchError, "", 2, "headrace ingest web --input drop/web.jsonl --num-shards 8", _layout),
    Case(errors.TopicMissingError, "", 2, f"headrace ingest web --input {_KAFKA}/web-event --until now", _topic_missing),
    Case(errors.UnknownJobError, "", 2, f"headrace job stop {A}", _unknown_job),
    Case(errors.ComponentDownError, "", 3, "headrace job list", _component_down),
    Case(errors.RegistryDownError, "", 3, "headrace contract register order --registry http://localhost:1", _registry_down),
    Case(errors.SavepointError, "", 3, f"headrace job stop {RUN[:8]}", _savepoint),
    Case(errors.JobFailedError, "", 3, "headrace ingest web --input drop/web.jsonl --runner flink", None,
         "tests/unit/runners/flink/test_submit.py"),
    Case(errors.GaveUpError, "", 3, f"headrace job supervise {RUN[:8]}", None, "tests/graph/runners/jobs/test_supervise.py"),
    Case(None, "a fault of ours", 4, "headrace status", _fault),
    Case(None, "Ctrl-C", 130, "headrace ingest web --input drop/web.jsonl", _interrupt),
)  # fmt: skip


def test_every_class_of_errors_has_a_case() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HeadraceError)}
    assert kinds - {HeadraceError} == {case.kind for case in CASES} - {None}
    assert all(case.code == case.kind.exit_code for case in CASES if case.kind)


def written() -> dict[str, str]:
    """Sections of the page by their heading."""
    found = re.split(r"^## ", PAGE.read_text("utf-8") if PAGE.exists() else _HEAD, flags=re.MULTILINE)
    return {"": found[0]} | {part.partition("\n")[0]: part for part in found[1:]}


def heading(case: Case) -> str:
    name = case.kind.__name__ if case.kind else ""
    return f"{case.code}: {', '.join(filter(None, (name, case.title)))}"


def section(case: Case, said: str) -> str:
    """As it is on the page."""
    about = " ".join((case.kind.__doc__ or "").split()) if case.kind else ""
    text = f"{heading(case)}\n\n" + (f"{about}\n\n" if about else "")
    lines = [part for line in said.splitlines() for part in textwrap.wrap(line, _WIDTH, break_on_hyphens=False) or [""]]
    text += "\n".join(["```text", f"$ {case.command}", *lines, "```"]) + "\n"
    return text + (f"\nShown by `{case.elsewhere}`.\n" if case.elsewhere else "")


@pytest.mark.parametrize("case", [case for case in CASES if case.end], ids=heading)
def test_a_command_ends_as_the_page_says(case: Case, world: World) -> None:
    assert case.end
    code, said = case.end(world)
    assert code == case.code, said
    if os.environ.get("HEADRACE_WRITE_PAGES"):
        sections = written() | {heading(case): section(case, said)}
        sections |= {heading(other): section(other, "") for other in CASES if other.elsewhere}
        order = [heading(other) for other in CASES if heading(other) in sections]
        PAGE.write_text("\n".join([_HEAD, *("## " + sections[name].rstrip("\n") + "\n" for name in order)]), "utf-8")
    assert written()[heading(case)].rstrip("\n") == section(case, said).rstrip("\n")


def test_the_page_has_the_cases_and_nothing_else() -> None:
    assert list(written()) == ["", *map(heading, CASES)]
