"""Supervision against a cluster of documents: when a run is submitted again, from where, and when it is not."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ComponentDownError, ConfigurationError, GaveUpError
from lake.location import Lake
from lake.runs.submission import Attempt, Ending, read_submission, record_ending, record_submission
from runners.jobs.supervise import Event, Supervisor
from tests.support.flink_stub import A, B, C, StubCluster, StubJob, checkpoint, serving

RUN = "20261123T042512483350Z-web-5c9be0"
DEADLINE_S = 30.0

# Stands for headrace: says what it was given, and notes job --job in the run's record, as a submission does.
FAKE = """\
import json, os, subprocess, sys, time
run, arguments = os.environ["HEADRACE_RESUMED_RUN"], sys.argv[1:]
option = lambda name: arguments[arguments.index(name) + 1] if name in arguments else None
with open("calls", "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if option("--hang"):
    child = subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(600)"])
    open("child", "w").write(str(child.pid))
    time.sleep(600)
if option("--exit"):
    sys.exit(int(option("--exit")))
if option("--job"):
    path = f"lake/_runs/{run}/submission.json"
    record = json.load(open(path))
    attempt = {"job_id": option("--job"), "submitted_at": "2026-11-23T05:00:00+00:00", "from_savepoint": option("--from-savepoint")}
    record["attempts"].append(attempt)
    open(path + ".new", "w").write(json.dumps(record))
    os.replace(path + ".new", path)
"""


@dataclass
class Scene:
    """A run with one submission, and what a supervisor does with it."""

    folder: Path
    cluster: StubCluster
    server: ExitStack
    events: list[Event] = field(default_factory=list)
    on_event: Callable[[str], None] = lambda event: None

    @property
    def lake(self) -> Lake:
        return Lake.at(str(self.folder / "lake"))

    def submitted(self, *argv: str) -> None:
        attempt = Attempt(A, datetime(2026, 11, 23, 4, 25, tzinfo=UTC))
        record_submission(self.lake, RUN, ("ingest", "web", *argv), RUN, self.cluster.address, attempt)

    def supervisor(self, **changed: Any) -> Supervisor:
        def report(event: Event) -> None:
            self.events.append(event)
            self.on_event(event.event)

        given = {"max_restarts": 3, "per_s": 600.0, "report": report, "poll_s": 0.01, "command": self.command} | changed
        return Supervisor(self.lake, RUN, **{"refresh_s": 0.05} | given)

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-IS", str(self.folder / "fake.py"))

    def told(self) -> list[str]:
        return [event.event for event in self.events]

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def checkpoint_on_disk(self, job_id: str, number: int) -> str:
        folder = self.folder / "checkpoints" / job_id / f"chk-{number}"
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")
        return folder.as_uri()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "fake.py").write_text(FAKE)
    with ExitStack() as server:
        config = {"state.checkpoints.dir": (tmp_path / "checkpoints").as_uri()}
        yield Scene(tmp_path, server.enter_context(serving(StubCluster(config=config))), server)


def test_a_lost_job_is_submitted_again_from_its_newest_checkpoint(scene: Scene) -> None:
    scene.submitted("--job", B, "--from-savepoint", "file:/old")
    scene.checkpoint_on_disk(A, 6)
    newest = scene.checkpoint_on_disk(A, 7)

    def then(event: str) -> None:
        if event == "resubmitting":
            scene.cluster.jobs.append(StubJob(B, RUN))
        if event == "resubmitted":
            scene.cluster.jobs[0].state = "FINISHED"

    scene.on_event = then
    assert scene.supervisor().run().how == "finished"
    assert scene.calls() == [["ingest", "web", "--job", B, "--from-savepoint", newest]]
    found = read_submission(scene.lake, RUN)
    assert found and found.attempts[1].from_savepoint == newest and found.ended and found.ended.how == "finished"
    assert scene.told() == ["lost", "resubmitting", "resubmitted", "following", "ended"]


def test_a_failed_job_is_submitted_again_and_its_cause_is_told(scene: Scene) -> None:
    scene.submitted("--job", B)
    scene.cluster.jobs.append(StubJob(A, RUN, state="FAILED", exception="java.io.IOException: disk full\n\tat x.Y.z(Y.java:1)"))

    def then(event: str) -> None:
        if event == "resubmitting":
            scene.cluster.jobs.append(StubJob(B, RUN, started_ms=scene.cluster.jobs[0].started_ms + 1))
        if event == "resubmitted":
            scene.cluster.jobs[1].state = "CANCELED"

    scene.on_event = then
    assert scene.supervisor().run().how == "cancelled"
    assert scene.calls() == [["ingest", "web", "--job", B]], "no checkpoint: as it was first submitted"
    assert "IOException: disk full" in next(event.text for event in scene.events if event.event == "failed")


def test_a_checkpoint_that_only_the_cluster_could_see_is_remembered(scene: Scene) -> None:
    scene.submitted("--job", B)
    seen = f"s3://bucket/checkpoints/{A}/chk-12"
    scene.cluster.jobs.append(StubJob(A, RUN, completed=checkpoint(12, seen)))

    def then(event: str) -> None:
        if event == "lost":
            scene.cluster.jobs.append(StubJob(B, RUN, state="FINISHED"))

    scene.on_event = then
    done = run_in_thread(scene.supervisor())
    until(lambda: scene.cluster.requests.count(f"GET /jobs/{A}/checkpoints") >= 2)
    scene.cluster.jobs.clear()
    done()
    assert scene.calls() == [["ingest", "web", "--job", B, "--from-savepoint", seen]]


def test_a_job_that_restarts_by_itself_is_left_alone(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN, state="RESTARTING"))
    done = run_in_thread(scene.supervisor())
    until(lambda: scene.cluster.requests.count("GET /jobs/overview") >= 5)
    scene.cluster.jobs[0].state = "RUNNING"
    until(lambda: "state" in scene.told())
    scene.cluster.jobs[0].state = "FINISHED"
    assert done().how == "finished"
    assert scene.calls() == []


def test_it_waits_while_the_cluster_does_not_answer_and_says_so_once(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN))
    scene.cluster.broken = 503
    done = run_in_thread(scene.supervisor())
    until(lambda: scene.cluster.requests.count("GET /jobs/overview") >= 6)
    scene.cluster.jobs[0].state = "FINISHED"
    scene.cluster.broken = None
    done()
    assert scene.told() == ["down", "back", "following", "ended"]
    assert scene.calls() == []


@pytest.mark.parametrize("code", ["1", "2", "3"])
def test_it_gives_up_after_too_many_resubmissions(code: str, scene: Scene) -> None:
    scene.submitted("--exit", code)
    with pytest.raises(GaveUpError, match="resubmitted 3 times within 600 s") as caught:
        scene.supervisor().run()
    assert caught.value.exit_code == 3
    assert len(scene.calls()) == 3
    assert scene.told() == ["lost", *["resubmitting", "refused", "lost"] * 3]


def test_resubmissions_of_another_period_do_not_count(scene: Scene) -> None:
    scene.submitted("--exit", "1")
    done = run_in_thread(scene.supervisor(max_restarts=1, per_s=0.001))
    until(lambda: len(scene.calls()) >= 3)
    scene.cluster.jobs.append(StubJob(A, RUN, state="FINISHED"))
    done()


def test_a_submission_that_notes_no_job_ends_the_supervision(scene: Scene) -> None:
    scene.submitted()
    with pytest.raises(GaveUpError, match="noted no job"):
        scene.supervisor().run()
    assert len(scene.calls()) == 1


def test_a_missing_checkpoints_folder_is_waited_for_and_never_taken_for_a_beginning(scene: Scene) -> None:
    scene.submitted("--job", B)
    (scene.folder / "checkpoints").rename(scene.folder / "unmounted")
    done = run_in_thread(scene.supervisor(max_restarts=1))
    until(lambda: scene.told().count("refused") >= 3)
    assert scene.calls() == []
    (scene.folder / "unmounted").rename(scene.folder / "checkpoints")
    newest = scene.checkpoint_on_disk(A, 7)
    scene.on_event = lambda event: scene.cluster.jobs.append(StubJob(B, RUN, state="FINISHED")) if event == "resubmitting" else None
    done()
    assert scene.calls() == [["ingest", "web", "--job", B, "--from-savepoint", newest]]


def test_a_job_of_the_run_that_its_record_does_not_name_is_taken_up(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(C, RUN + "-050000", restored="file:/c/chk-3"))
    done = run_in_thread(scene.supervisor())
    until(lambda: "following" in scene.told())
    scene.cluster.jobs[0].state = "FINISHED"
    done()
    found = read_submission(scene.lake, RUN)
    assert found and [(a.job_id, a.from_savepoint) for a in found.attempts] == [(A, None), (C, "file:/c/chk-3")]
    assert scene.calls() == []


def test_a_resubmission_that_failed_at_once_does_not_make_the_run_begin_anew(scene: Scene) -> None:
    scene.submitted("--exit", "3")
    newest = scene.checkpoint_on_disk(A, 7)

    def then(event: str) -> None:
        if event == "resubmitting":
            scene.cluster.jobs.append(StubJob(C, RUN + "-050000", state="FAILED"))

    scene.on_event = then
    with pytest.raises(GaveUpError):
        scene.supervisor(max_restarts=2).run()
    assert [call[-2:] for call in scene.calls()] == [["--from-savepoint", newest]] * 2
    assert scene.told().count("found") == 1


def test_a_job_that_is_forgotten_between_two_requests_is_looked_for_again(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN))
    answers = [True, True, True]
    ask = scene.cluster._of_job

    def forgetful(job: StubJob, method: str, rest: list[str]) -> tuple[int, Any]:
        return (404, {"errors": ["gone"]}) if answers and answers.pop() else ask(job, method, rest)

    scene.cluster._of_job = forgetful  # type: ignore[method-assign]
    done = run_in_thread(scene.supervisor())
    until(lambda: not answers and "following" in scene.told())
    scene.cluster.jobs[0].state = "FINISHED"
    assert done().how == "finished"


def test_a_job_that_somebody_else_stopped_is_not_submitted_again_and_its_savepoint_is_noted(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN, state="FINISHED", completed=checkpoint(9, "file:/s/savepoint-9", savepoint=True)))
    ending = scene.supervisor().run()
    assert (ending.how, ending.savepoint) == ("stopped", "file:/s/savepoint-9")
    assert scene.calls() == []


def test_a_cluster_that_tells_the_end_of_a_job_before_its_last_savepoint_is_asked_again(scene: Scene) -> None:
    """Flink keeps what it says of a job's checkpoints for some seconds, and its state for none."""
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN, state="FINISHED", completed=checkpoint(8, "file:/c/chk-8")))
    done = run_in_thread(scene.supervisor(refresh_s=0.5))
    until(lambda: any("checkpoints" in request for request in scene.cluster.requests))
    time.sleep(0.1)
    scene.cluster.jobs[0].completed = checkpoint(9, "file:/s/savepoint-9", savepoint=True)
    assert (done().how, done().savepoint) == ("stopped", "file:/s/savepoint-9")


