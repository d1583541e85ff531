"""From a destination and a contract to the events that are sent: who may go, and in which shape. Pure.

A row comes as canonical JSON (from a topic) or as columns (from a table); both give the same event, byte for byte. An event is JSON
with sorted keys and without blanks, so that a hash of it can be compared with what a destination says that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import xxhash

from contracts.compiler.rows import canonical_values
from contracts.compiler.values import CANONICAL_JSON
from contracts.destination import CONSENT_COLUMN, Condition, Destination, Placement
from contracts.model import ColumnType, Contract
from contracts.source import plain_text
from contracts.suppressions import Suppressions

FILTERED, SUPPRESSED, UNKNOWN, DENIED = "filtered", "suppressed", "consent_unknown", "consent_denied"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = Any  # a msgspec struct with the columns that the destination needs
Tree = dict[str, Any]


class Verdict(NamedTuple):
    """Whether a row may leave. reason: "" if so; else one of FILTERED, SUPPRESSED, or UNKNOWN or DENIED with ``:category``."""

    reason: str = ""

    @property
    def delivered(self) -> bool:
        """Whether it goes."""
        return not self.reason

    @property
    def filtered(self) -> bool:
        """Whether the destination does not want it; else it is withheld."""
        return self.reason == FILTERED


_GOES, _FILTERED, _SUPPRESSED = Verdict(), Verdict(FILTERED), Verdict(SUPPRESSED)


class EventEncoder:
    """Makes the events of one destination. For several threads.

    Args:
        destination: checked against the contract.
        contract: of its dataset.
        suppressions: ids that must not leave.
    """

    def __init__(self, destination: Destination, contract: Contract, suppressions: Suppressions) -> None:
        self._consent = destination.consent
        self._only = destination.only
        self._suppressed = [name for name in suppressions.by_column if name in contract.by_name]
        self._suppressions = suppressions
        named = {p.column for p in destination.placements} | {c.column for c in destination.only} | {contract.event_id}
        named |= {p.when.column for p in destination.placements if p.when}
        named |= {*self._suppressed, *contract.partition_key} | ({CONSENT_COLUMN} if destination.consent else set())
        self.columns = tuple(sorted(named))
        fields: list[tuple[str, Any, Any]] = [(name, Any, None) for name in self.columns]
        self._row_type = msgspec.defstruct("DeliveredRow", fields, gc=False)
        self._decode = msgspec.json.Decoder(self._row_type).decode
        self._steps = _compiled(destination, contract)
        self._event_id, self._keys = contract.event_id, (*contract.partition_key, contract.event_id)

    def row(self, canonical: bytes) -> Row:
        """A row from its canonical JSON.

        Raises:
            msgspec.MsgspecError: it is no such JSON.
        """
        return self._decode(canonical)

    def rows(self, rows: pa.Table) -> list[Row]:
        """Rows from columns; ``self.columns`` are needed."""
        return list(map(self._row_type, *(canonical_values(rows.column(name)) for name in self.columns)))

    def event_id(self, row: Row) -> str:
        """Its id, which a destination knows repeats by."""
        return str(getattr(row, self._event_id))

    def key(self, row: Row) -> str:
        """Whose row it is: the first of the contract's ``partitionKey`` columns with a value, else the event id."""
        return str(next(value for name in self._keys if (value := getattr(row, name)) is not None))

    def verdict(self, row: Row) -> Verdict:
        """Whether it may leave. What is not wanted is filtered before consent is asked for."""
        for condition in self._only:
            if not _holds(condition, row):
                return _FILTERED
        for name in self._suppressed:
            value = getattr(row, name)
            if value is not None and self._suppressions.holds(name, str(value)):
                return _SUPPRESSED
        if self._consent:
            choices = row.consent or {}
            for category in self._consent:
                choice = choices.get(category)
                if choice is not True:
                    return Verdict(f"{UNKNOWN if choice is None else DENIED}:{category}")
        return _GOES

    def event(self, row: Row) -> bytes:
        """The event as it is sent."""
        tree: Tree = {}
        for step in self._steps:
            step(row, tree)
        return CANONICAL_JSON.encode(tree)


def event_digest(event: bytes) -> bytes:
    """What events are compared by: the hash of their JSON with sorted keys; 16 bytes."""
    return xxhash.xxh3_128_digest(event)


def canonical_event(event: Any, like: bytes) -> bytes:
    """An event that somebody gives back, in the form that it was sent in: without top-level fields that ``like`` has not."""
    sent = msgspec.json.decode(like)
    return CANONICAL_JSON.encode({name: value for name, value in event.items() if name in sent})


def _holds(condition: Condition, row: Row) -> bool:
    return (plain_text(getattr(row, condition.column)) in condition.among) != condition.negated


def _compiled(destination: Destination, contract: Contract) -> list[Callable[[Row, Tree], None]]:
    """Shallow places first, so that a deeper one goes into what is there; of several for one the first with a value counts."""
    placements = sorted(destination.placements, key=lambda p: len(p.path.steps))  # stable
    parents = {p.path.steps[:depth] for p in placements for depth in range(1, len(p.path.steps))}
    parents |= {path.steps[:depth] for path in destination.constants for depth in range(1, len(path.steps))}
    steps = [_placed(p, contract, opened=p.path.steps in parents) for p in placements]
    return [*steps, *(_constant(path.steps, value) for path, value in destination.constants.items())]


def _placed(placement: Placement, contract: Contract, *, opened: bool) -> Callable[[Row, Tree], None]:
    """opened: something goes below it, so JSON is decoded and not copied as it is."""
    *parents, last = placement.path.steps
    column, when = placement.column, placement.when
    convert = _converter(contract.by_name[column].type, opened)

    def place(row: Row, tree: Tree) -> None:
        value = getattr(row, column)
        if value is None or (when is not None and not _holds(when, row)):
            return
        target = _below(tree, parents)
        if target is not None and last not in target:
            target[last] = value if convert is None else convert(value)

    return place


def _constant(steps: Sequence[str], value: Any) -> Callable[[Row, Tree], None]:
    *parents, last = steps

    def place(_row: Row, tree: Tree) -> None:
        target = _below(tree, parents)
        if target is not None:
            target[last] = value

    return place


def _below(tree: Tree, steps: Sequence[str]) -> Tree | None:
    """The object at these steps, made where there is none; None where something else stands there."""
    for step in steps:
        found = tree.setdefault(step, {})
        if not isinstance(found, dict):
            return None
        tree = found
    return tree


def _converter(kind: ColumnType, opened: bool) -> Callable[[Any], Any] | None:
    """From a canonical value, or its JSON form, to what an event holds."""
    if kind is ColumnType.TIMESTAMP:
        return timestamp_text
    if kind is ColumnType.JSON:
        return msgspec.json.decode if opened else lambda text: msgspec.Raw(text.encode())
    if kind is ColumnType.DATE:
        return lambda value: value.isoformat() if isinstance(value, date) else value
    if kind is ColumnType.DECIMAL:
        return lambda value: msgspec.Raw(format(Decimal(value), "f").encode())
    return None


def timestamp_text(us: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC: with milliseconds, as the dialects write it, or six digits where it has them."""
    moment = _EPOCH + timedelta(microseconds=us)
    return moment.isoformat(timespec="microseconds" if us % 1000 else "milliseconds").replace("+00:00", "Z")
