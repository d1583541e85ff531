"""What alarms are worth: faults found, how late, and alarms where nothing is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.quality.judges import Alarms
from benchmarks.quality.worlds import DAYS, HOURS, JUDGED_FROM, PER_DAY, SHOWN_BY, Fault, Kind, World

_ALSO = {Kind.VOLUME: "categories", Kind.DUPLICATED: "categories", Kind.STOPPED: "categories"}  # by counts of categories


@dataclass
class Score:
    """Sums over datasets. faults, found: by kind. delays: partitions from the first wrong one to the first alarm, 0 for none.

    false_alarms: incidents, alarms of one rule in hours that follow each other being one; false_hours: hours with any. months: of
    30 days that were judged.
    """

    faults: Counter[Kind] = field(default_factory=Counter)
    found: Counter[Kind] = field(default_factory=Counter)
    delays: defaultdict[Kind, list[int]] = field(default_factory=lambda: defaultdict(list))
    false_alarms: Counter[str] = field(default_factory=Counter)
    false_hours: int = 0
    months: float = 0.0

    @property
    def recall(self) -> float:
        """The share of the faults that were found."""
        return self.found.total() / max(self.faults.total(), 1)

    @property
    def false_a_month(self) -> float:
        """False alarms of a dataset in 30 days, of all its rules together."""
        return self.false_alarms.total() / max(self.months, 1e-9)

    def add(self, world: World, alarms: Alarms, *, whole: bool) -> None:
        """Count a dataset. whole: all of its hours were judged, so that false alarms can be counted."""
        for fault in world.faults:
            self.faults[fault.kind] += 1
            hours = [
                hour
                for rule, seen in alarms.items()
                if rule.startswith(SHOWN_BY[fault.kind])
                for hour in seen
                if fault.begins <= hour < fault.ends
            ]
            if hours:
                self.found[fault.kind] += 1
                self.delays[fault.kind].append(min(hours) - fault.begins)
        if whole:
            self.months += (DAYS - JUDGED_FROM) / 30
            self._add_false(world, alarms)

    def _add_false(self, world: World, alarms: Alarms) -> None:
        wrong_hours = set[int]()
        for rule, seen in alarms.items():
            wrong = [hour for hour in seen if not any(_explains(fault, rule, hour) for fault in _wrong(world))]
            wrong_hours.update(wrong)
            self.false_alarms[rule] += sum(hour - 1 not in wrong for hour in wrong)
        self.false_hours += len(wrong_hours)

    def told(self) -> dict[str, object]:
        """As JSON."""
        return {
            "recall": round(self.recall, 4),
            "false_alarms_in_30_days": round(self.false_a_month, 3),
            "false_hours_in_30_days": round(self.false_hours / max(self.months, 1e-9), 3),
            "months": self.months,
            "false_alarms_by_rule": {rule: count for rule, count in self.false_alarms.most_common() if count},
            "by_fault": {
                kind.value: {
                    "faults": self.faults[kind],
                    "found": self.found[kind],
                    "delay_median": median(self.delays[kind]) if self.delays[kind] else None,
                    "delay_most": max(self.delays[kind], default=None),
                }
                for kind in Kind
                if self.faults[kind]
            },
        }


def _wrong(world: World) -> Iterable[Fault]:
    yield from world.faults
    if world.shape.outage:
        begins = 35 * PER_DAY + 9
        yield Fault(Kind.STOPPED, begins, begins + world.shape.outage)


def _explains(fault: Fault, rule: str, hour: int) -> bool:
    """Whether a fault is a reason for an alarm of a rule: those that it changes, while it lasts."""
    if not fault.begins <= hour < min(fault.ends, HOURS):
        return False
    return rule.startswith((SHOWN_BY[fault.kind], _ALSO.get(fault.kind, SHOWN_BY[fault.kind])))
