"""Source specs: how one source's payload maps to a dataset. YAML that users write; a new source needs no Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from contracts.spec.model import Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.versions import Example, SchemaVersionRule

FormatName = Literal["jsonl", "json_array", "csv", "avro", "parquet"]
EpochUnit = Literal["s", "ms", "us", "ns", "mixed"]  # mixed: each number tells its unit by its digits, and that is meant
EPOCH_UNIT_NAMES: tuple[EpochUnit, ...] = ("s", "ms", "us", "ns", "mixed")
MOST_REVISION = 999_999
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
    raw: the source whose raw layer it shares; None where it has one of its own. raw_dataset: of that source; set by the project.
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
    raw_dataset: str | None = None
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


def shares_raw(spec: SourceSpec, owner: SourceSpec) -> list[str]:
    """Why a source cannot share the raw layer of another; one sentence each."""
    problems = []
    if owner.raw is not None:
        problems.append(f"raw: {owner.name} shares the raw layer of {owner.raw}; name that one")
    if owner.dataset != spec.dataset:
        problems.append(f"raw: {owner.name} feeds {owner.dataset}; only another major of the same dataset shares a raw layer")
    if numbering(owner) != numbering(spec):
        problems.append(
            f"raw: {owner.name} numbers its records otherwise; format, records, record_bytes, wire_format, max_depth and csv "
            "(quote, delimiter, encoding) must be the same"
        )
    return problems


def numbering(spec: SourceSpec) -> tuple[object, ...]:
    """Everything of a spec that decides which number a record has."""
    dialect = (spec.csv.quote, spec.csv.encoding, spec.csv.delimiter) if spec.format == "csv" else ()
    depth = (spec.max_depth,) if spec.records else ()
    return (spec.format, str(spec.records or ""), spec.record_bytes, spec.wire_format, *dialect, *depth)


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
