"""``headrace job`` as its user sees it: what it prints, what it says when something is wrong, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.job import job
from cli.status import status
from lake.location import Lake
from lake.runs.manifest import write_started
from lake.runs.submission import Attempt, read_submission, record_ending, record_submission
from tests.support.flink_stub import A, B, C, StubCluster, StubJob, checkpoint, serving
from tests.support.processes import ROOT

RUN = "20261123T042512483350Z-web-5c9be0"
OTHER = "20261123T051500000000Z-orders-0aa1f2"
SAVEPOINT = "file:/savepoints/savepoint-1"


@dataclass(frozen=True)
class Scene:
    """A project folder with a lake, and a cluster."""

    folder: Path
    cluster: StubCluster

    @property
    def lake(self) -> Lake:
        return Lake.at(str(self.folder / "lake"))

    def submitted(self, run_id: str, *job_ids: str) -> None:
        for job_id in job_ids:
            argv = ("ingest", run_id.split("-")[1], "--input", "kafka://localhost:9092/a topic")
            record_submission(self.lake, run_id, argv, run_id, self.cluster.address, Attempt(job_id, datetime.now(UTC)))

    def checkpoint_on_disk(self, job_id: str, number: int) -> str:
        folder = self.folder / "checkpoints" / job_id / f"chk-{number}"
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")
        return folder.as_uri()

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command prints on both streams."""
        done = CliRunner().invoke(job, arguments)
        assert done.exit_code == code, (done.output, done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output

    def document(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLINK_REST", raising=False)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "lake" / "_runs").mkdir(parents=True)
    config = {"state.checkpoints.dir": (tmp_path / "checkpoints").as_uri(), "state.savepoints.dir": "file:/savepoints"}
    with serving(StubCluster(config=config)) as cluster:
        (tmp_path / "headrace.yaml").write_text(f"lake: lake\nflink: {cluster.address}\n")
        yield Scene(tmp_path, cluster)


def recently(seconds: float) -> int:
    return int((datetime.now(UTC) - timedelta(seconds=seconds)).timestamp() * 1000)


# --- list


def test_jobs_are_listed_with_their_runs(scene: Scene) -> None:
    scene.submitted(RUN, B, A)
    made = checkpoint(7, f"file:/c/{A}/chk-7", at_ms=recently(65))
    scene.cluster.jobs += [StubJob(A, RUN, completed=made, restarts="2"), StubJob(C, "somebody-elses", state="CANCELED")]
    header, row = scene.run("list").splitlines()
    columns = ["source", "run", "job", "state", "uptime", "restarts", "resubmitted", "checkpoint", "size"]
    assert re.split(r"\s{2,}", header.strip()) == columns
    assert re.split(r"\s{2,}", row.strip())[:5] == ["web", RUN, A, "RUNNING", "1m 1s"]
    assert re.split(r"\s{2,}", row.strip())[5:] == ["2", "1", "1m 5s ago", "223.8 KB"]
    everything = scene.document("list", "--all")
    assert [(line["job_id"], line["run_id"]) for line in everything] == [(A, RUN), (C, None)]


def test_a_run_that_its_cluster_forgot_is_listed_as_lost_until_it_is_ended(scene: Scene) -> None:
    scene.submitted(RUN, A)
    assert "LOST" in scene.run("list")
    record_ending(scene.lake, RUN, "cancelled")
    assert scene.run("list") == f"no jobs run on {scene.cluster.address}\n"
    assert [line["state"] for line in scene.document("list", "--all")] == ["CANCELLED"]


def test_a_job_whose_submission_was_not_noted_is_its_runs_by_its_name(scene: Scene) -> None:
    """headrace was killed between the two; who looks whether the source has a job must find it."""
    write_started(scene.lake, RUN, datetime.now(UTC), "web")
    scene.cluster.jobs += [StubJob(A, RUN), StubJob(B, OTHER), StubJob(C, "../" + RUN)]
    found = {line["job_id"]: (line["source"], line["run_id"]) for line in scene.document("list")}
    assert found == {A: ("web", RUN), B: (None, None), C: (None, None)}


def test_a_failed_run_is_listed_unless_it_runs_again(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN, state="FAILED"))
    assert [line["state"] for line in scene.document("list")] == ["FAILED"]
    scene.submitted(RUN, B)
    scene.cluster.jobs.append(StubJob(B, f"{RUN}-061500", started_ms=scene.cluster.jobs[0].started_ms + 1))
    assert [(line["state"], line["job_id"]) for line in scene.document("list")] == [("RUNNING", B)]


def test_runs_on_another_cluster_are_pointed_to(scene: Scene) -> None:
    scene.submitted(RUN, A)
    with serving(StubCluster()) as empty:
        out = scene.run("list", "--flink", empty.address)
    assert f"headrace job list --flink {scene.cluster.address}" in out and "LOST" not in out


def test_the_cluster_is_taken_from_option_project_environment_in_that_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLINK_REST", "environment:1")
    assert scene.cluster.address in scene.run("list")
    assert "Flink at localhost:1 does not answer" in scene.run("list", "--flink", "localhost:1", code=3)
    (scene.folder / "headrace.yaml").write_text("lake: lake\n")
    assert "Flink at environment:1 does not answer" in scene.run("list", code=3)


# --- which job is meant


@pytest.mark.parametrize("name", [RUN, RUN[:20], A, "aaaa"])
def test_a_job_is_found_by_run_id_job_id_and_their_beginnings(name: str, scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.submitted(OTHER, B)
    scene.cluster.jobs += [StubJob(A, RUN), StubJob(B, OTHER)]
    assert scene.document("status", name)["run_id"] == RUN


def test_an_unknown_job_names_the_nearest_and_an_ambiguous_one_all(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.submitted(OTHER, B)
    assert f"did you mean {RUN}" in scene.run("status", RUN.replace("web", "wbe"), code=2)
    assert f"several jobs begin with '20261123': {RUN}, {OTHER}" in scene.run("stop", "20261123", code=2)
    assert "headrace job list --all shows" in scene.run("cancel", "zzz", code=2)
    assert f"did you mean {RUN}" in scene.run("supervise", RUN[1:], code=2)


def test_a_run_is_looked_for_on_the_cluster_that_it_was_submitted_to(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN))
    (scene.folder / "headrace.yaml").write_text("lake: lake\nflink: localhost:1\n")
    assert scene.document("status", RUN)["state"] == "RUNNING"


def test_a_job_without_a_lake_is_found_by_its_name(scene: Scene) -> None:
    (scene.folder / "headrace.yaml").write_text(f"flink: {scene.cluster.address}\n")
    scene.cluster.jobs.append(StubJob(A, "web-events"))
    document = scene.document("status", "web-")
    assert (document["job_id"], document["run_id"], document["state"]) == (A, None, "RUNNING")


# --- status


def test_status_tells_what_a_person_needs_and_never_a_value_of_a_record(scene: Scene) -> None:
    scene.submitted(RUN, A)
    cause = "java.lang.NumberFormatException: For input: anna@example.com"
    trace = f"java.lang.RuntimeException: x\n\tat x.Y.z(Y.java:1)\nCaused by: {cause}"
    made = checkpoint(7, f"file:/c/{A}/chk-7", at_ms=recently(5))
    scene.cluster.jobs.append(StubJob(A, RUN, exception=trace, completed=made, restarts="4"))
    out = scene.run("status", RUN)
    for line in ("state       RUNNING", "uptime      1m 1s", "restarts    4 by the cluster", "last cause  NumberFormatException ("):
        assert line in out
    assert "checkpoints 7 completed, 1 failed, 1 in progress" in out
    assert f"223.8 KB in 0.0 s, file:/c/{A}/chk-7" in out
    assert re.search(r"\[1\]Count +RUNNING +2 +71 +12 +25%", out)
    assert "anna" not in out + scene.run("status", RUN, "--json")


def test_status_of_a_lost_run_says_how_to_start_it_again(scene: Scene) -> None:
    scene.submitted(RUN, A)
    newest = scene.checkpoint_on_disk(A, 12)
    out = scene.run("status", RUN)
    assert "LOST" in out and f"go on from   {newest}" in out
    command = ["headrace", "ingest", "web", "--input", "kafka://localhost:9092/a topic", "--from-savepoint", newest]
    assert shlex.split(out.split("start again: ")[1].splitlines()[0]) == command


def test_a_command_to_start_again_from_another_folder_goes_there_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.submitted(RUN, A)
    monkeypatch.chdir(scene.folder / "checkpoints")
    assert scene.document("status", RUN, "--project", "..")["start_again"].startswith(f"cd {scene.folder} && headrace ingest web")


def test_status_of_a_lost_run_with_an_unmounted_folder_does_not_say_that_nothing_is_left(scene: Scene) -> None:
    scene.submitted(RUN, A)
    (scene.folder / "checkpoints").rmdir()
    out = scene.run("status", RUN)
    assert "unknown: the checkpoints folder" in out and "start again" not in out


# --- stop


def test_stop_prints_the_savepoint_and_the_command_to_start_again(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN, stop=(1, SAVEPOINT)))
    out = scene.run("stop", RUN)
    assert f"stopped {RUN} (FINISHED)" in out
    assert f"start again: headrace ingest web --input 'kafka://localhost:9092/a topic' --from-savepoint {SAVEPOINT}" in out
    assert {"drain": False} in scene.cluster.bodies
    ended = read_submission(scene.lake, RUN)
    assert ended and ended.ended and (ended.ended.how, ended.ended.savepoint) == ("stopped", SAVEPOINT)
    assert "has ended already: FINISHED" in scene.run("stop", RUN, code=2)
    assert scene.document("status", RUN)["from_savepoint"] == SAVEPOINT


def test_a_failed_savepoint_leaves_the_job_and_says_what_to_do(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN, stop=(0, "java.nio.file.AccessDeniedException: /savepoints\n\tat x.Y.z(Y.java:1)")))
    out = scene.run("stop", RUN, code=3)
    assert "failed: AccessDeniedException: /savepoints; the job goes on (RUNNING)" in out
    assert f"headrace job cancel {RUN}" in out
    run = read_submission(scene.lake, RUN)
    assert run and run.ended is None


