"""Operators of streaming jobs in Airflow's own environment: what they ask of headrace, and what they leave alone."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.airflow import SCRIPTS, Json, in_airflow


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("airflow")
    fake = f"{sys.executable} {SCRIPTS / 'told_headrace.py'} now"
    yield in_airflow("jobs", home, str(home), HEADRACE_COMMAND=fake, ASKED=str(home / "asked"), ANSWERS=str(home / "answers"))


def asked(told: Json, kind: str, verb: str) -> list[str]:
    """Calls of a verb."""
    return [line for line in told[kind]["asked"] if line.split(" ", 1)[1].startswith(verb)]


def test_a_job_is_started_unless_one_works(told: Json) -> None:
    assert len(asked(told, "deploy_new", "ingest web --runner flink --workers 1")) == 1
    assert told["deploy_again"]["returned"]["run_id"] == "r2" and not asked(told, "deploy_again", "ingest")


def test_a_run_that_is_lost_is_noted_as_over_before_another_begins(told: Json) -> None:
    calls = [line.split()[1] for line in told["deploy_lost"]["asked"]]
    assert calls == ["status", "job", "job", "ingest"] and asked(told, "deploy_lost", "job cancel r1 --yes")


def test_where_the_frontier_cannot_be_told_nothing_begins(told: Json) -> None:
    """Else any frontier is further than none, and an upgrade that stands still passes."""
    assert told["deploy_blind"]["raised"] == "AirflowException" and not asked(told, "deploy_blind", "ingest")


@pytest.mark.parametrize("kind", ["deploy_no_list", "deploy_no_status", "deploy_ending", "stop_no_list", "back_ending"])
def test_where_jobs_cannot_be_told_or_one_ends_nothing_begins(told: Json, kind: str) -> None:
    """GoogleCloudPlatform/flink-on-k8s-operator#88 and #147: no answer, or a job that ends, taken for none, made two."""
    assert told[kind]["raised"] == "AirflowException"
    assert not [verb for verb in ("ingest", "job cancel", "job stop", "job status") if asked(told, kind, verb)]


def test_an_upgrade_takes_no_job_for_its_own_that_it_did_not_start(told: Json) -> None:
    assert told["deploy_others"]["raised"] == "AirflowFailException" and "r9" in told["deploy_others"]["words"]
    assert not any(asked.startswith("ingest") for asked in told["deploy_others"]["asked"])
    assert told["deploy_own"]["raised"] == "" and told["deploy_own"]["returned"]["run_id"]


def test_an_upgrade_starts_from_the_savepoint_of_its_stop(told: Json) -> None:
    assert told["stop"]["returned"]["savepoint"] == "file:/s/1"
    assert "--from-savepoint file:/s/1" in asked(told, "deploy_savepoint", "ingest")[0]


def test_a_stop_that_failed_is_tried_again_and_one_that_could_not_tell_is_found(told: Json) -> None:
    assert told["stop_failed"]["raised"] == "AirflowException"
    assert told["stop_again"]["returned"]["savepoint"] == "file:/s/1" and not asked(told, "stop_again", "job stop")
    assert told["stop_nothing"]["raised"] == "AirflowFailException" and "no job of web runs" in told["stop_nothing"]["words"]


def test_without_a_way_back_nothing_is_stopped(told: Json) -> None:
    found = told["stop_no_way_back"]
    assert found["raised"] == "AirflowFailException" and "nothing was stopped" in found["words"]
    assert not asked(told, "stop_no_way_back", "job stop")


def test_the_version_before_starts_as_it_was_started(told: Json) -> None:
    calls = told["back"]["asked"]
    assert asked(told, "back", "job cancel r2 --yes")
    assert calls[-1] == "before ingest web --input=kafka://h:1/t --runner=flink --from-savepoint file:/s/1 --json -- --x=1"


def test_only_the_job_that_the_upgrade_started_is_cancelled(told: Json) -> None:
    """Also where its start was killed before it could end; a task that is cleared later finds other jobs."""
    assert told["deploy_new"]["pushed"]["begun"] == "r2"
    assert asked(told, "back_killed_start", "job cancel r2 --yes") and asked(told, "back_killed_start", "ingest")
    for kind, who in {"back_others": "r9", "back_nameless": "j", "back_by_hand_again": "r3", "back_late": "r9"}.items():
        assert told[kind]["raised"] == "AirflowFailException" and f"{who} w" in told[kind]["words"], (kind, told[kind]["words"])
        assert not asked(told, kind, "job cancel") and not asked(told, kind, "ingest"), kind


def test_a_new_job_that_failed_is_noted_as_over_before_the_version_before_begins(told: Json) -> None:
    """Else a supervisor starts it again beside that one. Runs of others are left."""
    calls = [line.split(" ", 1)[1] for line in told["back_failed"]["asked"] if " ingest " in line or "cancel" in line]
    assert len(calls) == 2 and calls[0].startswith("job cancel r2 --yes") and calls[1].startswith("ingest web")


def test_a_version_before_that_works_already_is_found(told: Json) -> None:
    again = told["back_again"]
    assert again["raised"] == "" and again["returned"]["run_id"] == "r3" and again["returned"]["frontiers"] == {}
    assert not asked(told, "back_again", "job cancel") and not asked(told, "back_again", "ingest")


def test_a_start_that_cannot_succeed_says_that_no_job_runs_and_another_is_tried_again(told: Json) -> None:
    assert told["back_final"]["raised"] == "AirflowFailException" and "no job runs" in told["back_final"]["words"]
    assert told["back_down"]["raised"] == "AirflowException"
    assert told["back_unset"]["raised"] == "AirflowFailException" and "NOT_SET_ANYWHERE" in told["back_unset"]["words"]


def test_without_a_version_before_the_new_job_ends_and_a_person_is_told_what_to_give(told: Json) -> None:
    found = told["back_by_hand"]
    assert asked(told, "back_by_hand", "job cancel r2 --yes") and found["raised"] == "AirflowFailException"
    assert "headrace of the version before: cd / && headrace ingest web" in found["words"]


def test_where_nothing_was_stopped_nothing_is_taken_back(told: Json) -> None:
    found = told["back_unstopped"]
    assert not asked(told, "back_unstopped", "job cancel") and not asked(told, "back_unstopped", "ingest")
    assert found["raised"] == "AirflowFailException" and "left as it is" in found["words"]


def test_a_backfill_that_is_asked_for_again_is_another_replay_and_one_that_was_broken_off_the_same(told: Json) -> None:
    first, *again = [each["returned"]["name"] for each in told["plan"]]
    assert again == [first, first, f"{first}-2", f"{first}-2", f"{first}-3"]
    assert [line.split()[1:3] for line in told["plan"][0]["asked"]] == [["replay", "plan"]]
