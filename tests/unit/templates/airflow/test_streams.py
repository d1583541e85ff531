"""What the operators of streams read from headrace's documents."""

from __future__ import annotations

from typing import Any

import pytest

from templates.airflow.streams import command_of, fresh, frontiers, idle_runs, last_run, moved, running_job, standing


def run(source: str, frontier: int, age: float | None = 3.0) -> dict[str, Any]:
    log = {"topic": "t", "partition": 0, "frontier": frontier}
    return {"run_id": "r", "stream": {"source": source, "logs": [log], "newest_row_age_s": age}}


RUNS = [
    {"run_id": "x"},
    {"run_id": "y", "stream": "its logs cannot be shown"},
    run("web", 40),
    run("web", 7),
    run("mobile", 1, None),
]


def test_of_a_source_the_newest_stream_counts() -> None:
    assert frontiers(RUNS, "web") == {"t[0]": 40}
    assert frontiers(RUNS, "crm") == frontiers(None, "web") == {}


@pytest.mark.parametrize(("since", "wanted"), [({"t[0]": 40}, False), ({"t[0]": 39}, True), ({}, True), ({"t[1]": 99}, True)])
def test_a_frontier_has_moved_if_any_log_is_further(since: dict[str, int], wanted: bool) -> None:
    assert moved(RUNS, "web", since) is wanted
    assert not moved(RUNS, "crm", {})


def test_rows_are_fresh_if_there_are_any() -> None:
    assert fresh(RUNS, "web", 3) and not fresh(RUNS, "web", 2)
    assert not fresh(RUNS, "mobile", 1e9) and not fresh(RUNS, "crm", 1e9)


def test_how_a_stream_stands_is_told_in_words() -> None:
    assert standing(RUNS, "web") == "frontiers: t[0] 40; newest row 3 s old"
    assert standing(RUNS, "mobile") == "frontiers: t[0] 1; no rows yet"
    assert "no stream of crm" in standing(RUNS, "crm")


def test_jobs_that_work_are_found_and_those_that_a_supervisor_may_start() -> None:
    states = ("FINISHED", "LOST", "FAILED", "RESTARTING", "RUNNING")
    jobs = [{"source": "web", "run_id": f"r{n}", "state": state} for n, state in enumerate(states)]
    jobs += [{"source": None, "run_id": None, "state": "RUNNING"}]
    found = running_job(jobs, "web")
    assert found is not None and found["state"] == "RESTARTING"
    assert idle_runs(jobs, "web") == ["r1", "r2"]
    assert last_run(jobs, "web") == "r4" and last_run(jobs, "crm") is None


def test_the_version_before_is_a_command_or_a_variable() -> None:
    assert command_of("/opt/before/bin/headrace") == ["/opt/before/bin/headrace"]
    assert command_of("$BEFORE", {"BEFORE": "python -m 'cli main'"}) == ["python", "-m", "cli main"]
    with pytest.raises(ValueError, match="BEFORE, which names headrace of the version before, is not set"):
        command_of("$BEFORE", {})
