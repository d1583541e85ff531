"""DAGs of the schedules against a description elsewhere, and against what an Airflow has."""

from dataclasses import replace
from typing import Any

import pytest

from operations.drift.dags import AirflowDag, AirflowPool, AirflowState, Wanted, compare_airflow, compare_descriptions

TAGS = frozenset({"headrace", "shop"})


def described(dag_id: str, **more: Any) -> dict[str, Any]:
    schedule = {"cron": "0 * * * *", "timezone": "UTC"}
    return {"dag_id": dag_id, "schedule": schedule, "defaults": {"pool": "default_pool"}, "tasks": [], **more}


DAGS = [
    described("shop.backfill.order", schedule={"backfill": "0 0 * * *", "timezone": "UTC"}, defaults={"pool": "shop.backfill"}),
    described("shop.ingest.web"),
    described("shop.rollback.order", schedule=None),
]
WANTED = Wanted(
    name="shop",
    document={"format": 1, "project": "..", "reports": "", "dags": DAGS},
    states={dag["dag_id"]: f"state-{number}" for number, dag in enumerate(DAGS)},
    pools={"shop.backfill": AirflowPool(1)},
)
HAS = [AirflowDag(dag_id=name, tags=TAGS, state=state, file="shop/headrace_dags.py") for name, state in WANTED.states.items()]
POOLS = {"default_pool": AirflowPool(128), "shop.backfill": AirflowPool(1)}
FINE = AirflowState(where="http://airflow", dags=HAS, pools=POOLS)


def told(airflow: AirflowState) -> list[tuple[str, str]]:
    return [(one.what, one.deployed) for one in compare_airflow(WANTED, airflow)]


def changed(number: int, **more: Any) -> AirflowState:
    return replace(FINE, dags=[replace(dag, **more) if place == number else dag for place, dag in enumerate(HAS)])


def test_after_a_deploy_nothing_differs() -> None:
    assert told(FINE) == []


def test_a_dag_that_airflow_does_not_know_is_missing() -> None:
    assert told(replace(FINE, dags=HAS[1:])) == [("DAG shop.backfill.order", "not there")]


def test_a_dag_that_airflow_only_remembers_is_missing_though_it_is_not_paused() -> None:
    """apache/airflow#63800: one that was deactivated still says that it is active."""
    assert told(changed(1, is_stale=True)) == [("DAG shop.ingest.web", "not there")]


def test_a_dag_whose_schedule_is_gone_is_left_over_while_it_runs() -> None:
    old = AirflowDag(dag_id="shop.ingest.old", tags=TAGS)
    (found,) = compare_airflow(WANTED, replace(FINE, dags=[*HAS, old]))
    assert (found.what, found.deployed, found.repository) == ("DAG shop.ingest.old", "there", "in no schedule")
    assert "airflow dags delete shop.ingest.old" in found.remedy


def test_history_of_a_dag_that_is_gone_is_no_difference() -> None:
    """apache/airflow#40322, #42542: it stays in the database, and on some pages, for ever."""
    old = AirflowDag(dag_id="shop.ingest.old", tags=TAGS, is_stale=True)
    assert told(replace(FINE, dags=[*HAS, old])) == []


@pytest.mark.parametrize(
    "other",
    [
        AirflowDag(dag_id="shop.report", tags=frozenset({"shop"})),  # somebody's own
        AirflowDag(dag_id="shop2.ingest.web", tags=frozenset({"headrace", "shop2"})),
        AirflowDag(dag_id="finance", tags=frozenset({"headrace", "shop"})),
    ],
)
def test_dags_of_others_are_not_left_over(other: AirflowDag) -> None:
    assert told(replace(FINE, dags=[*HAS, other])) == []


def test_a_paused_dag_runs_nothing_and_a_backfill_of_it_does_not_start() -> None:
    (found,) = compare_airflow(WANTED, changed(0, is_paused=True))
    assert found.deployed == "paused" and "backfill" in found.repository
    assert found.remedy == "airflow dags unpause shop.backfill.order"
    assert told(changed(1, is_paused=True)) == [("DAG shop.ingest.web", "paused")]


