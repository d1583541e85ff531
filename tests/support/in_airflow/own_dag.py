"""Runs a DAG of one's own on a real database: own_dag.py FOLDER DAG EVENTS DAY PASSED. Run by Airflow's interpreter.

EVENTS of its asset are JSON, the oldest first: the first starts the run, the others come while it is awaited. Without any it is the
run of DAY. PASSED is a pattern of tasks that are taken for done. Prints states and XComs.
"""

import json
import sys
from datetime import UTC, datetime, timedelta

from airflow import settings
from airflow.dag_processing.dagbag import DagBag
from airflow.models import dagrun, import_all_models
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.base import Base
from airflow.models.xcom import XComModel
from airflow.utils.db import synchronize_log_template
from sqlalchemy import select

folder, dag_id, extras, day, passed = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4], sys.argv[5]
import_all_models()
Base.metadata.create_all(settings.engine)  # as airflow db migrate, in a tenth of the time
synchronize_log_template()
bag = DagBag(folder)
dag = bag.dags.get(dag_id)
if dag is None:
    raise SystemExit(f"no {dag_id} but {sorted(bag.dags)}: {bag.import_errors}")
make = dagrun.get_or_create_dagrun


def started_by_events(**given):
    """The run, as the scheduler makes it where events of an asset start it."""
    run, session = make(**given), given["session"]
    (asset,) = session.scalars(select(AssetModel).where(AssetModel.scheduled_dags.any(dag_id=dag_id)))
    first = datetime.now(UTC) - timedelta(hours=1)
    events = [
        AssetEvent(asset_id=asset.id, extra=extra, timestamp=first + timedelta(minutes=number))
        for number, extra in enumerate(extras)
    ]
    session.add_all(events)
    run.consumed_asset_events.append(events[0])
    run.data_interval_start = run.data_interval_end = None
    session.commit()
    return run


if extras:
    dagrun.get_or_create_dagrun = started_by_events
run = dag.test(logical_date=None if extras else datetime.fromisoformat(day), mark_success_pattern=passed or None)
session = settings.Session()
found = session.scalars(select(XComModel).where(XComModel.dag_id == dag_id, XComModel.key == "return_value"))
returned = {each.task_id: each.value for each in found}
states = {each.task_id: str(each.state) for each in run.get_task_instances(session=session)}
print(json.dumps({"state": str(run.state), "states": states, "returned": returned}))
