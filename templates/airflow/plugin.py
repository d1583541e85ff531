"""What Airflow has to know of before it reads a DAG: links and the timetable of backfills."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from templates.airflow.links import LINKS
from templates.airflow.timetables import BackfillTimetable


class HeadracePlugin(AirflowPlugin):
    """Found by the entry point ``airflow.plugins`` of an installed headrace."""

    name = "headrace"
    operator_extra_links = list(LINKS)  # noqa: RUF012
    timetables = [BackfillTimetable]  # noqa: RUF012 - Airflow's own shape
