"""Operators in Airflow's own environment: exit codes, ends, ranges. What they call is a script that ends as it is told."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow import SCRIPTS, Json, in_airflow


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("airflow")
    fake = f"{sys.executable} {SCRIPTS / 'fake_headrace.py'}"
    held = [
        {"from": f"2026-11-01T{hour:02}:00:00Z", "to": f"2026-11-01T{hour + 1:02}:00:00Z", "rules": ["r"], "severity": "quarantine",
         "run_id": run_id}
        for hour, run_id in ((1, "run-0"), (5, "run-2"), (6, "run-7"))
    ]  # fmt: skip
    gates = json.dumps([{"dataset": "x", "held": held}])
    yield in_airflow("operators", home, str(home), HEADRACE_COMMAND=fake, CANCELLED=str(home / "cancelled"), HELD=gates)


def _span(told: Json, case: str) -> tuple[str, str]:
    found = told["range"][case]["returned"]
    return found["start"], found["end"]


def test_success_gives_a_small_summary_to_others(told: Json) -> None:
    done = told["exit"]["0"]
    assert done["raised"] == "" and done["returned"]["run_id"] == "run-1"
    assert done["returned"] == done["pushed"]["headrace"]


@pytest.mark.parametrize("code", ["1", "2", "4"])
def test_what_would_end_the_same_way_fails_at_once(told: Json, code: str) -> None:
    assert told["exit"][code]["raised"] == "AirflowFailException"
    assert told["exit"][code]["pushed"]["headrace"]["exit_code"] == int(code)


@pytest.mark.parametrize("code", ["3", "-9", "130"])
def test_what_may_work_later_is_tried_again(told: Json, code: str) -> None:
    assert told["exit"][code]["raised"] == "AirflowException"


def test_a_failure_says_why_in_headraces_words(told: Json) -> None:
    assert told["exit"]["1"]["words"] == "exit code 1: too many were rejected"
    assert told["exit"]["3"]["words"] == "exit code 3: headrace: why it did not work"


def test_an_event_of_an_asset_tells_run_interval_and_ledger(told: Json) -> None:
    (extra,) = told["outlets"]["extra"]
    assert extra["run_id"] == "run-1" and extra["ledger"]["web"]["records_in"] == 3
    assert (extra["start"], extra["end"]) == ("2026-11-01T00:00:00Z", "2026-11-01T02:00:00Z")


def test_options_without_a_value_are_left_out(told: Json) -> None:
    words = told["argv"]["returned"]["name"]
    assert words.startswith("argv --given 1 --input a --input b --project ") and words.endswith(" --json")


def test_a_gate_is_red_for_what_its_run_brought_and_for_its_own_range(told: Json) -> None:
    done = told["gate"]["own"]
    assert done["raised"] == "AirflowFailException"
    assert [hold["from"][11:13] for hold in done["pushed"]["headrace"]["held"]] == ["01", "05"]
    assert "headrace quality status x" in done["words"] and "2026-11-01T05:00:00Z to 2026-11-01T06:00:00Z: r" in done["words"]
    assert told["gate"]["mute"]["raised"] == "AirflowFailException" and "nothing is known" in told["gate"]["mute"]["words"]
    others = told["gate"]["of_others"]
    assert [hold["from"][11:13] for hold in others["pushed"]["headrace"]["held"]] == ["01"]


def test_where_nothing_was_written_and_no_gate_is_there_yet_nothing_is_asked_for(told: Json) -> None:
    assert told["gate"]["none_yet"]["raised"] == "AirflowSkipException"
    assert told["gate"]["wrote"]["raised"] == "AirflowFailException" and "has no gate" in told["gate"]["wrote"]["words"]


def test_an_event_comes_where_a_table_is_not_as_it_was_told_before_the_run(told: Json) -> None:
    """Not as it was told since: another run may have told what this one has changed."""
    assert told["publish"]["first"]["raised"] == "" and told["publish"]["changed"]["raised"] == ""
    assert told["publish"]["changed"]["extra"][0]["tables"]["validated.x"]["content_hash"] == "aa"
    same = told["publish"]["same"]
    assert same["raised"] == "AirflowSkipException" and same["extra"] == [None] and "3 rows, aa" in same["words"]
    assert told["publish"]["as_before"]["extra"][0]["run_ids"] == ["run-1", "run-2"]


def test_what_a_person_has_let_through_is_no_failure_afterwards(told: Json) -> None:
    done = told["gate"]["agreed"]
    assert done["raised"] == "" and [hold["from"][11:13] for hold in done["returned"]["held"]] == ["01", "05"]
    partly = told["gate"]["partly"]
    assert partly["raised"] == "AirflowFailException" and "holds 1 partition (2026-11-01T05:00:00Z" in partly["words"]


def test_what_a_gate_would_hold_of_a_replay_is_for_a_person_and_nothing_else_passes_as_that(told: Json) -> None:
    """Tests come before what they judge is published, as dbt-labs/dbt-core#6035 asks for."""
    clean, partly = (told["verdict"][name] for name in ("clean", "partly"))
    assert (clean["raised"], clean["returned"]["needs"], clean["returned"]["held"]) == ("", [], [])
    assert partly["raised"] == "" and partly["returned"]["needs"] == ["the gate would hold 1 partition (r)"]
    assert partly["returned"]["held"] == [{"from": "a", "to": "b", "rules": ["r"], "severity": "quarantine"}]
    assert partly["returned"]["told"] == "a to b: r"
    for name in ("mute", "wrong"):
        assert told["verdict"][name]["raised"] == "AirflowFailException"


