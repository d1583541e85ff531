"""What a replay will take is told before, and what it took after; above its ceiling it stops, and nothing is promoted."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CeilingError
from lake.location import Lake
from lake.runs.manifest import recent_runs
from lake.runs.replays import Step, add_event, replay_of
from pipelines.replay import estimate
from pipelines.replay.costs import cost_of, taken_by
from pipelines.replay.plan import make_plan
from pipelines.replay.run import resume_replay
from tests.support.shop import LINES, Shop

FACTS = ("wall_s", "cpu_s", "peak_memory_bytes", "read_records", "read_bytes", "written_bytes", "workers")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.ingest(LINES)
    return shop


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """That nobody writes to."""
    shop = Shop(tmp_path_factory.mktemp("ingested"))
    shop.ingest(LINES)
    return shop


def planned(shop: Shop, **more: Any) -> dict[str, Any]:
    return make_plan(shop.options("p", 8, 12, **more), shop.project, shop.lake()).document()


def last_cost(lake: Lake) -> dict[str, Any]:
    return dict(next(iter(recent_runs(lake, 1))).manifest["cost"])


def test_an_estimate_rests_on_an_earlier_run_of_the_dataset_and_a_replay_says_what_it_took(shop: Shop) -> None:
    ingested = last_cost(shop.lake())
    assert ingested.keys() == set(FACTS) and ingested["read_records"] == len(LINES) and ingested["workers"] == 1
    assert ingested["read_bytes"] == sum(len(line) + 1 for line in LINES) and ingested["written_bytes"] > 1_000
    before = planned(shop)
    run = next(iter(recent_runs(shop.lake(), 1)))
    assert before["estimate_from"] == f"run {run.run_id}" and before["estimate_guessed"] == []
    assert before["estimated_cpu_seconds"] == round(ingested["cpu_s"], 1)
    assert before["estimated_peak_memory_bytes"] == ingested["peak_memory_bytes"] and before["above_ceiling"] == []

    report = shop.run("a", 8, 12)
    assert report.cost and report.estimate and report.cost_to_estimate
    assert report.cost["read_bytes"] == before["bytes"] and report.cost["read_records"] == before["records"]
    assert report.cost["cpu_s"] > 0 and report.cost["peak_memory_bytes"] > 50 << 20 and report.cost["written_bytes"] > 1_000
    assert report.cost_to_estimate["read_bytes"] == 1.0
    assert report.cost_to_estimate["cpu_s"] == round(report.cost["cpu_s"] / report.estimate["cpu_s"], 2)
    assert report.cost == last_cost(shop.lake()) == taken_by(replay_of(shop.lake(), "a"))["cost"]
    assert planned(shop)["estimate_from"] == f"run {report.run_id}", "a replay tells more of a replay than an ingest"
    shown = shop.headrace("replay", "list", "a")
    assert "it took " in shown.output and "of CPU time" in shown.output
    told = json.loads(shop.headrace("replay", "list", "a", "--json").output)
    assert (told["cost"], told["estimate"]) == (report.cost, report.estimate)
    page = shop.folder / "page.html"
    differs = json.loads(shop.headrace("replay", "diff", "a", "--page", str(page), "--json").stdout)
    assert differs["cost"] == report.cost and "It took " in page.read_text()


@pytest.mark.parametrize("unlike", [{"max_parallel": 2}, {"runner": "flink"}])
def test_without_a_run_like_it_an_estimate_is_called_a_guess(ingested: Shop, unlike: dict[str, Any]) -> None:
    told = planned(ingested, **unlike)
    assert told["estimate_from"].startswith("the usual rate of one core: no earlier run of customer_event is like it")
    if "runner" in unlike:
        assert told["estimate_guessed"] == ["duration"]
        assert told["estimated_cpu_seconds"] is None is told["estimated_peak_memory_bytes"]
    else:
        assert told["estimate_guessed"] == ["duration", "CPU time", "memory"]


def test_a_run_that_is_too_small_tells_nothing_of_a_large_one(ingested: Shop) -> None:
    found = estimate.make_estimate(ingested.lake(), "customer_event", ingested.options("p", 8, 12), 10_000_000, 10 << 30)
    assert found.guessed == ("duration", "CPU time", "memory") and "a guess: duration, CPU time, memory" in found.told()
    some = estimate.make_estimate(ingested.lake(), "customer_event", ingested.options("p", 8, 12), 3_000, 400 << 20)
    assert some.guessed == ("memory",) and (some.peak_memory_bytes or 0) > 1 << 30
    sliced = ingested.options("p", 8, 12, slice_bytes=10 << 20)
    small = estimate.make_estimate(ingested.lake(), "customer_event", sliced, 3_000, 400 << 20)
    assert small.guessed == () and (small.peak_memory_bytes or 0) < (some.peak_memory_bytes or 0), "smaller slices take less memory"


def test_a_rate_is_what_a_slow_replay_takes_its_time_from(ingested: Shop) -> None:
    assert planned(ingested, max_rate=10)["estimated_seconds"] == pytest.approx(planned(ingested)["bytes"] / 10, abs=0.1)


def test_what_is_measured_to_be_above_a_ceiling_is_not_begun_and_a_guess_refuses_nothing(ingested: Shop) -> None:
    """A ceiling that is above what a run truly takes lets it run (andreasronge/ptc_runner#1692)."""
    shop, cost = ingested, last_cost(ingested.lake())
    for limit in ({"max_memory": 60 << 20}, {"max_cpu": 1}):
        found = planned(shop, **limit)["above_ceiling"]
        if cost["cpu_s"] > 1 or "max_memory" in limit:
            assert len(found) == 1 and f"--{next(iter(limit)).replace('_', '-')}" in found[0]
            with pytest.raises(CeilingError, match="it was not begun"):
                shop.run("a", 8, 12, **limit)
        assert planned(shop, max_parallel=2, **limit)["above_ceiling"] == []
    assert planned(shop, max_memory=cost["peak_memory_bytes"] * 2, max_cpu=int(cost["cpu_s"]) + 2)["above_ceiling"] == []
    assert shop.headrace("replay", "list").output.strip() == "no replays"


def test_a_run_above_its_ceiling_is_paused_with_exit_code_1_and_goes_on_with_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shop.state()
    monkeypatch.setattr(estimate.Estimate, "above", lambda *_: [])
    with pytest.raises(CeilingError, match="Nothing was promoted; headrace replay run a goes on where it stopped") as failed:
        shop.run("a", 8, 12, max_memory=60 << 20)
    assert failed.value.exit_code == 1
    replay = replay_of(shop.lake(), "a")
    assert replay.step is Step.PAUSED and "above the ceiling of 60.0 MB" in replay.events[-1].details["why"]
    first = cost_of(replay)
    assert first and first.peak_memory_bytes and first.peak_memory_bytes > 60 << 20
    assert shop.state() == before
    report = resume_replay("a", {"max_memory": 8 << 30}, shop.project, shop.lake(), lambda _: None)
    assert report.exit_code == 0 and report.cost and report.cost["cpu_s"] > (first.cpu_s or 0)
    done = shop.promote("a")
    assert (done.added, done.removed, done.changed) == (0, 0, 0) and shop.state() == before


def test_cpu_time_that_earlier_runs_took_is_gone_for_later_ones(shop: Shop) -> None:
    shop.run("a", 8, 12)
    spent = taken_by(replay_of(shop.lake(), "a"))["cost"]
    add_event(shop.lake(), "a", Step.PAUSED, {"cost": {**spent, "cpu_s": 7_200.0}})
    with pytest.raises(CeilingError, match="of it in earlier runs, above the ceiling of 2h"):
        resume_replay("a", {"max_cpu": 7_200}, shop.project, shop.lake(), lambda _: None)


def test_a_ceiling_on_a_cluster_is_refused(ingested: Shop) -> None:
    command = ("--dataset", "customer_event", "--start", "2026-11-02T00:00:00Z", "--end", "2026-11-03T00:00:00Z")
    found = ingested.headrace("replay", "plan", "a", *command, "--runner", "flink", "--max-memory", "4G", "--max-cpu", "2h")
    assert found.exit_code == 2
    assert "--max-memory: with --runner direct only" in found.output and "--max-cpu: with --runner direct only" in found.output