def test_a_dag_without_a_schedule_may_be_paused() -> None:
    assert told(changed(2, is_paused=True)) == []


def test_a_dag_of_another_description_and_one_that_is_broken_are_told() -> None:
    assert told(changed(1, state="state-9")) == [("DAG shop.ingest.web", "made of another description (state-9)")]
    assert told(changed(1, state="")) == [], "an earlier version of Headrace says no state"
    assert told(changed(1, state="", tags=TAGS | {"broken"})) == [("DAG shop.ingest.web", "broken: it cannot be made")]


def test_import_errors_are_those_of_our_files() -> None:
    errors = [("shop/headrace_dags.py", "ModuleNotFoundError: No module named 'templates'"), ("finance.py", "SyntaxError")]
    assert told(replace(FINE, import_errors=errors)) == [
        ("file shop/headrace_dags.py", "cannot be read: ModuleNotFoundError: No module named 'templates'")
    ]


def test_import_errors_of_another_project_are_its_own() -> None:
    other = AirflowDag(dag_id="shop2.ingest.web", tags=frozenset({"headrace", "shop2"}), file="shop2/headrace_dags.py")
    assert told(replace(FINE, dags=[*HAS, other], import_errors=[("shop2/headrace_dags.py", "why")])) == []


def test_an_import_error_is_ours_by_its_name_where_no_dag_of_ours_was_ever_read() -> None:
    found = told(AirflowState(where="x", pools=POOLS, import_errors=[("shop/headrace_dags.py", "why"), ("other.py", "why")]))
    assert ("file shop/headrace_dags.py", "cannot be read: why") in found and not any("other.py" in what for what, _ in found)


def test_pools() -> None:
    """apache/airflow#795, #63551: tasks of a pool that is not there wait for ever, and no page says so."""
    assert told(replace(FINE, pools={"default_pool": AirflowPool(128)})) == [
        ("pool shop.backfill", "not there: its tasks never start")
    ]
    assert told(replace(FINE, pools={"shop.backfill": AirflowPool(1)})) == [
        ("pool default_pool", "not there: its tasks never start")
    ]
    assert told(replace(FINE, pools={**POOLS, "shop.backfill": AirflowPool(4)})) == [("pool shop.backfill", "4 slots")]
    # apache/airflow#29416: whether deferred tasks count is a part of what a pool bounds
    (found,) = compare_airflow(WANTED, replace(FINE, pools={**POOLS, "shop.backfill": AirflowPool(1, include_deferred=True)}))
    assert (found.deployed, found.repository) == ("1 slot, deferred tasks count", "1 slot")
    assert found.remedy == "airflow pools set shop.backfill 1 'of headrace'"


def test_pools_of_others_are_theirs_and_ours_that_no_schedule_has_are_left_over() -> None:
    assert told(replace(FINE, pools={**POOLS, "finance": AirflowPool(2), "default_pool": AirflowPool(3)})) == []
    assert told(replace(FINE, pools={**POOLS, "shop.old": AirflowPool(2)})) == [("pool shop.old", "there")]


def test_a_copy_of_the_description_may_lie_anywhere() -> None:
    copy = {**WANTED.document, "project": "/opt/shop"}
    assert list(compare_descriptions(WANTED, copy, "x", "copy it")) == []


def test_an_old_copy_is_told_by_dag() -> None:
    old = [described("shop.gone"), described("shop.ingest.web", schedule={"cron": "30 * * * *", "timezone": "UTC"}), DAGS[2]]
    copy = {**WANTED.document, "reports": "pages", "dags": old}
    found = [(one.what, one.deployed, one.repository) for one in compare_descriptions(WANTED, copy, "x", "copy it")]
    assert found == [
        ("reports", "pages", "nothing"),
        ("DAG shop.backfill.order", "not there", "in the schedules"),
        ("DAG shop.gone", "there", "in no schedule"),
        ("DAG shop.ingest.web", "schedule.cron: 30 * * * *", "schedule.cron: 0 * * * *"),
    ]