def test_a_savepoint_that_takes_longer_than_wait_is_an_error(scene: Scene) -> None:
    scene.cluster.jobs.append(StubJob(A, "web", stop=(10**9, "")))
    assert "did not complete within 1 s" in scene.run("stop", A, "--wait", "1s", code=3)
    assert "expected a duration" in scene.run("stop", A, "--wait", "soon", code=2)


def test_without_a_folder_for_savepoints_nothing_is_stopped(scene: Scene) -> None:
    scene.cluster.jobs.append(StubJob(A, "web"))
    scene.cluster.config.clear()
    assert "give --savepoints URI" in scene.run("stop", A, code=2)
    assert not any(request.startswith("POST") for request in scene.cluster.requests)
    assert "--from-savepoint file:/savepoints/savepoint-1" in scene.run("stop", A, "--savepoints", "file:/s")


def test_a_lost_job_cannot_be_stopped(scene: Scene) -> None:
    scene.submitted(RUN, A)
    assert "knows no job of it" in scene.run("stop", RUN, code=2)


# --- cancel


def test_cancel_names_the_retained_checkpoint(scene: Scene) -> None:
    scene.submitted(RUN, A)
    kept = scene.checkpoint_on_disk(A, 7)
    scene.cluster.jobs.append(StubJob(A, RUN, completed=checkpoint(7, kept)))
    out = scene.run("cancel", RUN, "--yes")
    assert f"cancelled {RUN} (CANCELED)" in out and f"--from-savepoint {kept}" in out
    ended = read_submission(scene.lake, RUN)
    assert ended and ended.ended and ended.ended.how == "cancelled"


