"""``python -m benchmarks.stream``: see ../README.md."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException

from benchmarks.stream.bed import RunFailedError, private_stack
from benchmarks.stream.contestants import JOBS, OURS, PEERS, RATES
from benchmarks.stream.figures import find_highest
from benchmarks.stream.report import Found, document_of, lines_of
from benchmarks.stream.run import Figures, measure
from contracts.errors import HeadraceError
from devstack.stack import Stack

OUTPUT = Path(__file__).parents[2] / ".cache/bench/stream.json"
_QUICK_RATE, _QUICK_S = 300, 20.0


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: what was published is not what was sent, or a process failed; 2 and 3 as of headrace."""
    options = _parser().parse_args(arguments)
    found = Found()
    try:
        with TemporaryDirectory(prefix="headrace-bench-") as folder:
            names = (OURS,) if options.copies else JOBS[options.job]
            for flink, group in groupby(names, lambda name: name not in PEERS):
                home = Path(folder) / ("stack" if flink else "stack-of-peers")
                with private_stack(home, _say, flink=flink) as stack:
                    for name in group:
                        _contest(stack, name, Path(folder), options, found)
    except (RunFailedError, KafkaException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    given = sys.argv[1:] if arguments is None else arguments
    document = document_of(" ".join(["python -m benchmarks.stream", *_without_paths(given)]), found)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(*lines_of(found), sep="\n")
    return 0


def _contest(stack: Stack, name: str, folder: Path, options: argparse.Namespace, found: Found) -> None:
    """All runs of one contestant."""

    def run(rate: int, seconds: float) -> Figures | None:
        try:
            figures = measure(stack, name, rate, seconds, folder, _say, options.copies)
        except RunFailedError as error:
            if name not in PEERS:
                raise
            found.failed.append(str(error))
            _say(str(error))
            return None
        _say(f"{name}, {rate:,}/s: {'; '.join(figures.not_held) or 'held'}; {figures.limit}")
        return figures

    def keep(rate: int, seconds: float) -> Figures | None:
        figures = run(rate, seconds)
        found.runs += [figures] if figures else []
        return figures

    if options.copies:
        for rate in options.rates or RATES[name][:1]:
            keep(rate, options.hold)
        return
    if options.quick:
        keep(_QUICK_RATE, _QUICK_S)
        return
    found.highest[name] = find_highest(
        options.rates or RATES[name],
        lambda rate: _is_held(run(rate, options.probe)),
        lambda rate: _is_held(keep(rate, options.hold)),
        options.refine,
    )
    if name == OURS and options.latency_rate:
        keep(options.latency_rate, options.hold)


def _is_held(figures: Figures | None) -> bool:
    return figures is not None and not figures.not_held


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream",
        description="The streaming job on Kafka and Flink under load: the highest rate held, latency, freshness, and their price.",
    )
    parser.add_argument("--job", choices=JOBS, default="both", help="whose; both: ours and row (default: %(default)s)")
    told = "messages a second that are tried, in rising order, until one is not held (default: a ladder per job)"
    parser.add_argument("--rates", type=_rates, metavar="N,…", help=told)
    parser.add_argument("--refine", type=int, default=1, metavar="N", help="tries between the last two (default: %(default)s)")
    parser.add_argument("--probe", type=_seconds, default=150.0, metavar="SECONDS", help="length of a try (default: %(default)s)")
    told = "length of the runs that give figures (default: %(default)s)"
    parser.add_argument("--hold", type=_seconds, default=300.0, metavar="SECONDS", help=told)
    told = "rate of the run for the latency of the immediate branch, 0 for none (default: %(default)s)"
    parser.add_argument("--latency-rate", type=int, default=5_000, metavar="N", help=told)
    told = "share of copies of events of other minutes: one run of headrace per rate, no search, and what its sweeps did"
    parser.add_argument("--copies", type=_share, default=0.0, metavar="SHARE", help=told)
    told = f"one run per job at {_QUICK_RATE} messages a second for {_QUICK_S:.0f} s: shows that everything works, measures nothing"
    parser.add_argument("--quick", action="store_true", help=told)
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help="where the figures go, as JSON")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if seconds < _QUICK_S:
        raise argparse.ArgumentTypeError(f"{_QUICK_S:.0f} s is the shortest run that can be looked at often enough")
    return seconds


def _share(text: str) -> float:
    """0.01 or 1%."""
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share < 0.5:
        raise argparse.ArgumentTypeError("expected a share below a half, such as 1%")
    return share


def _rates(text: str) -> list[int]:
    rates = [int(part) for part in text.split(",")]
    if min(rates) <= 0:
        raise argparse.ArgumentTypeError("rates must be more than 0")
    return rates


def _without_paths(arguments: list[str]) -> list[str]:
    """The command as others would give it."""
    kept = [argument for i, argument in enumerate(arguments) if "--output" not in (argument, arguments[i - 1] if i else "")]
    return [argument for argument in kept if not argument.startswith("--output=")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
