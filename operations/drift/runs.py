"""What a comparison of jobs is about: what the schedules declare, what the lake records, and what a cluster runs."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.spec.schedules import StreamSchedule
from lake.runs.basis import RunBasis
from lake.runs.submission import Submission

INGEST, DELIVER = "ingest", "deliver"
OF_DELIVERY = f"{DELIVER}-"  # in the names of its runs


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A stream of the schedules. options: as a submission notes them. file: which says so."""

    source: str
    stream: StreamSchedule
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A run that the lake knows. basis: by what it works; None where an earlier version noted none.

    changes: what the repository has otherwise than that, a sentence each: of its contract and its source.
    """

    submission: Submission
    basis: RunBasis | None = None
    changes: Sequence[str] = ()

    @property
    def source(self) -> str:
        """Whose it is: a source's name; of a delivery ``deliver-`` and its destination."""
        return self.submission.source

    @property
    def verb(self) -> str:
        """The command that submitted it."""
        return next(iter(self.submission.argv), "")

    @property
    def is_ingest(self) -> bool:
        """Whether it is of a source."""
        return self.verb == INGEST

    @property
    def is_bounded(self) -> bool:
        """Whether it ends by itself: with an end, over files or a table, or as a replay."""
        return (
            self.verb not in (INGEST, DELIVER)
            or "--until" in self._given
            or (self.verb == DELIVER and "--input" not in self._given)
        )

    @property
    def _given(self) -> set[str]:
        return {part.partition("=")[0] for part in self.submission.argv}

    @property
    def goes_on(self) -> bool:
        """Whether it is meant to run until somebody stops it, and nobody has."""
        return self.submission.ended is None and not self.is_bounded

    @property
    def input(self) -> str:
        """What it reads; empty where that is not known."""
        given = self.basis.options.get("input") if self.basis else None
        return str(given[0]) if isinstance(given, list | tuple) and given else given if isinstance(given, str) else ""


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """A job of a cluster. slots: that it takes; 0 of one that has ended."""

    job_id: str
    name: str
    state: str
    where: str
    slots: int = 0
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What the repository says of jobs.

    A name of what runs is a source's, or ``deliver-`` and a destination's. name: of the schedules, for the names of DAGs; empty
    without schedules. version: of Headrace that is installed. sources, destinations: that it has. silent: clusters that do not
    answer: of their runs nothing is said.
    """

    version: str
    name: str = ""
    file: str = ""
    declared: Mapping[str, Declared] = field(default_factory=dict)
    sources: Collection[str] = ()
    destinations: Collection[str] = ()
    silent: Collection[str] = ()

    def has(self, name: str) -> bool:
        """Whether what runs under a name is in the repository."""
        return name in self.sources or (name.startswith(OF_DELIVERY) and name.removeprefix(OF_DELIVERY) in self.destinations)

    def start(self, source: str) -> str:
        """How its job is started."""
        if self.name and source in self.declared:
            return f"airflow dags trigger {self.name}.deploy.{source}"
        return f"headrace ingest {shlex.quote(source)} --runner flink --input …"

    def upgrade(self, run: Recorded) -> str:
        """How its job is made anew by what the repository says."""
        if self.name and run.is_ingest and run.source in self.declared:
            return f"airflow dags trigger {self.name}.upgrade.{run.source}"
        return f"headrace job stop {run.submission.run_id}, and then the command that it prints"
