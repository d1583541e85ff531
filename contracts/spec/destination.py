"""Destinations: which rows of a dataset may leave for where, in which shape, under which consent and within which limits. YAML.

A destination is symmetrical to a source: ``columns`` maps contract columns to places in the event that is sent. Only columns that
are named leave. ``consent`` has no default: a destination says which categories it needs, if any.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from contracts.errors import ConfigurationError
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.source import PayloadPath, plain_text

DialectName = Literal["segment", "rudderstack"]
DIALECTS: tuple[DialectName, ...] = get_args(DialectName)
CONSENT_COLUMN = "consent"


@dataclass(frozen=True)
class Condition:
    """One value of a column is, or is not, among these; a column without a value is in no list."""

    column: str
    among: frozenset[str]
    negated: bool = False


@dataclass(frozen=True)
class Placement:
    """A column's value goes to this path, where ``when`` holds (None: always)."""

    column: str
    path: PayloadPath
    when: Condition | None = None


@dataclass(frozen=True)
class Secret:
    """A credential by reference. It is read where it is used, so it is in no plan, log or manifest."""

    kind: Literal["env", "file"]
    name: str

    def read(self) -> str:
        """The secret.

        Raises:
            ConfigurationError: it is not there.
        """
        if self.kind == "env":
            value = os.environ.get(self.name, "")
            if not value:
                raise ConfigurationError(f"credentials: the environment has no {self.name}; workers need it too")
            return value
        try:
            value = Path(self.name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"credentials: {self.name} cannot be read ({type(error).__name__})") from None
        if not value:
            raise ConfigurationError(f"credentials: {self.name} cannot be read (it is empty)")
        return value


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the destination takes. None: what its dialect documents, or no limit.

    requests_per_s: of all workers together. in_flight: requests at once, of all workers together; of one user never more than one.
    batch_events, batch_bytes, event_bytes: of JSON before compression. linger_s: how long an event may wait for its batch to fill.
    timeout_s: for an answer. patience_s: how long a worker tries before it gives its events back and reports the destination down.
    queue_age_s: an event that waits longer is late; ``headrace status`` says so.
    """

    requests_per_s: float | None = None
    in_flight: int = 4
    batch_events: int | None = None
    batch_bytes: int | None = None
    event_bytes: int | None = None
    linger_s: float = 1.0
    timeout_s: float = 30.0
    patience_s: float = 30.0
    queue_age_s: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Destination:
    """One destination.

    type: the dialect that its endpoint speaks. endpoint: URL that batches are posted to. write_key: its credential. consent:
    categories that must all be true in the row. only: conditions that must all hold. placements: what goes where; of several for
    one path the first with a value counts. constants: the same in every event. export: URL from which ``headrace reconcile`` reads
    what the destination has; None where that is given as files.
    """

    name: str
    dataset: str
    version: int
    type: DialectName
    endpoint: str
    write_key: Secret
    consent: tuple[str, ...]
    placements: tuple[Placement, ...]
    constants: Mapping[PayloadPath, Any] = field(default_factory=dict)
    only: tuple[Condition, ...] = ()
    limits: Limits = field(default_factory=Limits)
    export: str | None = None
    description: str = ""

    @property
    def paths(self) -> tuple[PayloadPath, ...]:
        """Every place of an event that may be filled."""
        return (*(p.path for p in self.placements), *self.constants)


_KEYS = {
    "destination", "description", "dataset", "version", "type", "endpoint", "credentials", "consent", "columns", "constants",
    "filter", "limits", "export",
}  # fmt: skip
_REQUIRED = ("destination", "dataset", "type", "endpoint", "credentials", "columns")
_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
_ENVIRONMENT = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def load_destination(path: Path) -> Destination:
    """Read one destination.

    Raises:
        ConfigurationError: lists every problem of the file.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"destination {path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"destination {path}: not valid YAML{where}") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"destination {path}: expected a mapping with destination, dataset, type, endpoint and columns")
    problems: list[str] = []
    destination = _compile(document, problems)
    if problems or destination is None:
        raise ConfigurationError(f"destination {path}:\n  - " + "\n  - ".join(problems))
    return destination


