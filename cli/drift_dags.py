"""DAGs for ``headrace drift``: as they are built now, against the project's files, a DAG folder, and an Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from operations.drift.airflow_rest import AirflowRest
from operations.drift.dags import BUILD, AirflowPool, Wanted, compare_airflow, compare_descriptions, dags_of
from operations.drift.differences import Difference, Kind, Looked, NotCompared
from templates.airflow.description import STATE, state_of
from templates.build.airflow import DESCRIPTION, POOLS, Built, build, differences

FOLDER = "airflow"  # of a project
_COPY = "copy airflow/ of the repository to Airflow's DAG folder, as its deployment does"


def look_at_dags(project: Project, airflow: str | None, folder: Path | None) -> Iterator[Difference | Looked | NotCompared]:
    """Compare DAGs.

    Args:
        project: the repository.
        airflow: address of an Airflow that is asked; None for none.
        folder: Airflow's DAG folder, or a folder in it; None for none.

    Raises:
        ComponentDownError: Airflow does not answer.
        ConfigurationError: it refuses who asks; a folder is not there.
    """
    if project.schedules is None:
        yield NotCompared(kind=Kind.DAGS, where=str(project.file or project.root), why="no schedules")
        return
    own = project.root / FOLDER
    built = build(project, own)
    wanted = _wanted(project, built)
    yield from _problems(built, wanted)
    yield Looked(kind=Kind.DAGS, where=str(own), things=len(wanted.dags))
    yield from _in_project(built, own, wanted)
    if folder is not None:
        yield from _in_folder(wanted, folder)
    if airflow is not None:
        client = AirflowRest(airflow, STATE)
        try:
            state = client.state("headrace", wanted.dags)
        finally:
            client.close()
        yield Looked(kind=Kind.DAGS, where=state.where, things=sum(not dag.is_stale for dag in state.dags))
        yield from compare_airflow(wanted, state)


def _wanted(project: Project, built: Built) -> Wanted:
    assert project.schedules is not None
    pools = json.loads(built.files[POOLS]) if POOLS in built.files else {}
    return Wanted(
        name=project.schedules.name,
        document=built.document,
        states={dag["dag_id"]: state_of(dag) for dag in built.document["dags"]},
        pools={name: AirflowPool(pool["slots"], pool["include_deferred"]) for name, pool in pools.items()},
        file=str(project.file or ""),
    )


def _problems(built: Built, wanted: Wanted) -> Iterator[Difference]:
    for dag in built.document["dags"]:
        if "error" in dag:
            yield Difference(
                kind=Kind.DAGS, what=f"DAG {dag['dag_id']}", where=wanted.file, deployed="a red DAG that says why",
                repository=f"cannot be made: {str(dag['error']).splitlines()[0]}", remedy="headrace contract lint; " + BUILD,
                file=wanted.file,
            )  # fmt: skip


def _in_project(built: Built, folder: Path, wanted: Wanted) -> Iterator[Difference]:
    """What ``headrace airflow validate`` finds, told by DAG."""
    lines = differences(built, folder)
    if not lines:
        return
    told = list(compare_descriptions(wanted, _read(folder / DESCRIPTION), str(folder / DESCRIPTION), BUILD))
    yield from told
    for name, text in built.files.items():
        path = folder / name
        same = path.is_file() and path.read_text("utf-8").splitlines() == text.splitlines()
        if not same and not (name == DESCRIPTION and told):
            is_ = "not there" if not path.is_file() else "written otherwise"
            yield Difference(
                kind=Kind.DAGS, what=f"file {name}", where=str(folder), deployed=is_, repository="as it is built", remedy=BUILD,
                file=wanted.file,
            )  # fmt: skip


def _in_folder(wanted: Wanted, folder: Path) -> Iterator[Difference | Looked]:
    """The description with our DAGs that lies in a folder; Airflow reads every one that lies there."""
    if not folder.is_dir():
        raise ConfigurationError(f"--dags-folder {folder}: no such folder; give Airflow's DAG folder, or one in it")
    ours = []
    for path in sorted(folder.rglob(DESCRIPTION)):
        document = _read(path)
        if any(str(dag.get("dag_id", "")).startswith(f"{wanted.name}.") for dag in dags_of(document)):
            ours.append((path, document))
    yield Looked(kind=Kind.DAGS, where=str(folder), things=sum(len(dags_of(document)) for _, document in ours))
    if not ours:
        yield Difference(
            kind=Kind.DAGS, what=f"DAGs {wanted.name}.*", where=str(folder), deployed=f"no {DESCRIPTION} has them",
            repository=f"{len(wanted.dags)} DAGs", remedy=_COPY, file=wanted.file,
        )  # fmt: skip
    for path, document in ours:
        yield from compare_descriptions(wanted, document, str(path), _COPY)
    if len(ours) > 1:
        yield Difference(
            kind=Kind.DAGS, what=f"DAGs {wanted.name}.*", where=str(folder), repository="one description",
            deployed=f"{len(ours)} descriptions have them: {', '.join(str(path.relative_to(folder)) for path, _ in ours)}",
            remedy="leave one of them there; Airflow takes whichever it reads last", file=wanted.file,
        )  # fmt: skip


def _read(path: Path) -> Mapping[str, Any]:
    """A description; an empty one where it is not there or cannot be read, so that every DAG of it is missing."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
