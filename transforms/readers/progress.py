"""How far one reader of several lanes is: the restriction of a splittable DoFn whose element is a reader."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import msgspec
from apache_beam import coders

from transforms.late import NEVER_LATE_US

END_OF_TIME_US = 2**63 - 1


class LaneProgress(Protocol):
    """How far one lane is. A frozen msgspec struct."""

    @property
    def id(self) -> tuple[str, str, int]:
        """What tells it from all other lanes: of what it is, which one of that name, and a number."""
        ...

    @property
    def next(self) -> int:
        """The next place to read."""
        ...

    @property
    def end(self) -> int | None:
        """Read up to here only; None for ever."""
        ...

    @property
    def finished(self) -> bool:
        """Whether all of it is read."""
        ...

    def at(self, place: int) -> Self:
        """The lane when this place is the next."""
        ...


L = TypeVar("L", bound=LaneProgress)


class ReaderProgress(msgspec.Struct, Generic[L], frozen=True):
    """One reader's lanes, and its W. stopped: somebody else goes on from here."""

    lanes: tuple[L, ...] = msgspec.field(name="partitions")  # as savepoints call them
    watermark_us: int = NEVER_LATE_US
    stopped: bool = False

    @property
    def finished(self) -> bool:
        """Whether all of every lane is read; never, where one has no end."""
        return all(lane.finished for lane in self.lanes) and not self.endless

    @property
    def endless(self) -> bool:
        """Whether it reads for ever."""
        return not self.lanes or any(lane.end is None for lane in self.lanes)


class ProgressCoder(coders.Coder):
    """JSON: a savepoint of it can be read by people, and by a later version that knows more fields.

    kind: ReaderProgress of the lanes that a class of it is for.
    """

    kind: ClassVar[Any]

    def encode(self, value: ReaderProgress[Any]) -> bytes:
        """To bytes."""
        return msgspec.json.encode(value)

    def decode(self, encoded: bytes) -> ReaderProgress[Any]:
        """From bytes."""
        progress: ReaderProgress[Any] = msgspec.json.decode(encoded, type=self.kind)
        return progress

    def is_deterministic(self) -> bool:
        """Fields come in a fixed order."""
        return True

    def to_type_hint(self) -> Any:
        """The type it codes."""
        return ReaderProgress
