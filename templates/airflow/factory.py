"""A DAG from its description. The conventions stand in the description; here nothing is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, Asset, BaseOperator, CronDataIntervalTimetable, Label, Param

from templates.airflow.approvals import ApproveHeldOperator, ApproveOperator, VerdictOperator
from templates.airflow.description import STATE, state_of
from templates.airflow.gates import GateOperator
from templates.airflow.jobs import DeployOperator, StopOperator, TakeBackOperator
from templates.airflow.operators import BrokenOperator, HeadraceOperator, PublishOperator, RangeOperator
from templates.airflow.sensors import FrontierSensor
from templates.airflow.timetables import BackfillTimetable
from templates.airflow.waiting import PartitionsOperator, PlanOperator

Document = Mapping[str, Any]
_WITH_PROJECT = {"partitions", "plan", "headrace", "gate", "verdict", "deploy", "stop", "moves", "take_back"}
_WITH_LINKS = _WITH_PROJECT - {"partitions", "moves"}
_KINDS: dict[str, Callable[..., BaseOperator]] = {
    "approve": ApproveOperator,
    "approve_held": ApproveHeldOperator,
    "deploy": DeployOperator,
    "gate": GateOperator,
    "headrace": HeadraceOperator,
    "moves": FrontierSensor,
    "partitions": PartitionsOperator,
    "plan": PlanOperator,
    "publish": PublishOperator,
    "range": RangeOperator,
    "stop": StopOperator,
    "take_back": TakeBackOperator,
    "watcher": BrokenOperator,
    "verdict": VerdictOperator,
}


@dataclass(frozen=True)
class Place:
    """Where a project lies, and its pages. folder: absolute, or relative to the working directory of tasks."""

    folder: str
    reports: str = ""
    reports_url: str = ""


def make_dag(document: Document, place: Place) -> DAG:
    """The DAG that a description says; where it cannot be, one that says why.

    Raises:
        Nothing: one description that is wrong must not take the others with it.
    """
    why = document.get("error") or _missing(document, place)
    if why is None:
        try:
            return _made(document, place)
        except Exception as error:  # whatever is wrong, the DAG says it
            why = f"cannot be made ({type(error).__name__}: {error}); run headrace airflow build again"
    return broken_dag(str(document.get("dag_id", "headrace.broken")), str(why), document)


def broken_dag(dag_id: str, why: str, document: Document | None = None) -> DAG:
    """A DAG under the same name that fails and says why, as often as it would have run."""
    known = document or {}
    dag = DAG(
        dag_id=dag_id,
        schedule=_schedule(known.get("schedule") or {"cron": "0 * * * *", "timezone": "UTC"}),
        start_date=_start(known),
        catchup=False,
        max_active_runs=1,
        auto_register=False,
        dagrun_timeout=timedelta(minutes=10),
        tags=sorted({*known.get("tags", ()), "headrace", "broken"}),
        doc_md=f"**Broken:** {why}",
        default_args={"owner": known.get("owner", "data"), "retries": 0, "execution_timeout": timedelta(minutes=1)},
    )
    with dag:
        BrokenOperator(task_id="broken", why=why, doc_md=why)
    return dag


def _missing(document: Document, place: Place) -> str | None:
    folder = Path(place.folder)
    gone = [name for name in document.get("files", ()) if not (folder / name).is_file()]
    return f"{', '.join(gone)}: gone from {folder}; bring it back, or run headrace airflow build" if gone else None


def _made(document: Document, place: Place) -> DAG:
    defaults = document["defaults"]
    runbook = document.get("runbook", "")
    dag = DAG(
        dag_id=document["dag_id"],
        schedule=_schedule(document["schedule"]),
        start_date=_start(document),
        catchup=document["catchup"],
        max_active_runs=document["max_active_runs"],
        max_active_tasks=document["max_active_tasks"],
        dagrun_timeout=timedelta(seconds=document["dagrun_timeout_s"]),
        tags=document["tags"],
        doc_md=_about(document),
        params={name: Param(given.get("default"), **_without_default(given)) for name, given in document["params"].items()},
        owner_links=_owner_links(document),
        default_args={
            "owner": document["owner"],
            "retries": defaults["retries"],
            "retry_delay": timedelta(seconds=defaults["retry_delay_s"]),
            "max_retry_delay": timedelta(seconds=defaults["max_retry_delay_s"]),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(seconds=defaults["timeout_s"]),
            "pool": defaults["pool"],
        },
        auto_register=False,  # else a DAG that breaks half-way is found beside the one that says so
    )
    with dag:
        made: dict[str, Any] = {}
        for task in document["tasks"]:
            made[task["task_id"]] = _task(task, made, place, runbook)
        for task in document["tasks"]:
            for before in task["after"]:
                if task.get("trigger_rule") == "one_failed":
                    made[before] >> Label("where one failed") >> made[task["task_id"]]
                else:
                    made[before] >> made[task["task_id"]]
    return dag


def _task(task: Document, made: Mapping[str, Any], place: Place, runbook: str) -> Any:
    given, kind = dict(task["with"]), task["kind"]
    mapped, parallel = given.pop("inputs_of", None), given.pop("parallel", None)
    if kind in _WITH_PROJECT:
        given["project"] = place.folder
    if kind in _WITH_LINKS:
        given |= {"reports": place.reports, "reports_url": place.reports_url, "runbook": task.get("runbook") or runbook}
    given |= {"task_id": task["task_id"]}
    given |= {way: [Asset(uri) for uri in task.get(way, ())] for way in ("inlets", "outlets")}
    if rule := task.get("trigger_rule"):
        given["trigger_rule"] = rule
    operator = _KINDS[kind]
    if mapped is None:
        return operator(**given)
    if parallel is not None:
        given["max_active_tis_per_dagrun"] = parallel
    return HeadraceOperator.partial(**given).expand(inputs=made[mapped].output)


def _schedule(given: Document | None) -> Any:
    if given is None:
        return None
    if "assets" in given:
        return [Asset(uri) for uri in given["assets"]]
    if "backfill" in given:
        return BackfillTimetable(given["backfill"], timezone=given["timezone"])
    return CronDataIntervalTimetable(given["cron"], timezone=given["timezone"])


def _start(document: Document) -> datetime:
    zone = (document.get("schedule") or {}).get("timezone", "UTC")
    return datetime.fromisoformat(document.get("start", "2026-01-01")).replace(tzinfo=ZoneInfo(zone))


def _about(document: Document) -> str:
    parts = [document["about"], f"Owner: {document['owner']}" + (f", {document['contact']}" if document["contact"] else "")]
    parts += [f"Runbook: [{document['kind']}]({document['runbook']})"] if document["runbook"] else []
    return "\n\n".join([*parts, f"{STATE}{state_of(document)}"])


def _owner_links(document: Document) -> dict[str, str]:
    contact = document["contact"]
    if contact.startswith(("https://", "http://", "mailto:")):
        return {document["owner"]: contact}
    return {document["owner"]: f"mailto:{contact}"} if "@" in contact else {}


def _without_default(given: Document) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != "default"}
