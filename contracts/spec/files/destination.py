"""Destinations as users write them: ``destinations/<destination>.yaml``. Reference: docs/reference/destinations.md."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from contracts.spec.destination import DIALECTS, Condition, Destination, DialectName, Limits, Placement, Secret
from contracts.spec.files.base import (
    PLAIN_SCHEMA,
    Boolean,
    Description,
    FileModel,
    Major,
    Name,
    Read,
    WholeFile,
    Worded,
    wrong,
    wrong_at,
)  # fmt: skip
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text
from contracts.spec.yaml_files import Document

_USERS = {"userId", "anonymousId"}
_URL = re.compile(r"(https?)://([\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?(?:[/?]\S*)?")
_LOOPBACK = re.compile(r"(.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
_URL_SCHEMA = {"type": "string", "examples": ["https://api.segment.io/v1/batch", "${CDP_URL:-http://localhost:24480}/v1/batch"]}
_PATH_SCHEMA = {"type": "string", "examples": ["context.page.url"]}
_WHEN_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {"type": "array", "items": PLAIN_SCHEMA},
}
_PLACE_SCHEMA = {
    "anyOf": [
        _PATH_SCHEMA,
        {"type": "object", "properties": {"when": _WHEN_SCHEMA, "path": _PATH_SCHEMA}, "required": ["when", "path"],
         "additionalProperties": False},
    ]
}  # fmt: skip
_COLUMNS_SCHEMA = {
    "type": "object", "minProperties": 1,
    "additionalProperties": {"anyOf": [*_PLACE_SCHEMA["anyOf"], {"type": "array", "items": _PLACE_SCHEMA}]},
}  # fmt: skip


def _path(text: Any) -> PayloadPath:
    try:
        path = PayloadPath.parse(text)
    except (ValueError, AttributeError, TypeError):
        raise wrong(f"{text!r} is not a path such as context.page.url") from None
    if path.envelope:
        raise wrong(f"{text!r}: an event that is sent has no envelope of its own")
    return path


def _texts(values: Any) -> frozenset[str] | None:
    """Values of a list as texts; None where it is empty, or one of them is nothing that a value could be compared with."""
    texts = [plain_text(value) for value in (values if isinstance(values, list) else [values])]
    return frozenset(text for text in texts if text is not None) if texts and None not in texts else None


def _place(column: str, place: Any) -> Placement:
    if not isinstance(place, dict):
        return Placement(column, _path(place))
    if set(place) != {"when", "path"}:
        raise wrong("expected a path, or {when: {event_type: [track]}, path: event}")
    when = place["when"]
    if isinstance(when, dict) and len(when) == 1:
        ((of, among),) = when.items()
        if isinstance(among, list) and (texts := _texts(among)):
            return Placement(column, _path(place["path"]), Condition(str(of), texts))
    raise wrong("when: expected one column and a list of its values, {event_type: [track]}")


def _placements(definition: Any) -> tuple[Placement, ...]:
    if not isinstance(definition, dict):
        raise wrong("expected a mapping of contract columns to paths in the event")
    found, problems = [], []
    for column, places in definition.items():
        for number, place in enumerate(places) if isinstance(places, list) else [(None, places)]:
            try:
                found.append(_place(str(column), place))
            except PydanticCustomError as error:
                problems.append((error.message(), (str(column),) if number is None else (str(column), number)))
    wrong_at("columns", problems)
    return tuple(found)


def _constants(definition: Any) -> dict[PayloadPath, Any]:
    if not isinstance(definition, dict):
        raise wrong("expected a mapping of paths in the event to values")
    found, problems = {}, []
    for text, value in definition.items():
        try:
            if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
                raise wrong("expected a text, a number, true or false")
            found[_path(text)] = value
        except PydanticCustomError as error:
            problems.append((error.message(), (str(text),)))
    wrong_at("constants", problems)
    return found


def _condition(entry: Any) -> Condition:
    shaped = isinstance(entry, dict) and set(entry) in ({"column", "in"}, {"column", "not_in"})
    values = _texts(entry.get("in", entry.get("not_in"))) if shaped else None
    if values is None:
        raise wrong("expected {column: event_type, in: [track, identify]} or not_in: […]")
    return Condition(str(entry["column"]), values, negated="not_in" in entry)


def _write_key(definition: Any) -> Secret:
    text = definition["write_key"] if isinstance(definition, dict) and set(definition) == {"write_key"} else ""
    kind, _, name = str(text).partition(":")
    if kind not in ("env", "file") or not name:  # what was given may be the key: not repeated
        raise wrong("expected {write_key: env:NAME} or {write_key: file:/path}, a reference and never the key itself")
    return Secret("env" if kind == "env" else "file", name)


def _probe(definition: Any) -> dict[str, Any]:
    if not isinstance(definition, dict) or not definition.get("type") or not _USERS & set(definition):
        raise wrong("expected an event such as {type: track, event: Headrace Probe, userId: headrace-probe}")
    if "messageId" in definition:
        raise wrong("messageId is headrace-probe- and the destination's name")
    if not all(isinstance(value, str | bool | int) for value in definition.values()):
        raise wrong("expected texts, whole numbers, true or false")
    return definition


class Url(NamedTuple):
    """A URL, and as the file writes it: what the environment gives may be a secret."""

    shown: str
    url: str


def _url(given: Any) -> Url:
    """``${NAME}`` and ``${NAME:-default}`` are of the environment, so that one file serves several stages."""
    text = str(given)
    if missing := [m[1] for m in _ENVIRONMENT.finditer(text) if m[1] not in os.environ and m[2] is None]:
        raise wrong(f"the environment has no {', '.join(missing)}")
    url = _ENVIRONMENT.sub(lambda m: os.environ.get(m[1]) or m[2] or "", text)
    if _URL.fullmatch(url):
        return Url(text, url)
    if "@" in url:  # it may hold a password: not repeated
        raise wrong("a URL holds no user or password; credentials: {write_key: env:NAME} refers to them")
    raise wrong(f"{text!r} is not a URL such as https://api.segment.io/v1/batch")


_Url = Annotated[Url, Read(_url, _URL_SCHEMA)]
_Whole = Annotated[int, Field(gt=0, lt=10**9), Worded("{value!r} is not a positive whole number")]
_Number = Annotated[float, Field(gt=0, lt=1e9), Worded("{value!r} is not a positive number")]


class LimitsFile(FileModel):
    """What the destination takes."""

    requests_per_s: _Number = Field(
        default=None, description="Requests a second, of all workers together.", json_schema_extra={"shown": "none"}
    )  # type: ignore[assignment]
    in_flight: _Whole = Field(default=4, description="Requests at once, of all workers together; of one user never more than one.")
    batch_events: _Whole = Field(default=None, description="Events of a request.", json_schema_extra={"shown": "the dialect's"})  # type: ignore[assignment]
    batch_bytes: _Whole = Field(
        default=None, description="Bytes of a request, JSON before compression.", json_schema_extra={"shown": "the dialect's"}
    )  # type: ignore[assignment]
    event_bytes: _Whole = Field(default=None, description="Bytes of an event, JSON.", json_schema_extra={"shown": "the dialect's"})  # type: ignore[assignment]
    linger_s: _Number = Field(default=1.0, description="How long an event may wait for its batch to fill.")
    timeout_s: _Number = Field(default=30.0, description="For an answer.")
    patience_s: _Number = Field(
        default=30.0, description="How long a worker tries before it gives its events back and reports the destination down."
    )
    queue_age_s: _Number = Field(default=600.0, description="An event that waits longer is late; `headrace status` says so.")


class DestinationFile(WholeFile):
    """A destination: which rows of a dataset may leave for where, in which shape, under which consent and limits."""

    what: ClassVar[str] = "destination"
    keys: ClassVar[str] = "destination, dataset, type, endpoint and columns"
    lacking: ClassVar[dict[str, str]] = {"consent": "missing; name the categories that must be true, or [] where none is needed"}

    allow_http: Boolean = Field(default=False, description="`true` lets `http://` leave this machine: [URLs](#urls).")
    destination: Name = Field(
        description="Name: lower case letters, digits, `_` and `-`. It names the folder `deliveries/<destination>` of the lake; a "
        "changed name is another destination, to which nothing was delivered yet.",
        examples=["cdp"],
    )
    description: Description = Field(default="", description="For people.")
    dataset: Annotated[str, Read(str, {"type": "string"})] = Field(
        description="The [contract](contracts.md) whose rows are delivered."
    )
    version: Major = Field(default=1, description="Major version of that contract.")
    type: Annotated[DialectName, Worded(f"{{value!r}}; known: {', '.join(DIALECTS)}")] = Field(
        description="[Dialect](#dialects): `segment` or `rudderstack`."
    )
    endpoint: _Url = Field(description="URL that batches are posted to. [`${…}`](#urls) is of the environment.")
    credentials: Annotated[Secret, Read(_write_key, {
        "type": "object", "required": ["write_key"], "additionalProperties": False,
        "properties": {"write_key": {"type": "string", "pattern": "^(env|file):.+"}},
    })] = Field(
        description="[References](#credentials), never the key itself.", examples=[{"write_key": "env:CDP_WRITE_KEY"}]
    )  # fmt: skip
    consent: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Worded("expected a list of categories such as [analytics, marketing]", whole=True),
    ] = Field(
        description="[Categories](#consent) that must all be true in a row; `[]` where none is needed. There is no default.",
        examples=[["analytics"]],
    )
    columns: Annotated[tuple[Placement, ...], Read(_placements, _COLUMNS_SCHEMA)] = Field(
        description="Contract column to [place in the event](#columns). What is not named does not leave."
    )
    constants: Annotated[dict[PayloadPath, Any], Read(_constants, {"type": "object", "additionalProperties": PLAIN_SCHEMA})] = (
        Field(
            default={},
            description="[Place to value](#constants), the same in every event.",
            examples=[{"context.library.name": "headrace"}],
        )
    )
    filter: Annotated[list[Annotated[Condition, Read(_condition, {
        "type": "object", "required": ["column"], "additionalProperties": False, "minProperties": 2,
        "properties": {"column": {"type": "string"}, "in": {}, "not_in": {}},
    })]], Worded("expected a list such as [{column: event_type, in: [track]}]")] = Field(
        default=[], description="[Rows that are wanted](#filter)."
    )  # fmt: skip
    limits: Annotated[LimitsFile, Worded(f"expected a mapping with some of {', '.join(sorted(LimitsFile.model_fields))}")] = Field(
        default=LimitsFile(), description="What the destination takes.", json_schema_extra={"shown": "see [limits](#limits)"}
    )
    export: _Url | None = Field(
        default=None,
        description="URL from which `headrace reconcile` reads what the destination has (`GET` with `start`, `end` and "
        "`cursor`, JSON "
        "lines, the write key as the user of HTTP Basic); without it files are given. [`${…}`](#urls) as above.",
    )
    probe: Annotated[dict[str, Any], Read(_probe, {"type": "object", "required": ["type"]})] | None = Field(
        default=None,
        description="[An event](#probe) that tells a destination that is down from an event that it cannot take.",
        examples=[{"type": "track", "event": "Headrace Probe", "userId": "headrace-probe"}],
    )

    @field_validator("endpoint", "export")
    @classmethod
    def _in_the_clear(cls, url: Url | None, info: ValidationInfo) -> Url | None:
        fits = _URL.fullmatch(url.url) if url else None
        if url and fits and fits[1] == "http" and not _LOOPBACK.fullmatch(fits[2]) and not info.data.get("allow_http", True):
            raise wrong(
                f"{url.shown!r} is http://, so whoever is on the way reads the write key and the events; use https://, or say "
                "allow_http: true"
            )
        return url

    @field_validator("constants")
    @classmethod
    def _beside(cls, constants: dict[PayloadPath, Any], info: ValidationInfo) -> dict[PayloadPath, Any]:
        """What ends where something else goes on would lose one of the two; below a JSON column it is merged (see the encoder)."""
        paths = [placement.path for placement in info.data.get("columns", ())]
        problems: list[tuple[str, tuple[str, ...]]] = []
        for constant in constants:
            if any(path == constant or path.is_below(constant) for path in paths):
                problems.append(("a column goes there too", (str(constant),)))
            if any(other.is_below(constant) for other in constants):
                problems.append(("another constant goes below it", (str(constant),)))
        wrong_at("constants", problems)
        return constants

    def compiled(self) -> Destination:
        """What the rest of the code reads."""
        return Destination(
            name=self.destination, description=self.description, dataset=self.dataset, version=self.version, type=self.type,
            endpoint=self.endpoint.url, write_key=self.credentials, consent=tuple(self.consent), placements=self.columns,
            constants=self.constants, only=tuple(self.filter), limits=Limits(**dict(self.limits)),
            export=self.export.url if self.export else None, export_shown=self.export.shown if self.export else "",
            probe=self.probe,
        )  # fmt: skip


def load_destination(path: Path) -> Destination:
    """Read one destination.

    Raises:
        ConfigurationError: lists every problem of the file.
    """
    return read_destination(path)[0]


def read_destination(path: Path) -> tuple[Destination, Document]:
    """Read one destination, with the lines of its file."""
    file, document = DestinationFile.read(path)
    return file.compiled(), document
