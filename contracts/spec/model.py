"""The compiled form of a data contract: what the rest of the code reads instead of YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Literal

from contracts.spec.quality import QualitySpec
from contracts.spec.rules import Rule
from contracts.units import DAY_S


class ColumnType(StrEnum):
    """Logical column types. In brackets: the canonical Python value that decoders give and hashes are taken of."""

    STRING = "string"  # str
    INTEGER = "integer"  # int within int64
    NUMBER = "number"  # float, finite
    DECIMAL = "decimal"  # Decimal, quantised to the column's scale
    BOOLEAN = "boolean"  # bool
    TIMESTAMP = "timestamp"  # int, microseconds since 1970-01-01T00:00:00Z
    DATE = "date"  # datetime.date
    JSON = "json"  # str: JSON with sorted keys, no blanks, UTF-8
    BOOLEAN_MAP = "map<string,boolean>"  # dict[str, bool]


# W3C's pattern for <input type=email> without its length rules, and RFC 4122's text form.
FORMATS = {
    "email": r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)+$",
    "uuid": r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "uri": r"^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s]*$",
}


@dataclass(frozen=True)
class Deprecation:
    """What goes away. until: the last day on which it may be used. use: what takes its place, empty for nothing."""

    until: date
    use: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Consumer:
    """Who reads a dataset. columns: those that it reads; empty for all. contact: where it is told of changes."""

    name: str
    columns: tuple[str, ...] = ()
    contact: str = ""


@dataclass(frozen=True)
class ServiceLevel:
    """One promise of the dataset, such as freshness, 15, minutes."""

    name: str
    value: int | float | str
    unit: str = ""


Compatibility = Literal[
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
]  # Confluent's modes, by their names


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its type, its rules, and what may be coerced into it.

    accept: coercions beyond the type's own form. ``text``: numbers and booleans as JSON strings; ``epoch``: timestamps as
        numbers (seconds, milli- or microseconds by magnitude); ``no_zone``: timestamps without a zone, in the source's.
    null_tokens: strings that mean "no value", such as ``undefined``.
    transport: differs between retries of one event and so is left out of the fingerprint.
    identifier: which identity its values name: email, phone, user, device, cookie or account. unit: of its numbers, such as EUR.
    purpose, region, retention, handling: of personal data: what for, where, how long, and hash, mask, drop or keep where it leaves.
    """

    name: str
    type: ColumnType
    required: bool = False
    enum: tuple[str, ...] = ()
    pattern: str | None = None
    format: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | Decimal | date | None = None
    maximum: int | float | Decimal | date | None = None
    precision: int = 0
    scale: int = 0
    json_container: Literal["object", "array"] = "object"
    null_tokens: frozenset[str] = frozenset()
    accept: frozenset[str] = frozenset()
    transport: bool = False
    classification: str | None = None
    description: str = ""
    identifier: str | None = None
    unit: str | None = None
    purpose: tuple[str, ...] = ()
    region: str | None = None
    retention: str | None = None
    handling: str | None = None
    deprecated: Deprecation | None = None

    @cached_property
    def regex(self) -> re.Pattern[str] | None:
        """The pattern or format, compiled; ASCII classes, matched with ``search`` as JSON Schema does."""
        source = self.pattern or (FORMATS[self.format] if self.format else None)
        return pattern_of(source) if source else None


@dataclass(frozen=True)
class EventTimeRule:
    """event_time = received_at - (sent - original), where all three are known."""

    column: str
    original: str
    sent: str


@dataclass(frozen=True)
class Deduplication:
    """For how long rows of one event id are one event.

    horizon_s: seconds from the first of them on; 0 for the same minute of window time only, None for ever. derived: whether that
    holds for ids too that are derived from content, since a record has none; else those are of one minute.
    """

    horizon_s: int | None = 7 * DAY_S
    derived: bool = False


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A dataset's contract at one major version.

    event_id: the column that identifies an event. For entities (``event_id_from`` set) it is computed: a hash of those columns,
        or of the whole row where the last of them is null.
    window_time: columns whose first value decides window, partition and lateness; after them received_at.
    order: columns that decide between different rows with one event_id; the smallest wins. Timestamps or integers.
    partition_key: columns whose first value says whose row it is, such as the user: where rows go to a topic, those of one key keep
        their order; after them the event_id. Strings or integers.
    owner: the team; contact: how to reach it. compatibility: what its changes must keep. quality: rules about partitions
        of its rows.
    """

    name: str
    version: str
    kind: Literal["event", "entity"]
    columns: tuple[Column, ...]
    event_id: str
    event_id_from: tuple[str, ...] = ()
    window_time: tuple[str, ...] = ()
    received_at: str | None = None
    event_time: EventTimeRule | None = None
    order: tuple[str, ...] = ()
    partition_key: tuple[str, ...] = ()
    unknown_policy: Literal["keep", "drop", "reject"] = "drop"
    unknown_column: str | None = None
    rules: tuple[Rule, ...] = field(default=())
    deduplication: Deduplication = field(default_factory=Deduplication)
    description: str = ""
    owner: str | None = None
    contact: str | None = None
    status: str = "active"
    service_levels: tuple[ServiceLevel, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    compatibility: Compatibility = "BACKWARD_TRANSITIVE"
    deprecated: Deprecation | None = None
    quality: QualitySpec = field(default_factory=QualitySpec)

    @property
    def gated(self) -> bool:
        """Whether its rows are published only after they were judged: a rule can hold a partition."""
        return self.quality.gate

    @property
    def major(self) -> int:
        """The major version: compatible changes keep it."""
        return int(self.version.split(".")[0])

    @property
    def dataset(self) -> str:
        """What rows of this major are called, in tables, topics, ledger and letters: another major is a dataset beside it."""
        return dataset_name(self.name, self.major)

    @property
    def table(self) -> str:
        """The published table."""
        return f"validated.{self.dataset}"

    @property
    def late_table(self) -> str:
        """The table of rows that came too late for their window."""
        return f"late.{self.dataset}"

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def computed(self) -> frozenset[str]:
        """Columns that no source maps, because the pipeline computes them."""
        names = {self.event_id} if self.event_id_from else set()
        if self.event_time:
            names.add(self.event_time.column)
        if self.unknown_column:
            names.add(self.unknown_column)
        return frozenset(names)


_MAJOR = re.compile(r"_v([2-9]|[1-9]\d{1,5})\Z")


def dataset_name(name: str, major: int) -> str:
    """The dataset of a contract's major: its name, for later ones with the number behind: ``order``, ``order_v2``."""
    return name if major == 1 else f"{name}_v{major}"


def name_and_major(dataset: str) -> tuple[str, int]:
    """The contract of a dataset."""
    match = _MAJOR.search(dataset)
    return (dataset, 1) if match is None else (dataset[: match.start()], int(match[1]))


_END_ANCHOR = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)


def pattern_of(source: str) -> re.Pattern[str]:
    """A pattern of a contract, compiled."""
    return re.compile(_whole_string(source), re.ASCII)


def _whole_string(pattern: str) -> str:
    """Python's ``$`` also matches before a last newline; every other dialect's does not. Not so in classes or after a backslash."""
    return _END_ANCHOR.sub(lambda match: match[1] or r"\Z", pattern)
