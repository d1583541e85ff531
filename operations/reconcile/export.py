"""What a destination says that it has, record by record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import msgspec

from contracts.compiler.timestamps import epoch_to_us, parse_timestamp
from operations.reconcile.rows import TIME_FIELDS

WHOLE_RECORD = "."
_UTC = ZoneInfo("UTC")
_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str | int).decode


class Exported(NamedTuple):
    """One event of a destination.

    event: its JSON; None where only its id is known. time: JSON of its time, where that stands beside it.
    """

    event_id: str
    event: bytes | None
    time: bytes | None = None

    def own_time_us(self) -> int | None:
        """Its own time; None where it has none that can be read."""
        found = [self.time] if self.time else []
        if self.event is not None:
            fields = _fields_of(self.event)
            found = [bytes(fields[name]) for name in TIME_FIELDS if name in fields] + found
        return next((us for raw in found if (us := _us_of(msgspec.json.decode(raw))) is not None), None)

    def type(self) -> str | None:
        """Its type, where it has one."""
        kind = msgspec.json.decode(self.event).get("type") if self.event is not None else None
        return kind if isinstance(kind, str) else None


def _us_of(value: Any) -> int | None:
    if isinstance(value, str):
        return parse_timestamp(value, _UTC)
    return epoch_to_us(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


class Export(Protocol):
    """A destination's export. origin: what it is, for people. as_of_us: what reached the destination later is not in it."""

    origin: str
    as_of_us: int

    def pages(self) -> Iterator[list[Exported]]:
        """All that is in it.

        Raises:
            ConfigurationError: it is no such export.
            ComponentDownError: it does not answer.
        """
        ...


@dataclass(frozen=True)
class Fields:
    """Where a record has what. event_id: name. event: name, or WHOLE_RECORD; a record without such a field is an id only."""

    event_id: str = "messageId"
    event: str = "event"

    def exported(self, line: bytes) -> Exported:
        """A record.

        Raises:
            ValueError: it is no JSON object with an id.
        """
        record = _fields_of(line)
        event: bytes | None = None
        if self.event == WHOLE_RECORD:
            event = line
        elif self.event in record:
            event = object_of(bytes(record[self.event]))
        named = record.get(self.event_id)
        if named is None and event is not None:
            named = _fields_of(event).get(self.event_id)
        if named is None:
            raise ValueError
        moment = next((bytes(record[name]) for name in TIME_FIELDS if name in record), None)
        return Exported(str(_text(named)), event, moment)


def object_of(raw: bytes) -> bytes | None:
    """JSON of an object, also where it is in a text; None of null.

    Raises:
        ValueError: neither.
    """
    if raw[:1] == b'"':
        raw = msgspec.json.decode(raw, type=str).encode()
    if raw[:1] == b"{":
        return raw
    if raw == b"null":
        return None
    raise ValueError
