"""The options of the commands that schedules make, read as ``headrace ingest`` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from operations.drift.differences import Difference, Kind

Options = dict[str, dict[str, Any]]


def scheduled_options(project: Project) -> tuple[Options, list[Difference]]:
    """By source, as a run notes them; and what cannot be read, which no run would take either."""
    plan = project.schedules
    if plan is None:
        return {}, []
    found: Options = {}
    wrong: list[Difference] = []
    for source, words in _commands(project):
        try:
            found[source] = _read(words)
        except (click.UsageError, ConfigurationError) as error:
            told = error.format_message() if isinstance(error, click.UsageError) else str(error)
            wrong.append(_wrong(project, source, told.splitlines()[0]))
    return found, wrong


def _wrong(project: Project, source: str, why: str) -> Difference:
    return Difference(
        kind=Kind.JOBS, what=f"options of {source}", where="schedules", deployed="no run takes them", repository=why,
        remedy="mend them in headrace.yaml; headrace ingest --help", file=str(project.file or ""),
    )  # fmt: skip


def _commands(project: Project) -> Iterator[tuple[str, list[str]]]:
    plan = project.schedules
    assert plan is not None
    for source, stream in plan.streams.items():
        yield source, [source, "--runner", "flink", "--workers", str(stream.workers), *stream.options, "--input", stream.input]
    for source, when in plan.sources.items():
        until = ["--until", "now"] if when.input.startswith("kafka://") else []
        yield source, [source, *when.options, *until, "--input", when.input]


def _read(words: list[str]) -> dict[str, Any]:
    from cli.ingest import ingest  # noqa: PLC0415 - brings Beam
    from lake.runs.manifest import given_options  # noqa: PLC0415 - as above
    from pipelines.ingest.options import IngestOptions  # noqa: PLC0415 - as above
    from runners.option_fields import parse  # noqa: PLC0415 - as above

    given = dict(ingest.make_context("ingest", words).params)
    del given["project"], given["as_json"]
    return given_options(parse(IngestOptions, given))
