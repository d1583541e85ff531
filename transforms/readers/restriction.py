"""Readers as the elements of a splittable DoFn: their names, where each begins, and what each may claim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from transforms.readers.progress import ProgressCoder, ReaderProgress


class ReaderName(msgspec.Struct, frozen=True):
    """Which reader an element stands for, of how many.

    How many lies in the element, since a job that starts from a savepoint has the readers of the job before, whatever its
    parallelism is.
    """

    number: int = msgspec.field(name="reader")
    readers: int = msgspec.field(name="of")

    @classmethod
    def parse(cls, element: bytes) -> ReaderName:
        """Of an element."""
        return msgspec.json.decode(element, type=cls)


def reader_name(number: int, readers: int, salt: int) -> bytes:
    """The element that stands for a reader, and its key where a runner keys splittable DoFns by their element.

    salt: decides the slot that it gets, see ``salts_for`` of the Flink runner.
    """
    return json.dumps({"reader": number, "of": readers, "salt": salt}, separators=(",", ":")).encode()


def reader_names(salts: Sequence[int]) -> list[bytes]:
    """The elements of all readers."""
    return [reader_name(number, len(salts), salt) for number, salt in enumerate(salts)]


class LaneSource(Protocol):
    """What is read by several readers; travels to workers."""

    @property
    def readers(self) -> tuple[ReaderProgress[Any], ...]:
        """Where each reader begins."""
        ...

    @property
    def salts(self) -> tuple[int, ...]:
        """One for each reader."""
        ...

    @property
    def progress_coder(self) -> ProgressCoder:
        """Of its kind of lane."""
        ...


class ReaderRestrictions(RestrictionProvider):
    """A DoFn over readers is its own provider: where they begin differs from job to job."""

    _source: LaneSource

    def initial_restriction(self, element: bytes) -> ReaderProgress[Any]:
        """Where this reader begins."""
        return self._source.readers[ReaderName.parse(element).number]

    def create_tracker(self, restriction: ReaderProgress[Any]) -> ReaderProgressTracker:
        """See Beam."""
        return ReaderProgressTracker(restriction)

    def restriction_size(self, element: bytes, restriction: ReaderProgress[Any]) -> int:
        """All readers weigh the same."""
        return 1

    def restriction_coder(self) -> ProgressCoder:
        """See Beam."""
        return self._source.progress_coder

    def truncate(self, element: bytes, restriction: ReaderProgress[Any]) -> None:
        """A drained job reads no further."""


class ReaderProgressTracker(RestrictionTracker):
    """Claims what was read as a whole; splits only into "what is done" and "everything else", which is what a checkpoint needs.

    A split elsewhere would hand a lane to two readers; Prism tries so with a slow reader, and is refused.
    """

    def __init__(self, progress: ReaderProgress[Any]) -> None:
        self._progress = progress
        self._stopped = progress.stopped

    def current_restriction(self) -> ReaderProgress[Any]:
        """As far as claimed."""
        return self._progress

    def current_progress(self) -> RestrictionProgress:
        """No end is known."""
        return RestrictionProgress(fraction=1.0 if self._stopped or self._progress.finished else 0.0)

    def try_claim(self, position: ReaderProgress[Any]) -> bool:
        """Move to this progress; False when the rest was given away."""
        if self._stopped:
            return False
        self._progress = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[ReaderProgress[Any], ReaderProgress[Any]] | None:
        """At 0 only."""
        if fraction_of_remainder != 0 or self._stopped or self._progress.finished:
            return None
        residual = self._progress
        self._progress = msgspec.structs.replace(residual, stopped=True)
        self._stopped = True
        return self._progress, residual

    def check_done(self) -> None:
        """Raise where reading ended without reason."""
        if not (self._stopped or self._progress.finished):
            raise ValueError("a reader returned before its end without a checkpoint")

    def is_bounded(self) -> bool:
        """Whether every lane has an end."""
        return not self._progress.endless