def test_a_part_that_would_be_held_is_promoted_only_where_somebody_says_so(told: Json) -> None:
    assert told["answered"]["yes"]["returned"] == {"approved_by": "Ada", "reason": "known"}
    for name, who in (("no", "Ada refused"), ("late", "nobody answered in time")):
        assert told["answered"][name]["raised"] == "AirflowFailException"
        assert told["answered"][name]["words"].startswith(f"{who}; nothing was promoted")


def test_a_page_lies_below_reports_and_is_linked(told: Json) -> None:
    done = told["page"]["returned"]
    assert "/pages/d/r_1/t.html" in done["name"]
    assert done["links"] == {"report": "https://x/r/d/r_1/t.html", "runbook": "https://x/run"}


@pytest.mark.parametrize("how", ["on_kill", "leash", "orphaned", "deaf"])
def test_however_a_task_ends_nothing_of_it_goes_on(told: Json, how: str) -> None:
    assert told[how]["left"] == []


@pytest.mark.parametrize("how", ["on_kill", "deaf", "leash"])
def test_a_task_that_was_ended_may_be_tried_again(told: Json, how: str) -> None:
    assert told[how]["raised"] == "AirflowException"


def test_an_interval_with_a_missing_folder_fails_unless_it_may_be_missing(told: Json, tmp_path: Path) -> None:
    found = told["partitions"]
    assert found["fail"]["raised"] == "AirflowFailException" and "drop/01" in found["fail"]["words"]
    assert [len(task) for task in found["skip"]["returned"]] == [1] and found["skip"]["returned"][0][0].endswith("/drop/00")
    assert found["nothing"]["raised"] == "AirflowSkipException"


def test_a_folder_that_is_awaited_is_awaited_without_a_worker(told: Json) -> None:
    found = told["partitions"]["wait"]
    assert found["raised"] == "deferred" and "LandedTrigger" in found["words"]


def test_a_topic_is_one_partition(told: Json) -> None:
    assert told["partitions"]["topic"]["returned"] == [["kafka://h:1/t"]]


def test_a_delivery_covers_all_that_started_it(told: Json) -> None:
    assert _span(told, "events") == ("2026-10-01T00:00:00Z", "2026-11-01T04:00:00Z")
    assert _span(told, "lookback") == ("2026-10-31T04:00:00Z", "2026-11-01T04:00:00Z")


def test_a_delivery_covers_changes_that_came_while_it_was_awaited(told: Json) -> None:
    """They start no run of their own, where one run at a time is allowed."""
    assert _span(told, "later") == ("2026-11-01T03:00:00Z", "2026-11-01T07:00:00Z")


def test_a_range_by_hand_wins_and_needs_a_zone(told: Json) -> None:
    assert _span(told, "by_hand") == ("2025-12-31T23:00:00Z", "2026-01-02T00:00:00Z")
    assert "with its zone" in told["range"]["no_zone"]["words"]
    assert _span(told, "interval") == ("2026-10-31T00:00:00Z", "2026-10-31T02:00:00Z")
    assert told["range"]["none"]["raised"] == "AirflowFailException"


@pytest.mark.parametrize("task", ["partitions", "plan", "range"])
def test_an_interval_without_time_is_no_success(told: Json, task: str) -> None:
    """As Airflow makes one for a run by hand on the day of a change of clocks."""
    assert told["empty"][task]["raised"] == "AirflowFailException" and "holds no time" in told["empty"][task]["words"]


def test_a_rebuild_waits_for_its_hours(told: Json) -> None:
    assert told["hours"]["raised"] == "deferred" and "DateTimeTrigger" in told["hours"]["words"]


def test_a_bounded_job_is_cancelled_with_its_task(told: Json) -> None:
    assert told["cancelled"].count("job cancel run-1 --yes --project " + told["home"] + " --json") == 1
    assert told["on_kill_flink"]["left"] == []


def test_a_sensor_of_a_job_outlives_its_cluster_and_tells_how_it_ended(told: Json) -> None:
    assert told["jobs"] == {"finished": {"state": "FINISHED"}, "failed": {"state": "FAILED"}, "lost": {"state": "LOST"}}


def test_a_user_who_ends_a_sensor_ends_its_job(told: Json) -> None:
    assert len([line for line in told["cancelled"] if line.startswith("job cancel run-7 --yes")]) == 3


def test_a_job_whose_task_waits_on_in_another_triggerer_is_left_alone(told: Json) -> None:
    ended = [line.split()[2] for line in told["cancelled"] if line.startswith("job cancel run-of-")]
    assert ended == ["run-of-failed-1", "run-of-unknown-1", "run-of-None-1", "run-of-deferred-2"], "the next try is another"


def test_a_trigger_that_is_cancelled_again_while_it_ends_its_job_ends_it(told: Json) -> None:
    assert len([line for line in told["cancelled"] if line.startswith("job cancel run-cancelled-again ")]) == 1


def test_folders_are_awaited_until_they_are_there_or_the_time_is_over(told: Json) -> None:
    assert told["landing"] == [{"missing": []}, {"missing": ["never"]}]