def check_destination(destination: Destination, contract: Contract) -> list[str]:
    """What does not fit between a destination and its contract; one sentence each."""
    placements = destination.placements
    named = [("columns", p.column) for p in placements]
    named += [("columns: when", p.when.column) for p in placements if p.when]
    named += [("filter", condition.column) for condition in destination.only]
    known = contract.by_name
    problems = [f"{where}: {contract.name} has no column {name!r}" for where, name in dict.fromkeys(named) if name not in known]
    if contract.event_id not in {p.column for p in placements if p.when is None}:
        problems.append(f"columns: {contract.event_id} is not mapped; the destination knows repeats by it")
    for p in placements:
        column = known.get(p.column)
        if column and not _holds_objects(column) and any(_is_below(other, p.path) for other in destination.paths):
            problems.append(f"columns.{p.column}: others go below {p.path}, which only columns that hold objects can take in")
    consent = known.get(CONSENT_COLUMN)
    if destination.consent and (consent is None or consent.type is not ColumnType.BOOLEAN_MAP):
        problems.append(
            f"consent: {contract.name} has no column {CONSENT_COLUMN} of physicalType map<string,boolean>, so nothing would ever "
            "be delivered; [] says that no consent is needed"
        )
    if destination.version != contract.major:
        problems.append(f"version: {destination.version}, but the contract found is {contract.version}")
    return problems


def _compile(document: dict[str, Any], problems: list[str]) -> Destination | None:
    problems += [f"no key {key!r}; known: {', '.join(sorted(_KEYS))}" for key in document if key not in _KEYS]
    problems += [f"{key}: missing" for key in _REQUIRED if not document.get(key)]
    if "consent" not in document:
        problems.append("consent: missing; name the categories that must be true, or [] where none is needed")
    if problems:
        return None
    name = str(document["destination"])
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        problems.append(f"destination: {name!r} is not lower case letters, digits, _ and -")
    if document["type"] not in DIALECTS:
        problems.append(f"type: {document['type']!r}; known: {', '.join(DIALECTS)}")
    version = document.get("version", 1)
    if type(version) is not int or version < 1:
        problems.append(f"version: {version!r} is not a major version such as 1")
    consent = document["consent"]
    if not isinstance(consent, list) or not all(isinstance(c, str) and c for c in consent):
        problems.append("consent: expected a list of categories such as [analytics, marketing]")
        consent = []
    endpoint, export = _url(document, "endpoint", problems), _url(document, "export", problems)
    placements = _placements(document["columns"], problems)
    constants = _constants(document.get("constants") or {}, problems)
    _check_paths([p.path for p in placements], list(constants), problems)
    write_key = _write_key(document["credentials"], problems)
    limits = _limits(document.get("limits") or {}, problems)
    only = _conditions(document.get("filter") or [], problems)
    if problems or write_key is None or endpoint is None:
        return None
    return Destination(
        name=name, description=str(document.get("description", "")), dataset=str(document["dataset"]), version=version,
        type=document["type"], endpoint=endpoint, write_key=write_key, consent=tuple(consent), placements=placements,
        constants=constants, only=only, limits=limits, export=export,
    )  # fmt: skip


def _url(document: Mapping[str, Any], key: str, problems: list[str]) -> str | None:
    """A URL; ``${NAME}`` and ``${NAME:-default}`` are of the environment, so that one file serves several stages."""
    text = document.get(key)
    if text is None:
        return None
    missing = [m[1] for m in _ENVIRONMENT.finditer(str(text)) if m[1] not in os.environ and m[2] is None]
    if missing:
        problems.append(f"{key}: the environment has no {', '.join(missing)}")
        return None
    url = _ENVIRONMENT.sub(lambda m: os.environ.get(m[1]) or m[2] or "", str(text))
    fits = _URL.fullmatch(url)
    if not fits and "@" not in url:  # else it may hold a password: not repeated
        problems.append(f"{key}: {url!r} is not a URL such as https://api.segment.io/v1/batch")
        return None
    if not fits or "@" in url.split("/")[2]:
        problems.append(f"{key}: a URL holds no user or password; credentials: {{write_key: env:NAME}} refers to them")
        return None
    return url


def _placements(definition: Any, problems: list[str]) -> tuple[Placement, ...]:
    if not isinstance(definition, dict):
        problems.append("columns: expected a mapping of contract columns to paths in the event")
        return ()
    found: list[Placement] = []
    for column, places in definition.items():
        where = f"columns.{column}"
        for place in places if isinstance(places, list) else [places]:
            conditional = isinstance(place, dict)
            if conditional and set(place) != {"when", "path"}:
                problems.append(f"{where}: expected a path, or {{when: {{event_type: [track]}}, path: event}}")
                continue
            path = _path(place["path"] if conditional else place, where, problems)
            when = _when(place["when"], where, problems) if conditional else None
            if path and (when or not conditional):
                found.append(Placement(str(column), path, when))
    return tuple(found)


