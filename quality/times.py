"""Rules about time: how far the rows of a partition reach, and how long they were on the way."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.quality import QualityRule
from contracts.units import DAY_US, SECOND_US, us_text
from quality.measure import Context, Measure
from quality.verdicts import RuleVerdict, Verdict
from quality.view import WINDOW_TIME, TableView

_RECEIVED = "_received_at"
_BACK_US = (DAY_US, 7 * DAY_US, 35 * DAY_US)  # how far rows of a source are looked for before the partition


class Freshness(Measure):
    """``freshness``: from the newest row to the end of the partition, in seconds; where it has none, from the newest one before."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.columns = (WINDOW_TIME,)
        self._newest_us: int | None = None

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        newest: int = pc.max(rows.column(WINDOW_TIME)).cast(pa.int64()).as_py()
        self._newest_us = newest if self._newest_us is None else max(newest, self._newest_us)

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        newest, end = self._newest_us, self.context.partition.to_us
        if newest is None:
            newest = _newest_before(self.context.view, self.context.partition.from_us, self.rule.source)
        if newest is None:
            return self.told(Verdict.SKIPPED, None, f"There are no rows{_of(self.rule)} up to the end of the partition.")
        return self.compared(
            (end - newest) / SECOND_US, f"The newest row{_of(self.rule)} is of {us_text(newest, 'seconds')}, the partition ends at "
            f"{us_text(end, 'seconds')}",
        )  # fmt: skip


def _newest_before(view: TableView, before_us: int, source: str) -> int | None:
    """The newest window time before; of a source within the last five weeks."""
    if not source:
        return view.newest_us(before_us)
    reached = before_us
    for back_us in _BACK_US:
        newest: int | None = None
        for rows in view.batches(["_source", WINDOW_TIME], before_us - back_us, reached):
            times = rows.column(WINDOW_TIME).filter(pc.equal(rows.column("_source"), source))
            if len(times):
                newest = max(pc.max(times).cast(pa.int64()).as_py(), newest or -(1 << 62))
        if newest is not None:
            return newest
        reached = before_us - back_us
    return None


class Delay(Measure):
    """``delay``: seconds from the window time of a row to when it was received, at a quantile of the rows. Keeps 8 bytes a row."""

    def __init__(self, rule: QualityRule, context: Context) -> None:
        super().__init__(rule, context)
        self.columns = (WINDOW_TIME, _RECEIVED)
        self._delays: list[npt.NDArray[np.int64]] = []

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""
        received, happened = (rows.column(name).cast(pa.int64()).to_numpy() for name in (_RECEIVED, WINDOW_TIME))
        self._delays.append(received - happened)

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        if not self.rows:
            return self.told(Verdict.SKIPPED, None, f"There are no rows{_of(self.rule)} to judge.")
        delays = np.concatenate(self._delays)
        place = max(math.ceil(self.rule.quantile * len(delays)) - 1, 0)  # the smallest that so many rows do not exceed
        observed = int(np.partition(delays, place)[place]) / SECOND_US
        return self.compared(
            observed, f"{self.rule.quantile:.4g} of {self.rows:,} rows were received within {observed:,.6g} seconds"
        )


def _of(rule: QualityRule) -> str:
    return f" of {rule.source}" if rule.source else ""
