"""When a committer keeps its table in shape between its own commits, and beside them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.errors import HeadraceError
from contracts.units import SECOND_US
from lake.location import Lake
from lake.tables.sweep import Swept
from lake.upkeep import maintain

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

    Each commit is followed by a sweep, also where no other commit follows: a minute after the last sweep began, or later where
    sweeps take long, so that they run at most half of the time. What fails is tried again: a table stays unsettled
    meanwhile, and loses nothing. The thread dies with its process.

    Args:
        table: its name.
        sweep: does it.
    """

    def __init__(self, table: str, sweep: Callable[[], Swept]) -> None:
        self._table, self._sweep = table, sweep
        self._lock: threading.Lock | None = None  # made where it is used: a worker gets a copy of this
        self._is_wanted = self._is_running = False
        self._next = 0.0

    def step(self) -> None:
        """There may be something to sweep."""
        self._lock = self._lock or threading.Lock()
        with self._lock:
            self._is_wanted = True
            begins, self._is_running = not self._is_running, True
        if begins:
            threading.Thread(target=self._run, args=(self._lock,), name=f"sweep {self._table}", daemon=True).start()

    def _run(self, lock: threading.Lock) -> None:
        """Sweep until nothing is wanted any more."""
        while True:
            time.sleep(max(0.0, self._next - time.monotonic()))
            with lock:
                self._is_wanted = False
            began = time.monotonic()
            is_done = self._try()
            self._next = began + max(_SWEEP_EVERY_S, 2 * (time.monotonic() - began))
            with lock:
                if is_done and not self._is_wanted:
                    self._is_running = False
                    return

    def _try(self) -> bool:
        """Sweep; whether that is to be left at that."""
        wall, cpu = time.monotonic(), time.thread_time()
        try:
            swept = self._sweep()
        except Exception as error:  # a thread has nobody above it
            is_known = isinstance(error, HeadraceError)
            _log.warning("sweep of %s put off: %s", self._table, error if is_known else type(error).__name__)
            return not is_known  # a defect is no reason to go on for ever
        spent = time.monotonic() - wall, time.thread_time() - cpu
        _log.info("sweep of %s: %d rows dropped in %.1f s, of CPU %.2f s", self._table, swept.dropped, *spent)
        return True
