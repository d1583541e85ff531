"""Delivery as a PTransform: a splittable DoFn that reads lanes, sends their rows in order, and claims what is settled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.timestamp import Duration

from contracts.logs import LogContext
from lake.receipts.receipts import Counts
from transforms.collector import collector_paused
from transforms.deliver.dispatcher import Delivery, Dispatcher
from transforms.readers.pool import POOL
from transforms.readers.restriction import ReaderName, ReaderRestrictions, reader_names

_DOWN_S = 2  # until a reader whose destination is down is asked again by the runner
_COLLECT_S = 0.05
_TRACKER = beam.DoFn.RestrictionParam()


class DeliverRows(beam.PTransform[Any, Any]):
    """Deliver rows to a destination.

    Input: a pipeline. Output: counts of what was settled, per stretch of a lane, ``{"delivered": 700, "withheld:…": 12, …}``.
    Windowing: none needed.
    Guarantees: what has a receipt was answered by the destination; rows of a user are sent in order, the next request after the
        answer to the one before. What is in flight when a worker dies is sent again with the same ids and nothing else is. A
        destination that is down holds its lanes and nothing else: memory is bounded, checkpoints go on, and so do other readers.
    """

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self._delivery = delivery

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Counts]:
        """See the class."""
        return (
            pipeline
            | "Readers" >> beam.Create(reader_names(self._delivery.lanes.salts), reshuffle=False)
            | "Send" >> beam.ParDo(_DeliverFn(self._delivery))
        )


@beam.typehints.with_output_types(dict)
class _DeliverFn(beam.DoFn, ReaderRestrictions):
    _context: LogContext | None = None  # of the class: jobs of the version before bring none

    def __init__(self, delivery: Delivery) -> None:
        self._delivery, self._source = delivery, delivery.lanes
        self._space = f"deliver/{delivery.destination.name}"
        self._context = LogContext.here(delivery.run_id, delivery.destination.name)

    def setup(self) -> None:
        if self._context:
            self._context.apply()

    @beam.DoFn.unbounded_per_element()
    def process(self, element: bytes, tracker: Any = _TRACKER) -> Iterator[dict[str, int]]:
        delivery, name = self._delivery, ReaderName.parse(element)
        progress = tracker.current_restriction()
        waits = 0
        key = delivery.run_id, delivery.destination.name, name.number
        with POOL.borrow(key, lambda: Dispatcher(delivery, name)) as dispatcher, collector_paused():
            dispatcher.begin(progress)
            began = time.monotonic()
            until = began + delivery.slice_s
            while not progress.finished:
                over = time.monotonic() >= until
                came = not over and dispatcher.read()
                if not over:
                    dispatcher.dispatch(until + delivery.destination.limits.patience_s)
                counts = dispatcher.collect(0 if came else _COLLECT_S)
                after = dispatcher.progress()
                if after != progress:
                    if not tracker.try_claim(after):
                        return
                    progress = after
                if counts:
                    self._count(counts)
                    yield dict(counts)
                dispatcher.report()
                if over and not dispatcher.busy:
                    waits = _DOWN_S if dispatcher.down else 0
                    break
            dispatcher.close_slice(progress)
        if not progress.finished:
            tracker.defer_remainder(Duration(waits))

    def _count(self, counts: Counts) -> None:
        for name, count in counts.items():
            Metrics.counter(self._space, f"rows_{name.partition(':')[0]}").inc(count)
