"""What the operators of streams read from headrace's documents."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from templates.airflow.streams import (
    ENDED,
    command_of,
    ending_job,
    fresh,
    frontiers,
    idle_runs,
    job_state,
    last_run,
    listed,
    moved,
    running_job,
    standing,
    state_of,
)  # fmt: skip


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


@pytest.mark.parametrize(
    ("code", "text", "state"),
    [
        (200, b'{"jid": "a", "state": "RUNNING"}', "RUNNING"),
        (200, b'{"jid": "a", "state": "SUSPENDED"}', "SUSPENDED"),
        (404, b'{"errors": ["Job a not found"]}', "LOST"),
        (404, b"<html>default backend - 404</html>", "UNKNOWN"),
        (404, b'{"message": "no Route matched"}', "UNKNOWN"),
        (200, b"<html>Sign in</html>", "UNKNOWN"),
        (200, b'{"jid": "a", "sta', "UNKNOWN"),
        (200, b"[]", "UNKNOWN"),
        (200, b"null", "UNKNOWN"),
        (200, b"{}", "UNKNOWN"),
        (503, b'{"errors": ["Service temporarily unavailable due to an ongoing leader election."]}', "UNKNOWN"),
    ],
)
def test_only_flink_says_that_it_does_not_know_a_job(code: int, text: bytes, state: str) -> None:
    """GoogleCloudPlatform/flink-on-k8s-operator#252, lyft/flinkk8soperator#221: a JobManager comes up again, behind a proxy."""
    assert state_of(code, text) == state


@pytest.mark.parametrize("state", ["INITIALIZING", "CREATED", "RECONCILING", "SUSPENDED", "RESTARTING", "CANCELLING", "FAILING"])
def test_a_job_that_may_go_on_is_not_over(state: str) -> None:
    """apache/flink#2096 and #3113, TouK/nussknacker#2105, karmada-io/karmada#6073, lyft/flinkk8soperator#148."""
    jobs = [{"source": "web", "run_id": "r1", "state": state}]
    assert state not in ENDED and running_job(jobs, "web") == jobs[0] and idle_runs(jobs, "web") == []
    assert (ending_job(jobs, "web") is not None) is (state in ("CANCELLING", "FAILING"))


def test_of_two_jobs_of_a_source_the_one_counts_that_works() -> None:
    """GoogleCloudPlatform/flink-on-k8s-operator#147: one is cancelled, and the other works already."""
    jobs = [{"source": "web", "run_id": f"r{n}", "state": state} for n, state in enumerate(("CANCELLING", "RUNNING"))]
    found = running_job(jobs, "web")
    assert found is not None and found["run_id"] == "r1" and ending_job(jobs, "web") is None


@pytest.mark.parametrize("document", [None, {}, {"error": "x"}, "[]"])
def test_what_is_no_list_is_not_taken_for_an_empty_one(document: Any) -> None:
    """GoogleCloudPlatform/flink-on-k8s-operator#88: no answer, taken for no job, made two."""
    with pytest.raises(ValueError, match="headrace job list printed no JSON list, so nothing is known"):
        listed(document, "job list")
    assert listed([], "job list") == []


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"jid": "a", "state": "RUNNING"', "UNKNOWN"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 900\r\n\r\n<html>", "UNKNOWN"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "UNKNOWN"),
        (b"", "UNKNOWN"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"state": "RUNNING"}', "RUNNING"),
        (b'HTTP/1.1 404 Not Found\r\nContent-Length: 28\r\n\r\n{"errors": ["not found: a"]}', "LOST"),
    ],
)
def test_an_answer_that_is_cut_off_tells_nothing_and_ends_no_wait(
    answer: bytes, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lyft/flinkk8soperator#221: answers while a JobManager comes up. No proxy of the environment is asked for a cluster."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert job_state(f"127.0.0.1:{server.getsockname()[1]}", "a") == state
        thread.join()
