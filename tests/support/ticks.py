"""A small streaming job: counts impulses in windows, and writes each window's result as a line of a file.

python -m tests.support.ticks OUTPUT BEAM_OPTIONS… submits it, and ends at the end of its stdin: the job server, which hands the job
over to Flink meanwhile, ends with it.
"""

from __future__ import annotations

import os
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp

WINDOW_S = 1


class _AppendFn(beam.DoFn):
    """One line per result: end of the window, count, process id of the worker."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: tuple[str, int], window: beam.transforms.window.BoundedWindow = beam.DoFn.WindowParam) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{int(window.end)} {element[1]} {os.getpid()}\n")


def _key(tick: Timestamp) -> tuple[str, int]:
    return "tick", 1


def build(pipeline: beam.Pipeline, path: str) -> None:
    """Add the graph."""
    (
        pipeline
        | PeriodicImpulse(start_timestamp=Timestamp(time.time()), fire_interval=0.5)
        | "Key" >> beam.Map(_key).with_output_types(tuple[str, int])
        | "Window" >> beam.WindowInto(FixedWindows(WINDOW_S))
        | "Count" >> beam.CombinePerKey(sum)
        | "Append" >> beam.ParDo(_AppendFn(path))
    )


if __name__ == "__main__":
    from tests.support.ticks import build as importable  # a DoFn of __main__ would not be found by the workers

    submitted = beam.Pipeline(options=PipelineOptions(sys.argv[2:]))
    importable(submitted, sys.argv[1])
    submitted.run()
    sys.stdin.read()
