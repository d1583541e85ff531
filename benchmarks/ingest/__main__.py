"""``python -m benchmarks.ingest``: see ../README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from benchmarks.ingest import history, sample
from benchmarks.ingest.bench import run_contest
from benchmarks.ingest.budget import budget_of
from benchmarks.ingest.contestants import CONTESTANTS, JOB
from benchmarks.ingest.measure import RunFailedError
from benchmarks.ingest.outcome import OutcomesDifferError
from benchmarks.ingest.page import write_page
from benchmarks.ingest.report import across_lines, busy_line, document_of, sample_lines, version_lines, write_readme


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: the outputs of job, loop and row job differ, or one failed."""
    options = _options(arguments)
    if options.write_readme:
        write_readme(options.json)
        return 0
    chosen = [contestant for contestant in CONTESTANTS if contestant.name in options.contestants]
    work = sample.CACHE / f"run-{os.getpid()}"
    work.mkdir(parents=True)
    contests = {}
    stages = None
    try:
        for events in options.events:
            for order in options.orders:
                _say(f"sample: {events:,} events, {order}")
                made = sample.make_sample(events, options.seed, order)
                contests[f"{order}-{events}"] = run_contest(made, chosen, options.rounds, options.row_events, work, _say)
        if options.budget:
            _say("budget per stage")
            stages = budget_of(sample.make_sample(min(options.events), options.seed), work)
    except (OutcomesDifferError, RunFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m benchmarks.ingest", *_without_paths(given)])
    document = document_of(contests, command, options.seed, options.rounds) | {"budget": stages}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if options.record:
        history.record(document)
    text = "\n".join([line for entry in document["samples"].values() for line in (*sample_lines(entry), "")])
    told = (*across_lines(document["across"]), *version_lines(document), busy_line(document))
    text += "\n".join(f"- {line}" for line in told) + "\n"
    options.json.with_suffix(".txt").write_text(text, "utf-8")
    earlier = history.entries()
    write_page(document, earlier if options.record else [*earlier, history.entry_of(document)], options.json.with_suffix(".html"))
    print(text)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest",
        description="The main job, the same job row at a time in Beam, a bare loop, and peers: outputs compared, then times.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sizes = "about so many web events; several sizes with commas"
    parser.add_argument("--events", type=_numbers, default=[1_000_000], help=sizes)
    parser.add_argument("--orders", type=_orders, default=list(sample.ORDERS), help=f"of {', '.join(sample.ORDERS)}")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--rounds", type=int, default=3, help="figures are medians over these")
    parser.add_argument(
        "--row-events", type=int, default=50_000, help="on so many of the events the row job and dlt with its defaults run"
    )
    names = [contestant.name for contestant in CONTESTANTS]
    parser.add_argument("--contestants", type=_contestants, default=names, help=f"of {', '.join(names)}; the job takes part always")
    parser.add_argument("--budget", action=argparse.BooleanOptionalAction, default=True, help="one more run, told by stage")
    parser.add_argument(
        "--json", type=Path, default=sample.CACHE / "ingest.json", metavar="FILE", help="figures; .txt and .html beside"
    )
    parser.add_argument("--record", action="store_true", help="add the figures to benchmarks/history.jsonl")
    parser.add_argument("--write-readme", action="store_true", help="measure nothing: write benchmarks/README.md from the figures")
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _orders(text: str) -> list[str]:
    return _of(text, list(sample.ORDERS))


def _contestants(text: str) -> list[str]:
    return [JOB.name, *(name for name in _of(text, [c.name for c in CONTESTANTS]) if name != JOB.name)]


def _of(text: str, known: list[str]) -> list[str]:
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in known]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def _without_paths(arguments: list[str]) -> list[str]:
    """The command as others would give it."""
    kept = [argument for i, argument in enumerate(arguments) if "--json" not in (argument, arguments[i - 1] if i else "")]
    return [argument for argument in kept if not argument.startswith("--json=")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