def test_cancel_asks_and_without_anybody_to_ask_wants_yes(scene: Scene) -> None:
    scene.cluster.jobs.append(StubJob(A, "web"))
    assert "confirm with --yes" in scene.run("cancel", A, code=2)
    assert scene.cluster.jobs[0].state == "RUNNING"


def test_cancel_of_a_job_that_keeps_no_checkpoint_names_none(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN, keeps=False, completed=checkpoint(7, f"file:/c/{A}/chk-7")))
    assert "no savepoint or checkpoint is left" in scene.run("cancel", RUN, "--yes")


def test_a_lost_run_can_be_given_up_so_that_nothing_starts_it_again(scene: Scene) -> None:
    scene.submitted(RUN, A)
    newest = scene.checkpoint_on_disk(A, 3)
    document = scene.document("cancel", RUN, "--yes")
    assert (document["state"], document["from_savepoint"]) == ("LOST", newest)
    ended = read_submission(scene.lake, RUN)
    assert ended and ended.ended
    assert not any(request.startswith("PATCH") for request in scene.cluster.requests)


# --- supervise


def supervise(scene: Scene, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli.main", "job", "supervise", RUN, "--every", "1s", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=scene.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_supervise_logs_a_line_per_event_and_ends_when_the_job_finished(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN))
    with supervise(scene, "--json") as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        assert (first["event"], first["run_id"]) == ("following", RUN)
        scene.cluster.jobs[0].state = "FINISHED"
        out, err = process.communicate(timeout=60)
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["state", "ended"]
    assert (process.returncode, err) == (0, "")


def test_sigterm_ends_the_supervision_and_not_the_job(scene: Scene) -> None:
    scene.submitted(RUN, A)
    scene.cluster.jobs.append(StubJob(A, RUN))
    with supervise(scene) as process:
        assert process.stdout and f"{RUN} following: job {A}" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "the job is left as it is" in out
    assert scene.cluster.jobs[0].state == "RUNNING"


def test_supervise_runs_the_recorded_command_and_gives_up_with_3(scene: Scene) -> None:
    record_submission(scene.lake, RUN, ("ingest", "no-such-source"), RUN, scene.cluster.address, Attempt(A, datetime.now(UTC)))
    newest = scene.checkpoint_on_disk(A, 3)
    with supervise(scene, "--max-restarts", "1", "--per", "1h") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "lost: " in out and "gave up" in err and "Traceback" not in err
    log = (scene.lake.runs / RUN / "resubmit.log").read_text()
    assert f"ingest no-such-source --from-savepoint {newest}" in log and "--input is missing" in log


@pytest.mark.parametrize("verb", ["list", "status", "stop", "cancel", "supervise"])
def test_every_verb_has_help_with_an_example(verb: str, scene: Scene) -> None:
    out = scene.run(verb, "--help")
    assert f"headrace job {verb}" in out.split("Example", 1)[1]


# --- headrace status


def test_a_stream_is_shown_however_many_runs_came_after_it(scene: Scene) -> None:
    """Who waits for its frontier asks for the usual number of runs; a bounded run on the cluster is no stream."""
    write_started(scene.lake, RUN, datetime.now(UTC), "web")
    scene.submitted(RUN, A)
    later = [f"20261124T0425{n:02}483350Z-web-00000{n}" for n in range(3)]
    for run_id in later:
        write_started(scene.lake, run_id, datetime.now(UTC), "web")
    scene.submitted(later[0], B)
    record_ending(scene.lake, later[0], "finished")
    done = CliRunner().invoke(status, ["--limit", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert [run["run_id"] for run in json.loads(done.stdout)] == [later[2], RUN], done.output
