"""A DAG of one's own: every morning, once the stream is up to date, yesterday is judged by the rules of its contract."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable

from templates.airflow.operators import HeadraceOperator
from templates.airflow.sensors import FreshnessSensor

PROJECT = str(Path(__file__).resolve().parents[1])  # HEADRACE_AIRFLOW_PROJECT wins over it

with DAG(
    dag_id="webshop.morning",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=3),
    tags=["webshop", "quality"],
    doc_md="Red where yesterday's events break a rule, or where the stream has not come so far within an hour.",
    default_args={"owner": "analytics", "retries": 2, "execution_timeout": timedelta(minutes=30)},
):
    fresh = FreshnessSensor(task_id="fresh", source="web", fresh_s=900, within_s=3_600, project=PROJECT)
    judge = HeadraceOperator(
        task_id="judge",
        command=["quality", "run", "customer_event"],
        options={"--start": "{{ data_interval_start | ts }}", "--end": "{{ data_interval_end | ts }}"},
        project=PROJECT,
    )
    fresh >> judge
