"""Source specs: how one source's payload maps to a dataset. YAML that users write; a new source needs no Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contracts.spec.documents import check_keys, listed, major_version, name_of, read_mapping, refuse
from contracts.spec.model import Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text
from contracts.spec.version_keys import examples, revision, schema_version
from contracts.spec.versions import Example, SchemaVersionRule
from contracts.units import DURATION_UNITS, SECOND_US

FormatName = Literal["jsonl", "json_array", "csv", "avro", "parquet"]
EpochUnit = Literal["s", "ms", "us", "ns", "mixed"]  # mixed: each number tells its unit by its digits, and that is meant
EPOCH_UNIT_NAMES: tuple[EpochUnit, ...] = ("s", "ms", "us", "ns", "mixed")
BATCH_RECORDS_BYTES = 16  # how many of the largest records a batch may be as large as
_TRANSPORT_NAMES = {  # what SDKs, collectors and loaders call when something was sent, received or tried, without case and signs
    "sentat", "sendat", "senttimestamp", "receivedat", "receivedtimestamp", "receivetime", "receivetimestamp", "collectortstamp",
    "dvcesenttstamp", "etltstamp", "loadtstamp", "uploadtime", "serveruploadtime", "serverreceivedtime", "clientuploadtime",
    "ingestedat", "ingestiontime", "ingesttimestamp", "loadedat", "processedat", "processedtime", "servertimestamp", "retry",
    "retries", "retrycount",
}  # fmt: skip
FORMAT_NAMES: tuple[FormatName, ...] = ("jsonl", "json_array", "csv", "avro", "parquet")


@dataclass(frozen=True)
class CsvDialect:
    """How a CSV source is written. null_values: cell texts that mean "no value"."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    null_values: frozenset[str] = frozenset({""})


@dataclass(frozen=True)
class ClockBounds:
    """How far a client's time may be from its record's clock before it is corrected, microseconds; None for any distance."""

    max_behind_us: int | None
    max_ahead_us: int | None


@dataclass(frozen=True)
class DropRule:
    """Records whose value at ``path`` is one of ``among`` are filtered: counted, never published."""

    path: PayloadPath
    among: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """One source. ``columns`` maps each contract column to the payload paths that may fill it; the first with a value does.

    record_bytes, max_depth: larger or deeper records are dead letters (too_large, too_deep).
    records: path of the list of records inside each payload (SDK batches); None where a payload is one record.
    timezone: zone of timestamps without one, for columns whose contract accepts ``no_zone``.
    tombstones: what becomes of messages without a value; they have nothing that a filter could look at.
    epoch: unit of numbers since 1970 by contract column; None is for all that it does not name.
    optional: contract columns whose fields a file with a schema or header may lack.
    whole: decode fields that the source does not read too. Set by who knows the contract, not in YAML.
    clock: bounds of clients' times; None where the contract's kind decides (see rows.py).
    raw: the source whose raw layer it shares; None where it has one of its own.
    revision: of this spec; what is read under a higher one takes the place of what was read under a lower. examples: payloads, and
        what must come of them.
    wire_format: how messages of topics name their schema: ``confluent``, an id of the registry in front or in a header; None where
        they do not.
    """

    name: str
    dataset: str
    version: int
    format: FormatName
    columns: Mapping[str, tuple[PayloadPath, ...]]
    records: PayloadPath | None = None
    missing_event_id: Literal["derive", "reject"] = "reject"
    schema_version: SchemaVersionRule | None = None
    filters: tuple[DropRule, ...] = ()
    ignore: frozenset[str] = frozenset()
    csv: CsvDialect = field(default_factory=CsvDialect)
    timezone: str = "UTC"
    record_bytes: int = 1_048_576
    max_depth: int = 64
    tombstones: Literal["filter", "reject"] = "reject"
    epoch: tuple[tuple[str | None, EpochUnit], ...] = ()
    optional: frozenset[str] = frozenset()
    whole: bool = True
    clock: ClockBounds | None = None
    raw: str | None = None
    revision: int = 1
    examples: tuple[Example, ...] = ()
    wire_format: Literal["confluent"] | None = None
    description: str = ""

    @cached_property
    def known_fields(self) -> frozenset[str]:
        """Top-level payload fields that the spec names, and so are not unknown."""
        paths = [path for paths in self.columns.values() for path in paths]
        paths += [rule.path for rule in self.filters]
        if self.schema_version and self.schema_version.path:
            paths.append(self.schema_version.path)
        return self.ignore | {path.steps[0] for path in paths if not path.envelope}

    @cached_property
    def read_fields(self) -> frozenset[str]:
        """Top-level payload fields whose values decide about a record."""
        return self.known_fields - self.ignore | {p.steps[0] for paths in self.columns.values() for p in paths if not p.envelope}

    def lacking(self, has: Callable[[tuple[str, ...]], bool]) -> list[str]:
        """Fields that a file with a schema or header must have and has not: the first path of each column, where none is there."""
        needed = (paths for name, paths in self.columns.items() if paths and name not in self.optional)
        return sorted({str(paths[0]) for paths in needed if not any(path.envelope or has(path.steps) for path in paths)})

    @property
    def epoch_units(self) -> dict[str | None, str | None]:
        """Unit of numbers since 1970 by contract column. Column None: all that are not there. Unit None: none in particular."""
        return {column: None if unit == "mixed" else unit for column, unit in self.epoch}

    @property
    def payload_bytes(self) -> int:
        """What one payload may take: a record, or a batch of records."""
        return self.record_bytes if self.records is None else BATCH_RECORDS_BYTES * self.record_bytes

    @property
    def raw_source(self) -> str:
        """Whose raw layer it lands in and replays from."""
        return self.raw or self.name

    @property
    def reads_headers(self) -> bool:
        """Whether something of a record stands in the headers of its message."""
        return self.wire_format is not None or (self.schema_version is not None and self.schema_version.header is not None)

    @property
    def text(self) -> bool:
        """Whether all values are text, so that numbers and booleans are read from text."""
        return self.format == "csv"


