"""A real Airflow with a real Kafka and Flink: a job is deployed once and upgraded, a failed upgrade goes back, sensors end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.spec.project import Project
from devstack.airflow_api import wait_until
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.runs.submission import submissions
from lake.tables.publish import table_totals
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.topics import ingest_topics
from runners.flink.rest import FlinkRest
from tests.support.airflow_streams import WITHIN_S, Streams, streams
from tests.support.live_job import TABLE, published_ids
from tests.support.real_airflow import start_another
from tests.support.stack import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_600)]
DEPLOY, UPGRADE = "shop.deploy.web", "shop.upgrade.web"
_STAYS_S = 20.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    with streams(tmp_path_factory.mktemp("streams")) as made:
        yield made


def restored_from(own: Streams, job: str) -> str | None:
    """The savepoint that a job began with."""
    found = FlinkRest(own.stack.flink_rest).checkpoints(job)
    return found.restored_from if found else None


def bare(path: str) -> str:
    """A place without its scheme."""
    return "/" + path.partition(":")[2].lstrip("/")


def totals(lake: Lake) -> tuple[int, str]:
    """Rows and content hash."""
    rows, digest = table_totals(lake.load(TABLE))
    return rows, f"{digest:032x}"


def test_a_second_deploy_starts_no_second_job(own: Streams) -> None:
    with own.load():
        run, state, tasks = own.run(DEPLOY)
        assert state == "success", (tasks, own.said(DEPLOY, run, "deploy")[-3_000:], own.said(DEPLOY, run, "moves")[-2_000:])
        first = own.jobs
        _, state, tasks = own.run(DEPLOY)
    assert (state, len(first), own.jobs) == ("success", 1, first), tasks


def test_an_upgrade_goes_on_from_a_savepoint(own: Streams) -> None:
    (before,) = own.jobs
    with own.load():
        run, state, tasks = own.run(UPGRADE)
    assert state == "success" and tasks["take_back"] == "skipped", (tasks, own.said(UPGRADE, run, "stop")[-3_000:])
    (after,) = own.jobs
    assert after != before
    assert bare(restored_from(own, after) or "") == bare(own.xcom(UPGRADE, run, "stop")["savepoint"])


def test_an_upgrade_that_stands_still_goes_back_and_loses_nothing(own: Streams) -> None:
    (before,) = own.jobs
    (own.folder / "bad").touch()
    try:
        with own.load():
            run, state, tasks = own.run(UPGRADE)
    finally:
        (own.folder / "bad").unlink()
    wanted = {"stop": "success", "moves": "failed", "take_back": "success", "took_back": "failed"}
    assert state == "failed" and wanted.items() <= tasks.items(), (tasks, own.said(UPGRADE, run, "take_back")[-3_000:])
    assert "the version before works" in own.said(UPGRADE, run, "took_back")
    (after,) = own.jobs
    assert after != before
    assert bare(restored_from(own, after) or "") == bare(own.xcom(UPGRADE, run, "stop")["savepoint"])
    own.send(4)
    wait_for(lambda: published_ids(own.lake) == own.ids, "all rows", WITHIN_S)
    lake, spec = Lake.at(str(own.lake)), Project.load(own.project).source("web")[0]

    def entry() -> LedgerEntry:
        return sum(source_ledger(lake, spec, TABLE).values(), LedgerEntry())

    wait_for(lambda: entry().balanced, "the ledger to follow", WITHIN_S)
    assert entry().records_in == own.sent
    other = own.folder / "undisturbed"
    options = IngestOptions(source="web", input=(own.broker.uri(own.topic),), lake=str(other), until="now")
    ingest_topics(options, Project.load(own.project), lambda _: None)
    assert totals(lake) == totals(Lake.at(str(other)))


def test_a_savepoint_that_fails_leaves_the_job_as_it_is(own: Streams) -> None:
    """The task that takes back runs, since one before it failed; it must not end the job of before."""
    (before,) = own.jobs
    folder = own.stack.savepoints_dir
    mode = folder.stat().st_mode
    hidden = folder.with_name("savepoints-hidden")
    folder.rename(hidden)
    folder.write_text("a file in the place of the folder")
    try:
        run, state, tasks = own.run(UPGRADE)
    finally:
        folder.unlink()
        hidden.rename(folder)
        folder.chmod(mode)
    assert state == "failed" and tasks["stop"] == "failed" and tasks["take_back"] == "failed", tasks
    assert own.jobs == {before}, own.said(UPGRADE, run, "take_back")[-2_000:]
    assert "left as it is" in own.said(UPGRADE, run, "take_back")


def test_sensors_of_streams_end_and_say_why(own: Streams) -> None:
    kinds = ("still", "old", "typo", "absent", "down", "nowhere", "young")
    runs = {kind: own.api.trigger(f"own.{kind}") for kind in kinds}
    wait_until(own.state("own.absent", runs["absent"]), {"deferred"}, WITHIN_S)
    own.stack.kill("airflow-triggerer")
    own.stack.start("airflow-triggerer")
    ended = {kind: own.api.wait_run(f"own.{kind}", run, WITHIN_S) for kind, run in runs.items()}
    said = {kind: own.said(f"own.{kind}", run) for kind, run in runs.items()}
    assert ended == dict.fromkeys(kinds, "failed") | {"young": "success"}, said
    words = {
        "still": "the frontier did not move within 15 s",
        "old": "no row younger than 0 s came within 15 s",
        "typo": "no source, destination, dataset or recipe 'wbe'",
        "absent": "no stream of mobile was found",
        "down": "exit code 3",
        "nowhere": "exit code 2",
    }
    for kind, text in words.items():
        assert text in said[kind], (kind, said[kind][-2_000:])
    tries = {kind: own.api.tasks(f"own.{kind}", run)[0]["try_number"] for kind, run in runs.items()}
    assert tries == dict.fromkeys(kinds, 1)
    run = own.api.trigger("own.moves")
    wait_until(own.state("own.moves", run), {"deferred"}, WITHIN_S)
    with own.load():
        assert own.api.wait_run("own.moves", run, WITHIN_S) == "success", own.said("own.moves", run)[-2_000:]


def running(own: Streams, dag_id: str) -> tuple[str, dict[str, Any]]:
    """A run whose bounded job is on the cluster, and its task."""
    before = own.jobs
    run = own.api.trigger(dag_id)
    wait_for(lambda: bool(own.jobs - before), "the job", WITHIN_S)
    return run, own.api.tasks(dag_id, run)[0]


@pytest.mark.parametrize("how", ["failed", "clear", "limit", "killed"])
def test_a_task_that_ends_ends_its_bounded_job(own: Streams, how: str) -> None:
    before = own.jobs
    dag_id = "own.job-limit" if how == "limit" else "own.job"
    run, task = running(own, dag_id)
    (job,) = own.jobs - before
    if how == "failed":
        own.api.set_state(dag_id, run, "task", "failed")
    if how == "clear":
        own.api.clear(dag_id, run, "task")
    if how == "killed":
        os.kill(task["pid"], signal.SIGKILL)
    wait_for(lambda: job not in own.jobs, "the job to be cancelled", WITHIN_S)
    if how == "clear":
        wait_for(lambda: bool(own.jobs - before), "the job of the next try", WITHIN_S)
        own.api.set_state(dag_id, run, "task", "failed")
    wait_for(lambda: own.jobs == before, "all to be as before", WITHIN_S)
    assert own.api.wait_run(dag_id, run, WITHIN_S) == "failed"
    assert own.jobs == before


def test_a_job_goes_on_where_its_trigger_is_handed_to_another_triggerer(own: Streams) -> None:
    """The first one is stopped until Airflow takes it for dead, and goes on then: it ends its triggers, as if a user had."""
    (job,) = own.jobs
    (submission,) = [run for run in submissions(Lake.at(str(own.lake))) if job in run.job_ids]
    run = own.api.trigger("own.watch", run_id=submission.run_id, job_id=job, flink=own.stack.flink_rest)
    wait_for(lambda: own.said("own.watch", run).count(") starting") == 1, "the trigger to run", WITHIN_S)
    first = own.stack.pid("airflow-triggerer")
    assert first
    second = start_another(own.stack, "triggerer")
    os.killpg(first, signal.SIGSTOP)
    try:
        wait_for(lambda: own.said("own.watch", run).count(") starting") == 2, "the trigger to run again", WITHIN_S)
    finally:
        os.killpg(first, signal.SIGCONT)
    wait_for(lambda: "cancelled by user action" in own.said("own.watch", run), "the first to end its trigger", WITHIN_S)
    until = time.monotonic() + _STAYS_S
    while time.monotonic() < until:  # its own cancel would take some seconds
        assert own.jobs == {job} and own.state("own.watch", run)() == "deferred"
        time.sleep(1)
    own.api.set_state("own.watch", run, "task", "failed")
    own.wait_for_jobs(0)
    os.killpg(second.pid, signal.SIGKILL)
    with own.load():
        assert own.run(DEPLOY)[1] == "success"


@pytest.mark.parametrize("how", ["failed", "clear", "limit"])
def test_a_sensor_that_ends_ends_the_job_that_it_waits_for(own: Streams, how: str) -> None:
    """Here the stream's own job stands for a bounded one, which would end no other way."""
    (job,) = own.jobs
    (submission,) = [run for run in submissions(Lake.at(str(own.lake))) if job in run.job_ids]
    dag_id = "own.limit" if how == "limit" else "own.watch"
    run = own.api.trigger(dag_id, run_id=submission.run_id, job_id=job, flink=own.stack.flink_rest)
    if how == "failed":
        wait_for(lambda: own.said(dag_id, run).count(") starting") == 1, "the trigger to run", WITHIN_S)
        own.stack.kill("airflow-triggerer")  # what a triggerer that goes away drops is no user's wish
        own.stack.start("airflow-triggerer")
        wait_for(lambda: own.said(dag_id, run).count(") starting") == 2, "the trigger to run again", WITHIN_S)
        assert own.jobs == {job}
        own.api.set_state(dag_id, run, "task", "failed")
    if how == "clear":  # the next try waits by the time that Airflow ends the trigger of the first
        wait_for(lambda: own.said(dag_id, run).count(") starting") == 1, "the trigger to run", WITHIN_S)
        own.api.clear(dag_id, run, "task")
    own.wait_for_jobs(0)
    assert own.api.wait_run(dag_id, run, WITHIN_S) == "failed"  # the try after a clear finds the job cancelled
    with own.load():
        assert own.run(DEPLOY)[1] == "success"


def test_a_sensor_ends_with_its_job_and_where_the_cluster_has_lost_it(own: Streams) -> None:
    """A small bounded job; then a JobManager that was killed, and forgot the stream's job."""
    before, ended = own.jobs, list[int]()
    bounded = threading.Thread(target=lambda: ended.append(own.ingest_to_now("small")))
    bounded.start()
    wait_for(lambda: bool(own.jobs - before) or not bounded.is_alive(), "the bounded job", WITHIN_S)
    (job,) = own.jobs - before
    run = own.api.trigger("own.watch", run_id="of-nobody", job_id=job, flink=own.stack.flink_rest)
    bounded.join(WITHIN_S)
    assert ended == [0]
    assert own.api.wait_run("own.watch", run, WITHIN_S) == "success", own.said("own.watch", run)[-2_000:]

    (job,) = before
    run = own.api.trigger("own.watch", run_id="of-nobody", job_id=job, flink=own.stack.flink_rest)
    wait_until(own.state("own.watch", run), {"deferred"}, WITHIN_S)
    own.stack.kill("jobmanager")
    own.stack.start("jobmanager")
    assert own.api.wait_run("own.watch", run, WITHIN_S) == "failed"
    assert f"job {job}: LOST" in own.said("own.watch", run)
