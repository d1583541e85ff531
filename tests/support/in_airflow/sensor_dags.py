"""DAGs of one sensor each, as a user writes them; their params say of what."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param

from templates.airflow.sensors import FlinkJobSensor, FreshnessSensor, FrontierSensor


def one(name, operator, limit_s=1_800, **given):
    """A DAG with a task."""
    args = {"owner": "tests", "retries": 2, "retry_delay": timedelta(seconds=1), "execution_timeout": timedelta(seconds=limit_s)}
    params = {word: Param(None, type=["null", "string"]) for word in ("run_id", "job_id", "flink")}
    dag = DAG(
        f"own.{name}",
        schedule=None,
        start_date=datetime(2026, 11, 1, tzinfo=UTC),
        default_args=args,
        params=params,
        render_template_as_native_obj=True,
    )
    with dag:
        operator(task_id="task", **given)
    return dag


SHOP, DOWN, NOWHERE = "@shop", "@down", "@nowhere"
moves = one("moves", FrontierSensor, source="web", within_s=600, project=SHOP)
still = one("still", FrontierSensor, source="web", within_s=15, project=SHOP)
young = one("young", FreshnessSensor, source="web", fresh_s=86_400, within_s=600, project=SHOP)
old = one("old", FreshnessSensor, source="web", fresh_s=0.001, within_s=15, project=SHOP)
typo = one("typo", FrontierSensor, source="wbe", within_s=600, project=SHOP)
absent = one("absent", FreshnessSensor, source="mobile", fresh_s=60, within_s=40, project=SHOP)
down = one("down", FreshnessSensor, source="web", fresh_s=60, within_s=15, project=DOWN)
nowhere = one("nowhere", FreshnessSensor, source="web", fresh_s=60, within_s=600, project=NOWHERE)
job = "{{ params }}"
watch = one("watch", FlinkJobSensor, job=job, project=SHOP)
limit = one("limit", FlinkJobSensor, job=job, limit_s=20, project=SHOP)
