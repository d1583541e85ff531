"""The DAGs that the schedules of a project say, against a description that lies somewhere, and against what Airflow has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operations.drift.differences import Difference, Kind, listed, shortened
from operations.drift.documents import apart

Document = Mapping[str, Any]
BUILD = "headrace airflow build, and commit what it writes"
_READ_AGAIN = "bring airflow/ of the repository into Airflow's DAG folder; Airflow reads it within minutes"
_OF_A_PLACE = "project"  # a description names the project relative to itself: it differs by where it lies
_BROKEN = "broken"  # tag of a DAG that says why it cannot be made


@dataclass(frozen=True, kw_only=True)
class AirflowDag:
    """A DAG as Airflow has it. state: of the description that it was made of; empty where it does not say."""

    dag_id: str
    is_paused: bool = False
    is_stale: bool = False
    tags: frozenset[str] = frozenset()
    file: str = ""
    state: str = ""


@dataclass(frozen=True)
class AirflowPool:
    """A pool of slots."""

    slots: int
    include_deferred: bool = False


@dataclass(frozen=True, kw_only=True)
class AirflowState:
    """What an Airflow has. import_errors: file, and the last line of why it cannot be read."""

    where: str
    dags: Sequence[AirflowDag] = ()
    pools: Mapping[str, AirflowPool] | None = None
    import_errors: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the schedules say. document: of ``headrace airflow build``. states: by DAG, of its description. pools: by name."""

    name: str
    document: Document
    states: Mapping[str, str]
    pools: Mapping[str, AirflowPool]
    file: str = ""

    @property
    def dags(self) -> dict[str, Document]:
        """Descriptions by id."""
        return {dag["dag_id"]: dag for dag in self.document["dags"]}


def compare_descriptions(wanted: Wanted, deployed: Document, where: str, remedy: str) -> Iterator[Difference]:
    """Two descriptions, DAG by DAG.

    Args:
        wanted: as it is built now.
        deployed: what lies there.
        where: the file.
        remedy: what brings it up to date.
    """

    def difference(what: str, is_: str, should: str) -> Difference:
        return Difference(
            kind=Kind.DAGS, what=what, where=where, deployed=is_, repository=should, remedy=remedy, file=wanted.file
        )  # fmt: skip

    for place in apart(_shared(deployed), _shared(wanted.document)):
        yield difference(place.path, shortened(place.before), shortened(place.after))
    there = {str(dag.get("dag_id")): dag for dag in dags_of(deployed) if "dag_id" in dag}
    for dag_id in sorted({*there, *wanted.dags}):
        if dag_id not in there:
            yield difference(f"DAG {dag_id}", "not there", "in the schedules")
        elif dag_id not in wanted.dags:
            yield difference(f"DAG {dag_id}", "there", "in no schedule")
        elif places := list(apart(there[dag_id], wanted.dags[dag_id])):
            told = (listed(f"{place.path}: {side}" for place, side in zip(places, sides, strict=True)) for sides in (
                [place.before for place in places], [place.after for place in places]))  # fmt: skip
            yield difference(f"DAG {dag_id}", *told)


def dags_of(document: Document) -> list[Document]:
    """The DAGs of a description, whatever else it holds."""
    dags = document.get("dags")
    return [dag for dag in dags if isinstance(dag, Mapping)] if isinstance(dags, list) else []


def compare_airflow(wanted: Wanted, airflow: AirflowState) -> Iterator[Difference]:
    """What Airflow has: DAGs that are missing, left over, paused, made of another description or cannot be made; files; pools.

    A DAG that Airflow only remembers, since its file is gone, is its history and no difference. DAGs of others are none of ours.
    """
    there = {dag.dag_id: dag for dag in airflow.dags if not dag.is_stale}
    for dag_id, document in wanted.dags.items():
        if dag_id in there:
            yield from _dag(wanted, document, there[dag_id], airflow.where)
        else:
            yield _difference(wanted, airflow, f"DAG {dag_id}", "not there", "in the schedules", _READ_AGAIN)
    ours = {"headrace", wanted.name}
    for dag in sorted(there.values(), key=lambda each: each.dag_id):
        if dag.dag_id not in wanted.dags and ours <= dag.tags and dag.dag_id.startswith(f"{wanted.name}."):
            remedy = f"{_READ_AGAIN}; airflow dags delete {dag.dag_id} forgets its history too"
            yield _difference(wanted, airflow, f"DAG {dag.dag_id}", "there", "in no schedule", remedy)
    yield from _import_errors(wanted, airflow)
    yield from _pools(wanted, airflow)


