"""A DAG of one's own: page views by day, counted again whenever ``validated.customer_event`` has changed."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, task

from templates.airflow.command import project_folder
from templates.airflow.operators import RangeOperator

EVENTS = Asset("headrace://webshop/validated/customer_event")
PYTHON = os.environ.get("WEBSHOP_PYTHON", "/opt/headrace/bin/python")  # with pyiceberg and pyarrow: headrace's own has both

with DAG(
    dag_id="webshop.page_views",
    schedule=[EVENTS],
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    tags=["webshop", "summary"],
    doc_md="Page views and visitors of each day that changed, in `summaries/page_views/DAY.json`. Safe to run again.",
    default_args={"owner": "analytics", "retries": 2, "execution_timeout": timedelta(minutes=15)},
):
    # {start, end, run_ids, content_hash} of the events that started the run, and of those that came since. An interval says which
    # folders were read: rows in them may be older, so it begins a day earlier.
    changed = RangeOperator(task_id="changed", inlets=[EVENTS], lookback_s=86_400)

    @task.external_python(python=PYTHON, expect_airflow=False)
    def count(changed: dict, project: str) -> list[str]:
        """Write the summary of each day of the range; returns the files."""
        import json
        from datetime import datetime, timedelta
        from pathlib import Path

        import pyarrow.compute as pc
        from pyiceberg.catalog.sql import SqlCatalog

        table = SqlCatalog("headrace", uri=f"sqlite:///{project}/lake/catalog.db").load_table("validated.customer_event")
        settled = table.snapshot_by_name("settled")
        if settled is None:
            return []  # a gate has held all that came
        day = datetime.fromisoformat(changed["start"]).replace(hour=0, minute=0, second=0)
        files = []
        while day < datetime.fromisoformat(changed["end"]):
            after = day + timedelta(days=1)
            span = f"_window_time >= '{day.isoformat()}' and _window_time < '{after.isoformat()}'"
            columns = ("event_type", "page_url", "anonymous_id")
            rows = table.scan(row_filter=span, selected_fields=columns, snapshot_id=settled.snapshot_id).to_arrow()
            pages = rows.filter(pc.field("event_type") == "page")
            summary = {
                "day": f"{day:%Y-%m-%d}",
                "page_views": pages.num_rows,
                "visitors": pc.count_distinct(pages["anonymous_id"]).as_py(),
                "pages": pc.count_distinct(pages["page_url"]).as_py(),
                "run_ids": changed["run_ids"],
                "content_hash": changed["content_hash"],
            }
            file = Path(project, "summaries", "page_views", f"{day:%Y-%m-%d}.json")
            file.parent.mkdir(parents=True, exist_ok=True)
            made = file.with_suffix(".new")
            made.write_text(json.dumps(summary, indent=1))
            made.rename(file)  # readers see the old one or the new one
            files.append(str(file))
            day = after
        return files

    count(changed.output, project_folder(str(Path(__file__).resolve().parents[1])))
