"""Runs an ingest DAG of several folders, one day each, and tells states, events and how the run ended. mapped.py DAGS DAG_ID DAY …

A day that comes again is cleared, and runs again.

Airflow's own loop of ``airflow dags test`` decides what runs; the database is made before.
"""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = sys.argv[1]
subprocess.run([str(Path(sys.executable).with_name("airflow")), "db", "migrate"], check=True, capture_output=True)

from airflow.dag_processing.dagbag import DagBag  # noqa: E402 - the database is there now
from airflow.models.asset import AssetEvent  # noqa: E402
from airflow.models.taskinstance import TaskInstance  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402
from sqlalchemy import select  # noqa: E402


def told(day):
    """States of the tasks by name and number, hashes of all events until now, state of the run."""
    run = DagBag(dag_folder=sys.argv[1]).dags[sys.argv[2]].test(logical_date=datetime.fromisoformat(day))
    with create_session() as session:
        found = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run.run_id)).all()
        states = {f"{one.task_id}{'' if one.map_index < 0 else one.map_index}": str(one.state) for one in found}
        events = [event.extra for event in session.scalars(select(AssetEvent).order_by(AssetEvent.id))]
    return {"run": str(run.state), "states": states, "events": events}


print(json.dumps([told(day) for day in sys.argv[3:]], default=str))