def test_a_run_that_is_ended_while_it_is_submitted_again_does_not_live_on(scene: Scene) -> None:
    scene.submitted("--job", B)

    def then(event: str) -> None:
        if event == "resubmitting":
            scene.cluster.jobs.append(StubJob(B, RUN))
            record_ending(scene.lake, RUN, "cancelled")

    scene.on_event = then
    assert scene.supervisor().run().how == "cancelled"
    assert scene.cluster.jobs[0].state == "CANCELED"


def test_it_warns_of_a_job_that_keeps_no_checkpoints(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN, keeps=False))
    done = run_in_thread(scene.supervisor())
    until(lambda: "warning" in scene.told())
    scene.cluster.jobs[0].state = "FINISHED"
    done()


def test_a_run_that_was_ended_on_purpose_is_not_touched(scene: Scene) -> None:
    scene.submitted("--job", B)
    record_ending(scene.lake, RUN, "stopped", "file:/s/1")
    assert scene.supervisor().run().savepoint == "file:/s/1"
    assert scene.cluster.requests == [] and scene.calls() == []


def test_a_second_supervisor_refuses(scene: Scene) -> None:
    scene.submitted()
    scene.cluster.jobs.append(StubJob(A, RUN))
    done = run_in_thread(scene.supervisor())
    until(lambda: "following" in scene.told())
    with pytest.raises(ConfigurationError, match=f"is supervised already, by process {os.getpid()} on "):
        scene.supervisor().run()
    scene.cluster.jobs[0].state = "FINISHED"
    done()
    assert scene.supervisor().run().how == "finished", "the lock is free again"


