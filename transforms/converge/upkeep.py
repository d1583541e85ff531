"""When a committer keeps its table in shape between its own commits."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from contracts.errors import HeadraceError
from contracts.units import SECOND_US
from lake.location import Lake
from lake.upkeep import maintain

_EVERY_S = 20.0
_log = logging.getLogger(__name__)


@dataclass
class UpkeepPlan:
    """Merging of small files and expiry of snapshots, a step at a time.

    closed_after_s: event time after which a range gets no rows any more, behind the newest range that is not ahead of the clock.
    keep_s: how long snapshots stay.
    """

    closed_after_s: int
    keep_s: int
    _last: float = field(default=0.0, repr=False)

    def step(self, lake: Lake, table: str, newest_us: int, run_id: str) -> None:
        """Take a step, if the last one was long enough ago. What fails is tried again later, and never in the way of data.

        Args:
            lake: where.
            table: a folded table, or the ledger.
            newest_us: end of the newest range that was committed.
            run_id: goes into the snapshot's properties.
        """
        now = time.monotonic()
        if now - self._last < _EVERY_S:
            return
        self._last = now
        closed_us = min(newest_us, int(time.time() * SECOND_US)) - self.closed_after_s * SECOND_US
        try:
            maintain(lake, table, closed_before_us=closed_us, run_id=run_id, keep_snapshots_s=self.keep_s)
        except (HeadraceError, OSError) as error:
            _log.warning("upkeep of %s put off: %s", table, error)
