"""SIGKILL to scheduler, triggerer, a task and the process that watches it, in each step of an ingest and of a backfill.

After every kill the tables, the ledger and the dataset's events are those of a run that nobody disturbed. Each step is killed at
its first try, one after the other in one run. A step that was over before anybody looked is killed in the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
import yaml

from contracts.spec.project import Project
from devstack import airflow
from devstack.airflow_api import wait_until
from tests.support.airflow_intervals import (
    ASSET,
    BACKFILL,
    INGEST,
    Killer,
    all_succeeded,
    approve_all,
    over,
    promoted,
    replay,
    run_hours,
)  # fmt: skip
from tests.support.postgres import missing
from tests.support.real_airflow import DAY, WITHIN_S, RealAirflow, real_airflow
from tests.support.runs import ingest
from tests.support.shop import CONTRACT

pytestmark = [pytest.mark.long, pytest.mark.timeout(2_400)]
SCHEDULES = """
lake: lake
replay: {maxAge: 36500d}
datasets: [datasets]
schedules:
  name: shop
  start: 2026-11-02
  sources:
    web: {input: drop/%Y-%m-%d/%H, catchup: false, missing: fail, wait: 1h, options: [--max-rejected, "1.0"]}
  backfill: {size: 1K}
"""
COMPONENTS = ("scheduler", "triggerer", "worker", "task")
OUTSIDE = ("scheduler", "triggerer")  # what there is to kill while no worker has the task
STEPS = {INGEST: {"partitions", "ingest", "publish", "gate"}, BACKFILL: {"plan", "run", "diff", "promote", "gate"}}
RUNS = 5
ENDS_S = 900.0
DEAD_AFTER_S = 60
REBUILT = (22, 23)
_HOURS = count()


def gated_contract() -> str:
    """The dataset's contract with a gate, which nothing here is held by."""
    document = yaml.safe_load(CONTRACT.read_text())
    (column,) = [column for column in document["schema"][0]["properties"] if column["name"] == "event_id"]
    column["quality"] = [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]
    return yaml.safe_dump(document, sort_keys=False)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    if lacking := missing():
        pytest.skip(f"no {lacking}: install PostgreSQL")
    contract = {f"datasets/{CONTRACT.name}": gated_contract()}
    folder = tmp_path_factory.mktemp("kills")
    alone = {"schedulers": 1, "dead_after_s": DEAD_AFTER_S}
    with real_airflow(folder, database=True, schedules=SCHEDULES, own=lambda _: {}, files=contract, **alone) as made:
        for hour in REBUILT:
            made.land(hour)
        ingest(made.project / "lake", [made.project / "drop"], project=Project.load(made.project), max_rejected=1.0)
        yield made


def events(own: RealAirflow, dag_id: str) -> list[str]:
    """Runs that said that the dataset has changed, as often as they did."""
    return sorted(event["source_run_id"] for event in own.api.events() if (event["uri"], event["source_dag_id"]) == (ASSET, dag_id))


def killed(killer: Killer) -> set[str]:
    return {step for _, step in killer.made}


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_ingest_that_is_killed_in_each_step_ends_as_one_that_is_not(own: RealAirflow, component: str) -> None:
    known, left, runs = events(own, INGEST), set(STEPS[INGEST]), list[str]()
    while left:
        assert len(runs) < RUNS, f"{left} were over before anybody looked"
        hour = next(_HOURS)
        runs += run_hours(own, [(DAY, hour)])
        run = runs[-1]
        killer = Killer(own, INGEST, {(run, step): component for step in left})

        def waits(run: str = run) -> bool:
            return own.api.states(INGEST, run).get("partitions") == "deferred"

        killer.until(waits, ENDS_S)
        if component in OUTSIDE:
            own.kill(f"airflow-{component}")
        own.land(hour)
        killer.until(lambda run=run: over(own, INGEST, [run]), ENDS_S)  # type: ignore[misc]
        left -= killed(killer)
    all_succeeded(own, INGEST, runs)
    found = own.state_of_tables()
    print(f"{component}: {len(runs)} runs, {found}")
    assert found == own.undisturbed(f"ingest-{component}")
    assert events(own, INGEST) == sorted([*known, *runs])


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_backfill_that_is_killed_in_each_step_ends_as_one_that_is_not(own: RealAirflow, component: str) -> None:
    before, known, told = own.state_of_tables(), promoted(own), events(own, BACKFILL)
    left, runs = set(STEPS[BACKFILL]), list[str]()
    while left:
        assert len(runs) < RUNS, f"{left} were over before anybody looked"
        run = replay(own, REBUILT[0], REBUILT[-1], f"-{component}-{len(runs)}")
        runs.append(run)
        killer = Killer(own, BACKFILL, {(run, step): component for step in left})
        killer.until(lambda: bool(own.api.waiting()), ENDS_S)
        if component in OUTSIDE:
            own.kill(f"airflow-{component}")

        def is_over(run: str = run) -> bool:
            approve_all(own)
            return over(own, BACKFILL, [run])

        killer.until(is_over, ENDS_S)
        left -= killed(killer)
    all_succeeded(own, BACKFILL, runs)
    found = own.state_of_tables()
    print(f"{component}: {len(runs)} runs, {found}")
    assert found == before == own.undisturbed(f"backfill-{component}")
    assert promoted(own) == known + len(runs)
    assert events(own, BACKFILL) == sorted([*told, *runs])


def test_a_wait_ends_though_no_component_is_left_that_saw_it_begin(own: RealAirflow) -> None:
    """All of them killed at once, as by a machine that is switched off."""
    hour = next(_HOURS)
    (run,) = run_hours(own, [(DAY, hour)])
    wait_until(lambda: own.api.states(INGEST, run).get("partitions"), {"deferred"}, WITHIN_S)
    for name in ("airflow-scheduler", "airflow-triggerer", "airflow-dag-processor", "airflow-api"):
        own.kill(name)
    own.land(hour)
    wait_until(lambda: bool(airflow.health_of(own.stack.settings.ports.airflow)), {True}, WITHIN_S)
    assert own.api.wait_run(INGEST, run, WITHIN_S) == "success"
    assert own.state_of_tables() == own.undisturbed("all-at-once")
