"""What each stage of the job costs: CPU time of the functions that make it up, in a run of its own.

    python -m benchmarks.ingest.budget [--events N] [--order shuffled]

The job runs in one process with one worker, and the functions below are wrapped: each counts the CPU time of its thread that is not
spent in another of them. What none of them counts is the rest: Beam's own work, threads of libraries, the start of Python.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ingest.contestants import JOB
from benchmarks.ingest.measure import run_measured
from benchmarks.ingest.sample import ORDERS, Sample, make_sample

# Label and what counts as it: module, and the function or method in it. Of nested ones the inner one counts.
STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "land: copy, hash, index": (("pipelines.ingest.files", "land_files"), ("lake.raw.files", "_copy")),
    "read: pieces, lines": (("lake.formats.jsonl", "JsonLines.blocks"), ("transforms.decode.kernel", "RecordDecoder.decode")),
    "JSON to objects": (("lake.formats.jsonl", "parse_payloads"),),
    "columns out of objects": (("contracts.compiler.checker", "_Payload.at"), ("contracts.compiler.checker", "_Payload.first")),
    "checks and conversions": (("contracts.compiler.checker", "RecordChecker.check"),),
    "the judge, a record at a time": (("contracts.compiler.judge", "RecordJudge.judge"),),
    "times, identity, hashes": (("contracts.compiler.rows", "RowFinisher.finish"),),
    "Arrow arrays": (("transforms.decode.kernel", "RecordDecoder._rows"),),
    "dead letters": (("transforms.decode.kernel", "RecordDecoder._dead_letters"),),
    "cut by window and shard": (("transforms.decode.decode", "_DecodeFn.process"), ("transforms.decode.decode", "_DecodeFn._emit")),
    "code batches": (
        ("transforms.batch", "RowBatchCoder.encode"),
        ("transforms.batch", "RowBatchCoder.decode"),
        ("lake.tables.publish", "encode_rows"),
        ("lake.tables.publish", "decode_rows"),
    ),
    "fold": (("transforms.converge.transform", "_FoldFn.process"),),
    "write data files": (("lake.tables.publish", "write_rows"),),
    "commit": (("transforms.converge.transform", "_CommitFn.process"), ("transforms.account", "_AppendFn.process")),
    "settle (the horizon)": (("pipelines.ingest.graph", "IngestGraph.gate"),),
    "add up the ledger": (("pipelines.ingest.files", "compute_ledger"),),
    "build the graph": (("pipelines.ingest.graph", "IngestGraph.build"),),
}
REST = "the rest: Beam, threads of libraries, start"


class Stages:
    """CPU time by stage. For any number of threads."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._local = threading.local()
        self._lock = threading.Lock()

    def wrap(self, label: str, module: str, path: str) -> None:
        """Count what runs in a function, or in the steps of a generator."""
        owner: Any = importlib.import_module(module)
        *classes, name = path.split(".")
        for part in classes:
            owner = getattr(owner, part)
        inner = getattr(owner, name)
        setattr(owner, name, self._generator(label, inner) if inspect.isgeneratorfunction(inner) else self._function(label, inner))

    def _function(self, label: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self._enter(label)
            try:
                return inner(*arguments, **named)
            finally:
                self._leave()

        return _as(inner, counted)

    def _generator(self, label: str, inner: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def counted(*arguments: Any, **named: Any) -> Iterator[Any]:
            items = inner(*arguments, **named)
            while True:
                self._enter(label)
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    self._leave()
                yield item

        return _as(inner, counted)

    def _enter(self, label: str) -> None:
        stack, now = self._stack(), time.thread_time()
        if stack:
            self._count(stack[-1], now)
        stack.append([label, now])

    def _leave(self) -> None:
        stack, now = self._stack(), time.thread_time()
        self._count(stack.pop(), now)
        if stack:
            stack[-1][1] = now

    def _count(self, top: list[Any], now: float) -> None:
        with self._lock:
            self.seconds[top[0]] += now - top[1]

    def _stack(self) -> list[list[Any]]:
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[list[Any]] = self._local.stack
        return stack


def _as(inner: Callable[..., Any], counted: Callable[..., Any]) -> Callable[..., Any]:
    """Beam looks at the signature of ``process``."""
    counted.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined]
    counted.__name__, counted.__annotations__ = inner.__name__, getattr(inner, "__annotations__", {})
    counted.__defaults__ = getattr(inner, "__defaults__", None)
    for name, value in vars(inner).items():
        setattr(counted, name, value)
    return counted


def budget_of(sample: Sample, work: Path) -> dict[str, Any]:
    """Run the job once more, in a process of its own, and tell microseconds of CPU time per event and stage.

    Raises:
        RunFailedError: it failed.
    """
    figures = work / "budget.json"
    arguments = ["-m", "benchmarks.ingest.budget", "--run", str(sample.folder), str(work / "budget"), str(figures)]
    run_measured(arguments, sorted(os.sched_getaffinity(0))[-1:], work / "budget.log")
    cpu_s = json.loads(figures.read_text("utf-8"))
    per_event = {stage: round(seconds * 1e6 / sample.events, 2) for stage, seconds in cpu_s.items()}
    return {"events": sample.events, "us_per_event": dict(sorted(per_event.items(), key=lambda item: -item[1]))}


def _run(sample: Path, lake: Path, figures: Path) -> None:
    """The job in this process; seconds by stage go to a file."""
    from cli.main import main as headrace  # noqa: PLC0415 - its import counts as start

    stages = Stages()
    for label, functions in STAGES.items():
        for module, path in functions:
            stages.wrap(label, module, path)
    try:
        headrace(JOB.arguments(sample, lake)[2:])
    except SystemExit as end:  # click's way to return
        if end.code:
            raise
    rest = time.process_time() - sum(stages.seconds.values())
    figures.write_text(json.dumps({**stages.seconds, REST: rest}), "utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.budget", description="CPU time of the job by stage.")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--order", choices=[*ORDERS], default="arrival", help="default: %(default)s")
    parser.add_argument("--run", type=Path, nargs=3, metavar=("SAMPLE", "LAKE", "FIGURES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        _run(*options.run)
        return
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        budget = budget_of(make_sample(options.events, options.seed, options.order), Path(folder))
    whole = sum(budget["us_per_event"].values())
    print(f"{budget['events']:,} events, {whole:.1f} µs of CPU an event\n\n{'stage':<46} {'µs/event':>8} {'share':>6}")
    for stage, used in budget["us_per_event"].items():
        print(f"{stage:<46} {used:>8.2f} {used / whole:>6.1%}")


if __name__ == "__main__":
    main()
