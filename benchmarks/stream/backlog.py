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
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stream.bed import SHARES, RunFailedError, Sent, make_topic, private_stack, run_json
from benchmarks.stream.ours import TABLE, OurJob, Written
from benchmarks.stream.processes import CpuMeter
from benchmarks.stream.run import processes_of
from contracts.errors import HeadraceError
from devstack.stack import Stack

_TOPIC = "web-events"
_RATE = 20_000  # of the producer, while nothing else runs
_LOOK_S = 0.5
_START_S, _END_S = 180.0, 900.0


@dataclass(frozen=True)
class Drained:
    """Figures of one layout. cpu_us: microseconds of CPU a message, by process. other_share: of the cores, by all else."""

    taskmanagers: int
    slots: int
    messages: int
    taking_s: float
    all_s: float
    per_second: float
    cpu_us: dict[str, float]
    python_workers: int
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
        "--seconds", str(messages / _RATE), "--ids", str(ids), *SHARES,
    )  # fmt: skip
    sent, job, meter = Sent.read(ids), OurJob(stack, folder, _TOPIC, rows), CpuMeter(lambda: processes_of(stack, job))
    job.start()
    first = _until(lambda: job.taken() > 0, _START_S, "the first message")
    before = job.taken()
    meter.look()
    taken = _until(lambda: _looked(meter) and job.taken() >= len(sent.lines), _END_S, "all messages")
    workers = sum(name.startswith("Python") for name in job.processes().values())
    settled = _until(lambda: _looked(meter) and job.settled(sent), _END_S, "an outcome for every message")
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
        idle_share=round(use.idle_share, 3), other_share=round(use.other_share, 3),
        tables={name: written for name, written in job.written().items() if name == TABLE or written.files},
    )  # fmt: skip


def _looked(meter: CpuMeter) -> bool:
    meter.look()
    return True


def _until(condition: object, deadline_s: float, what: str) -> float:
    """When it held."""
    assert callable(condition)
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise RunFailedError(f"waited {deadline_s:.0f} s for {what}")
        time.sleep(_LOOK_S)
    return time.monotonic()


def _layouts(text: str) -> list[tuple[int, int]]:
    return [(int(first), int(second)) for first, _, second in (part.partition("x") for part in text.split(","))]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