_KEYS = {
    "source", "description", "dataset", "version", "format", "records", "missing_event_id", "schema_version", "filter", "ignore",
    "csv", "timezone", "clock", "record_bytes", "max_depth", "tombstones", "columns", "epoch", "optional", "revision",
    "examples", "wire_format", "raw",
}  # fmt: skip


def load_source(path: Path) -> SourceSpec:
    """Read one source spec.

    Raises:
        ConfigurationError: lists every problem of the file.
    """
    document = read_mapping(path, "source spec", "source, dataset, format and columns")
    problems: list[str] = []
    spec = _compile(document, problems)
    refuse(f"source spec {path}", problems)
    assert spec is not None
    return spec


def check_source(spec: SourceSpec, contract: Contract) -> list[str]:
    """What does not fit between a source spec and its contract; one sentence each."""
    problems = [f"columns: {contract.name} has no column {name!r}" for name in spec.columns if name not in contract.by_name]
    problems += [f"columns: {name} is computed, no source maps it" for name in spec.columns if name in contract.computed]
    for column in contract.columns:
        derived = column.name == contract.event_id and spec.missing_event_id == "derive"
        if column.required and column.name not in spec.columns and column.name not in contract.computed and not derived:
            problems.append(f"columns: {column.name} is required by {contract.name} and not mapped")
    if spec.records and spec.format not in ("jsonl", "json_array"):
        problems.append(f"records: payloads of format {spec.format} are records themselves; only JSON has batches")
    if spec.wire_format and (spec.format not in ("avro", "jsonl") or spec.records):
        problems.append("wire_format: messages that name a schema hold one record each, of format avro or jsonl, without records:")
    if spec.schema_version and spec.schema_version.registry and not spec.wire_format:
        problems.append("schema_version: registry needs wire_format: confluent")
    if spec.records is None:
        others = [rule.path for rule in spec.filters] + (
            [spec.schema_version.path] if spec.schema_version and spec.schema_version.path else []
        )
        problems += [
            f"filter or schema_version: {path} needs an envelope, but there is no records:" for path in others if path.envelope
        ]
        for name, paths in spec.columns.items():
            problems += [f"columns: {name}: {p} needs an envelope, but there is no records:" for p in paths if p.envelope]
    accepting = _accepting_epoch(contract)
    problems += [
        f"epoch: {name} is no timestamp column of {contract.name} that accepts epoch"
        for name, _ in spec.epoch if name is not None and name not in accepting
    ]  # fmt: skip
    problems += [f"optional: {name} is not among columns" for name in sorted(spec.optional) if name not in spec.columns]
    if spec.version != contract.major:
        problems.append(f"version: {spec.version}, but the contract found is {contract.version}")
    return problems


