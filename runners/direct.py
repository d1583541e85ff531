"""The DirectRunner, by its real names: FnApiRunner for bounded input, in process; Prism for unbounded.

``DirectRunner`` in Beam picks one of three runners by itself and may download one; here the runner is named.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import apache_beam as beam
import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from contracts.errors import HeadraceError
from contracts.logs import LogOptions
from runners.allocator import tune_allocator
from runners.job_server import PrismWithOwnServer
from runners.loopback import keep_grpc_on_loopback
from runners.raised import raised_in
from runners.temporary import temporary_files_removed

Build = Callable[[beam.Pipeline], None]


def run_bounded(build: Build, extra: Sequence[str] = ()) -> None:
    """Run one bounded graph to its end, in this process. ``DirectWorkers`` runs several side by side.

    Args:
        build: adds the graph to a pipeline.
        extra: further Beam options, as on a command line (``--direct_runner_bundle_repeat=3``).

    Raises:
        HeadraceError, OSError, KeyboardInterrupt: as the graph raised them.
        Exception: whatever else the graph raised, as Beam wraps it.
    """
    arguments = ["--direct_num_workers=1", "--direct_running_mode=in_memory"]
    environment = EmbeddedPythonEnvironment.default()
    quiet_beam()
    tune_allocator()
    keep_grpc_on_loopback()
    with (
        _plainly(),
        temporary_files_removed(),
        beam.Pipeline(runner=FnApiRunner(environment), options=PipelineOptions([*arguments, *extra])) as pipeline,
    ):
        build(pipeline)


def run_unbounded(build: Build, *, prism: str, extra: Sequence[str] = ()) -> None:
    """Run one graph on Prism, with its workers as threads of this process, until its input ends or somebody interrupts.

    Args:
        build: adds the graph to a pipeline.
        prism: path of the Prism binary.
        extra: further Beam options.

    Raises:
        HeadraceError, OSError, KeyboardInterrupt: as the graph raised them, where they can be told.
        Exception: whatever else the graph raised, as Beam wraps it.
    """
    arguments = ["--streaming", "--environment_type=LOOPBACK", f"--prism_location={prism}"]
    quiet_beam()
    tune_allocator()
    keep_grpc_on_loopback()
    threading.excepthook = _without_broken_streams
    runner = PrismWithOwnServer()
    with _plainly(), temporary_files_removed():
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions([*arguments, *extra]))
        build(pipeline)
        try:
            result = pipeline.run()
            _wait(result)
        finally:
            runner.stop_job_server()


def _wait(result: PipelineResult) -> None:
    try:
        result.wait_until_finish()
    except BaseException:  # an interrupt too must not leave the job running in Prism
        with suppress(Exception):
            result.cancel()
        raise


def quiet_beam() -> None:
    """What Beam and its servers log as an error they also raise; told where every log line is asked for."""
    if LogOptions.of().level == "debug":
        return
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_not_of_the_runner)
    for server in ("PrismRunner", "PrismJobServer", "FlinkJarJobServer"):
        logger = logging.getLogger(server)  # they set their own level
        logger.propagate = False
        logger.addHandler(_NOWHERE)


def error_line(error: BaseException) -> str:
    """What an error says first; its type where it says nothing."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


_NOWHERE = logging.NullHandler()  # without a handler Python prints warnings by itself


def _not_of_the_runner(record: logging.LogRecord) -> bool:
    """To the root logger the portable runner repeats what a job says, tracebacks too, and Beam tells how it waits for a server."""
    return record.module not in ("portable_runner", "subprocess_server")


_thread_failed = threading.excepthook


def _without_broken_streams(failure: threading.ExceptHookArgs) -> None:
    """Beam's threads that listen to Prism when it ends die of it, each with a traceback; the pipeline tells what failed."""
    if not (failure.exc_type and issubclass(failure.exc_type, grpc.RpcError)):
        _thread_failed(failure)


@contextmanager
def _plainly() -> Iterator[None]:
    """Raise what a DoFn raised. Beam makes a RuntimeError of it, with the step's name, wherever it cannot copy the exception."""
    try:
        yield
    except Exception as error:
        original: BaseException | None = error
        while original is not None and not isinstance(original, HeadraceError | OSError | KeyboardInterrupt):
            original = original.__cause__ or original.__context__
        original = original or raised_in(str(error))
        if original is None:
            raise
        raise original from None
