"""Destinations: which rows of a dataset may leave for where, in which shape, under which consent and within which limits. YAML.

A destination is symmetrical to a source: ``columns`` maps contract columns to places in the event that is sent. Only columns that
are named leave. ``consent`` has no default: a destination says which categories it needs, if any.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from contracts.errors import ConfigurationError
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath

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
        try:
            text = os.environ.get(self.name, "") if self.kind == "env" else Path(self.name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"credentials: {self.name} cannot be read ({type(error).__name__})") from None
        if value := text.strip():  # a Secret often ends with a newline
            return value
        if self.kind == "env":
            raise ConfigurationError(f"credentials: the environment has no {self.name}; workers need it too")
        raise ConfigurationError(f"credentials: {self.name} cannot be read (it is empty)")


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
    what the destination has; None where that is given as files. export_shown: as the file writes it, for messages;
    what the environment gives may be a secret. probe: an event that tells a destination that is down from an event that it cannot
    take; None: events that it took before do.
    """

    name: str
    dataset: str
    version: int
    type: DialectName
    endpoint: str = field(repr=False)
    write_key: Secret
    consent: tuple[str, ...]
    placements: tuple[Placement, ...]
    constants: Mapping[PayloadPath, Any] = field(default_factory=dict)
    only: tuple[Condition, ...] = ()
    limits: Limits = field(default_factory=Limits)
    export: str | None = field(default=None, repr=False)
    export_shown: str = ""
    description: str = ""
    probe: Mapping[str, Any] | None = None

    @property
    def probe_id(self) -> str:
        """The ``messageId`` of the probe."""
        return f"headrace-probe-{self.name}"

    @property
    def paths(self) -> tuple[PayloadPath, ...]:
        """Every place of an event that may be filled."""
        return (*(p.path for p in self.placements), *self.constants)


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
        if column and not _holds_objects(column) and any(other.is_below(p.path) for other in destination.paths):
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


def _holds_objects(column: Column) -> bool:
    return column.type is ColumnType.BOOLEAN_MAP or (column.type is ColumnType.JSON and column.json_container == "object")
