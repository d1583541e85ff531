"""One run of ``headrace ingest`` over files, in this process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.spec.project import Project
from lake.location import Lake
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from tests.support.processes import PROJECT

WEBSHOP = Project.load(PROJECT)


def ingest(
    lake: Lake | Path | str, inputs: Iterable[object], source: str = "web", project: Project = WEBSHOP, **options: Any
) -> IngestReport:
    """Ingest files.

    Args:
        lake: with the catalog that it has.
        inputs: paths and patterns.
        source, project: whose.
        options: of ``IngestOptions``.
    """
    if isinstance(lake, Lake):
        project, lake = replace(project, catalog=lake.catalog_url), lake.root
    chosen = IngestOptions(source=source, input=tuple(map(str, inputs)), lake=str(lake), **options)
    return ingest_files(chosen, project, lambda _: None)
