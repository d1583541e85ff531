"""Every DAG of a project, by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.schedules import Schedules
from templates.build.dags.backfills import backfill, rollback
from templates.build.dags.conventions import Conventions
from templates.build.dags.data import deliver, ingest, reconcile
from templates.build.dags.parts import Document, dataset_of
from templates.build.dags.streams import deploy, upgrade
from templates.build.dags.upkeep import checks, drift, upkeep


def project_dags(project: Project, schedules: Schedules) -> Iterator[Document]:
    """Descriptions. One whose source or destination cannot be read has ``error`` in place of tasks."""
    common = Conventions(project, schedules)
    for name, describe in _kinds(common):
        dag_id = f"{schedules.name}.{name}"
        try:
            yield {"dag_id": dag_id, **describe()}
        except ConfigurationError as error:
            yield {"dag_id": dag_id, **common.shared("error", schedules.owner, ""), "error": str(error)}


def _kinds(common: Conventions) -> Iterator[tuple[str, Callable[[], Document]]]:
    plan = common.schedules
    for source, when in plan.sources.items():
        yield f"ingest.{source}", partial(ingest, common, source, when)
    for source, stream in plan.streams.items():
        yield f"deploy.{source}", partial(deploy, common, source, stream)
        yield f"upgrade.{source}", partial(upgrade, common, source, stream)
    for destination, to in plan.destinations.items():
        yield f"deliver.{destination}", partial(deliver, common, destination, to)
        if to.reconcile:
            yield f"reconcile.{destination}", partial(reconcile, common, destination, to)
    if plan.upkeep:
        yield "upkeep", partial(upkeep, common)
    if plan.checks:
        yield "checks", partial(checks, common)
    if plan.drift:
        yield "drift", partial(drift, common)
    if plan.backfill:
        for dataset in _datasets(common):
            yield f"backfill.{dataset}", partial(backfill, common, dataset, plan.backfill)
            yield f"rollback.{dataset}", partial(rollback, common, dataset)


def _datasets(common: Conventions) -> list[str]:
    """Those that a scheduled source feeds; a source that cannot be read has its own DAG that says so."""
    found = []
    for source in {**common.schedules.sources, **common.schedules.streams}:
        try:
            found.append(dataset_of(common.project.source(source)[1]))
        except ConfigurationError:
            continue
    return sorted(set(found))
