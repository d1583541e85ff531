"""``headrace airflow``: DAGs for Airflow from the schedules of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.console import advise, fail, json_option, load_project, plain_errors, print_json, project_option, stdout, table
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from templates.build.airflow import POOLS, Built, build, differences
from templates.build.airflow_lint import lint_dags

FOLDER = "airflow"  # of a project
_EPILOG = """\b
The usual way:
  headrace airflow build --project examples/webshop         writes airflow/dags.json, airflow/headrace_dags.py, airflow/pools.json
  git diff examples/webshop/airflow                         what changes in Airflow
  headrace airflow validate --project examples/webshop      in CI: exit 1 where the files are not those of the project
"""


@click.group(epilog=_EPILOG)
def airflow() -> None:
    """DAGs for Airflow from the schedules of a project: build, validate, show."""


def _out_option(command: Any) -> Any:
    return click.option(
        "--out",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Folder of the files.  [default: PROJECT/{FOLDER}]",
    )(command)


@airflow.command("build", epilog="\b\nExample:\n  headrace airflow build --project examples/webshop --out build/airflow")
@_out_option
@project_option
@json_option
@plain_errors
def build_(out: Path | None, project: Path | None, as_json: bool) -> None:
    """Write the description of the DAGs, the file that loads them, and their pools.

    Airflow's DAG folder is this folder, or a copy of it. Exit code 1 where a DAG cannot be made; in Airflow it is a red one
    that says why, and the others run.
    """
    folder, built = _built(out, project)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in built.files.items():
        (folder / name).write_text(text, "utf-8")
    if as_json:
        print_json({"folder": str(folder), "files": list(built.files), "dags": _names(built), "problems": built.problems})
    else:
        stdout.print(f"wrote {', '.join(built.files)} into {folder}: {len(built.document['dags'])} DAGs")
        if POOLS in built.files:
            stdout.print(f"pools that Airflow needs: airflow pools import {folder / POOLS}")
    _end(built.problems)


@airflow.command("validate", epilog="\b\nExamples:\n  headrace airflow validate\n  headrace airflow validate --dags dags/own.py")
@click.option(
    "--dags", "own", metavar="PATH", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="DAGs of your own, files or folders, to hold to the conventions too; may be given again.",
)  # fmt: skip
@_out_option
@project_option
@json_option
@plain_errors
def validate(own: tuple[Path, ...], out: Path | None, project: Path | None, as_json: bool) -> None:
    """Whether the files are those of the project as it is, and DAGs of your own keep the conventions. Changes nothing.

    Exit code 1 where something differs or is wrong. Needs no Airflow.
    """
    folder, built = _built(out, project)
    changes = differences(built, folder)
    found = [finding for path in own for finding in lint_dags(path)]
    if as_json:
        print_json({"folder": str(folder), "differences": changes, "problems": built.problems, "findings": found})
    else:
        for line in (*changes, *map(str, found)):
            stdout.print(line)
    problems = [*built.problems, *([f"{folder} is not what the project says; headrace airflow build writes it"] if changes else [])]
    problems += [f"{len(found)} findings in DAGs of your own"] if found else []
    if not problems and not as_json:
        stdout.print(f"{folder}: {len(built.document['dags'])} DAGs, as the project says")
    _end(problems)


@airflow.command("show", epilog="\b\nExamples:\n  headrace airflow show\n  headrace airflow show webshop.ingest.web --json")
@click.argument("dag", required=False)
@project_option
@json_option
@plain_errors
def show(dag: str | None, project: Path | None, as_json: bool) -> None:
    """The DAGs that the project has; of one, its tasks. Writes nothing.

    Exit code 2 where there is no such DAG.
    """
    _, built = _built(None, project)
    dags = built.document["dags"]
    if dag is None:
        if as_json:
            print_json(dags)
            return
        rows = [(each["dag_id"], _when(each), each["owner"], _steps(each)) for each in dags]
        stdout.print(table(("DAG", "runs", "owner", "tasks"), rows))
        advise("headrace airflow show DAG: its tasks")
        return
    known = {each["dag_id"]: each for each in dags}
    if dag not in known:
        raise ConfigurationError(f"no DAG {dag!r}; there is: {', '.join(known) or 'none'}")
    if as_json:
        print_json(known[dag])
        return
    if "error" in known[dag]:
        stdout.print(known[dag]["error"])
        return
    stdout.print(known[dag]["about"])
    steps = [(task["task_id"], ", ".join(task["after"]), _what(task)) for task in known[dag].get("tasks", ())]
    stdout.print(table(("task", "after", "does"), steps))


def _built(out: Path | None, project: Path | None) -> tuple[Path, Built]:
    loaded: Project = load_project(project)
    folder = out or loaded.root / FOLDER
    return folder, build(loaded, folder)


def _names(built: Built) -> list[str]:
    return [dag["dag_id"] for dag in built.document["dags"]]


def _when(dag: dict[str, Any]) -> str:
    schedule = dag["schedule"]
    if "error" in dag:
        return "cannot be made"
    if schedule is None:
        return "by hand"
    if "assets" in schedule:
        return "after " + ", ".join(uri.partition("://")[2].partition("/")[2] for uri in schedule["assets"])
    if "backfill" in schedule:
        return f"airflow backfill create, chunks {schedule['backfill']}"
    return f"{schedule['cron']} {schedule['timezone']}"


def _steps(dag: dict[str, Any]) -> str:
    if "error" in dag:
        return " ".join(dag["error"].split())
    return " → ".join(task["task_id"] for task in dag["tasks"])


def _what(task: dict[str, Any]) -> str:
    given = task["with"]
    if task["kind"] != "headrace":
        return str(task["kind"])
    words = [*given["command"], *(text for pair in given.get("options", {}).items() for text in pair if pair[1])]
    return " ".join(["headrace", *words]) + (f", once for each of {given['inputs_of']}" if "inputs_of" in given else "")


def _end(problems: list[str]) -> None:
    if problems:
        fail("\n".join(problems), 1)
