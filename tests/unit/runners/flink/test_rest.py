"""Flink's REST interface: what is read out of its documents, and what is said when it refuses, fails, is slow or is not there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError, ConfigurationError, SavepointError, UnknownJobError
from runners.flink.checkpoints import newest_checkpoint
from runners.flink.failures import plain_failure
from runners.flink.rest import FlinkRest
from tests.support.flink_stub import A, B, StubCluster, StubJob, checkpoint, serving

PYTHON_TRACE = """\
java.util.concurrent.CompletionException: java.lang.RuntimeException: Error received from SDK harness for instruction 7
\tat java.base/java.util.concurrent.CompletableFuture.encodeThrowable(CompletableFuture.java:332)
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 7: Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/apache_beam/runners/worker/operations.py", line 1047, in process
    return int(value)
ValueError: invalid literal for int() with base 10: 'anna@example.com'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/apache_beam/runners/common.py", line 1611, in _reraise
    raise new_exn
{error}
\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient$ResponseStreamObserver.onNext(FnApiControlClient.java:197)
"""


@pytest.fixture
def cluster() -> Iterator[StubCluster]:
    with serving(StubCluster(jobs=[StubJob(A, "web")], config={"state.checkpoints.dir": "file:/c"})) as made:
        yield made


@pytest.fixture
def rest(cluster: StubCluster) -> FlinkRest:
    return FlinkRest(cluster.address)


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_jobs_are_listed_with_the_newest_first(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs.append(StubJob(B, "orders", state="FAILED", started_ms=cluster.jobs[0].started_ms + 1))
    assert [(job.job_id, job.name, job.state, job.ended, job.duration_s) for job in rest.jobs()] == [
        (B, "orders", "FAILED", True, 90.0), (A, "web", "RUNNING", False, 90.0),
    ]  # fmt: skip


def test_a_job_is_described(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs[0].completed = checkpoint(7, f"file:/c/{A}/chk-7")
    found = rest.checkpoints(A)
    assert found and found.last
    assert (found.completed, found.failed, found.last_failure) == (7, 1, "Checkpoint expired before completing.")
    assert (found.last.checkpoint_id, found.last.size_bytes, found.last.duration_s) == (7, 229_171, 0.04)
    assert found.last.external_path == f"file:/c/{A}/chk-7"
    assert (rest.health(A).uptime_s, rest.health(A).restarts) == (61.0, 0)
    (vertex,) = rest.vertices(A)
    assert (vertex.name, vertex.parallelism, vertex.records_in, vertex.records_out) == ("[1]Count", 2, 71, 12)
    assert (vertex.busy, vertex.backpressured) == (None, 0.25), "NaN is no measurement"
    assert rest.last_failure(A) is None
    assert rest.directories().checkpoints == "file:/c" and rest.directories().savepoints is None


def test_a_checkpoint_in_memory_has_no_path(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs[0].completed = checkpoint(7, "<checkpoint-not-externally-addressable>")
    found = rest.checkpoints(A)
    assert found and found.last and found.last.external_path is None


def test_a_job_without_checkpoints_is_no_error_but_an_unknown_job_is(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs[0].checkpointing = False
    assert rest.checkpoints(A) is None and not rest.keeps_checkpoints(A)
    with pytest.raises(UnknownJobError, match=f"Job {B} not found$"):
        rest.checkpoints(B)


def test_retention_is_read_from_the_job(cluster: StubCluster, rest: FlinkRest) -> None:
    assert rest.keeps_checkpoints(A)
    cluster.jobs[0].keeps = False
    assert not rest.keeps_checkpoints(A)


@pytest.mark.parametrize(
    ("trace", "cause"),
    [
        ("java.lang.NumberFormatException: For input string: \"anna@example.com\"\n\tat x.Y.z(Y.java:1)", "NumberFormatException"),
        (
            "org.apache.flink.runtime.JobException: Recovery is suppressed\n\tat x.Y.z(Y.java:1)\n"
            "Caused by: java.io.IOException: No space left on device\n\tat x.Y.z(Y.java:1)\n\t... 5 more\n",
            "IOException: No space left on device",
        ),
        ("java.lang.OutOfMemoryError: Direct buffer memory", "OutOfMemoryError: Direct buffer memory"),
        (
            PYTHON_TRACE.format(error="ValueError: invalid literal: 'anna@example.com' [while running 'Web/Decode']"),
            "ValueError at runners/common.py:1611 in step Web/Decode",
        ),
        (
            PYTHON_TRACE.format(error="contracts.errors.ComponentDownError: catalog: no answer [while running 'Web/Publish']"),
            "ComponentDownError: catalog: no answer at runners/common.py:1611 in step Web/Publish",
        ),
        (
            PYTHON_TRACE.format(error="ValueError: two\nAnna: lines"),
            "ValueError at runners/common.py:1611",
        ),
        ("anna@example.com", "no cause given"),
        ("", "no cause given"),
    ],
)  # fmt: skip
def test_the_root_cause_is_told_without_values_of_records(trace: str, cause: str) -> None:
    assert plain_failure(trace) == cause


def test_the_last_exception_is_read_from_the_history(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs[0].exception = "java.net.ConnectException: Connection refused"
    failure = rest.last_failure(A)
    assert failure and (failure.cause, failure.task) == ("ConnectException: Connection refused", "Count (1/1)")


def test_a_stop_waits_for_a_slow_savepoint_and_never_drains(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs[0].stop = (3, "file:/s/savepoint-9")
    assert rest.stop(A, "file:/s") == "file:/s/savepoint-9"
    assert cluster.polls == 4
    assert {"targetDirectory": "file:/s", "drain": False} in cluster.bodies
    assert rest.wait_ended(A) == "FINISHED"


def test_a_stop_waits_for_the_tasks_of_a_job_that_just_began(cluster: StubCluster, rest: FlinkRest) -> None:
    """The job is RUNNING some seconds before its tasks are, and until then the cluster refuses a savepoint."""
    cluster.jobs[0].starting = 3
    assert rest.stop(A) == "file:/savepoints/savepoint-1"


def test_a_failed_savepoint_says_why(cluster: StubCluster, rest: FlinkRest) -> None:
    why = "java.util.concurrent.CompletionException: x\nCaused by: java.nio.file.AccessDeniedException: /s\n\tat x.Y.z(Y.java:1)"
    cluster.jobs[0].stop = (0, why)
    with pytest.raises(SavepointError, match=r"failed: AccessDeniedException: /s$"):
        rest.stop(A)
    assert {"drain": False} in cluster.bodies


def test_a_savepoint_that_takes_too_long_is_given_up_at_the_deadline(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.jobs[0].stop = (10**9, "")
    with pytest.raises(SavepointError, match="did not complete within 0 s"):
        rest.stop(A, deadline_s=0.05)


def test_a_cluster_that_forgets_the_job_while_it_stops_is_told(cluster: StubCluster, rest: FlinkRest) -> None:
    def forget(job: StubJob) -> dict[str, object]:
        cluster.jobs.clear()
        return {"status": {"id": "IN_PROGRESS"}, "operation": None}

    cluster._savepoint = forget  # type: ignore[method-assign,assignment]
    with pytest.raises(UnknownJobError, match="not found"):
        rest.stop(A)


def test_cancelling_an_ended_job_is_refused_with_flinks_reason(cluster: StubCluster, rest: FlinkRest) -> None:
    rest.cancel(A)
    assert rest.wait_ended(A) == "CANCELED"
    with pytest.raises(ConfigurationError, match="refuses: Job cancellation failed because"):
        rest.cancel(A)


def test_a_cluster_that_is_not_there_is_told_in_one_sentence() -> None:
    address = f"127.0.0.1:{closed_port()}"
    with pytest.raises(ComponentDownError) as caught:
        FlinkRest(address).jobs()
    assert str(caught.value) == f"Flink at {address} does not answer (Connection refused); is it running, and the address right?"


def test_a_get_is_tried_three_times_and_a_post_once(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.broken = 503
    with pytest.raises(ComponentDownError, match="cannot answer now: Service temporarily unavailable"):
        rest.jobs()
    assert cluster.requests == ["GET /jobs/overview"] * 3
    cluster.requests.clear()
    with pytest.raises(ComponentDownError):
        rest.cancel(A)
    assert cluster.requests == [f"PATCH /jobs/{A}?mode=cancel"]


def test_a_cluster_that_hangs_is_given_up(cluster: StubCluster) -> None:
    cluster.delay_s = 0.5
    with pytest.raises(ComponentDownError, match="does not answer"):
        FlinkRest(cluster.address, timeout_s=0.05).cancel(A)


def test_something_else_on_the_port_is_told(cluster: StubCluster, rest: FlinkRest) -> None:
    cluster.raw = b"<html>"
    with pytest.raises(ComponentDownError, match="not as Flink's REST interface does"):
        rest.jobs()


@pytest.mark.parametrize("address", ["localhost", "", "ftp://x:1", "localhost:port", "localhost:99999999"])
def test_an_address_that_cannot_be_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected HOST:PORT"):
        FlinkRest(address)


def make_checkpoint(root: Path, job_id: str, number: int, *, mtime: int, complete: bool = True) -> Path:
    folder = root / job_id / f"chk-{number}"
    folder.mkdir(parents=True)
    if complete:
        (folder / "_metadata").write_bytes(b"x")
        os.utime(folder / "_metadata", (mtime, mtime))
    return folder


def test_the_newest_complete_checkpoint_is_found_on_disk(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, A, 2, mtime=100)
    tenth = make_checkpoint(tmp_path, A, 10, mtime=100)
    make_checkpoint(tmp_path, A, 11, mtime=100, complete=False)
    make_checkpoint(tmp_path, "c" * 32, 99, mtime=900)
    assert newest_checkpoint(str(tmp_path), [A, B]) == tenth.as_uri()
    younger = make_checkpoint(tmp_path, B, 3, mtime=200)
    assert newest_checkpoint(tmp_path.as_uri(), [A, B]) == younger.as_uri()
    assert newest_checkpoint(str(tmp_path), ["d" * 32]) is None


def test_a_checkpoints_folder_that_is_missing_or_remote_is_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ComponentDownError, match="is its disk mounted here"):
        newest_checkpoint(str(tmp_path / "none"), [A])
    with pytest.raises(ConfigurationError, match="only local folders"):
        newest_checkpoint("s3://bucket/checkpoints", [A])


@pytest.mark.parametrize("body", [b"<html>default backend - 404</html>", b'{"message": "no Route matched"}'])
def test_a_proxy_that_knows_no_path_does_not_say_that_a_job_is_unknown(cluster: StubCluster, body: bytes) -> None:
    """GoogleCloudPlatform/flink-on-k8s-operator#252: the JobManager comes up again, and a proxy answers for it."""
    cluster.broken, cluster.raw = 404, body
    with pytest.raises(ComponentDownError, match="answers, but not as Flink's REST interface does"):
        FlinkRest(cluster.address).job(A)


@pytest.mark.parametrize("code", [408, 429])
def test_a_proxy_that_says_later_is_a_cluster_that_does_not_answer_now(cluster: StubCluster, code: int) -> None:
    cluster.broken, cluster.raw = code, b""
    with pytest.raises(ComponentDownError, match=f"cannot answer now: HTTP {code}"):
        FlinkRest(cluster.address).jobs()


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"error": "unauthorized"}', b'{"jobs": null}'])
def test_json_of_another_program_is_told(cluster: StubCluster, body: bytes) -> None:
    """apache/flink-kubernetes-operator#237 reads the overview by its shape; whatever else answers has another."""
    cluster.raw = body
    with pytest.raises(ComponentDownError, match="answers, but not as Flink's REST interface does"):
        FlinkRest(cluster.address).jobs()