def test_a_submission_that_hangs_is_killed_with_what_it_started(scene: Scene) -> None:
    scene.submitted("--hang", "yes")
    with pytest.raises(ComponentDownError):
        scene.supervisor(max_restarts=1, submit_deadline_s=1.0).run()
    child = int((scene.folder / "child").read_text())
    until(lambda: not running(child))
    assert "killed after 1 s" in (scene.lake.runs / RUN / "resubmit.log").read_text()


def test_it_waits_for_as_many_free_slots_as_the_job_had_before_it_submits(scene: Scene) -> None:
    scene.submitted("--job", B)
    scene.cluster.jobs.append(StubJob(A, RUN))
    scene.cluster.slots = 1
    done = run_in_thread(scene.supervisor())
    until(lambda: f"GET /jobs/{A}/checkpoints" in scene.cluster.requests)
    scene.cluster.jobs.clear()
    until(lambda: scene.cluster.requests.count("GET /overview") >= 3)
    assert scene.calls() == []
    scene.on_event = lambda event: scene.cluster.jobs.append(StubJob(B, RUN, state="FINISHED")) if event == "resubmitting" else None
    scene.cluster.slots = 2
    done()
    assert len(scene.calls()) == 1


def test_a_run_without_a_record_is_refused(scene: Scene) -> None:
    with pytest.raises(ConfigurationError, match="was not submitted"):
        scene.supervisor().run()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_in_thread(supervisor: Supervisor) -> Callable[[], Ending]:
    """Starts it; the result waits for its end."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(supervisor.run())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def done() -> Ending:
        thread.join(DEADLINE_S)
        assert results, "it did not end"
        if isinstance(results[0], BaseException):
            raise results[0]
        assert isinstance(results[0], Ending)
        return results[0]

    return done


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
