"""A timetable of chunks that never starts anything by itself."""

from __future__ import annotations

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable


class BackfillTimetable(CronDataIntervalTimetable):
    """Intervals for ``airflow backfill create`` and runs by hand; the scheduler, which asks without catch-up, is told of none."""

    @property
    def summary(self) -> str:
        """As Airflow's pages show it."""
        return f"backfill: {super().summary}"

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Airflow's hook."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(last_automated_data_interval=last_automated_data_interval, restriction=restriction)
