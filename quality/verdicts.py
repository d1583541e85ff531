"""What a rule says of a partition, and what that means for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from contracts.spec.model import Contract
from contracts.spec.quality import Severity
from contracts.units import SECOND_US, us_text

__all__ = ["Partition", "RuleVerdict", "Severity", "Verdict", "gate_verdict", "partition_at", "partitions_between"]


class Verdict(StrEnum):
    """What a rule says. Only OK is good: LEARNING has no history yet, SKIPPED nothing to judge by, ERROR no answer."""

    OK = "ok"
    FAILED = "failed"
    LEARNING = "learning"
    SKIPPED = "skipped"
    ERROR = "error"


@dataclass(frozen=True, order=True)
class Partition:
    """Rows of a dataset whose window time is in [from_us, to_us), microseconds."""

    dataset: str
    from_us: int
    to_us: int

    def __str__(self) -> str:
        return f"{self.dataset} {us_text(self.from_us, 'seconds')}..{us_text(self.to_us, 'seconds')}"


@dataclass(frozen=True, kw_only=True)
class RuleVerdict:
    """What one rule says of one partition.

    observed: in the rule's unit; None where there is none. expected: in words. rows: that were looked at; failing: of them those
    that break the rule, 0 where it is not about single rows. samples: source, raw file and position of some of those, the first by
    this order, never values. detail: one sentence for people, without values of records. baseline: ids of the partitions and runs
    that the expectation was learnt from. observation: JSON of what baselines learn from beside ``observed``; empty for nothing. Of
    personal columns it holds buckets only.
    """

    rule: str
    kind: str
    column: str | None
    severity: Severity
    partition: Partition
    verdict: Verdict
    observed: float | str | None
    expected: str
    rows: int
    failing: int = 0
    samples: tuple[tuple[str, str, int], ...] = ()
    detail: str = ""
    baseline: tuple[str, ...] = ()
    observation: str = ""


_ORDER = (Severity.WARN, Severity.QUARANTINE, Severity.STOP)


def gate_verdict(verdicts: Iterable[RuleVerdict]) -> Severity | None:
    """The worst severity of what failed or could not be judged for a fault of the rule; None where all may be published."""
    bad = {each.severity for each in verdicts if each.verdict in (Verdict.FAILED, Verdict.ERROR)}
    return max(bad, key=_ORDER.index, default=None)


def partition_at(contract: Contract, at_us: int) -> Partition:
    """The partition that a window time lies in."""
    length_us = contract.quality.partition_s * SECOND_US
    from_us = at_us // length_us * length_us
    return Partition(contract.dataset, from_us, from_us + length_us)


def partitions_between(contract: Contract, from_us: int, to_us: int) -> Iterator[Partition]:
    """Every partition that reaches into [from_us, to_us), empty ones too, in the order of time."""
    length_us = contract.quality.partition_s * SECOND_US
    for start in range(from_us // length_us * length_us, to_us, length_us):
        yield Partition(contract.dataset, start, start + length_us)
