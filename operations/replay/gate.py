"""What the gate of a dataset would hold of a replay, before anybody promotes it. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.units import SECOND_US, us_text
from lake.location import Lake
from lake.runs.replays import Replay, Step, replay_of
from lake.tables.audit import audited
from lake.tables.candidate import Candidate
from lake.tables.holds import Hold, Range, holds_token
from lake.tables.iceberg import known_files
from lake.tables.swap import overlaps
from pipelines.replay.plan import dataset_of
from quality.gate import foreseen


@dataclass(frozen=True)
class ReplayVerdict:
    """What promote would hold.

    has_gate: whether the dataset has one. held: partitions of the replay that break a rule; where a rule of severity stop holds
    something before them, that too. stopped: how many of the replay's partitions would wait behind a stop; waiting: how many may
    still grow, since a stream feeds the dataset.
    """

    name: str
    dataset: str
    has_gate: bool
    held: tuple[Hold, ...] = ()
    stopped: int = 0
    waiting: int = 0

    @property
    def exit_code(self) -> int:
        """1 where something would be held."""
        return 1 if self.held or self.stopped else 0

    @property
    def needs(self) -> list[str]:
        """What a person has to agree to, one sentence each."""
        rules = sorted({rule for hold in self.held for rule in hold.rules})
        told = [f"the gate would hold {_counted(len(self.held))} ({', '.join(rules)})"] if self.held else []
        return told + ([f"{_counted(self.stopped)} would wait behind a rule of severity stop"] if self.stopped else [])

    def document(self) -> dict[str, Any]:
        """As JSON."""
        held = [
            {
                "from": us_text(hold.from_us, "seconds"),
                "to": us_text(hold.to_us, "seconds"),
                "rules": list(hold.rules),
                "severity": hold.severity,
                "rows": int(hold.content.partition("-")[0]),
            }
            for hold in self.held
        ]
        return {
            "name": self.name,
            "dataset": self.dataset,
            "has_gate": self.has_gate,
            "held": held,
            "stopped": self.stopped,
            "waiting": self.waiting,
            "needs": self.needs,
        }


def _counted(number: int) -> str:
    return f"{number:,} partition" + ("" if number == 1 else "s")


def replay_verdict(lake: Lake, project: Project, name: str) -> ReplayVerdict:
    """Judge a finished replay as its promotion would, were it promoted now.

    Rows that live jobs published since the replay began are folded in by the promotion only, and judged there.

    Args:
        lake: where.
        project: with the contract.
        name: the replay's.

    Raises:
        ConfigurationError: there is no such replay, or it is not finished.
    """
    replay = replay_of(lake, name)
    if replay.step is not Step.FINISHED:
        raise ConfigurationError(f"replay {name}: is {replay.step}, and only one that is finished can be judged")
    _, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    if not contract.gated:
        return ReplayVerdict(name, replay.dataset, False)
    length_us = contract.quality.partition_s * SECOND_US
    whole = [(low // length_us * length_us, -(-high // length_us) * length_us) for low, high in replay.ranges]
    candidate = _candidate(lake, replay, length_us, whole)
    ruling = foreseen(lake, contract, candidate)
    own = {n for n in candidate.changed() if any(low <= n * length_us < high for low, high in whole)}
    stopped = len(own.intersection(ruling.stopped))
    held = [hold for number, hold in sorted(ruling.held.items()) if number in own or (stopped and hold.severity == "stop")]
    return ReplayVerdict(name, replay.dataset, True, tuple(held), stopped, len(own.intersection(ruling.waiting)))


def _candidate(lake: Lake, replay: Replay, length_us: int, whole: Sequence[Range]) -> Candidate:
    """What the audit branch would be: as it is, and in the replay's partitions as its branch is."""
    name = replay.table
    onto, jobs = replace(lake, branch=replay.branch), audited(lake.public, name)
    rebuilt, public = onto.load(name), lake.public.load(name)
    files = [file for file in known_files(rebuilt, replay.branch) if overlaps(file, whole)]
    files += [file for file in known_files(jobs.load(name), jobs.branch_of(name)) if not overlaps(file, whole)]
    snapshot = rebuilt.metadata.snapshot_by_name(replay.branch)
    assert snapshot is not None  # it is finished
    return Candidate(public, holds_token(public), snapshot, tuple(sorted(files)), tuple(known_files(public, None)), length_us)
