"""Source specs as users write them: ``sources/<source>.yaml``. Reference: docs/reference/sources.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from contracts.spec.files.base import (
    Description,
    FileModel,
    Major,
    Name,
    OneOrMore,
    Path_,
    Plains,
    Positive,
    Read,
    WholeFile,
    Worded,
    duration_s,
    wrong,
)  # fmt: skip
from contracts.spec.files.versions import ExampleFile, SchemaVersion
from contracts.spec.source import (
    EPOCH_UNIT_NAMES,
    FORMAT_NAMES,
    MOST_REVISION,
    ClockBounds,
    CsvDialect,
    DropRule,
    EpochUnit,
    FormatName,
    SourceSpec,
)
from contracts.spec.yaml_files import Document
from contracts.units import SECOND_US


def _timezone(value: Any) -> str:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, such as Europe
        raise wrong(f"{value!r} is not an IANA name such as Europe/Berlin") from None
    return str(value)


def _distance(value: Any) -> int | None:
    """Microseconds; None for any."""
    seconds = duration_s(value)
    if seconds is None and value != "any":
        raise wrong(f"{value!r} is no duration such as 30d or 1h, nor any")
    return None if seconds is None else seconds * SECOND_US


def _encoding(value: Any) -> str:
    try:
        b"ab".decode(value, "replace")
    except (LookupError, TypeError):
        raise wrong(f"{value!r} is not a text encoding that Python knows") from None
    return str(value)


def _epoch(value: Any) -> tuple[tuple[str | None, EpochUnit], ...]:
    by_column = value if isinstance(value, dict) else {None: value}
    if strange := [unit for unit in by_column.values() if unit not in EPOCH_UNIT_NAMES]:
        raise wrong(f"{strange[0]!r}; expected {', '.join(EPOCH_UNIT_NAMES)}, or a mapping of columns to one of them")
    return tuple((None if column is None else str(column), unit) for column, unit in by_column.items())


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise wrong("expected a text")
    return str(value)


_REVISION = f"{{value!r}} is not a number from 1 to {MOST_REVISION:,}"
_UNITS = {"enum": list(EPOCH_UNIT_NAMES)}
_Text = Annotated[str, Read(_text, {"type": "string"})]
_Duration = Annotated[int | None, Read(_distance, {"type": "string", "examples": ["30d", "1h", "any"]})]
_Character = Annotated[
    str, Field(min_length=1, max_length=1, pattern=r"^[\x00-\x7F]$"), Worded("{value!r} is not one ASCII character")
]


class ClockFile(FileModel):
    """How far a client's time may be from its record's clock."""

    max_behind: _Duration = Field(
        description="A duration (`d`, `h`, `m`, `s`), or `any`.",
        json_schema_extra={"shown": "`30d`; `any` for contracts without `eventTime`"},
    )
    max_ahead: _Duration = Field(
        description="The same. On a topic a row up to an hour ahead waits for its window; one further ahead does not.",
        json_schema_extra={"shown": "`1h`"},
    )


class FilterFile(FileModel):
    """Records to leave out."""

    path: Path_ = Field(description="Where the value stands.")
    among: Plains = Field(alias="in", description="Texts, numbers or booleans.")


class CsvFile(FileModel):
    """How the CSV is written."""

    delimiter: _Character = Field(default=",", description="One ASCII character.")
    quote: _Character = Field(default='"', description="One ASCII character; doubled inside quotes.")
    encoding: Annotated[str, Read(_encoding, {"type": "string", "examples": ["cp1252"]})] = Field(
        default="utf-8", description="A name that Python knows, such as `cp1252`; a byte-order mark of UTF-16 or UTF-32 wins."
    )
    decimal: _Character = Field(
        default=".",
        description="Decimal separator. With `,` a number that holds a point is `wrong_type`; there are no thousands separators.",
    )
    null_values: Annotated[list[_Text], OneOrMore()] = Field(
        default=[""], description='Cell texts that mean "no value", in every column.'
    )

    @model_validator(mode="after")
    def _differ(self) -> CsvFile:
        if len({self.delimiter, self.quote, "\n", "\r"}) < 4:
            raise wrong("delimiter, quote and line end must differ")
        return self


class SourceFile(WholeFile):
    """A source spec: how the payload of one source becomes rows of a dataset."""

    what: ClassVar[str] = "source spec"
    keys: ClassVar[str] = "source, dataset, format and columns"

    source: Name = Field(
        description="Name of the source: lower case letters, digits, `_` and `-`. It names the folder in `raw/`; a changed name is "
        "another source.",
        examples=["web"],
    )
    description: Description = Field(default="", description="For people.")
    dataset: _Text = Field(description="The [contract](contracts.md) that its rows must keep.", examples=["customer_event"])
    version: Major = Field(default=1, description="Major version of that contract.")
    revision: Annotated[int, Field(ge=1, le=MOST_REVISION), Worded(_REVISION)] = Field(
        default=1,
        description="Number of this spec, 1 to 999,999: raise it with each change. [Of two readings of one "
        "record](lake.md#revisions) that of the higher stands.",
    )
    format: Annotated[FormatName, Worded(f"{{value!r}}; known: {', '.join(FORMAT_NAMES)}")] = Field(
        description="`jsonl`, `json_array`, `csv`, `avro` or `parquet`; see [formats](#formats)."
    )
    records: Path_ | None = Field(
        default=None, description="Path of the list of records in each payload, for SDK batches (`jsonl`, `json_array`)."
    )
    missing_event_id: Annotated[Literal["derive", "reject"], Worded("{value!r}; expected derive or reject")] = Field(
        default="reject",
        description="`reject`: a record without an id breaks the rule `required`. `derive`: its id is `fp-` and its "
        "fingerprint. What "
        "each attempt to send an event has anew must then be [`transport`](contracts.md#custom-properties-of-a-column) in the "
        "contract, or the event is there twice: `contract lint` and every run warn of columns that look so and are not.",
    )
    schema_version: SchemaVersion | None = Field(
        default=None, description="[Version of the payload's own schema](#schema_version)."
    )
    filter: list[Annotated[FilterFile, Worded("expected {path: context.traffic, in: [bot]}")]] = Field(
        default=[], description="[Records to leave out](#filter)."
    )
    ignore: list[_Text] = Field(
        default=[],
        description="List of top-level fields that are known and not wanted, so that they are not "
        "[unknown](contracts.md#unknown-fields).",
    )
    csv: Annotated[CsvFile, Worded("expected a mapping with some of decimal, delimiter, encoding, null_values, quote")] = Field(
        default=CsvFile(), description="How the CSV is written.", json_schema_extra={"shown": "see [CSV](#csv)"}
    )
    timezone: Annotated[str, Read(_timezone, {"type": "string", "examples": ["Europe/Berlin"]})] = Field(
        default="UTC", description="IANA name; zone of times without one, for columns that accept `no_zone`."
    )
    epoch: Annotated[
        tuple[tuple[str | None, EpochUnit], ...],
        Read(_epoch, {"anyOf": [_UNITS, {"type": "object", "additionalProperties": _UNITS}]}),
    ] = Field(default=(), description="[Unit of numbers since 1970](#epoch).")
    clock: Annotated[ClockFile, Worded("expected {max_behind: 30d, max_ahead: 1h}")] | None = Field(
        default=None,
        description="How far a client's time may be from the time of receipt.",
        json_schema_extra={"shown": "see [clock](#clock)"},
    )
    optional: list[_Text] = Field(
        default=[],
        description="List of contract columns whose fields a file may lack (CSV, Avro, Parquet). Without it a file that has "
        "none of a "
        "column's fields is `header_mismatch`.",
    )
    record_bytes: Positive = Field(
        default=1_048_576,
        description="Larger records are dead letters `too_large`, bytes. With `records` it bounds an item; the whole payload "
        "may be 16 "
        "times as large, and hold 1,048,576 items.",
    )
    max_depth: Positive = Field(default=64, description="JSON nested deeper is a dead letter `too_deep`, levels.")
    tombstones: Annotated[Literal["filter", "reject"], Worded("{value!r}; expected filter or reject")] = Field(
        default="reject",
        description="Messages of a topic without a value, or with an empty one: `reject` makes a dead letter `malformed` of each, "
        "`filter` counts them as filtered.",
    )
    columns: Annotated[
        dict[str, Annotated[list[Path_], OneOrMore()]], Worded("expected a mapping of contract columns to payload paths")
    ] = Field(
        description="Contract column to [path](#paths), or to a list of paths: the first that has a value. A null token of the "
        "column "
        "is no value.",
        examples=[{"event_id": "messageId", "event_name": ["event", "name"]}],
    )
    wire_format: Annotated[Literal["confluent"], Worded("{value!r}; expected confluent")] | None = Field(
        default=None,
        description="`confluent`: messages of topics name their schema by an id of the [registry](#registry). For `avro` and "
        "`jsonl`. "
        "[More](../guides/avro-and-registries.md).",
    )
    raw: Name | None = Field(
        default=None,
        description="A source whose raw layer this one shares: for [another major](../guides/change-a-contract.md) of the same "
        "dataset. Nothing is landed twice.",
    )
    examples: list[ExampleFile] = Field(default=[], description="[Payloads and what must come of them](#examples).")

    def compiled(self) -> SourceSpec:
        """What the rest of the code reads."""
        return SourceSpec(
            name=self.source,
            description=self.description,
            dataset=self.dataset,
            version=self.version,
            revision=self.revision,
            format=self.format,
            columns={column: tuple(paths) for column, paths in self.columns.items()},
            records=self.records,
            missing_event_id=self.missing_event_id,
            schema_version=self.schema_version.compiled() if self.schema_version else None,
            filters=tuple(DropRule(rule.path, frozenset(rule.among)) for rule in self.filter),
            ignore=frozenset(self.ignore),
            csv=CsvDialect(**{**dict(self.csv), "null_values": frozenset(self.csv.null_values)}),
            timezone=self.timezone,
            record_bytes=self.record_bytes,
            max_depth=self.max_depth,
            tombstones=self.tombstones,
            epoch=self.epoch,
            optional=frozenset(self.optional),
            clock=ClockBounds(self.clock.max_behind, self.clock.max_ahead) if self.clock else None,
            examples=tuple(example.compiled() for example in self.examples),
            wire_format=self.wire_format,
            raw=self.raw,
        )


def load_source(path: Path) -> SourceSpec:
    """Read one source spec.

    Raises:
        ConfigurationError: lists every problem of the file.
    """
    return read_source(path)[0]


def read_source(path: Path) -> tuple[SourceSpec, Document]:
    """Read one source spec, with the lines of its file."""
    file, document = SourceFile.read(path)
    return file.compiled(), document
