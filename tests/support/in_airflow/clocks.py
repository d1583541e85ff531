"""Intervals of schedules where clocks change, as Airflow's timetables give them, with folders. clocks.py ZONE FROM TO …"""

import json
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance

from templates.airflow.partitions import names
from templates.airflow.timetables import BackfillTimetable

CRONS = {
    "hour": ("0 * * * *", 3_600, "%Y-%m-%d/%H"),
    "day": ("0 0 * * *", 86_400, "%Y-%m-%d"),
    "days of hours": ("0 0 * * *", 3_600, "%Y-%m-%d/%H"),
    "day at three": ("0 3 * * *", 86_400, "%Y-%m-%d"),
    "day on weekdays": ("30 4 * * 1-5", 86_400, "%Y-%m-%d"),
    "hours at seven and nine": ("0 7,9 * * *", 3_600, "%Y-%m-%d/%H"),
    "hours within working time": ("*/27 8-11,14-18 * * 1-5", 3_600, "%Y-%m-%d/%H"),
}
MOST = 1_000


def intervals(timetable, first, last):
    """Of all runs that begin in [first, last), each asked for after the other as the scheduler does."""
    restriction = TimeRestriction(earliest=instance(first), latest=instance(last), catchup=True)
    found, before = [], None
    while (info := timetable.next_dagrun_info(last_automated_data_interval=before, restriction=restriction)) and len(found) < MOST:
        before = info.data_interval
        if before.start >= last:
            break
        found.append([datetime.fromisoformat(moment.isoformat()).astimezone(UTC) for moment in before])
    return found


told = {}
for zone, first, last in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3], strict=True):
    span = [datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) for day in (first, last)]
    for kind, (cron, partition_s, pattern) in CRONS.items():
        for of in (CronDataIntervalTimetable, BackfillTimetable):
            told[f"{zone} {first} {kind} {of.__name__}"] = [
                [start.isoformat(), end.isoformat(), names(pattern, start, end, partition_s, zone)]
                for start, end in intervals(of(cron, timezone=zone), *span)
            ]
print(json.dumps(told))
