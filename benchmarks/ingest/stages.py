"""Where the CPU time of the job goes: ``python -m benchmarks.ingest.stages [--events N] [--shuffled]``.

The job runs in this process with one worker, and the functions below are wrapped: each counts the CPU time of its thread that is
not spent in another of them. What none of them counts is told as the rest: Beam's own work, threads of libraries, Python's start.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ingest.sample import make_sample

# Label and what counts as it: module, and the function or method in it. Of nested ones the inner one counts.
STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "land: copy, hash, index": (("pipelines.ingest.files", "land_file"),),
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
    "settle (the horizon)": (("pipelines.ingest.graph", "IngestGraph.settle"),),
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


def measure_stages(sample: Path, lake: Path) -> tuple[dict[str, float], float]:
    """Ingest a sample. Seconds of CPU by stage, the rest included, and of the whole process."""
    from cli.main import main as headrace  # noqa: PLC0415 - its import counts as start

    stages = Stages()
    for label, functions in STAGES.items():
        for module, path in functions:
            stages.wrap(label, module, path)
    verb = ["ingest", "web", "--input", str(sample), "--lake", str(lake), "--project", "examples/webshop", "--window", "1h"]
    try:
        headrace([*verb, "--workers", "1", "--max-rejected", "100%"])
    except SystemExit as end:
        if end.code:
            raise
    whole = time.process_time()
    return {**stages.seconds, REST: whole - sum(stages.seconds.values())}, whole


def main() -> int:
    """Print the table, or with ``--json`` microseconds an event by stage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.stages", description="CPU time of the job by stage.")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--shuffled", action="store_true", help="event times shuffled over 24 h")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sample = make_sample(options.events, options.seed, shuffled=options.shuffled)
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        seconds, whole = measure_stages(sample.folder, Path(folder) / "lake")
    each = {label: value / sample.events * 1e6 for label, value in seconds.items()}
    if options.json:
        print(json.dumps({"events": sample.events, "cpu_s": whole, "us_an_event": each}))
        return 0
    print(f"\n{sample.events:,} events, {whole:.1f} s of CPU\n")
    print(f"{'stage':<46} {'µs/event':>8} {'share':>6}")
    for label, value in sorted(each.items(), key=lambda item: -item[1]):
        print(f"{label:<46} {value:>8.2f} {value * sample.events / 1e6 / whole:>6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
