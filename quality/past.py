"""What was observed of earlier partitions, for rules that are judged by history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from quality.history import State
from quality.verdicts import Partition, Verdict


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a rule observed of an earlier partition. run_id, judged_us: of the judgement. observation: see RuleVerdict.

    state: what became of the partition, whichever rule it was that held it. new_normal: a person accepted it as what is to be
    expected from then on.
    """

    partition: Partition
    verdict: Verdict
    observed: float | None
    rows: int
    observation: str
    run_id: str
    judged_us: int = 0
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
