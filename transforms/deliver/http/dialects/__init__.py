"""The APIs that the sink speaks: one module each."""

from __future__ import annotations

from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination, DialectName
from transforms.deliver.http.dialects.base import Dialect
from transforms.deliver.http.dialects.rudderstack import RudderStack
from transforms.deliver.http.dialects.segment import Segment
from transforms.deliver.http.limits import BatchLimits

_DIALECTS: dict[DialectName, Dialect] = {"segment": Segment(), "rudderstack": RudderStack()}


def dialect_of(name: DialectName) -> Dialect:
    """The dialect of a destination's ``type``."""
    return _DIALECTS[name]


def batch_limits(destination: Destination) -> BatchLimits:
    """What one request may hold: what the destination sets, else what its API documents.

    Raises:
        ConfigurationError: more is asked for than the API takes where it cannot be raised, or no event would fit.
    """
    dialect = dialect_of(destination.type)
    documented, given = dialect.limits, destination.limits
    pairs = {
        "batch_events": (given.batch_events, documented.events),
        "batch_bytes": (given.batch_bytes, documented.size_bytes),
        "event_bytes": (given.event_bytes, documented.event_bytes),
    }
    problems = [
        f"limits.{key}: {asked:,}, but the API takes {most:,} at most"
        for key, (asked, most) in pairs.items()
        if asked is not None and asked > most and key in dialect.ceilings
    ]
    events, size_bytes, event_bytes = (most if asked is None else asked for asked, most in pairs.values())
    if size_bytes <= documented.envelope_bytes:
        problems.append(f"limits.batch_bytes: {size_bytes:,} leaves no room for an event")
    if problems:
        raise ConfigurationError(f"destination {destination.name}: " + "; ".join(problems))
    return BatchLimits(events=events, size_bytes=size_bytes, event_bytes=event_bytes, envelope_bytes=documented.envelope_bytes)
