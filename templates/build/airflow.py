"""What Airflow reads of a project: a description of its DAGs, which is reviewed as a diff, a loader, and its pools."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.text import json_text
from templates.build.dags.project import project_dags

FORMAT = 1  # as templates/airflow/loader.py reads it
DESCRIPTION, LOADER, POOLS = "dags.json", "headrace_dags.py", "pools.json"
_LOADER = '''\
"""The DAGs of this project, as dags.json describes them. Written by `headrace airflow build`."""

from pathlib import Path

from airflow.sdk import DAG  # noqa: F401 - Airflow looks for DAGs in files that name it

from templates.airflow.loader import load

globals().update(load(Path(__file__).with_name("dags.json")))
'''


@dataclass(frozen=True)
class Built:
    """Files by name, and what is wrong with single DAGs, which say so themselves in Airflow."""

    files: dict[str, str]
    document: dict[str, Any]

    @property
    def problems(self) -> list[str]:
        """A sentence for each DAG that cannot be made."""
        return [f"{dag['dag_id']}: {dag['error']}" for dag in self.document["dags"] if "error" in dag]


def build(project: Project, folder: Path) -> Built:
    """What belongs into a folder.

    Args:
        project: with ``schedules``.
        folder: where the files will lie; the description names the project relative to it.

    Raises:
        ConfigurationError: the project has no schedules or no lake, or a source has a schedule and a stream.
    """
    schedules = project.schedules
    if project.file is None:
        raise ConfigurationError("no headrace.yaml here or in a folder above; --project DIR names the folder of one with schedules")
    if schedules is None:
        raise ConfigurationError(f"{project.file}: no schedules; docs/guides/airflow.md says what they are")
    if project.lake is None:
        raise ConfigurationError(f"{project.file}: no lake; tasks call headrace without --lake: name it, such as lake: lake")
    if both := sorted(schedules.sources.keys() & schedules.streams.keys()):
        raise ConfigurationError(f"{project.file}: schedules: {', '.join(both)}: under sources and under streams; choose one")
    document = {
        "format": FORMAT,
        "project": os.path.relpath(project.root, folder.absolute()),
        "reports": schedules.reports,
        "reports_url": schedules.reports_url,
        "dags": list(project_dags(project, schedules)),
    }
    backfills = f"{schedules.name}.backfill"
    pools = {backfills: {"slots": 1, "description": "Rebuilds of this project, one at a time", "include_deferred": False}}
    files = {DESCRIPTION: json_text(document) + "\n", LOADER: _LOADER}
    return Built({**files, **({POOLS: json_text(pools) + "\n"} if schedules.backfill else {})}, document)


def differences(built: Built, folder: Path) -> list[str]:
    """Lines of a unified diff from what lies in a folder to what should."""
    lines: list[str] = []
    for name, text in built.files.items():
        path = folder / name
        there = path.read_text("utf-8") if path.is_file() else ""
        lines += difflib.unified_diff(there.splitlines(), text.splitlines(), str(path), f"{path} (as built now)", lineterm="")
    return lines
