"""When a committer keeps its table in shape between its own commits, and beside them."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from contracts.errors import HeadraceError
from contracts.spec.model import Contract
from contracts.units import SECOND_US
from lake.location import Lake
from lake.upkeep import maintain
from transforms.converge.settle import settle
from transforms.cut import Cut

_EVERY_S, _SWEEP_EVERY_S = 20.0, 60.0
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


class SweepBeside:
    """Sweeps of a table in a thread of their own, one at a time, so that commits need not wait for them (see sweep.py).

    The thread dies with its process. What fails is tried again later: a table stays unsettled meanwhile, and loses nothing.
    """

    def __init__(self, lake: Lake, contract: Contract, run_id: str, cut: Cut) -> None:
        self._lake, self._contract, self._run_id, self._cut = lake, contract, run_id, cut
        self._running: threading.Thread | None = None
        self._began = 0.0

    def step(self) -> None:
        """Begin a sweep, if the last one has ended and was begun long enough ago."""
        now = time.monotonic()
        if (self._running and self._running.is_alive()) or now - self._began < _SWEEP_EVERY_S:
            return
        self._began = now
        self._running = threading.Thread(target=self._sweep, name=f"sweep {self._contract.name}", daemon=True)
        self._running.start()

    def _sweep(self) -> None:
        try:
            settle(self._lake, self._contract, self._run_id, self._cut)
        except Exception as error:  # a thread has nobody above it
            told = error if isinstance(error, HeadraceError) else type(error).__name__
            _log.warning("sweep of %s put off: %s", self._contract.name, told)
