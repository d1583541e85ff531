"""How a pass of a gate is taken, and what it came to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.units import us_text
from lake.tables.holds import Hold, Range

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """How a pass is taken.

    run_id: of the run. is_complete: nothing more comes for now, so that every partition is judged as a whole; False beside a
    stream; None for: unless a stream feeds the dataset. lateness_s: for how long a stream waits for rows of a partition after its
    end: it is whole once a record was received so long after that. held_too: a person wants it: partitions that are held are judged
    again, also where neither they nor the rules have changed, and by the rules alone that there are now. dry_run: nothing is
    written.
    """

    run_id: str
    is_complete: bool | None = None
    lateness_s: int = 600
    held_too: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class GateReport:
    """What a pass came to.

    run_id: of the run. held: what is kept back now. released: window times of what was held before. published: whether main
    changed. waiting: how many partitions are not whole yet, with rules that need that; stopped: how many were not looked at since a
    rule of severity stop failed before them. pending: with dry_run, how many partitions would be published. is_beside: taken beside
    a stream, where waiting is nothing to tell.
    """

    dataset: str
    run_id: str = ""
    held: tuple[Hold, ...] = ()
    released: tuple[Range, ...] = ()
    published: bool = False
    waiting: int = 0
    stopped: int = 0
    pending: int = 0
    is_beside: bool = False

    def held_within(self, ranges: Sequence[Range]) -> list[Hold]:
        """What is held of these ranges."""
        return [hold for hold in self.held if any(hold.from_us < high and hold.to_us > low for low, high in ranges)]

    @property
    def reasons(self) -> list[str]:
        """Why a bounded run is no success, one sentence each. What an earlier run held is none, but where it stops this one."""
        own = [hold for hold in self.held if hold.run_id == self.run_id]
        return self._told(own or [hold for hold in self.held if self.stopped])

    @property
    def warnings(self) -> list[str]:
        """What to look at though it is no reason against this run, one sentence each."""
        waiting: list[str] = []
        if self.waiting and not self.is_beside:
            waiting = [
                f"{self.waiting} partition{'s' if self.waiting > 1 else ''} of {self.dataset} may still grow, since a stream feeds "
                f"it, and wait for records that tell that they are over; or: headrace quality release {self.dataset} --complete"
            ]
        return [*([] if self.reasons else self._told(self.held)), *waiting]

    def _told(self, held: Sequence[Hold]) -> list[str]:
        if not held:
            return []
        rules = sorted({rule for hold in held for rule in hold.rules})
        after = f"; {self.stopped} after it were not judged, since a rule says stop" if self.stopped else ""
        kept = f"{len(held)} partition{'s' if len(held) > 1 else ''} of {self.dataset}"
        return [f"the gate holds {kept} ({', '.join(rules)}){after}: headrace quality status {self.dataset}"]

    def log(self) -> None:
        """Say what is held where nobody reads a report."""
        for told in (*self.reasons, *self.warnings):
            _log.warning("%s", told)

    def document(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "held": [
                {"from": us_text(h.from_us, "seconds"), "to": us_text(h.to_us, "seconds"), "rules": h.rules, "severity": h.severity}
                for h in self.held
            ],
            "released": [[us_text(low, "seconds"), us_text(high, "seconds")] for low, high in self.released],
            "waiting": self.waiting,
            "stopped": self.stopped,
        }