def warnings_of(spec: SourceSpec, contract: Contract) -> list[str]:
    """What may be meant otherwise than it is read; one sentence each."""
    return [*_guessed_units(spec, contract), *_ids_of_transport(spec, contract)]


def _guessed_units(spec: SourceSpec, contract: Contract) -> list[str]:
    stated = dict(spec.epoch)
    if None in stated:
        return []
    guessed = sorted(_accepting_epoch(contract) & spec.columns.keys() - stated.keys())
    if not guessed:
        return []
    return [
        f"epoch: the unit of numbers in {', '.join(guessed)} is guessed by their digits; state it, such as epoch: ms, or "
        "epoch: mixed where it differs"
    ]


def _ids_of_transport(spec: SourceSpec, contract: Contract) -> list[str]:
    """Ids that are derived from what each attempt to send an event has anew: by what the contract says, or by what it is called."""
    if spec.missing_event_id != "derive" or contract.event_id_from:
        return []
    rule = contract.event_time
    roles = {contract.received_at, *((rule.sent, rule.column) if rule else ())}
    named = {name for name, paths in spec.columns.items() if any(_plain_name(path.steps[-1]) in _TRANSPORT_NAMES for path in paths)}
    telling = sorted(
        c.name for c in contract.columns if c.name in roles | named and not c.transport and c.name != contract.event_id
    )
    if not telling:
        return []
    return [
        f"missing_event_id: derive: an event that is sent again has another {', '.join(telling)}, so it gets another id and is "
        f"there twice; give {'it' if len(telling) == 1 else 'them'} transport: true in {contract.name}"
    ]


def _plain_name(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _accepting_epoch(contract: Contract) -> frozenset[str]:
    return frozenset(column.name for column in contract.columns if "epoch" in column.accept)


def _compile(document: dict[str, Any], problems: list[str]) -> SourceSpec | None:
    check_keys(document, _KEYS, ("source", "dataset", "format", "columns"), problems)
    if problems:
        return None
    name = name_of(document, "source", problems)
    if document["format"] not in FORMAT_NAMES:
        problems.append(f"format: {document['format']!r}; known: {', '.join(FORMAT_NAMES)}")
    if document.get("missing_event_id", "reject") not in ("derive", "reject"):
        problems.append(f"missing_event_id: {document['missing_event_id']!r}; expected derive or reject")
    if document.get("tombstones", "reject") not in ("filter", "reject"):
        problems.append(f"tombstones: {document['tombstones']!r}; expected filter or reject")
    if document.get("wire_format") not in (None, "confluent"):
        problems.append(f"wire_format: {document['wire_format']!r}; expected confluent")
    timezone = _timezone(document, problems)
    limits = {key: document.get(key, default) for key, default in (("record_bytes", 1_048_576), ("max_depth", 64))}
    problems += [f"{k}: {v!r} is not a positive number" for k, v in limits.items() if type(v) is not int or v < 1]
    version = major_version(document, problems)
    for key in ("filter", "ignore", "optional"):
        if not isinstance(document.get(key) or [], list):
            problems.append(f"{key}: expected a list")
            document = {**document, key: []}
    if not isinstance(document["columns"], dict):
        problems.append("columns: expected a mapping of contract columns to payload paths")
        return None
    columns = {
        str(k): tuple(p for t in listed(v) if (p := _path(t, f"columns.{k}", problems))) for k, v in document["columns"].items()
    }
    return SourceSpec(
        name=name,
        description=str(document.get("description", "")),
        dataset=str(document["dataset"]),
        version=version,
        format=cast(FormatName, document["format"]),
        columns=columns,
        records=_path(document["records"], "records", problems) if document.get("records") else None,
        missing_event_id=document.get("missing_event_id", "reject"),
        schema_version=schema_version(document.get("schema_version"), problems),
        raw=_raw(document, problems),
        revision=revision(document.get("revision", 1), problems),
        examples=examples(document.get("examples") or [], problems),
        filters=_filters(document.get("filter") or (), problems),
        ignore=frozenset(map(str, document.get("ignore") or ())),
        csv=_csv(document.get("csv") or {}, problems),
        timezone=timezone,
        record_bytes=limits["record_bytes"],
        max_depth=limits["max_depth"],
        tombstones=document.get("tombstones", "reject"),
        epoch=tuple(_epoch(document.get("epoch"), problems).items()),
        optional=frozenset(map(str, document.get("optional") or ())),
        clock=_clock(document.get("clock"), problems),
        wire_format=document.get("wire_format"),
    )


def _raw(document: Mapping[str, Any], problems: list[str]) -> str | None:
    raw = document.get("raw")
    if raw is None or (isinstance(raw, str) and raw != document["source"]):
        return raw
    problems.append(f"raw: {raw!r} is not the name of another source")
    return None


def _timezone(document: Mapping[str, Any], problems: list[str]) -> str:
    timezone = str(document.get("timezone", "UTC"))
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, such as Europe
        problems.append(f"timezone: {timezone!r} is not an IANA name such as Europe/Berlin")
    return timezone


def _clock(definition: Any, problems: list[str]) -> ClockBounds | None:
    if definition is None:
        return None
    if not isinstance(definition, dict) or set(definition) != {"max_behind", "max_ahead"}:
        problems.append("clock: expected {max_behind: 30d, max_ahead: 1h}")
        return None
    return ClockBounds(*(_distance(definition[key], f"clock.{key}", problems) for key in ("max_behind", "max_ahead")))


def _distance(given: Any, where: str, problems: list[str]) -> int | None:
    """A duration in microseconds; None for any."""
    if given == "any":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})([dhms])", str(given))
    if match is None:
        problems.append(f"{where}: {given!r} is no duration such as 30d or 1h, nor any")
        return None
    return int(match[1]) * DURATION_UNITS[match[2]] * SECOND_US


