"""How the streaming job works off a backlog, by slots and TaskManagers.

    python -m benchmarks.stream.backlog --messages 300000 --layouts 1x1,1x2,2x1

A layout is TaskManagers x slots of each; the job takes all slots. Each has a stack of its own. The backlog is sent to a topic of
four partitions, and the job begins at its beginning. *Taking* is from the first message that is landed to the last, *all* until
everything has a committed outcome; both leave out the start of the job. CPU is that of all of it. A layout has figures only if
every event is published once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stream.bed import SHARES, RunFailedError, Sent, make_topic, private_stack, run_json
from benchmarks.stream.heap import HeapMeter
from benchmarks.stream.ours import TABLE, OurJob, Written
from benchmarks.stream.processes import CpuMeter
from benchmarks.stream.run import processes_of
from contracts.errors import HeadraceError
from devstack.stack import Stack
from runners.flink.rest import FlinkRest

_TOPIC = "web-events"
_RATE = 20_000  # of the producer, while nothing else runs
_LOOK_S = 1.0
_START_S, _END_S = 180.0, 900.0
_LEAST_RATE = 2_000  # messages a second; what is slower has failed


@dataclass(frozen=True)
class Drained:
    """Figures of one layout. cpu_us: microseconds of CPU a message, by process. other_share: of the cores, by all else.

    resident_mib: the largest by process. heap_mib: of a TaskManager: most in use, most left by a collection, limit.
    """

    taskmanagers: int
    slots: int
    messages: int
    taking_s: float
    all_s: float
    per_second: float
    cpu_us: dict[str, float]
    python_workers: int
    resident_mib: dict[str, int]
    heap_mib: tuple[int, int, int]
    idle_share: float
    other_share: float
    tables: dict[str, Written]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream.backlog", description="A backlog, by slots and TaskManagers."
    )
    parser.add_argument("--messages", type=int, default=300_000, metavar="N", help="of the backlog (default: %(default)s)")
    parser.add_argument("--layouts", type=_layouts, default="1x1,1x2,2x1", metavar="TxS,…", help="default: %(default)s")
    parser.add_argument("--immediate", action="store_true", help="rows go to a topic at once, too")
    options = parser.parse_args(arguments)
    try:
        for taskmanagers, slots in options.layouts:
            with (
                TemporaryDirectory(prefix="headrace-bench-") as folder,
                private_stack(Path(folder) / "stack", _say, slots=slots, taskmanagers=taskmanagers) as stack,
            ):
                found = drain(stack, Path(folder), options.messages, immediate=options.immediate)
                print(json.dumps(asdict(found)), flush=True)
    except (RunFailedError, HeadraceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def drain(stack: Stack, folder: Path, messages: int, *, immediate: bool) -> Drained:
    """Send a backlog, and have it worked off.

    Raises:
        RunFailedError: what is published is not what was sent, or it took too long.
    """
    rows = "rows" if immediate else None
    for made in filter(None, (_TOPIC, rows)):
        make_topic(stack.kafka_bootstrap, made)
    ids = folder / "sent.tsv"
    run_json(
        "benchmarks.stream.producer", "--bootstrap", stack.kafka_bootstrap, "--topic", _TOPIC, "--rate", str(_RATE),
        "--seconds", str(messages / _RATE), "--ids", str(ids), *SHARES, takes_s=messages / _LEAST_RATE,
    )  # fmt: skip
    sent, job, meter = Sent.read(ids), OurJob(stack, folder, _TOPIC, rows), CpuMeter(lambda: processes_of(stack, job))
    job.start()
    heap = HeapMeter(FlinkRest(stack.flink_rest))

    def look() -> None:
        meter.look()
        heap.look()

    first = _until(lambda: job.taken() > 0, _START_S, "the first message")
    before = job.taken()
    look()
    end_s = _END_S + messages / _LEAST_RATE
    taken = _until(lambda: job.taken() >= len(sent.lines), end_s, "all messages", look)
    workers = sum(name.startswith("Python") for name in job.processes().values())
    settled = _until(lambda: job.settled(sent), _END_S, "an outcome for every message", look)
    job.stop()
    job.check(sent)
    number, use = len(sent.lines) - before, meter.use
    by_name: dict[str, float] = {}
    for name, used_s in use.cpu_s.items():
        kind = "Python workers" if name.startswith("Python") else name
        by_name[kind] = by_name.get(kind, 0.0) + used_s
    return Drained(
        taskmanagers=stack.settings.taskmanagers, slots=stack.settings.slots, messages=number, taking_s=round(taken - first, 1),
        all_s=round(settled - first, 1), per_second=round(number / (taken - first)),
        cpu_us={name: round(used_s / number * 1e6, 1) for name, used_s in by_name.items()}, python_workers=workers,
        resident_mib=dict(use.resident_mib), heap_mib=(heap.used_mib, heap.left_mib, heap.max_mib),
        idle_share=round(use.idle_share, 3), other_share=round(use.other_share, 3),
        tables={name: written for name, written in job.written().items() if name == TABLE or written.files},
    )  # fmt: skip


def _until(condition: Callable[[], object], deadline_s: float, what: str, look: Callable[[], None] = lambda: None) -> float:
    """When it held. look: is called before each try."""
    end = time.monotonic() + deadline_s
    while True:
        look()
        if condition():
            return time.monotonic()
        if time.monotonic() > end:
            raise RunFailedError(f"waited {deadline_s:.0f} s for {what}")
        time.sleep(_LOOK_S)


def _layouts(text: str) -> list[tuple[int, int]]:
    return [(int(first), int(second)) for first, _, second in (part.partition("x") for part in text.split(","))]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
