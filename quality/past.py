"""What was observed of earlier partitions, for rules that are judged by history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from quality.verdicts import Partition, Verdict


class State(StrEnum):
    """What became of a partition. ACCEPTED: a person overruled a verdict; DECLARED: it was said to be no rule for others."""

    PUBLISHED = "published"
    HELD = "held"
    ACCEPTED = "accepted"
    DECLARED = "declared"


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a rule observed of an earlier partition. run_id: of the judgement. observation: see RuleVerdict.

    new_normal: a person accepted it as what is to be expected from then on.
    """

    partition: Partition
    verdict: Verdict
    observed: float | None
    rows: int
    observation: str
    run_id: str
    state: State = State.PUBLISHED
    new_normal: bool = False


class History(Protocol):
    """What was observed."""

    def past(self, rule: str, before_us: int) -> Sequence[Past]:
        """What a rule observed of partitions that end by a time, the newest judgement of each, in the order of time."""
        ...


@dataclass(frozen=True)
class KnownHistory:
    """A history in memory; without arguments none. by_rule: in the order of time."""

    by_rule: dict[str, Sequence[Past]]

    def past(self, rule: str, before_us: int) -> Sequence[Past]:
        """See History."""
        return [each for each in self.by_rule.get(rule, ()) if each.partition.to_us <= before_us]
