"""Makes the tables of keys in docs/reference from the models of files.

python -m tests.support.spec_reference
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from contracts.lint.odcs_keys import table_of_keys
from contracts.spec.files.contract import ColumnProperties, ContractProperties
from contracts.spec.files.destination import DestinationFile, LimitsFile
from contracts.spec.files.project import ConsumerFile, ProjectFile
from contracts.spec.files.quality import DaysFile, PartitionsProperty
from contracts.spec.files.recipe import RecipeExampleFile, RecipeFile, TextFile
from contracts.spec.files.reference import key_table, property_table
from contracts.spec.files.registry import RegistryFile
from contracts.spec.files.schedules import (
    BackfillScheduleFile,
    DestinationScheduleFile,
    SchedulesFile,
    SourceScheduleFile,
    StreamScheduleFile,
    UpkeepScheduleFile,
)
from contracts.spec.files.source import ClockFile, CsvFile, FilterFile, SourceFile
from contracts.spec.files.versions import ExampleFile, SchemaVersionFile, StepFile, UpcastFile

PAGES = Path(__file__).parents[2] / "docs" / "reference"
_TABLES: dict[str, Callable[[], str]] = {
    "odcs": table_of_keys,
    "contract": lambda: property_table(ContractProperties),
    "column": lambda: property_table(ColumnProperties),
    **{
        model.__name__: lambda model=model: key_table(model)  # type: ignore[misc]
        for model in (
            BackfillScheduleFile, ClockFile, ConsumerFile, CsvFile, DaysFile, DestinationFile, DestinationScheduleFile, ExampleFile,
            FilterFile, LimitsFile, PartitionsProperty, ProjectFile, RecipeExampleFile, RecipeFile, RegistryFile, SchedulesFile,
            SchemaVersionFile, SourceFile, SourceScheduleFile, StepFile, StreamScheduleFile, TextFile, UpcastFile,
            UpkeepScheduleFile,
        )
    },
}  # fmt: skip
_BLOCK = re.compile(r"<!-- table: (\w+) -->\n.*?\n<!-- end -->", re.DOTALL)


def with_tables(page: str) -> str:
    """The text of a page, its tables made anew."""
    return _BLOCK.sub(lambda match: f"<!-- table: {match[1]} -->\n\n{_TABLES[match[1]]()}\n\n<!-- end -->", page)


if __name__ == "__main__":
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text("utf-8")
        if (new := with_tables(text)) != text:
            path.write_text(new, "utf-8")
