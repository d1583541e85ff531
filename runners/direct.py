"""The DirectRunner, by its real name: FnApiRunner in process for bounded input, or with worker processes.

``DirectRunner`` in Beam picks one of three runners by itself and may download one; here the runner is named.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

Build = Callable[[beam.Pipeline], None]


def run_bounded(build: Build, *, workers: int = 1, extra: Sequence[str] = ()) -> None:
    """Run one bounded graph to its end.

    Args:
        build: adds the graph to a pipeline.
        workers: 1 runs in this process; more start that many worker processes.
        extra: further Beam options, as on a command line (``--direct_runner_bundle_repeat=3``).

    Raises:
        Exception: whatever the graph raised.
    """
    arguments = [
        f"--direct_num_workers={workers}",
        "--direct_running_mode=" + ("in_memory" if workers == 1 else "multi_processing"),
    ]
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    with _interrupts_kept(), beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([*arguments, *extra])) as pipeline:
        build(pipeline)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Ctrl-C inside a DoFn stays a KeyboardInterrupt; Beam would turn it into a RuntimeError with its own traceback."""
    seen = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    on_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, note) if on_main_thread else None
    try:
        yield
    except Exception:
        if seen:
            raise KeyboardInterrupt from None
        raise
    finally:
        if on_main_thread:
            signal.signal(signal.SIGINT, before)
