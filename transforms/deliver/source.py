"""Where the rows of lanes come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from contracts.encode.events import EventEncoder
from lake.raw.log_ids import LogId
from transforms.deliver.items import Item
from transforms.readers.progress import ReaderProgress


@dataclass(frozen=True)
class Read:
    """What was read of a lane. read_to: the place to read on from. ended: nothing more will come."""

    items: list[Item]
    read_to: int
    ended: bool = False


class LaneReader(Protocol):
    """Reads the lanes of one reader. For one thread."""

    def refreshed(self, progress: ReaderProgress) -> ReaderProgress:
        """The progress with lanes that are new."""
        ...

    def read(self, progress: ReaderProgress, read_to: Mapping[LogId, int], room: set[LogId], timeout_s: float) -> dict[LogId, Read]:
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

    def committed(self, progress: ReaderProgress) -> None:
        """These places are settled; for whoever watches from outside."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Lanes(Protocol):
    """A kind of source; travels to workers.

    readers: where each begins. salts: see ``salts_for`` of the Flink runner.
    """

    @property
    def readers(self) -> tuple[ReaderProgress, ...]:
        """Where each reader begins."""
        ...

    @property
    def salts(self) -> tuple[int, ...]:
        """One for each reader."""
        ...

    def open(self, number: int, readers: int, encoder: EventEncoder) -> LaneReader:
        """The reader of this number."""
        ...
