"""Links of a task in Airflow's pages: its report, its Flink job, its runbook. Their addresses are in the task's XCom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.types import TaskInstanceKey

HTTP = ("http://", "https://")


def flink_page(found: Mapping[str, Any]) -> str:
    """The page of a job in Flink's own interface; empty where there is none."""
    job, rest = found.get("job_id"), str(found.get("flink") or "")
    if not job or not rest:
        return ""
    return f"{rest if rest.startswith(HTTP) else f'http://{rest}'}/#/job/{job}/overview"


class _Link(BaseOperatorLink):
    key: str

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address that the task noted; empty where it noted none."""
        noted = XCom.get_value(ti_key=ti_key, key="headrace")
        address = (noted or {}).get("links", {}).get(self.key, "")
        return address if str(address).startswith(HTTP) else ""


class ReportLink(_Link):
    """The page of a reconciliation or of what a replay would change."""

    name = "Report"
    key = "report"


class FlinkLink(_Link):
    """The job in Flink's own interface."""

    name = "Flink job"
    key = "flink_job"


class RunbookLink(_Link):
    """What to do when it fails."""

    name = "Runbook"
    key = "runbook"


LINKS = (ReportLink(), FlinkLink(), RunbookLink())
