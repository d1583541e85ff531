"""What contracts say beyond ODCS: the values of ``customProperties``. Reference: docs/reference/contracts.md."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from contracts.spec.files.base import Boolean, FileModel, OneOrMore, Read, Worded, duration_s, read_day, wrong
from contracts.spec.files.project import Consumers
from contracts.spec.files.quality import PartitionsProperty
from contracts.spec.model import Compatibility, Deduplication, Deprecation
from contracts.spec.rules import Rule, parse_rule

Handling = Literal["hash", "mask", "drop", "keep"]
IDENTIFIERS = ("email", "phone", "user", "device", "cookie", "account")


def _listed(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise wrong(f"expected a list, not {given!r}")
    return given


def _rule(given: Any) -> Rule:
    try:
        return parse_rule(given)
    except (ValueError, TypeError, AttributeError) as error:
        raise wrong(str(error)) from None


def _horizon(given: Any) -> int | None:
    if given in ("none", "unlimited"):
        return 0 if given == "none" else None
    if (seconds := duration_s(given, "dhm")) is None:
        raise wrong(f"{given!r} is no duration such as 7d, 12h or 90m, nor none or unlimited")
    return seconds


def _retention(given: Any) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,5}[dmy]|unlimited", str(given)):
        raise wrong(f"{given!r} is no time to keep such as 90d, 13m or 2y, nor unlimited")
    return str(given)


Columns = Annotated[list[str], Read(_listed, {"type": "array", "items": {"type": "string"}})]


class EventIdProperty(FileModel):
    """Which column identifies a row."""

    column: str
    from_: Columns = Field(default=[], alias="from")


class EventTimeProperty(FileModel):
    """Computed event time."""

    column: str
    original: str
    sent: str


class UnknownFieldsProperty(FileModel):
    """What becomes of fields that no column names."""

    policy: Annotated[Literal["keep", "drop", "reject"], Worded("{value!r}; expected keep, drop or reject")]
    column: str | None = None


class DeduplicationProperty(FileModel):
    """For how long an id is one event."""

    horizon: Annotated[int | None, Read(_horizon, {"type": "string", "examples": ["7d", "12h", "none", "unlimited"]})] = 7 * 86_400
    derived: Annotated[Literal["minute", "horizon"], Worded("{value!r}; expected minute or horizon")] = "minute"

    def compiled(self) -> Deduplication:
        """What the rest of the code reads."""
        return Deduplication(self.horizon, self.derived == "horizon")


class DeprecatedProperty(FileModel):
    """What goes away, and when."""

    until: Annotated[date, Read(read_day, {"type": "string", "format": "date"})] = Field(description="Last day of use.")
    use: str = Field(default="", description="What takes its place.")
    reason: str = Field(default="", description="Why.")

    def compiled(self) -> Deprecation:
        """What the rest of the code reads."""
        return Deprecation(self.until, self.use, self.reason)


Deprecated = Annotated[
    DeprecatedProperty, Worded("expected {until: 2027-01-31, use: …, reason: …}; use and reason may be left out")
]


class ContractProperties(FileModel):
    """Custom properties of the contract."""

    kind: Annotated[Literal["event", "entity"], Worded("{value!r}; expected event or entity")] = Field(
        default="event",
        description="An event happened once. An entity is a thing with versions (a contact, an order): every version is kept.",
        json_schema_extra={"shown": "`event` (default) or `entity`"},
    )
    event_id: Annotated[EventIdProperty, Worded("expected a mapping with column and perhaps from")] | None = Field(
        default=None,
        alias="eventId",
        description="The `required` text column that identifies a row. With `from` it is [computed](#computed-columns), never "
        "mapped.",
        json_schema_extra={"shown": "`{column: event_id}` or `{column: event_id, from: [key, updated_at]}`"},
    )
    window_time: Columns = Field(
        default=[], alias="windowTime", description="[Window time](#window-time): the first that has a value.",
        json_schema_extra={"shown": "list of timestamp columns"},
    )  # fmt: skip
    received_at: str | None = Field(
        default=None,
        alias="receivedAt",
        description="Where the payload may say when it was received. Where it does not: the record time of its log, else the "
        "file's "
        "modification time.",
        json_schema_extra={"shown": "column"},
    )
    event_time: Annotated[EventTimeProperty, Worded("expected a mapping with column, original, sent")] | None = Field(
        default=None,
        alias="eventTime",
        description="[Computed](#computed-columns) event time: which column gets it, and from which two it is computed.",
        json_schema_extra={"shown": "`{column: …, original: …, sent: …}`"},
    )
    order: Columns = Field(
        default=[], description="Which of several different rows with one id wins: the smallest, nulls last.",
        json_schema_extra={"shown": "list of timestamp or integer columns"},
    )  # fmt: skip
    partition_key: Columns = Field(
        default=[],
        alias="partitionKey",
        description="Whose row it is: the first of these that has a value is the key of the row's message where rows go to a "
        "topic, so "
        "that rows of one user keep their order; after them the event id.",
        json_schema_extra={"shown": "list of string or integer columns"},
    )
    deduplication: Annotated[DeduplicationProperty, Worded("expected a mapping with some of derived, horizon")] = Field(
        default=DeduplicationProperty(),
        description="For how long an id is one event: [identity](#identity-duplicates-conflicts).",
        json_schema_extra={
            "shown": "`{horizon: 7d}` (default), a duration of days, hours or minutes, `none` or `unlimited`; `derived: minute` "
            "(default) or `horizon`"
        },
    )
    unknown_fields: Annotated[UnknownFieldsProperty, Worded("expected a mapping with policy and perhaps column")] = Field(
        default=UnknownFieldsProperty(policy="drop"),
        alias="unknownFields",
        description="[Unknown fields](#unknown-fields).",
        json_schema_extra={"shown": "`{policy: drop}` (default), `{policy: reject}` or `{policy: keep, column: …}`"},
    )
    rules: Annotated[list[Annotated[Rule, Read(_rule, {"type": "object"})]], Worded("expected a list")] = Field(
        default=[], description="[Rules over several columns](#rules).", json_schema_extra={"shown": "list"}
    )
    consumers: Annotated[Consumers, Worded("expected a list of {name: …, columns: [...], contact: …}")] = Field(
        default=[],
        description="Who reads the dataset; without `columns` all of them. `headrace.yaml` names those of contracts that ship.",
        json_schema_extra={"shown": "list of `{name: …, columns: […], contact: …}`"},
    )
    compatibility: Annotated[Compatibility, Worded("{value!r}; known: " + ", ".join(get_args(Compatibility)))] = Field(
        default="BACKWARD_TRANSITIVE",
        description="What a change of the contract must keep.",
        json_schema_extra={"shown": "`BACKWARD_TRANSITIVE` (default), or [another mode](compatibility.md)"},
    )
    partitions: Annotated[PartitionsProperty, Worded("expected a mapping with some of length, zone, days")] = Field(
        default=PartitionsProperty(),
        description="How rows are cut for [quality rules](quality.md), and which days are not as others.",
        json_schema_extra={"shown": "`{length: 1h, zone: UTC, days: […]}` (default without days)"},
    )
    deprecated: Deprecated | None = Field(
        default=None,
        description="The dataset goes away after this day; `contract lint` complains from the next on.",
        json_schema_extra={"shown": "`{until: 2027-01-31, use: …, reason: …}`"},
    )


class ColumnProperties(FileModel):
    """Custom properties of a column."""

    null_tokens: Columns = Field(
        default=[],
        alias="nullTokens",
        description='Texts that mean "no value", such as `""`, `"null"`, `"undefined"`. Compared exactly, before anything else is '
        "checked.",
        json_schema_extra={"shown": "list of texts"},
    )
    accept: Annotated[list[str], Read(_listed, {"type": "array", "items": {"enum": ["epoch", "no_zone", "text"]}})] = Field(
        default=[],
        description="[What may be coerced](#coercion) beyond the type's own form.",
        json_schema_extra={"shown": "list of `text`, `epoch`, `no_zone`"},
    )
    transport: Boolean = Field(
        default=False,
        description="The column differs between retries of one event (`sent_at`), so it is left out of the fingerprint that "
        "tells a "
        "duplicate from a conflict.",
        json_schema_extra={"shown": "`true` or `false` (default)"},
    )
    identifier: str | None = Field(
        default=None,
        description="Whose identity its values name. `contract lint` names columns that look so and say nothing.",
        examples=list(IDENTIFIERS),
        json_schema_extra={"shown": ", ".join(f"`{kind}`" for kind in IDENTIFIERS)},
    )
    unit: str | None = Field(
        default=None, description="Unit of its numbers.", json_schema_extra={"shown": "text, such as `EUR` or `ms`"}
    )
    purpose: Annotated[list[str], OneOrMore(), Worded("expected a text or a list of texts", whole=True)] = Field(
        default=[], description="What personal data is for.", json_schema_extra={"shown": "text, or list of texts"}
    )
    region: str | None = Field(default=None, description="Where it may be kept.", json_schema_extra={"shown": "text, such as `EU`"})
    retention: Annotated[str, Read(_retention, {"type": "string", "examples": ["90d", "13m", "2y", "unlimited"]})] | None = Field(
        default=None, description="How long it is kept.", json_schema_extra={"shown": "`90d`, `13m`, `2y` or `unlimited`"}
    )
    handling: Annotated[Handling, Worded("{value!r}; expected hash, mask, drop or keep")] | None = Field(
        default=None,
        description="What becomes of it where it leaves for who may not read it.",
        json_schema_extra={"shown": "`hash`, `mask`, `drop` or `keep`"},
    )
    deprecated: Deprecated | None = Field(
        default=None,
        description="The column goes away after this day.",
        json_schema_extra={"shown": "`{until: 2027-01-31, use: …, reason: …}`"},
    )
