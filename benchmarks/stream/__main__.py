"""``python -m benchmarks.stream``: see ../README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException

from benchmarks.stream.bed import RunFailedError, private_stack
from benchmarks.stream.figures import find_highest
from benchmarks.stream.report import document_of, lines_of
from benchmarks.stream.run import JOBS, OURS, ROW, Figures, measure
from contracts.errors import HeadraceError

OUTPUT = Path(__file__).parents[2] / ".cache/bench/stream.json"
_OUR_RATES, _ROW_RATES = (5_000, 7_500, 10_000, 12_500, 15_000, 20_000), (500, 1_000, 1_500, 2_000, 3_000)
_QUICK_RATE, _QUICK_S = 300, 20.0


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: what was published is not what was sent, or a process failed; 2 and 3 as of headrace."""
    options = _parser().parse_args(arguments)
    runs: list[Figures] = []
    highest: dict[str, int | None] = {}
    try:
        with TemporaryDirectory(prefix="headrace-bench-") as folder, private_stack(Path(folder) / "stack", _say) as stack:

            def run(name: str, rate: int, seconds: float) -> Figures:
                figures = measure(stack, name, rate, seconds, Path(folder), _say, options.copies)
                _say(f"{name}, {rate:,}/s: {'; '.join(figures.not_held) or 'held'}; {figures.limit}")
                return figures

            for name in (OURS,) if options.copies else JOBS[options.job]:
                if options.copies:
                    runs += [run(name, rate, options.hold) for rate in options.rates or _OUR_RATES[:1]]
                    continue
                if options.quick:
                    runs.append(run(name, _QUICK_RATE, _QUICK_S))
                    continue
                rates = options.rates or (_ROW_RATES if name == ROW else _OUR_RATES)
                highest[name] = _search(run, name, rates, options, runs)
                if name == OURS and options.latency_rate:
                    runs.append(run(name, options.latency_rate, options.hold))
    except (RunFailedError, KafkaException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    given = sys.argv[1:] if arguments is None else arguments
    document = document_of(" ".join(["python -m benchmarks.stream", *_without_paths(given)]), highest, runs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(*lines_of(highest, runs), sep="\n")
    return 0


def _search(
    run: Callable[[str, int, float], Figures],
    name: str,
    rates: Sequence[int],
    options: argparse.Namespace,
    runs: list[Figures],
) -> int | None:
    """The highest rate that is held; the runs of full length are noted."""

    def hold(rate: int) -> bool:
        runs.append(run(name, rate, options.hold))
        return not runs[-1].not_held

    def probe(rate: int) -> bool:
        return not run(name, rate, options.probe).not_held

    return find_highest(rates, probe, hold, options.refine)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream",
        description="The streaming job on Kafka and Flink under load: the highest rate held, latency, freshness, and their price.",
    )
    parser.add_argument("--job", choices=JOBS, default="both", help="whose (default: %(default)s)")
    told = "messages a second that are tried, in rising order, until one is not held (default: a ladder per job)"
    parser.add_argument("--rates", type=_rates, metavar="N,…", help=told)
    parser.add_argument("--refine", type=int, default=1, metavar="N", help="tries between the last two (default: %(default)s)")
    parser.add_argument("--probe", type=_seconds, default=90.0, metavar="SECONDS", help="length of a try (default: %(default)s)")
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
