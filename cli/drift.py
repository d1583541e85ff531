"""``headrace drift``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from pyiceberg.exceptions import RESTError

from cli.console import (
    json_option,
    lake_option,
    load_project,
    open_lake,
    plain_errors,
    print_json,
    project_option,
    stderr,
    stdout,
    table,
)
from cli.drift_dags import look_at_dags
from cli.drift_scheduled import Options, scheduled_options
from cli.drift_templates import BUILT, look_at_templates
from cli.hints import as_given
from contracts.errors import ConfigurationError, HeadraceError
from contracts.lint.findings import Finding, Severity
from contracts.lint.reports import github_lines
from contracts.spec.project import LOCAL_FLINK, Project
from lake.catalogs import TROUBLE
from lake.location import Lake
from operations.drift.airflow_rest import ADDRESS
from operations.drift.differences import Difference, Drift, Kind, Looked, NotCompared
from runners.jobs.target import lake_if_any

_Found = Iterator[Difference | Looked | NotCompared]
_FILES_ALONE = frozenset({Kind.DAGS, Kind.TEMPLATES})
_EPILOG = """\b
Examples:
  headrace drift
  headrace drift --only dags --only jobs --airflow https://airflow.example.com
  headrace drift --offline --format github                    in CI: what needs no component

Changes nothing. Each difference names the command that mends it. What the project does not have is not looked at, and told.
Exit code 1 where something differs; 3 where a component that was to be asked does not answer, the rest is told all the same. What
the next run of a schedule does away with is told as pending; --strict counts it. Credentials for Airflow: HEADRACE_AIRFLOW_TOKEN,
or HEADRACE_AIRFLOW_USER and HEADRACE_AIRFLOW_PASSWORD.
"""


@click.command(epilog=_EPILOG)
@click.option("--only", "kinds", type=click.Choice([str(kind) for kind in Kind]), multiple=True, help="This kind; may be repeated.")
@click.option("--offline", is_flag=True, help="Only what needs no component: files of DAGs and templates.")
@click.option("--strict", is_flag=True, help="Count what is pending too.")
@click.option("--airflow", metavar="URL", envvar=ADDRESS, help=f"Where Airflow's pages are; its API is asked.  [{ADDRESS}]")
@click.option(
    "--dags-folder", metavar="DIR", type=click.Path(path_type=Path),
    help="Airflow's DAG folder, or a copy of it, where it can be read.",
)  # fmt: skip
@click.option("--flink", metavar="HOST:PORT", help=f"Flink's REST address; else headrace.yaml's, FLINK_REST, or {LOCAL_FLINK}.")
@click.option("--registry", metavar="URL", help="Of the registry's Confluent API; else that of headrace.yaml.")
@click.option(
    "--templates", metavar="DIR", type=click.Path(path_type=Path),
    help=f"Where templates were built.  [default: {BUILT} of the project, where it is]",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["text", "github"]), default="text", show_default=True, help="Output.")
@lake_option
@project_option
@json_option
@plain_errors
def drift(
    kinds: tuple[str, ...], offline: bool, strict: bool, airflow: str | None, dags_folder: Path | None, flink: str | None,
    registry: str | None, templates: Path | None, form: str, lake: str | None, project: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """What is deployed against what the repository says: DAGs, jobs, topics, tables, registry, templates."""
    loaded = load_project(project)
    chosen = {Kind(kind) for kind in kinds} or set(Kind)
    if offline:
        if given := [name for name, value in (("--flink", flink), ("--registry", registry), ("--lake", lake)) if value]:
            raise ConfigurationError(f"{', '.join(given)}: not with --offline, which asks no component")
        chosen &= _FILES_ALONE
        airflow = None
    opened = open_lake(lake, project)[0] if lake and not offline else None
    found: list[Difference | Looked | NotCompared] = []
    options: Options = {}
    if chosen & {Kind.JOBS, Kind.TOPICS, Kind.TABLES}:
        options, wrong = scheduled_options(loaded)
        found += wrong
    if Kind.DAGS in chosen:
        found += _asked(Kind.DAGS, airflow or str(loaded.root), look_at_dags(loaded, airflow, dags_folder))
    if chosen & {Kind.JOBS, Kind.TOPICS, Kind.TABLES}:
        found += _of_the_lake(chosen, loaded, opened, options, flink)
    if Kind.REGISTRY in chosen:
        found += _of_registry(loaded, registry)
    if Kind.TEMPLATES in chosen:
        found += _of_templates(loaded, templates)
    result = Drift.of(found)
    if not result.looked and not result.down:
        why = "; ".join(f"{one.kind}: {one.why}" for one in result.not_compared)
        raise ConfigurationError(f"nothing to compare in {loaded.file or loaded.root}: {why}")
    _show(result, loaded, form, as_json=as_json, strict=strict)
    sys.exit(result.exit_code(strict=strict))


def _asked(kind: Kind, where: str, looking: _Found) -> _Found:
    """What was found until something did not answer, and that."""
    try:
        yield from looking
    except HeadraceError as error:
        yield NotCompared(kind=kind, where=where, why=str(error), down=True)
    except (RESTError, *TROUBLE) as error:  # what a catalog says may quote anything
        why = f"the catalog does not answer as it should ({type(error).__name__})"
        yield NotCompared(kind=kind, where=where, why=why, down=True)
    except OSError as error:
        yield NotCompared(kind=kind, where=where, why=error.strerror or type(error).__name__, down=True)


def _of_the_lake(chosen: set[Kind], project: Project, given: Lake | None, options: Options, flink: str | None) -> _Found:
    from operations.drift.of_flink import look_at_jobs, recorded_runs  # noqa: PLC0415 - what only these kinds need
    from operations.drift.of_kafka import look_at_topics  # noqa: PLC0415 - as above
    from operations.drift.of_lake import look_at_tables  # noqa: PLC0415 - as above

    lake, recorded = given, []
    try:
        lake = given or lake_if_any(None, project)
        recorded = recorded_runs(lake, project) if chosen & {Kind.JOBS, Kind.TOPICS} else []
    except (HeadraceError, OSError) as error:
        yield NotCompared(kind=Kind.JOBS, where=project.lake or "the lake", why=str(error), down=True)
    if Kind.JOBS in chosen:
        yield from _asked(Kind.JOBS, flink or "Flink", look_at_jobs(project, recorded, options, flink))
    if Kind.TOPICS in chosen:
        yield from _asked(Kind.TOPICS, "Kafka", look_at_topics(project, lake, recorded, options))
    if Kind.TABLES in chosen and lake is not None:
        yield from _asked(Kind.TABLES, lake.root, look_at_tables(project, lake, options))
    elif Kind.TABLES in chosen:
        yield NotCompared(kind=Kind.TABLES, where=project.lake or str(project.root), why="no lake yet; the first run makes it")


def _of_registry(project: Project, given: str | None) -> _Found:
    from cli.contract_register import chosen_registry, subject_of  # noqa: PLC0415 - what only this kind needs
    from operations.drift.of_registry import look_at_subjects  # noqa: PLC0415 - as above

    if given is None and project.registry is None:
        yield NotCompared(kind=Kind.REGISTRY, where="registry", why="the project names none")
        return
    registry = chosen_registry(project, given)
    yield from _asked(Kind.REGISTRY, registry.url, look_at_subjects(project, registry, subject_of))


def _of_templates(project: Project, given: Path | None) -> _Found:
    folder = given or project.root / BUILT
    if given is None and not folder.is_dir():
        yield NotCompared(kind=Kind.TEMPLATES, where=str(folder), why="no template was built")
        return
    yield from look_at_templates(folder, project)


def _show(result: Drift, project: Project, form: str, *, as_json: bool, strict: bool) -> None:
    if as_json:
        print_json(result.document(strict=strict))
    elif form == "github":
        for line in github_lines([_finding(one, project) for one in result.differences], Path.cwd()):
            stdout.print(line)
    elif result.differences:
        rows = [
            (
                f"{one.kind}{', pending' if one.pending else ''}",
                one.what,
                one.where,
                one.deployed,
                one.repository,
                as_given(one.remedy),
            )
            for one in result.differences
        ]
        stdout.print(table(("kind", "what", "where", "deployed", "repository", "what to do"), rows))
    say = stderr if as_json or form == "github" else stdout
    for looked in result.looked:
        say.print(f"compared: {looked.kind} of {looked.where} ({looked.things:,})")
    for left_out in result.not_compared:
        say.print(f"{'DOWN' if left_out.down else 'not compared'}: {left_out.kind} of {left_out.where}: {left_out.why}")
    counted, pending = len(result.counted(strict=strict)), len(result.differences) - len(result.counted(strict=strict))
    told = f"{counted} differences" if counted != 1 else "1 difference"
    told += f", {pending} pending: the next run by schedule does away with them" if pending else ""
    say.print(told if counted or pending or result.down else "no difference")


def _finding(one: Difference, project: Project) -> Finding:
    told = f"{one.what} of {one.where}: {one.deployed}; the repository: {one.repository}. {as_given(one.remedy)}"
    path = Path(one.file) if one.file else (project.file or project.root)
    return Finding(path.absolute(), 1, told, f"drift-{one.kind}", Severity.WARNING if one.pending else Severity.ERROR)
