"""CPU of a stream that has nothing to do: ``python -m benchmarks.stream.idle [--seconds 60]``.

The job reads four partitions in which nothing comes; the figures are those of its processes, in percent of one core, by process.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stream.bed import RunFailedError, make_topic, private_stack
from benchmarks.stream.figures import CpuUse
from benchmarks.stream.ours import OurJob
from benchmarks.stream.processes import CpuMeter
from benchmarks.stream.run import processes_of
from contracts.errors import HeadraceError

_SETTLE_S = 45.0  # start, and until partitions count as idle


def measure_idle(seconds: float, settle_s: float = _SETTLE_S) -> CpuUse:
    """Start a stack and the job, and look at them for so long.

    Raises:
        RunFailedError, HeadraceError: a process failed.
    """
    with TemporaryDirectory(prefix="headrace-bench-") as folder, private_stack(Path(folder) / "stack", _say) as stack:
        make_topic(stack.kafka_bootstrap, "idle")
        job = OurJob(stack, Path(folder), "idle", None)
        job.start()
        try:
            time.sleep(settle_s)
            meter = CpuMeter(lambda: processes_of(stack, job))
            meter.look()
            time.sleep(seconds)
            meter.look()
        finally:
            job.stop()
    return meter.use


def main() -> int:
    """Print percent of one core by process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.idle", description="CPU of a stream that has nothing to do.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is looked at (default: %(default)s)")
    options = parser.parse_args()
    try:
        use = measure_idle(options.seconds)
    except (RunFailedError, HeadraceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, used in sorted(use.cpu_s.items()):
        print(f"{name:<16} {100 * used / use.wall_s:>6.2f} %")
    workers = sum(used for name, used in use.cpu_s.items() if name.startswith("Python worker"))
    print(f"{'all workers':<16} {100 * workers / use.wall_s:>6.2f} % of one core")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
