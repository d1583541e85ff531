"""``make demo-stream``: a local Kafka and Flink, live events, a job that never ends, and what it has published after two minutes.

Does nothing that a user could not do with ``headrace`` and ``python -m examples.webshop.produce``; the commands are printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cli.console import stdout
from devstack.layout import Layout
from devstack.stack import Stack

HERE = Path(__file__).parent
TOPIC = "webshop-live"
_POLL_S = 2.0
_COMMAND_S = 600.0
_HEADRACE = (sys.executable, "-m", "cli.main")


def main() -> int:
    """Run the demo; 1 where no row came in time or the job could not be stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--lake", type=Path, default=HERE / "lake-stream", help="where the lake lies")
    parser.add_argument("--rate", type=float, default=200, help="events a second")
    parser.add_argument("--seconds", type=float, default=120, help="how long the job runs at least")
    parser.add_argument("--deadline", type=float, default=300, help="how long to wait for the first rows, seconds")
    options = parser.parse_args()
    headrace("stack", "up", "--only", "kafka,flink,job-server")
    bootstrap = Stack(Layout.default()).kafka_bootstrap
    sending = producer(bootstrap, options.rate)
    try:
        return watch(options, bootstrap, sending)
    finally:
        sending.terminate()
        sending.wait(_COMMAND_S)


def watch(options: argparse.Namespace, bootstrap: str, sending: subprocess.Popen[bytes]) -> int:
    """Submit the job, look at it until there is something to see, and stop it."""
    place = ("--lake", shown(options.lake), "--project", shown(HERE))
    address = f"kafka://{bootstrap}/{TOPIC}"
    done = headrace("ingest", "web", "--input", address, "--runner", "flink", "--workers", "2", *place, "--json")
    run = json.loads(done)["run_id"]
    stdout.print(f"  run {run}: {options.seconds:g} s of events at least, in windows of a minute …")
    published = wait_for_rows(run, place, options)
    headrace("job", "status", run, *place)
    headrace("status", "--limit", "1", *place)
    sending.terminate()
    headrace("job", "stop", run, *place)
    headrace("lake", "files", "--verify", *place)
    stdout.print("\nTry next (source .venv/bin/activate first):", style="bold")
    stdout.print(f"  headrace ingest web --input {address} --until now {' '.join(place)}    # the rest of the topic, and a ledger")
    stdout.print(f"  headrace deadletter stats --by path {' '.join(place)}")
    stdout.print("  headrace stack down")
    return 0 if published else 1


def wait_for_rows(run: str, place: tuple[str, ...], options: argparse.Namespace) -> bool:
    """Wait until the job has run for a while and published rows; whether it has before the deadline."""
    start, before = time.monotonic(), validated(run, place)
    while time.monotonic() < start + options.deadline:
        if time.monotonic() > start + options.seconds and validated(run, place) > before:
            return True
        time.sleep(_POLL_S)
    return False


def validated(run: str, place: tuple[str, ...]) -> int:
    """How many records of the run's source are published, those of runs before included."""
    command = [*_HEADRACE, "status", "--limit", "1", *place, "--json"]
    runs: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=_COMMAND_S).stdout)
    streams = [found["stream"] for found in runs if found["run_id"] == run and isinstance(found.get("stream"), dict)]
    return sum(log["ledger"]["out"] for stream in streams for log in stream["logs"])


def producer(bootstrap: str, rate: float) -> subprocess.Popen[bytes]:
    """Live events, until it is ended."""
    arguments = ["-m", "examples.webshop.produce", "--bootstrap", bootstrap, "--topic", TOPIC, "--live", "--rate", f"{rate:g}"]
    stdout.print(f"$ python {' '.join(arguments)} &", style="dim", markup=False)
    return subprocess.Popen([sys.executable, *arguments])


def headrace(*arguments: str) -> bytes:
    """Run a command, and show it; with --json gives what it printed."""
    stdout.print(f"$ headrace {' '.join(arguments)}", style="dim", markup=False)
    quiet = "--json" in arguments
    done = subprocess.run([*_HEADRACE, *arguments], check=False, stdout=subprocess.PIPE if quiet else None, timeout=_COMMAND_S)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or b""


def shown(path: Path) -> str:
    """A path as the user would type it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


if __name__ == "__main__":
    sys.exit(main())
