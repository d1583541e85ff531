"""The DAGs of this project, as dags.json describes them. Written by `headrace airflow build`."""

from pathlib import Path

from airflow.sdk import DAG  # noqa: F401 - Airflow looks for DAGs in files that name it

from templates.airflow.loader import load

globals().update(load(Path(__file__).with_name("dags.json")))
