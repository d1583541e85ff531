from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.quality.anomalies import FALSE_A_MONTH, HELD_OUT, RECALL, SHAPES, main, measure
from benchmarks.quality.judges import OURS, PEERS, ours_in
from benchmarks.quality.score import Score
from benchmarks.quality.worlds import HOURS, JUDGED_FROM, PER_DAY, Fault, Kind, Shape, placed_faults, simulate


def test_baselines_find_every_kind_of_fault_and_more_than_others_do() -> None:
    measured = {each.judge: each.score for each in measure([SHAPES["shop"]], [HELD_OUT], 0, [OURS, *PEERS])}
    ours = measured.pop(OURS.name)

    assert ours.recall == 1.0, ours.told()
    assert all(max(delays) <= (14 * 24 if kind is Kind.DRIFT else 3) for kind, delays in ours.delays.items()), ours.told()
    for name, theirs in measured.items():
        assert theirs.recall < 1.0 or theirs.false_a_month > FALSE_A_MONTH, name


def test_five_days_without_faults_raise_no_alarm() -> None:
    world = simulate(SHAPES["shop"], (), HELD_OUT)
    first = 43 * PER_DAY  # the holiday is the second of them
    assert ours_in(world, range(first, first + 5 * PER_DAY)) == {}


@pytest.mark.long
def test_over_many_seeds_nearly_all_is_found_and_a_month_has_at_most_one_false_alarm() -> None:
    assert main(["--seeds", "10", "--whole", "3", "--shapes", "shop"]) == 0


def test_figures_are_told_as_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--whole", "0", "--shapes", "fast growth", "--no-peers", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["shape"] == "fast growth" and told["judge"] == "headrace" and told["by_fault"][Kind.UNIT.value]["found"] == 1
    with pytest.raises(SystemExit, match="2"):
        main(["--shapes", "nothing"])


def test_a_dataset_is_the_same_for_the_same_seed_and_has_its_faults() -> None:
    faults = placed_faults(3)
    one, again, other = (simulate(Shape(name="s"), faults, seed) for seed in (3, 3, 4))
    assert {fault.kind for fault in faults} == set(Kind) - {Kind.DRIFT}
    assert all(a.ends + 24 <= b.begins for a, b in pairwise(faults))
    assert (one.total == again.total).all() and (one.total != other.total).any()
    clean = simulate(Shape(name="s"), (), 3)
    stopped = next(fault for fault in faults if fault.kind is Kind.STOPPED)
    assert one.rows["app"][stopped.begins : stopped.ends].sum() == 0 < clean.rows["app"][stopped.begins : stopped.ends].sum()
    category = next(fault for fault in faults if fault.kind is Kind.CATEGORY)
    share = one.categories[category.begins : category.ends, -1].sum() / one.total[category.begins : category.ends].sum()
    assert share == pytest.approx(0.2, abs=0.02)
    unit = next(fault for fault in faults if fault.kind is Kind.UNIT)
    assert np.nanmedian(one.quantiles[unit.begins : unit.ends] / clean.quantiles[unit.begins : unit.ends]) == pytest.approx(
        100, rel=0.1
    )


def test_alarms_are_scored_by_what_they_are_about() -> None:
    begins = JUDGED_FROM * PER_DAY
    world = simulate(Shape(name="s", holiday=None), (Fault(Kind.NULLS, begins + 10, begins + 14),), 1)
    score = Score()
    score.add(world, {"null share": [begins + 12, begins + 40, begins + 41, begins + 60], "amount": [begins + 12]}, whole=True)
    assert (score.recall, score.delays[Kind.NULLS]) == (1.0, [2])
    assert score.false_alarms == Counter({"null share": 2, "amount": 1}), "hours that follow each other are one alarm"
    assert score.false_a_month == 3.0 and score.false_hours == 4
    assert HOURS == 60 * 24 and RECALL == 0.95
