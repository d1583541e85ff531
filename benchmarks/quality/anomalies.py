"""``python -m benchmarks.quality.anomalies``: anomalies with known truth, found by baselines and by others on the same data.

Each seed makes two datasets of 60 days of a shape: one with six faults in its second month, one with a slow drift; and each shape
one without any fault. Constants of the baselines were set on seeds from 0; figures are of seeds from 1,000 and of shapes that were
not looked at then.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.quality.judges import OURS, PEERS, Judge
from benchmarks.quality.score import Score
from benchmarks.quality.worlds import Kind, Shape, World, drifting, placed_faults, simulate

TUNING, HELD_OUT = 0, 1_000
SHAPES = {
    shape.name: shape
    for shape in (
        Shape(name="shop"),
        Shape(name="fast growth", growth=0.03),
        Shape(name="outage", outage=6),
        Shape(name="clock change", zone="Europe/Berlin"),
        Shape(name="clock change untold", zone="Europe/Berlin", told=False),
        Shape(name="small", rows={"web": 30.0, "app": 5.0}, holiday=None),
        Shape(name="bursty", burst=0.03, noise=0.1),
    )
}
RECALL, FALSE_A_MONTH = 0.95, 1.0


@dataclass(frozen=True)
class Measured:
    """What a judge's alarms were worth on a shape. cpu_s: of all datasets; partitions: judged."""

    shape: str
    judge: str
    score: Score
    cpu_s: float


def worlds(shape: Shape, seeds: Sequence[int]) -> Iterator[World]:
    """The datasets of a shape."""
    for seed in seeds:
        yield simulate(shape, placed_faults(seed), seed)
        yield simulate(shape, drifting(seed), seed + 500_000)
        yield simulate(shape, (), seed + 900_000)


def measure(shapes: Sequence[Shape], seeds: Sequence[int], judges: Sequence[Judge]) -> Iterator[Measured]:
    """All judges on the same datasets."""
    for shape in shapes:
        scores, spent = {judge.name: Score() for judge in judges}, {judge.name: 0.0 for judge in judges}
        for world in worlds(shape, seeds):
            for judge in judges:
                began = time.process_time()
                scores[judge.name].add(world, judge.judged(world))
                spent[judge.name] += time.process_time() - began
        for judge in judges:
            yield Measured(shape.name, judge.name, scores[judge.name], spent[judge.name])


def lines(measured: Sequence[Measured]) -> Iterator[str]:
    """A table for people."""
    short = {
        Kind.VOLUME: "−30 %", Kind.NULLS: "nulls", Kind.CATEGORY: "category", Kind.UNIT: "×100", Kind.DUPLICATED: "twice",
        Kind.STOPPED: "stops", Kind.DRIFT: "drift",
    }  # fmt: skip
    yield "| shape | judge | recall | false alarms in 30 days | " + " | ".join(short.values()) + " |"
    yield "|---|---|--:|--:|" + "--:|" * len(short)
    for each in measured:
        score = each.score
        cells = []
        for kind in short:
            delays = sorted(score.delays[kind])
            late = f" +{delays[len(delays) // 2]}" if delays else ""
            cells.append(f"{score.found[kind]}/{score.faults[kind]}{late}")
        yield f"| {each.shape} | {each.judge} | {score.recall:.3f} | {score.false_a_month:.2f} | {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1: the baselines do not reach the aims on the first shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.anomalies", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="datasets with faults, of each shape (default: %(default)s)")
    parser.add_argument("--tuning", action="store_true", help="the seeds that constants were set on, instead of others")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="by name (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="the baselines alone")
    parser.add_argument("--json", action="store_true", help="one document")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.shapes.split(",")) - SHAPES.keys())
    if unknown or given.seeds < 1:
        parser.error(f"no such shapes: {', '.join(unknown)}" if unknown else "at least one seed")
    first = TUNING if given.tuning else HELD_OUT
    judges = (OURS,) if given.no_peers else (OURS, *PEERS)
    shapes = [SHAPES[name] for name in given.shapes.split(",")]
    measured = list(measure(shapes, range(first, first + given.seeds), judges))
    if given.json:
        told = [{"shape": each.shape, "judge": each.judge, "cpu_s": round(each.cpu_s, 1), **each.score.told()} for each in measured]
        print(json.dumps(told, ensure_ascii=False))
    else:
        print("\n".join(lines(measured)))
    aimed = measured[0].score
    return 0 if aimed.recall >= RECALL and aimed.false_a_month <= FALSE_A_MONTH else 1


if __name__ == "__main__":
    sys.exit(main())