def _dag(wanted: Wanted, document: Document, dag: AirflowDag, where: str) -> Iterator[Difference]:
    def difference(is_: str, should: str, remedy: str) -> Difference:
        return Difference(
            kind=Kind.DAGS, what=f"DAG {dag.dag_id}", where=where, deployed=is_, repository=should, remedy=remedy, file=wanted.file
        )  # fmt: skip

    if _BROKEN in dag.tags:
        yield difference("broken: it cannot be made", "a DAG", f"its page says why: airflow dags show {dag.dag_id}; {_READ_AGAIN}")
    elif dag.state and dag.state != wanted.states[dag.dag_id]:
        yield difference(f"made of another description ({dag.state})", wanted.states[dag.dag_id], _READ_AGAIN)
    if dag.is_paused and (schedule := document.get("schedule")):
        should = "not paused: a backfill of a paused DAG does not start" if "backfill" in schedule else "runs by its schedule"
        yield difference("paused", should, f"airflow dags unpause {dag.dag_id}")


def _import_errors(wanted: Wanted, airflow: AirflowState) -> Iterator[Difference]:
    """Of our files alone: those that our DAGs come from; where none is known, whatever has the name that ``build`` writes."""
    ours = {dag.file for dag in airflow.dags if dag.dag_id in wanted.dags and dag.file}
    for file, why in sorted(set(airflow.import_errors)):
        if any(file.endswith(known) or known.endswith(file) for known in ours) if ours else file.endswith("headrace_dags.py"):
            yield _difference(
                wanted, airflow, f"file {file}", f"cannot be read: {shortened(why)}", "DAGs", "airflow dags list-import-errors"
            )


def _pools(wanted: Wanted, airflow: AirflowState) -> Iterator[Difference]:
    if airflow.pools is None:
        return
    for name, pool in sorted(wanted.pools.items()):
        set_ = f"airflow pools set {name} {pool.slots} 'of headrace'" + (" --include-deferred" if pool.include_deferred else "")
        have = airflow.pools.get(name)
        if have is None:
            yield _difference(wanted, airflow, f"pool {name}", "not there: its tasks never start", _slots(pool), set_)
        elif have != pool:
            yield _difference(wanted, airflow, f"pool {name}", _slots(have), _slots(pool), set_)
    used = {dag["defaults"]["pool"] for dag in wanted.dags.values() if "defaults" in dag}
    for name in sorted(used - wanted.pools.keys() - airflow.pools.keys()):
        yield _difference(
            wanted, airflow, f"pool {name}", "not there: its tasks never start", "used", f"airflow pools set {name} 128 ''"
        )
    for name in sorted(airflow.pools):
        if name.startswith(f"{wanted.name}.") and name not in wanted.pools:
            yield _difference(wanted, airflow, f"pool {name}", "there", "in no schedule", f"airflow pools delete {name}")


def _difference(wanted: Wanted, airflow: AirflowState, what: str, deployed: str, repository: str, remedy: str) -> Difference:
    return Difference(
        kind=Kind.DAGS, what=what, where=airflow.where, deployed=deployed, repository=repository, remedy=remedy, file=wanted.file
    )


def _slots(pool: AirflowPool) -> str:
    return f"{pool.slots} slot{'' if pool.slots == 1 else 's'}" + (", deferred tasks count" if pool.include_deferred else "")


def _shared(document: Document) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("dags", _OF_A_PLACE)}
