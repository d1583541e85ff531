"""A streaming job on several TaskManagers: every slot reads, one of them is killed, and the job is scaled by savepoints.

The tests of the job under load depend on each other and run in the order in which they stand here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.faults.pipelines.ingest.streaming.conftest import Recorded
from tests.faults.pipelines.ingest.streaming.fault import check_all, fault
from tests.faults.pipelines.ingest.streaming.live_job import LiveJob, wait_for
from tests.support.stack import flink

_RATE = 200  # a test of where a job runs, not of how much it takes
_QUICK = ("--early-panes", "2s", "--late-panes", "2s", "--commit-every", "2s", "--checkpoint-every", "2s")


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded("taskmanagers", _RATE)


@pytest.fixture(scope="module")
def live(stack_of_two: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveJob]:
    """A topic under load, beside two TaskManagers."""
    job = LiveJob(stack_of_two, tmp_path_factory.mktemp("taskmanagers"), rate=_RATE)
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


def test_every_slot_of_both_reads(live: LiveJob, recorded: Recorded) -> None:
    began = time.time()
    live.start("--workers", "4", "--python-workers-per-taskmanager", "2", *_QUICK)
    wait_for(lambda: live.shows_events_after(began), "events of after its start")
    recorded.outcome["first_rows_s"] = round(time.time() - began, 1)
    wait_until_every_slot_reads(live.stack, {"taskmanager": 2, "taskmanager-2": 2})
    assert len(live.python_workers()) == 4


def test_one_of_two_is_killed_and_the_other_goes_on_with_all_slots(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "one of two taskmanagers killed", settle=False):
        live.stack.kill("taskmanager-2")
    wait_until_every_slot_reads(live.stack, {"taskmanager": 4})
    assert len(live.python_workers()) == 2
    states = {one.component: one.state for one in live.stack.status()}
    assert (states["taskmanager"], states["taskmanager-2"]) == ("ready", "dead")


def test_from_four_slots_to_one(live: LiveJob, recorded: Recorded) -> None:
    with fault(live, recorded, "stopped with savepoint, started with one slot", settle=False):
        live.start("--workers", "1", "--from-savepoint", live.job("stop")["from_savepoint"], *_QUICK)
    wait_until_every_slot_reads(live.stack, {"taskmanager": 1})
    assert len(live.python_workers()) == 1


def test_in_the_end_everything_is_published_once(live: LiveJob, recorded: Recorded) -> None:
    check_all(live, recorded)


def test_one_more_taskmanager_comes_while_the_stack_runs(live: LiveJob) -> None:
    more = replace(live.stack.settings, taskmanagers=3)
    before = live.stack.pid("taskmanager")
    found = {one.component: one.state for one in Stack(live.stack.layout, more).up(["kafka", "flink"])}
    names = ["kafka", "jobmanager", "taskmanager", "taskmanager-2", "taskmanager-3"]
    assert found == dict.fromkeys(names, "ready")
    assert live.stack.pid("taskmanager") == before
    assert flink(live.stack, "/overview")["slots-total"] == 12


@pytest.mark.long
def test_from_two_taskmanagers_to_three_and_to_one(stack_of_two: Stack, tmp_path: Path) -> None:
    """One slot of each; everything that was sent has an outcome before the next step."""
    live, recorded = LiveJob(stack_of_two, tmp_path, topic="web-events-scaled", rate=_RATE), Recorded("scaled", _RATE)
    stack_of_two.up(["kafka", "flink"])
    try:
        live.make_topic()
        live.start_load()
        live.start("--workers", "2", *_QUICK)
        wait_until_every_slot_reads(live.stack, {"taskmanager": 1, "taskmanager-2": 1})
        assert len(live.python_workers()) == 4  # for both slots each: one TaskManager may be alone with them
        with fault(live, recorded, "from two taskmanagers to three"):
            savepoint = live.job("stop")["from_savepoint"]
            more = replace(stack_of_two.settings, taskmanagers=3)
            assert len(Stack(stack_of_two.layout, more).up(["kafka", "flink"])) == 5
            live.start("--workers", "3", "--from-savepoint", savepoint, *_QUICK)
        wait_for(lambda: set(reads(live.stack)) == {"taskmanager", "taskmanager-2", "taskmanager-3"}, "a slot of each")
        with fault(live, recorded, "from three taskmanagers to one"):
            savepoint = live.job("stop")["from_savepoint"]
            for name in ("taskmanager", "taskmanager-3"):
                live.stack.kill(name)
            live.start("--workers", "1", "--from-savepoint", savepoint, *_QUICK)
        wait_until_every_slot_reads(live.stack, {"taskmanager-2": 1})
        check_all(live, recorded)
    finally:
        live.close()