def _path(text: Any, where: str, problems: list[str]) -> PayloadPath | None:
    try:
        return PayloadPath.parse(text)
    except (ValueError, AttributeError, TypeError) as error:
        problems.append(f"{where}: {error if isinstance(error, ValueError) else 'expected a path such as context.page.url'}")
        return None


def _epoch(definition: Any, problems: list[str]) -> dict[str | None, EpochUnit]:
    """``ms``, or ``{created: ms, changed: s}``."""
    by_column = definition if isinstance(definition, dict) else {} if definition is None else {None: definition}
    if wrong := [unit for unit in by_column.values() if unit not in EPOCH_UNIT_NAMES]:
        problems.append(f"epoch: {wrong[0]!r}; expected {', '.join(EPOCH_UNIT_NAMES)}, or a mapping of columns to one of them")
        return {}
    return {None if column is None else str(column): unit for column, unit in by_column.items()}


def _filters(definitions: Any, problems: list[str]) -> tuple[DropRule, ...]:
    rules = []
    for number, definition in enumerate(definitions):
        if not isinstance(definition, dict) or set(definition) != {"path", "in"}:
            problems.append(f"filter[{number}]: expected {{path: context.traffic, in: [bot]}}")
        elif path := _path(definition["path"], f"filter[{number}].path", problems):
            rules.append(DropRule(path, frozenset(t for v in listed(definition["in"]) if (t := plain_text(v)))))
    return tuple(rules)


def _csv(definition: Any, problems: list[str]) -> CsvDialect:
    known = {"delimiter", "quote", "encoding", "decimal", "null_values"}
    if not isinstance(definition, dict) or not set(definition) <= known:
        problems.append(f"csv: expected a mapping with some of {', '.join(sorted(known))}")
        return CsvDialect()
    dialect = CsvDialect(**{**definition, "null_values": frozenset(map(str, listed(definition.get("null_values", ""))))})
    for key, value in (("delimiter", dialect.delimiter), ("quote", dialect.quote), ("decimal", dialect.decimal)):
        if not isinstance(value, str) or len(value) != 1 or not value.isascii():
            problems.append(f"csv.{key}: {value!r} is not one ASCII character")
    if len({dialect.delimiter, dialect.quote, "\n", "\r"}) < 4:
        problems.append("csv: delimiter, quote and line end must differ")
    try:
        b"ab".decode(dialect.encoding, "replace")
    except (LookupError, TypeError):
        problems.append(f"csv.encoding: {dialect.encoding!r} is not a text encoding that Python knows")
    return dialect