def _path(text: Any, where: str, problems: list[str]) -> PayloadPath | None:
    try:
        path = PayloadPath.parse(text)
    except (ValueError, AttributeError, TypeError):
        problems.append(f"{where}: {text!r} is not a path such as context.page.url")
        return None
    if path.envelope:
        problems.append(f"{where}: {text!r}: an event that is sent has no envelope of its own")
        return None
    return path


def _when(definition: Any, where: str, problems: list[str]) -> Condition | None:
    if isinstance(definition, dict) and len(definition) == 1:
        ((column, among),) = definition.items()
        if isinstance(among, list) and (texts := _texts(among)):
            return Condition(str(column), texts)
    problems.append(f"{where}: when: expected one column and a list of its values, {{event_type: [track]}}")
    return None


def _texts(values: list[Any]) -> frozenset[str] | None:
    """Values of a list as texts; None where it is empty, or one of them is nothing that a value could be compared with."""
    texts = [plain_text(value) for value in values]
    return frozenset(text for text in texts if text is not None) if texts and None not in texts else None


def _constants(definition: Any, problems: list[str]) -> dict[PayloadPath, Any]:
    if not isinstance(definition, dict):
        problems.append("constants: expected a mapping of paths in the event to values")
        return {}
    found = {}
    for text, value in definition.items():
        if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
            problems.append(f"constants.{text}: expected a text, a number, true or false")
        elif path := _path(text, f"constants.{text}", problems):
            found[path] = value
    return found


def _check_paths(paths: list[PayloadPath], constants: list[PayloadPath], problems: list[str]) -> None:
    """What ends where something else goes on would lose one of the two; below a JSON column it is merged (see the encoder)."""
    for constant in constants:
        if any(path == constant or _is_below(path, constant) for path in paths):
            problems.append(f"constants.{constant}: a column goes there too")
        if any(_is_below(other, constant) for other in constants):
            problems.append(f"constants.{constant}: another constant goes below it")


def _holds_objects(column: Column) -> bool:
    return column.type is ColumnType.BOOLEAN_MAP or (column.type is ColumnType.JSON and column.json_container == "object")


def _is_below(path: PayloadPath, other: PayloadPath) -> bool:
    """Whether a path leads on from where the other one ends."""
    return len(path.steps) > len(other.steps) and path.steps[: len(other.steps)] == other.steps


def _conditions(definition: Any, problems: list[str]) -> tuple[Condition, ...]:
    found: list[Condition] = []
    if not isinstance(definition, list):
        problems.append("filter: expected a list such as [{column: event_type, in: [track]}]")
        return ()
    for number, entry in enumerate(definition):
        shaped = isinstance(entry, dict) and set(entry) in ({"column", "in"}, {"column", "not_in"})
        among = entry.get("in", entry.get("not_in")) if shaped else []
        values = _texts(among if isinstance(among, list) else [among])
        if values is None:
            problems.append(f"filter[{number}]: expected {{column: event_type, in: [track, identify]}} or not_in: […]")
        else:
            found.append(Condition(str(entry["column"]), values, negated="not_in" in entry))
    return tuple(found)


def _write_key(definition: Any, problems: list[str]) -> Secret | None:
    expected = "credentials: expected {write_key: env:NAME} or {write_key: file:/path}, a reference and never the key itself"
    if not isinstance(definition, dict) or set(definition) != {"write_key"}:
        problems.append(expected)
        return None
    kind, _, name = str(definition["write_key"]).partition(":")
    if kind not in ("env", "file") or not name:
        problems.append(expected)  # what was given may be the key: not repeated
        return None
    return Secret("env" if kind == "env" else "file", name)


def _limits(definition: Any, problems: list[str]) -> Limits:
    known = Limits.__dataclass_fields__
    if not isinstance(definition, dict) or not set(definition) <= set(known):
        problems.append(f"limits: expected a mapping with some of {', '.join(sorted(known))}")
        return Limits()
    whole = ("in_flight", "batch_events", "batch_bytes", "event_bytes")
    for key, value in definition.items():
        right = (int,) if key in whole else (int, float)
        if type(value) not in right or not 0 < value < 1e9:
            problems.append(f"limits.{key}: {value!r} is not a positive {'whole ' if key in whole else ''}number")
    return Limits(**definition)
