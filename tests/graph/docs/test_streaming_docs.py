"""Pages about streaming say what the code does: their commands parse; flags, settings and refused keys are those of the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.ingest import ingest
from cli.main import main
from devstack.flink import _configuration
from devstack.layout import Layout, Settings
from pipelines.ingest.options import IngestOptions
from runners.flink.submit import FlinkJob, _arguments
from runners.option_fields import parse
from transforms.kafka import connection

ROOT = Path(__file__).parents[3]
GUIDES = ROOT / "docs" / "guides"
DECISIONS = ROOT / "docs" / "decisions"
STREAMING = GUIDES / "streaming.md"
MACHINES = GUIDES / "flink-on-machines.md"
PAGES = [ROOT / "README.md", *sorted(GUIDES.glob("*.md"))]
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FLAG = re.compile(r"`(--[a-z][a-z_-]*)")
_NOT_OF_KAFKA = {"lake", "allow_damaged", "slice_bytes"}


def commands(page: Path) -> Iterator[str]:
    """Lines of a page's blocks that run ``headrace``, without what a shell makes of them."""
    for _, body in _FENCE.findall(page.read_text("utf-8")):
        for line in body.replace("\\\n", " ").splitlines():
            found = re.match(
                r"(?:\s*(?:\$|ExecStart=\S*/|kubectl exec \S+ --|again:) ?)*headrace (?!.*\[OPTIONS\])(.*)", line.strip()
            )
            if found and not re.match(r"\w+:", found[1]):
                yield re.split(r" (?:\|\||&&|[|>&;])(?: |$)", found[1])[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one_that_headrace_takes(page: Path) -> None:
    for command in commands(page):
        if "…" not in command:
            takes(command)


def takes(command: str) -> None:
    """Parse a command as ``headrace`` would, without running it."""
    arguments = shlex.split(command, comments=True)
    group: click.Command = main
    path = []
    while isinstance(group, click.Group):
        path.append(arguments.pop(0))
        found = group.get_command(click.Context(group), path[-1])
        assert found, f"headrace {' '.join(path)}: no such command"
        group = found
    arguments = ["." if before == "--project" else text for before, text in zip([None, *arguments], arguments, strict=False)]
    arguments = ["--project=." if text.startswith("--project=") else text for text in arguments]
    context = group.make_context(" ".join(path), arguments)
    if path == ["ingest"]:
        given = {name: value for name, value in context.params.items() if name not in ("project", "as_json")}
        parse(IngestOptions, given).check()


def test_a_wrong_command_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```text\n$ headrace job list --lake lake\nheadrace ingest web --input kafka://h:1/t \\\n  --untill now\n```\n")
    good, wrong = commands(page)
    takes(good)
    with pytest.raises(click.NoSuchOption):
        takes(wrong)


def test_pages_with_commands_are_read() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 20


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


def test_options_that_the_streaming_page_names_exist_and_all_for_kafka_are_named() -> None:
    named = set(_FLAG.findall(STREAMING.read_text("utf-8")))
    there = options_of(ingest)
    assert named <= there
    kafka = {f"--{name.replace('_', '-')}" for name in IngestOptions.__dataclass_fields__ if name not in _NOT_OF_KAFKA} & there
    of_clusters = {"--flink", "--checkpoint-every", "--python-workers", "--python-workers-per-taskmanager"}
    assert kafka - of_clusters - {"--group", "--max-rejected", "--num-shards"} <= named


def test_client_settings_that_are_refused_are_named() -> None:
    section = STREAMING.read_text("utf-8").split("## Security")[1].split("## ")[0]
    assert all(f"`{key}`" in section for key in connection._OURS)


def test_beam_options_of_a_job_are_explained(tmp_path: Path) -> None:
    sent: set[str] = set()
    for job in (
        FlinkJob(rest="h:1", parallelism=2, workers="process:/w"),
        FlinkJob(rest="h:1", parallelism=2, workers="process:/w", endless=False),
        FlinkJob(rest="h:1", parallelism=1, workers="process:/w"),
    ):
        sent |= {argument.partition("=")[0] for argument in _arguments(job, "name", 2)}
    page = MACHINES.read_text("utf-8").split("tells Beam")[1].split("## ")[0]
    unexplained = sent - set(_FLAG.findall(page)) - {"--flink_master", "--job_name", "--flink_job_server_jar"}
    assert unexplained == set()
    assert set(_FLAG.findall(page)) - sent <= options_of(ingest)
    for number in ("--max_parallelism=128", "--max_cache_memory_usage_mb=256", "--checkpoint_timeout_millis=180000"):
        assert f"`{number}`" in page and number in _arguments(FlinkJob(rest="h:1", parallelism=2, workers="process:/w"), "name", 2)


def yaml_blocks(page: Path) -> list[Any]:
    return [yaml.safe_load(body) for kind, body in _FENCE.findall(page.read_text("utf-8")) if kind == "yaml"]


def test_flink_settings_of_the_pages_and_the_manifest_are_those_that_are_tested(tmp_path: Path) -> None:
    tested = _configuration(Layout.default().with_home(tmp_path), Settings())
    of_pods = yaml.safe_load((ROOT / "templates/kubernetes/cluster.yaml").read_text("utf-8"))["spec"]["flinkConfiguration"]
    page = next(block for block in yaml_blocks(MACHINES) if "jobmanager.rpc.address" in block)
    # The local stack's reporter of metrics listens on loopback; a cluster's must be reached.
    own = ("address", "dir", ".port", "prom.factory.class", "process.size", "max-backoff")
    for settings in (page, of_pods):
        shared = {key: str(value).lower() for key, value in settings.items() if not key.endswith(own)}
        assert shared and {key: str(tested[key]).lower() for key in shared} == shared


def test_every_decision_is_in_the_index_once() -> None:
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (DECISIONS / "README.md").read_text("utf-8"))
    assert listed == sorted(path.name for path in DECISIONS.glob("0*.md"))
    for name in listed:
        text = (DECISIONS / name).read_text("utf-8")
        assert text.startswith(f"# {name[:4]}: ")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")), name
