"""``make test``: three lanes at once, two that compute and one that waits, and one result.

    python -m tests.support.lanes

What computes keeps one core busy each; what waits (stack, faults) has components of its own to wait for. Linux shares the cores out
by session, so that what computes is over while the others wait. Their outputs come one after the other when all are over; meanwhile
there is a line every minute. The last line counts all tests.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
LOGS = ROOT / ".cache" / "tests"
_PYTEST = (sys.executable, "-m", "pytest", "--budgets")
_FIRST = ("benchmarks", "cli", "docs", "examples", "parity", "pipelines")  # of tests/graph: half of what computes
_REST = sorted(f"tests/graph/{path.name}" for path in (ROOT / "tests/graph").glob("[!_]*") if path.name not in _FIRST)
LANES = {
    "unit": (("make", "lint"), (*_PYTEST, "tests/unit", *_REST)),
    "graph": ((*_PYTEST, *(f"tests/graph/{name}" for name in _FIRST)),),
    # A file is the work of one process: what it sets up for all of its tests is set up once.
    "waits": ((*_PYTEST, "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", "tests/faults", "tests/stack"),),
}
_LOOK_S, _TELL_S = 0.5, 60.0
_GRACE_S = 90.0  # to stop a stack
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b")


@dataclass
class Lane:
    """Commands one after the other. failed: what did not succeed."""

    name: str
    commands: list[tuple[str, ...]]
    failed: list[str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    def goes_on(self) -> bool:
        """Start the next command where the last has ended; whether there is something to wait for."""
        if self.process is not None and self.process.poll() is None:
            return True
        if self.process is not None and self.process.returncode:
            self.failed.append(f"{self.name}: exit code {self.process.returncode} of {' '.join(map(str, self.process.args))}")  # type: ignore[arg-type]
        self.process = self._start(self.commands.pop(0)) if self.commands else None
        return self.process is not None

    def _start(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def said(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def progress(self) -> str:
        """What pytest told last of how far it is."""
        told = re.findall(r"\[ *(\d+%)\]", self.log.read_text(errors="replace"))
        return f"{self.name} {told[-1] if told else '0%'}" if self.process else f"{self.name} over"

    def end(self) -> None:
        """Ctrl-C, so that fixtures stop what they have started; and, for who does not listen, the end."""
        self.commands.clear()
        for number, wait_s in ((signal.SIGINT, _GRACE_S), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
            if self.process is not None and self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(wait_s)
                except subprocess.TimeoutExpired:
                    continue


def counts(lines: list[str]) -> Counter[str]:
    """Tests by outcome, from pytest's last line."""
    summary = next((line for line in reversed(lines) if re.search(r" in \d+(\.\d+)?s\b", line) and _COUNT.search(line)), "")
    return Counter({outcome.rstrip("s"): int(number) for number, outcome in _COUNT.findall(summary)})


def run() -> int:
    """All lanes to their end; the exit code."""
    LOGS.mkdir(parents=True, exist_ok=True)
    lanes = [Lane(name, list(commands), []) for name, commands in LANES.items()]
    for old in (*(lane.log for lane in lanes), *LOGS.glob("*.tsv")):
        old.unlink(missing_ok=True)
    began = told = time.monotonic()
    try:
        while any([lane.goes_on() for lane in lanes]):
            time.sleep(_LOOK_S)
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                print(f"{(told - began) / 60:.0f} min: {', '.join(lane.progress() for lane in lanes)}", flush=True)
    finally:
        for lane in lanes:
            lane.end()
    total: Counter[str] = Counter()
    for lane in lanes:
        lines = lane.said()
        print(f"\n===== {lane.name} =====", *lines, sep="\n")
        total += counts(lines)
        if not counts(lines)["passed"]:
            lane.failed.append(f"{lane.name}: no test passed")
    failed = total["failed"] + total["error"]
    problems = [problem for lane in lanes for problem in lane.failed]
    print(f"\n{(time.monotonic() - began) / 60:.1f} min", *problems, sep="\n")
    more = "".join(f", {total[outcome]} {outcome}" for outcome in ("skipped", "xfailed", "xpassed") if total[outcome])
    print(f"{total['passed']} passed, {failed} failed{more}", flush=True)
    return 1 if failed or problems else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run, and end what runs when it is stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
