"""One change, as ``headrace changes`` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChangeKind(StrEnum):
    """What changed; sorted so within one moment."""

    CONTRACT = "contract"  # of a dataset
    SOURCE = "source"  # how payloads are mapped
    DESTINATION = "destination"  # what leaves, and where to
    CODE = "code"  # the version of Headrace
    LIBRARY = "library"  # the version of Python, or of a library that decides about rows
    OPTION = "option"  # of a run's command
    GATE = "gate"  # a partition was held
    VOLUME = "volume"  # records of a source
    ACT = "act"  # what a person did


_ORDER = {kind: number for number, kind in enumerate(ChangeKind)}


@dataclass(frozen=True, kw_only=True)
class ChangeEntry:
    """One change.

    at: when it was first seen, or done: UTC, ISO 8601, milliseconds. subject: what changed: a dataset, a source, a destination, a
    library. what: one sentence without a full stop. details: what changed inside, one sentence each. before, after: states or
    values, None for none. datasets: which it concerns; empty for all. run_id: the run that was the first with it. by: who did it.
    """

    at: str
    kind: ChangeKind
    subject: str
    what: str
    details: tuple[str, ...] = ()
    before: str | None = None
    after: str | None = None
    datasets: tuple[str, ...] = ()
    run_id: str | None = None
    by: str | None = None

    @property
    def order(self) -> tuple[str, int, str, str, str]:
        """Where it stands among others."""
        return self.at, _ORDER[self.kind], self.subject, self.run_id or "", self.what

    def concerns(self, dataset: str) -> bool:
        """Whether it may have to do with a dataset."""
        return not self.datasets or dataset in self.datasets
