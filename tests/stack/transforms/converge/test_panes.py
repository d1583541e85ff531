"""How much of a window a runner has to hold at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import pytest
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, AfterWatermark
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from runners.binaries import find_prism
from runners.direct import run_unbounded
from transforms.converge.transform import bounded, timed_panes

MOST, ELEMENTS = 8, 100
panes: list[int] = []  # Prism's workers are threads of this process


class _Note(beam.DoFn):
    def process(self, element: tuple[int, Iterable[int]]) -> Iterator[int]:
        panes.append(len(list(element[1])))
        yield 0


def windows() -> beam.WindowInto:
    trigger = AfterWatermark(early=bounded(None, MOST), late=bounded(AfterProcessingTime(1), MOST))
    return beam.WindowInto(FixedWindows(60), trigger=trigger, accumulation_mode=AccumulationMode.DISCARDING, allowed_lateness=600)


def global_panes() -> beam.WindowInto:
    return timed_panes(3, MOST)


@pytest.mark.parametrize("windowing", [windows, global_panes])
def test_a_pane_holds_no_more_elements_than_it_may(windowing: Callable[[], beam.WindowInto]) -> None:
    panes.clear()

    def build(pipeline: beam.Pipeline) -> None:
        numbers = pipeline | beam.Create(range(ELEMENTS), reshuffle=False)
        keyed = numbers | beam.Map(lambda n: TimestampedValue((0, n), 10)).with_output_types(tuple[int, int])
        _ = keyed | "Windows" >> windowing() | beam.GroupByKey() | beam.ParDo(_Note())

    run_unbounded(build, prism=find_prism())
    assert sum(panes) == ELEMENTS
    assert max(panes) == MOST
