"""Where the rows of lanes come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.encode.events import EventEncoder
from lake.receipts.lanes import LaneId
from transforms.deliver.http.wire import Outgoing
from transforms.deliver.items import Item
from transforms.readers.progress import ReaderProgress
from transforms.readers.restriction import LaneSource, ReaderName


@dataclass(frozen=True)
class Read:
    """What was read of a lane.

    read_to: the place to read on from. ended: nothing more will come. delivered: an event that may leave, and that the destination
    has by a receipt of an earlier run; None where none was met.
    """

    items: list[Item]
    read_to: int
    ended: bool = False
    delivered: Outgoing | None = None


class LaneReader(Protocol):
    """Reads the lanes of one reader. For one thread."""

    def refreshed(self, progress: ReaderProgress[Any]) -> ReaderProgress[Any]:
        """The progress with lanes that are new."""
        ...

    def read(
        self, progress: ReaderProgress[Any], read_to: Mapping[LaneId, int], room: set[LaneId], timeout_s: float
    ) -> dict[LaneId, Read]:
        """Rows that are there, or come within this time.

        Args:
            progress: of all lanes.
            read_to: where each lane was read to.
            room: lanes that have room for more; others wait.
            timeout_s: how long to wait for the first.
        """
        ...

    def lag(self) -> int | None:
        """Rows that were not read yet, as far as it is known."""
        ...

    def committed(self, progress: ReaderProgress[Any]) -> None:
        """These places are settled; for whoever watches from outside."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Lanes(LaneSource, Protocol):
    """A kind of source."""

    def open(self, name: ReaderName, encoder: EventEncoder) -> LaneReader:
        """The reader of this name."""
        ...
