"""``python -m benchmarks.quality.anomalies``: anomalies with known truth, found by baselines and by others on the same data.

Each seed makes two datasets of 60 days of a shape: one with six faults in its second month, one with a slow drift. False alarms are
those of the hours between. Constants of the baselines were set on seeds from 0; figures are of seeds from 1,000 and of shapes that
were not looked at then.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.quality.judges import OURS, OURS_WHILE_WRONG, PEERS, Judge
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

    def told(self) -> dict[str, object]:
        """As JSON."""
        return {"shape": self.shape, "judge": self.judge, "cpu_s": round(self.cpu_s, 1), **self.score.told()}


def worlds(shape: Shape, seeds: Sequence[int]) -> Iterator[World]:
    """The datasets of a shape."""
    for seed in seeds:
        yield simulate(shape, placed_faults(seed), seed)
        yield simulate(shape, drifting(seed), seed + 500_000)


def measure(shapes: Sequence[Shape], seeds: Sequence[int], whole: int, judges: Sequence[Judge]) -> Iterator[Measured]:
    """All judges on the same datasets.

    Args:
        shapes: which shapes.
        seeds: of each; of the first ``whole`` of them the baselines judge all hours, of the others those of faults.
        whole: how many.
        judges: who judges.
    """
    for shape in shapes:
        scores, spent = {judge.name: Score() for judge in judges}, {judge.name: 0.0 for judge in judges}
        for number, world in enumerate(worlds(shape, seeds)):
            for judge in judges:
                in_part = judge is OURS and number >= 2 * whole
                began = time.process_time()
                alarms = (OURS_WHILE_WRONG if in_part else judge).judged(world)
                scores[judge.name].add(world, alarms, whole=not in_part)
                spent[judge.name] += time.process_time() - began
        for judge in judges:
            yield Measured(shape.name, judge.name, scores[judge.name], spent[judge.name])


_SHORT = {
    Kind.VOLUME: "−30 %", Kind.NULLS: "nulls", Kind.CATEGORY: "category", Kind.UNIT: "×100", Kind.DUPLICATED: "twice",
    Kind.STOPPED: "stops", Kind.DRIFT: "drift",
}  # fmt: skip
HEAD = (
    f"| shape | judge | recall | false alarms in 30 days | {' | '.join(_SHORT.values())} |",
    "|---|---|--:|--:|" + "--:|" * len(_SHORT),
)


def line(measured: Measured) -> str:
    """A line of the table: of each fault how many of them were found, and the median delay in partitions."""
    score, cells = measured.score, []
    for kind in _SHORT:
        delays = sorted(score.delays[kind])
        late = f" +{delays[len(delays) // 2]}" if delays else ""
        cells.append(f"{score.found[kind]}/{score.faults[kind]}{late}")
    wrong = f"{score.false_a_month:.2f}" if score.months else "–"
    return f"| {measured.shape} | {measured.judge} | {score.recall:.3f} | {wrong} | {' | '.join(cells)} |"


def _say_false(measured: Sequence[Measured]) -> None:
    """Which rules raised false alarms."""
    print()
    for each in measured:
        wrong = ", ".join(f"{count} by {rule}" for rule, count in each.score.false_alarms.most_common() if count)
        print(f"{each.shape}, {each.judge}: {each.score.months:.0f} months, false: {wrong or 'none'}; {each.cpu_s:.0f} s of CPU")


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1: the baselines do not reach the aims on the first shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.anomalies", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="datasets with faults, of each shape (default: %(default)s)")
    parser.add_argument("--whole", type=int, default=2, help="of them judged at all hours, for false alarms (default: %(default)s)")
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
    measured = []
    if not given.json:
        print("\n".join(HEAD), flush=True)
    for each in measure(shapes, range(first, first + given.seeds), given.whole, judges):
        measured.append(each)
        if not given.json:
            print(line(each), flush=True)
    if given.json:
        print(json.dumps([each.told() for each in measured], ensure_ascii=False))
    else:
        _say_false(measured)
    aimed = measured[0].score
    return 0 if aimed.recall >= RECALL and aimed.false_a_month <= FALSE_A_MONTH else 1


if __name__ == "__main__":
    sys.exit(main())
