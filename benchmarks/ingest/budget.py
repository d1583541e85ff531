"""What each stage of the job costs: its CPU time, told by looking at the stacks of its threads some hundred times a second.

    python -m benchmarks.ingest.budget SAMPLE LAKE FIGURES

A look costs little and moves nothing, unlike wrapping or profiling every call: the shares are those of a plain run. CPU time since
the last look goes to the threads that do not wait, in equal parts, and of each to the innermost package that is a stage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.ingest.contestants import JOB
from benchmarks.ingest.measure import run_measured
from benchmarks.ingest.sample import Sample

_EVERY_S = 0.004
# Who computes in Python lets a look in after so long. With Python's 5 ms most looks would fall on calls that let go of the
# interpreter of their own accord, and stages that do so would be charged for those before them.
_SWITCH_S = 0.0001
IMPORTS, REST = "imports", "the rest"  # the former is also how _modules names the import system
# The first that a module's name begins with.
STAGES = (
    ("lake.formats", "read: lines, JSON to values"),
    ("lake.raw", "land: copy, sha256, index"),
    ("lake.storage", "storage and Parquet writing"),
    ("lake.ledger", "ledger and outcomes"),
    ("lake.tables.ipc", "coding of batches"),
    ("lake.tables.fold", "fold"),
    ("lake.tables", "tables and commits"),
    ("lake", REST),
    ("contracts.compiler.rows", "times, identity, hashes"),
    ("contracts.compiler.schemas", "Arrow out of values"),
    ("contracts.compiler.timestamps", "timestamps"),
    ("contracts.compiler", "columns and checks"),
    ("transforms.decode", "Arrow out of values"),
    ("transforms.cut", "cut into windows and shards"),
    ("transforms.batch", "coding of batches"),
    ("transforms.converge", "fold"),
    ("transforms.account", "ledger and outcomes"),
    ("transforms", REST),
    ("apache_beam", "Beam: graph, shuffle, coding"),
    ("pyiceberg", "Iceberg"),
    ("runners", "Beam: graph, shuffle, coding"),
    ("pipelines", REST),
    ("cli", REST),
)
_WAITING = frozenset(
    {"threading", "queue", "selectors", "subprocess", "concurrent.futures.thread", "socket", "multiprocessing.connection"}
)


def stage_of(modules: list[str]) -> str | None:
    """The stage of a stack. modules: names, the innermost first. None: the thread waits."""
    if modules and modules[0] in _WAITING:
        return None
    if IMPORTS in modules:  # whatever the module that is imported does
        return IMPORTS
    for module in modules:
        for prefix, stage in STAGES:
            if module == prefix or module.startswith(prefix + "."):
                return stage
    return REST


class Looks(threading.Thread):
    """Looks at all other threads until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self.cpu_s: Counter[str] = Counter()

    def run(self) -> None:
        """See threading.Thread."""
        before_s = 0.0  # what was used before is the interpreter's start
        own = threading.get_ident()
        while not self._over.wait(_EVERY_S):
            now_s = time.process_time()
            frames = [frame for thread, frame in sys._current_frames().items() if thread != own]
            stages = [stage for stage in map(stage_of, map(_modules, frames)) if stage] or [REST]
            for stage in stages:
                self.cpu_s[stage] += (now_s - before_s) / len(stages)  # type: ignore[assignment]
            before_s = now_s

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self.join()


def _modules(frame: FrameType | None) -> list[str]:
    names = []
    while frame:
        name = frame.f_globals.get("__name__", "")
        names.append(IMPORTS if name.startswith("importlib._bootstrap") else name)
        frame = frame.f_back
    return names


def budget_of(sample: Sample, work: Path) -> dict[str, Any]:
    """Run the job once more, in a process of its own, and tell microseconds of CPU time per event and stage.

    Raises:
        RunFailedError: it failed.
    """
    figures = work / "budget.json"
    arguments = ["-m", "benchmarks.ingest.budget", str(sample.folder), str(work / "budget"), str(figures)]
    run_measured(arguments, sorted(os.sched_getaffinity(0))[-1:], work / "budget.log")
    cpu_s = json.loads(figures.read_text("utf-8"))
    per_event = {stage: round(seconds * 1e6 / sample.events, 2) for stage, seconds in cpu_s.items()}
    return {"events": sample.events, "us_per_event": dict(sorted(per_event.items(), key=lambda item: -item[1]))}


def main() -> None:
    """The command line."""
    sys.setswitchinterval(_SWITCH_S)
    looks = Looks()
    looks.start()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.budget")
    for name in ("sample", "lake", "figures"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    from cli.main import main as headrace  # noqa: PLC0415 - its import counts

    try:
        headrace(JOB.arguments(options.sample, options.lake)[2:])
    except SystemExit as end:  # click's way to return
        if end.code:
            raise
    looks.stop()
    options.figures.write_text(json.dumps(looks.cpu_s), "utf-8")


if __name__ == "__main__":
    main()
