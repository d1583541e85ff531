"""What a submission tells Beam about slots and Python workers."""

from __future__ import annotations

import pytest

from contracts.errors import JobFailedError, OffsetGapError
from runners.flink.rest import FlinkRest
from runners.flink.submit import FlinkJob, _arguments, _workers_each, wait
from tests.support.flink_stub import A, StubCluster, StubJob, serving


@pytest.mark.parametrize(
    ("taskmanagers", "parallelism", "each"),
    [([2], 2, 2), ([2, 2], 4, 2), ([4, 4], 2, 2), ([1, 1], 2, 1), ([2, 3], 5, 3), ([], 2, 1)],
)
def test_a_taskmanager_gets_a_worker_for_each_slot_that_it_may_come_to_run(
    taskmanagers: list[int], parallelism: int, each: int
) -> None:
    with serving(StubCluster(taskmanagers=taskmanagers)) as cluster:
        assert _workers_each(FlinkRest(cluster.address), parallelism) == each


def arguments(**given: object) -> list[str]:
    job = FlinkJob(**{"rest": "h:1", "parallelism": 4, "workers": "process:/w", "job_server_jar": __file__, **given})  # type: ignore[arg-type]
    return _arguments(job, "name", 3)


def test_slots_and_python_workers_are_told_apart() -> None:
    assert {"--parallelism=4", "--sdk_worker_parallelism=3"} <= set(arguments())


def test_a_job_of_one_slot_is_not_chained_so_that_its_savepoint_fits_jobs_of_more() -> None:
    assert "--operator_chaining" in arguments(parallelism=1)
    assert "--operator_chaining" not in arguments(parallelism=2)
    assert "--operator_chaining" not in arguments(parallelism=1, streaming=False)


def test_no_job_copies_its_elements_between_chained_steps() -> None:
    assert "--faster_copy" in arguments()
    assert "--faster_copy" in arguments(streaming=False)


def ended(trace: str) -> None:
    """Wait for a job that failed with this trace."""
    with serving(StubCluster()) as cluster:
        cluster.jobs.append(StubJob(A, "run", state="FAILED", exception=trace))
        wait(A, FlinkRest(cluster.address))


def test_a_job_that_failed_says_why() -> None:
    with pytest.raises(JobFailedError, match=f"Flink job {A}: failed: OutOfMemoryError: Java heap space"):
        ended("java.lang.OutOfMemoryError: Java heap space")


def test_what_a_worker_raised_of_ours_ends_as_it_would_have_ended_here() -> None:
    """Beam wraps it into its own words, and Flink into Java's."""
    trace = (
        "java.lang.RuntimeException: Error received from SDK harness for instruction 4: Traceback (most recent call last):\n"
        '  File "transforms/read/poll.py", line 120, in settle_gaps\n'
        "contracts.errors.OffsetGapError: topic t, partition 0: offset 5 is not there [while running 'ReadKafka/Read']\n"
        "\n\tat org.apache.beam.runners.flink.X.y(X.java:1)\n"
    )
    with pytest.raises(OffsetGapError, match=r"^topic t, partition 0: offset 5 is not there$"):
        ended(trace)
