"""Every DAG of a description: what the one file in Airflow's DAG folder calls."""

from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.sdk import DAG

from templates.airflow.command import PROJECT
from templates.airflow.factory import Place, broken_dag, make_dag

FORMAT = 1


def load(description: Path) -> dict[str, DAG]:
    """DAGs by name, for ``globals()``. A description that cannot be read is one DAG that says so."""
    name = f"headrace.{description.resolve().parent.parent.name}"
    try:
        document = json.loads(description.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"it has format {document['format']}, this version reads {FORMAT}")
        folder = os.environ.get(PROJECT) or str((description.resolve().parent / document["project"]).resolve())
        place = Place(folder, document["reports"], document["reports_url"])
        dags = [make_dag(each, place) for each in document["dags"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        dags = [
            broken_dag(name, f"{description.name} cannot be read ({type(error).__name__}: {error}); run headrace airflow build")
        ]
    return {dag.dag_id: dag for dag in dags}
