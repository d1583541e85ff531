"""``python -m benchmarks.ingest``: see ../README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from benchmarks.ingest import sample
from benchmarks.ingest.bench import run_contest
from benchmarks.ingest.measure import RunFailedError
from benchmarks.ingest.outcome import OutcomesDifferError
from benchmarks.ingest.report import document_of, sample_lines, write_readme


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: the outputs of two contestants differ, or one failed."""
    figures = sample.CACHE / "ingest.json"
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest",
        description="The main job, the same job row at a time in Beam, and a bare loop: outputs compared, then times.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="about so many web events")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--rounds", type=int, default=3, help="figures are medians over these")
    parser.add_argument("--row-events", type=int, default=50_000, help="on so many of the events the row job runs; it is linear")
    shuffled = "once more with event times shuffled over 24 h"
    parser.add_argument("--shuffled", action=argparse.BooleanOptionalAction, default=True, help=shuffled)
    parser.add_argument("--json", type=Path, default=figures, metavar="FILE", help="where the figures go")
    parser.add_argument("--write-readme", action="store_true", help="measure nothing: write benchmarks/README.md from the figures")
    options = parser.parse_args(arguments)
    if options.write_readme:
        write_readme(options.json)
        return 0
    work = sample.CACHE / f"run-{os.getpid()}"
    work.mkdir(parents=True)
    contests = {}
    try:
        for order in ("arrival", "shuffled") if options.shuffled else ("arrival",):
            _say(f"sample: {options.events:,} events, {order}")
            events = sample.make_sample(options.events, options.seed, shuffled=order == "shuffled")
            contests[order] = run_contest(events, options.rounds, options.row_events, work, _say)
    except (OutcomesDifferError, RunFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m benchmarks.ingest", *_without_paths(given)])
    document = document_of(contests, command, options.seed, options.rounds)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for order, entry in document["samples"].items():
        print(*sample_lines(order, entry), "", sep="\n")
    return 0


def _without_paths(arguments: list[str]) -> list[str]:
    """The command as others would give it."""
    kept = [argument for i, argument in enumerate(arguments) if "--json" not in (argument, arguments[i - 1] if i else "")]
    return [argument for argument in kept if not argument.startswith("--json=")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
