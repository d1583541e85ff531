"""``headrace.yaml`` as users write it. Reference: docs/reference/sources.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from contracts.spec.files.base import FileModel, Read, WholeFile, Worded, duration_s, wrong
from contracts.spec.files.registry import RegistryFile
from contracts.spec.files.schedules import SchedulesFile
from contracts.spec.model import Consumer

_Text = Annotated[str, Worded("expected a text")]
_Folders = Annotated[list[str], Worded("expected a list of folders", whole=True)]


def _age(value: Any) -> str:
    if duration_s(value) is None:
        raise wrong(f"{value!r} is no duration such as 90d")
    return str(value)


class ConsumerFile(FileModel):
    """Who reads a dataset."""

    name: str = Field(min_length=1, description="Of the table, model, job or team that reads it.")
    columns: list[str] = Field(default=[], description="Columns that it reads; all where none is named.")
    contact: str = Field(default="", description="Where it is told of changes.")

    def compiled(self) -> Consumer:
        """What the rest of the code reads."""
        return Consumer(self.name, tuple(self.columns), self.contact)


CONSUMER = "expected {name: …, columns: [...], contact: …}, of which columns and contact may be left out"
Consumers = list[Annotated[ConsumerFile, Worded(CONSUMER)]]
_Limit = Annotated[int, Field(ge=0), Worded("{value!r} is not a whole number")]


class ReplayFile(FileModel):
    """Limits above which a replay needs an approval."""

    maxRows: _Limit = Field(default=10_000_000, description="Records that it reads.")
    maxWindows: _Limit = Field(default=744, description="Windows that it rebuilds.")
    maxAge: Annotated[str, Read(_age, {"type": "string", "examples": ["90d"]})] = Field(
        default="90d", description="How far back it goes."
    )


class ProjectFile(WholeFile):
    """The project file: where a user's lake, contracts and sources lie."""

    what: ClassVar[str] = "project file"
    keys: ClassVar[str] = (
        "some of catalog, consumers, datasets, destinations, files, flink, lake, policies, registry, replay, schedules, sources"
    )

    lake: _Text | None = Field(
        default=None,
        description="The lake, for verbs without `--lake`: a folder, `file://`, or [`gs://` or "
        "`s3://`](../guides/object-storage.md).",
    )
    catalog: _Text | None = Field(
        default=None,
        description="`sqlite:///FILE`, `postgresql+psycopg://HOST/DATABASE`, or `https://HOST` (without TLS "
        "`rest+http://HOST:PORT`) of an "
        "Iceberg REST catalog.",
        json_schema_extra={"shown": "SQLite, `catalog.db` in the lake"},
    )
    flink: _Text | None = Field(
        default=None,
        description="REST address of the Flink cluster, `HOST:PORT`; without this key the variable `FLINK_REST` may name it.",
        json_schema_extra={"shown": "`localhost:28081`"},
    )
    datasets: _Folders = Field(default=[], description="Folders with contracts of your own; those that ship are always found.")
    sources: _Folders = Field(default=[], description="Folders with source specs.", json_schema_extra={"shown": "`[sources]`"})
    destinations: _Folders = Field(
        default=[],
        description="Folders with [destinations](destinations.md) of your own; those that ship are always found.",
        json_schema_extra={"shown": "`[destinations]`"},
    )
    policies: _Folders = Field(
        default=[],
        description="Folders with policies: `suppressions/*.yaml`, [ids that never come back](../guides/replay.md#suppressed-ids).",
        json_schema_extra={"shown": "`[policies]`"},
    )
    files: Annotated[Literal["private", "group"], Worded("expected private or group")] | None = Field(
        default=None,
        description="Who may read [what is written](../guides/security.md#files): the user alone, or with `group` the user's "
        "group too.",
        json_schema_extra={"shown": "`private`"},
    )
    replay: Annotated[
        ReplayFile,
        Worded("expected a mapping with some of maxRows, maxWindows, maxAge; consumers: is a key of headrace.yaml itself"),
    ] = Field(
        default=ReplayFile(),
        description="Limits above which a [replay](../guides/replay.md) needs an approval.",
        json_schema_extra={"shown": "`maxRows: 10000000`, `maxWindows: 744`, `maxAge: 90d`"},
    )
    consumers: Annotated[dict[str, Consumers], Worded("expected lists of {name: …} by dataset")] = Field(
        default={},
        description="By dataset, who reads it: for contracts that ship. A contract of your own names its consumers itself.",
        examples=[{"customer_event": [{"name": "audiences", "columns": ["user_id"], "contact": "audiences@example.com"}]}],
    )
    registry: (
        Annotated[RegistryFile, Worded("expected a mapping with url, and if need be name, credentials, ca, timeout, patience")]
        | None
    ) = Field(default=None, description="The [schema registry](#registry) of messages with `wire_format`.")
    schedules: SchedulesFile | None = Field(
        default=None, description="[When what runs](#schedules), for [Airflow](../guides/airflow.md)."
    )
