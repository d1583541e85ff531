"""Reads DAG folders as Airflow's processor does, and tells what it found. Run by Airflow's interpreter: bag.py FOLDER …"""

import json
import sys
import time

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction


def told(dag):
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))  # what the scheduler sees
    unasked = again.timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=again.start_date, latest=None, catchup=False)
    )
    tasks = {
        task.task_id: {
            "class": task.task_type,
            "shown": task.operator_name,
            "mapped": task.is_mapped,
            "after": sorted(task.upstream_task_ids),
            "owner": task.owner,
            "retries": task.retries,
            "timeout_s": task.execution_timeout and task.execution_timeout.total_seconds(),
            "delay_s": task.retry_delay.total_seconds(),
            "backoff": task.retry_exponential_backoff,
            "pool": task.pool,
            "links": sorted(task.extra_links),
        }
        for task in again.tasks
    }
    return {
        "doc_md": dag.doc_md,
        "tags": sorted(dag.tags),
        "catchup": again.catchup,
        "max_active_runs": again.max_active_runs,
        "dagrun_timeout_s": again.dagrun_timeout and again.dagrun_timeout.total_seconds(),
        "periodic": again.timetable.periodic,
        "starts_by_itself": unasked is not None and again.timetable.can_be_scheduled,
        "owner_links": dag.owner_links,
        "labels": {f"{one} {other}": edge.get("label") for one, others in dag.edge_info.items() for other, edge in others.items()},
        "tasks": tasks,
    }


def read(folder):
    began = time.process_time()
    bag = DagBag(folder)
    seconds = time.process_time() - began
    return {"seconds": seconds, "errors": bag.import_errors, "dags": {name: told(dag) for name, dag in bag.dags.items()}}


DagBag(sys.argv[1])  # what Airflow itself imports lazily is not ours
print(json.dumps({folder: read(folder) for folder in sys.argv[1:]}))
