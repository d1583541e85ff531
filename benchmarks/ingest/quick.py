"""``make bench-quick``: the job beside the bare loop and DuckDB on one core, ratios only, held against recorded ones.

    python -m benchmarks.ingest.quick [--record]

Made for a machine on which other work goes on. What is compared is CPU time, and as a ratio within a round, so that what slows one
slows the other; contestants take turns, forwards and backwards; slower is what is so by the median of the rounds and by the least
times; and it is measured again, all rounds together, before it fails. Outputs are compared in the first round, before any ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.ingest import sample
from benchmarks.ingest.bench import Rounds, Series, cpu_s
from benchmarks.ingest.contestants import DUCKDB_1, JOB, LOOP, Contestant
from benchmarks.ingest.measure import RunFailedError
from benchmarks.ingest.outcome import OutcomesDifferError
from benchmarks.ingest.report import machine, machine_line

RECORDED = Path(__file__).with_name("recorded.json")
OTHERS = (LOOP, DUCKDB_1)
NOISE_MIN = 0.08  # below that, a difference is none
_OTHER_MACHINE = 0.35
_TRIES = 2


@dataclass(frozen=True)
class Ratio:
    """How many times the CPU time of another contestant the job takes.

    ratio: median of the rounds. of_least: least time of the one over least time of the other; other work only ever adds to a time,
    though not to both alike. noise: by what share rounds differ.
    """

    ratio: float
    of_least: float
    noise: float


def ratios_of(rounds: Mapping[str, list[float]]) -> dict[str, Ratio]:
    """From CPU seconds by contestant, one per round.

    The noise is that of the median: half of the rounds lie within it.
    """
    found = {}
    for other in OTHERS:
        ratios = [job / theirs for job, theirs in zip(rounds[JOB.name], rounds[other.name], strict=True)]
        middle = statistics.median(ratios)
        spread = statistics.median(abs(ratio - middle) for ratio in ratios) / middle
        of_least = min(rounds[JOB.name]) / min(rounds[other.name])
        found[f"job_to_{other.name}"] = Ratio(round(middle, 3), round(of_least, 3), round(max(NOISE_MIN, 3 * spread), 3))
    return found


def slower(recorded: Mapping[str, Ratio], found: Mapping[str, Ratio], noise: float = 0.0) -> list[str]:
    """Which ratios are worse than the recorded ones by more than the recorded noise, by median and by least times, in words.

    Args:
        recorded: before.
        found: now.
        noise: what is taken for noise at least.
    """
    told = []
    for name, before in recorded.items():
        limit = 1 + max(before.noise, noise)
        if found[name].ratio > before.ratio * limit and found[name].of_least > before.of_least * limit:
            change = found[name].ratio / before.ratio - 1
            told.append(
                f"{name}: {found[name].ratio:.2f}, recorded {before.ratio:.2f} with a noise of {limit - 1:.0%}: "
                f"the job has become {change:.0%} slower beside it"
            )
    return told


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: slower than recorded, other outputs, or a contestant that failed."""
    options = _options(arguments)
    made = sample.make_sample(options.events, options.seed)
    work = sample.CACHE / f"quick-{os.getpid()}"
    work.mkdir(parents=True)
    taken: dict[str, list[float]] = {contestant.name: [] for contestant in (JOB, *OTHERS)}
    recorded = None if options.record else _recorded(options.recorded, options.events)
    noise = max(options.noise, _noise_of_machine(options.recorded)) if recorded else 0.0
    try:
        on = Rounds(made, made.events, work, lambda _: None)
        for _ in range(_TRIES):
            _measure(on, options.rounds, taken)
            found = ratios_of(taken)
            _tell(found, taken)
            worse = slower(recorded, found, noise) if recorded else []
            if not worse:
                break
    except (OutcomesDifferError, RunFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if options.record:
        document = {"events": options.events, "seed": options.seed, "rounds": options.rounds, "machine": machine_line(machine())}
        document |= {"ratios": {name: asdict(ratio) for name, ratio in found.items()}}
        options.recorded.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        return 0
    for line in worse:
        print(f"error: {line}", file=sys.stderr)
    if worse:
        print("If that is meant, or the versions or the machine are others: make bench-quick RECORD=--record", file=sys.stderr)
    return 1 if worse else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest.quick",
        description="CPU time of the job beside the bare loop and DuckDB; fails where a ratio is worse than the recorded one.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=100_000, help="about so many web events")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--rounds", type=int, default=5, help="the medians of these count; once more so many before it fails")
    parser.add_argument("--recorded", type=Path, default=RECORDED, metavar="FILE", help="the recorded ratios")
    parser.add_argument("--noise", type=float, default=0.0, metavar="SHARE", help="what is taken for noise at least")
    parser.add_argument("--record", action="store_true", help="write that file")
    return parser.parse_args(arguments)


def _recorded(path: Path, events: int) -> dict[str, Ratio] | None:
    if not path.is_file():
        print(f"nothing recorded in {path.name}: ratios only", file=sys.stderr)
        return None
    document = json.loads(path.read_text("utf-8"))
    if document["events"] != events:
        print(f"recorded for {document['events']:,} events: ratios only", file=sys.stderr)
        return None
    return {name: Ratio(**ratio) for name, ratio in document["ratios"].items()}


def _noise_of_machine(path: Path) -> float:
    """Another processor runs one contestant faster than the other."""
    here = machine_line(machine())
    of = json.loads(path.read_text("utf-8")).get("machine", here)
    if of == here:
        return 0.0
    print(f"recorded on another machine ({of}): only what is {_OTHER_MACHINE:.0%} slower fails", file=sys.stderr)
    return _OTHER_MACHINE


def _measure(on: Rounds, rounds: int, taken: dict[str, list[float]]) -> None:
    """Some rounds more, in turn forwards and backwards; the very first one with a comparison of what comes out."""
    order: list[Contestant] = [JOB, *OTHERS]
    for _ in range(rounds):
        compare = not taken[JOB.name]
        turn = order if len(taken[JOB.name]) % 2 == 0 else order[::-1]
        for contestant in turn:
            series = Series(on.sample.events)
            on.measure(contestant, series, compare=compare)
            if series.differs:
                print(f"{contestant.name} puts out something else: {'; '.join(series.differs)}", file=sys.stderr)
            if not series.runs:
                raise RunFailedError(f"{contestant.name}: {series.missing or series.refused}")
            taken[contestant.name].append(cpu_s(series.runs[-1]))


def _tell(found: Mapping[str, Ratio], taken: Mapping[str, list[float]]) -> None:
    for name, ratio in found.items():
        told = f"median of {len(taken[JOB.name])} rounds; {ratio.of_least:.2f} of the least; noise {ratio.noise:.0%}"
        print(f"{name}: {ratio.ratio:.2f} (CPU time, {told})")
    seconds = (f"{name} {min(values):.1f}–{max(values):.1f} s" for name, values in taken.items())
    print("; ".join(seconds), flush=True)


if __name__ == "__main__":
    sys.exit(main())
