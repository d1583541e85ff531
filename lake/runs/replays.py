"""The record of a lake's replays: numbered events, each written once. What a replay's state is, follows from them.

Runs that reprocess dead letters take numbers from it too: what they and promotions say of a position holds by its number.

``_replays/<number>.json``, put if absent: of two that happen at once one is first, and the other sees it before it may happen too.
So the record is the audit trail, the state and the lock.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from contracts.errors import ConfigurationError
from contracts.units import utc_text
from lake.location import Lake

FOLDER = "_replays"
Range = tuple[int, int]


class Step(StrEnum):
    """What can happen to a replay."""

    BEGUN = "begun"
    PAUSE_ASKED = "pause asked"
    PAUSED = "paused"
    RESUMED = "resumed"
    FINISHED = "finished"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"
    DISCARDED = "discarded"
    REPROCESSING = "reprocessing"  # of no replay: a run that reprocesses dead letters takes its number


OPEN = frozenset({Step.BEGUN, Step.PAUSE_ASKED, Step.PAUSED, Step.RESUMED, Step.FINISHED, Step.PROMOTING})


@dataclass(frozen=True)
class Event:
    """One thing that happened. number: from 1, without gaps. by: user and host. details: what the step has to say."""

    number: int
    name: str
    step: Step
    at: str
    by: str
    details: dict[str, Any]


@dataclass
class Replay:
    """A replay as its events tell. spec: what was asked for at its beginning. promotion: number of its promotion."""

    name: str
    spec: dict[str, Any]
    step: Step
    events: list[Event] = field(default_factory=list)
    promotion: int | None = None

    @property
    def dataset(self) -> str:
        """Which dataset it rebuilds."""
        return str(self.spec["dataset"])

    @property
    def table(self) -> str:
        """Which table."""
        return f"validated.{self.dataset}"

    @property
    def ranges(self) -> tuple[Range, ...]:
        """What it rebuilds, microseconds."""
        return tuple((low, high) for low, high in self.spec["ranges"])

    @property
    def branch(self) -> str:
        """The branch that it is built on."""
        return f"replay_{self.name}"

    @property
    def is_open(self) -> bool:
        """Whether it claims its ranges: begun, and neither promoted nor given up."""
        return self.step in OPEN

    def tag(self, word: str) -> str:
        """A tag of its own on a table."""
        return f"{self.branch}_{word}"

    def meets(self, dataset: str, ranges: Sequence[Range]) -> bool:
        """Whether it rebuilds some of the same."""
        return self.dataset == dataset and any(a < d and c < b for a, b in self.ranges for c, d in ranges)


def events(lake: Lake) -> list[Event]:
    """Every event of a lake, in order."""
    storage = lake.storage
    places = sorted(place for place in storage.names(lake.at_key(FOLDER)) if place.endswith(".json"))
    found = [json.loads(content) for content in storage.map(storage.read, places)]
    return [Event(**{**document, "step": Step(document["step"])}) for document in found]


def replays(lake: Lake, known: Sequence[Event] | None = None) -> dict[str, Replay]:
    """Every replay by name, the oldest first. A name that was discarded may have been taken again: then it is the newer one."""
    found: dict[str, Replay] = {}
    for event in events(lake) if known is None else known:
        if event.step is Step.REPROCESSING:
            continue
        if event.step is Step.BEGUN:
            found.pop(event.name, None)
            found[event.name] = Replay(event.name, event.details, event.step)
        replay = found[event.name]
        replay.events.append(event)
        replay.step = event.step
        if event.step is Step.PROMOTING and replay.promotion is None:
            replay.promotion = event.number
    return found


def replay_of(lake: Lake, name: str) -> Replay:
    """A replay by name.

    Raises:
        ConfigurationError: there is none; names what there is.
    """
    known = replays(lake)
    if name not in known:
        raise ConfigurationError(f"no replay {name!r} in this lake; there is: {', '.join(known) or 'none'}")
    return known[name]


def add_event(
    lake: Lake, name: str, step: Step, details: dict[str, Any], check: Callable[[dict[str, Replay]], None] | None = None
) -> Event:
    """Put an event on record, after a look at all before it.

    Args:
        lake: where.
        name: the replay's.
        step: what happens.
        details: what it has to say; JSON.
        check: raises where it must not happen; is given every replay as it stands right before.
    """
    while True:
        known = events(lake)
        if check:
            check(replays(lake, known))
        number = known[-1].number + 1 if known else 1
        now = utc_text(datetime.now(UTC), "milliseconds")
        event = Event(number, name, step, now, _who(), details)
        document = json.dumps(event.__dict__, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
        if lake.storage.put_if_absent(lake.at_key(f"{FOLDER}/{number:08d}.json"), document):
            return event


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
