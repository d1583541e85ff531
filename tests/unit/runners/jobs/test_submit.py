"""A submission is on record by its options, whoever submits it and from whatever process."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import runners.jobs.submit
from contracts.spec.project import Project
from lake.location import Lake
from lake.runs.submission import read_submission
from pipelines.ingest.options import IngestOptions
from runners.flink.submit import FlinkJob
from runners.jobs.submit import flink_job, run_to_end, submit_endless

JOB = FlinkJob(rest="localhost:1", parallelism=2, from_savepoint="file:/s/1")
OPTIONS = IngestOptions(source="web", input=("kafka://h:9092/web",), runner="flink", until="now", beam_options=("--x=1",))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(sys, "argv", ["notebook", "--of", "somebody"])
    monkeypatch.setattr(runners.jobs.submit, "submit", lambda build, job, name, extra: f"job-of-{name}-{' '.join(extra)}")
    monkeypatch.setattr(runners.jobs.submit, "wait", lambda job_id, rest: None)
    monkeypatch.chdir(tmp_path)
    return Lake.at(str(tmp_path / "lake"))


def test_the_record_holds_the_arguments_of_the_options_and_the_project(lake: Lake, tmp_path: Path) -> None:
    project = Project(root=tmp_path / "p", file=tmp_path / "p" / "headrace.yaml")
    assert submit_endless(lambda pipeline: None, JOB, lake, "run-1", OPTIONS, project) == "job-of-run-1---x=1"
    found = read_submission(lake, "run-1")
    assert found is not None
    assert found.argv == (
        "ingest", "web", "--input=kafka://h:9092/web", "--until=now", "--runner=flink", f"--project={tmp_path}/p/headrace.yaml",
        "--", "--x=1",
    )  # fmt: skip
    assert (found.folder, found.attempts[0].from_savepoint) == (str(tmp_path), "file:/s/1")


def test_without_a_project_file_the_record_names_none_and_a_run_that_ended_says_so(lake: Lake, tmp_path: Path) -> None:
    run_to_end(lambda pipeline: None, JOB, lake, "run-1", OPTIONS, Project(root=tmp_path))
    found = read_submission(lake, "run-1")
    assert found is not None and found.ended is not None and found.ended.how == "finished"
    assert not any(part.startswith("--project") for part in found.argv)


def test_a_job_has_the_checkpoints_of_its_options() -> None:
    given = IngestOptions(source="s", input=("kafka://h/t",), runner="flink", workers=3, flink="f:1", checkpoint_every=60)
    assert flink_job(given, Project(root=Path())) == FlinkJob(rest="f:1", parallelism=3, checkpoint_s=60)


def test_python_workers_that_are_asked_for_are_those_of_the_job_and_on_its_record() -> None:
    given = replace(OPTIONS, workers=3, flink="f:1", python_workers_per_taskmanager=2)
    assert flink_job(given, Project(root=Path())).workers_each == 2
    assert "--python-workers-per-taskmanager=2" in given.arguments()
