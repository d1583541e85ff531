"""A streaming job on several TaskManagers: every slot reads, one of them is killed, and the job is scaled by savepoints.

The tests of the job under load depend on each other and run in the order in which they stand here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from tests.faults.pipelines.ingest.streaming.conftest import Recorded
from tests.faults.pipelines.ingest.streaming.fault import FAST, check_all, fault
from tests.faults.pipelines.ingest.streaming.live_job import LiveJob, wait_for
from tests.support.stack import flink

pytestmark = pytest.mark.load


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded("taskmanagers")


@pytest.fixture(scope="module")
def live(stack_of_two: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveJob]:
    """A topic under load, beside two TaskManagers."""
    job = LiveJob(stack_of_two, tmp_path_factory.mktemp("taskmanagers"))
    try:
        job.make_topic()
        job.start_load()
        yield job
    finally:
        job.close()


def reads(stack: Stack) -> dict[str, list[int]]:
    """By TaskManager, how many batches each slot of the job that runs has read and decoded since it was last (re)started."""
    (job,) = [job["jid"] for job in flink(stack, "/jobs/overview")["jobs"] if job["state"] == "RUNNING"]
    (vertex,) = [v["id"] for v in flink(stack, f"/jobs/{job}")["vertices"] if "DecodeRecords" in v["name"]]
    found: dict[str, list[int]] = {}
    for subtask in flink(stack, f"/jobs/{job}/vertices/{vertex}")["subtasks"]:
        taskmanager = str(subtask["taskmanager-id"]).rpartition("-")[0]
        found.setdefault(taskmanager, []).append(subtask["metrics"]["write-records"])
    return found


def wait_until_every_slot_reads(stack: Stack, slots: dict[str, int]) -> None:
    """slots: of the job, by TaskManager."""

    def every() -> bool:
        there = reads(stack)
        return {name: len(of) for name, of in there.items()} == slots and min(map(min, there.values())) > 0

    wait_for(every, f"every slot of {slots} to read; {reads(stack)}")


def test_a_job_of_two_slots_reads_on_both(live: LiveJob, recorded: Recorded) -> None:
    began = time.time()
    live.start("--workers", "2", *FAST)
    wait_for(lambda: live.shows_events_after(began), "events of after its start")
    recorded.outcome["first_rows_s"] = round(time.time() - began, 1)
    wait_until_every_slot_reads(live.stack, {"taskmanager": 1, "taskmanager-2": 1})
    assert len(live.python_workers()) == 4  # two each: one TaskManager alone may have to run both slots


def test_one_of_two_is_killed_and_the_other_goes_on_with_both_slots(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "one of two taskmanagers killed"):
        live.stack.kill("taskmanager-2")
    wait_until_every_slot_reads(live.stack, {"taskmanager": 2})
    assert len(live.python_workers()) == 2
    states = {one.component: one.state for one in live.stack.status()}
    assert (states["taskmanager"], states["taskmanager-2"]) == ("ready", "dead")


def test_from_two_slots_to_one(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "stopped with savepoint, started with one slot"):
        live.start("--workers", "1", "--from-savepoint", live.job("stop")["from_savepoint"], *FAST)
    wait_until_every_slot_reads(live.stack, {"taskmanager": 1})


def test_in_the_end_everything_is_published_once(live: LiveJob, recorded: Recorded) -> None:
    check_all(live, recorded)
