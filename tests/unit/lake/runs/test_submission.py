"""The record of a submission: what it keeps, what adding to it does, and from where a run goes on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.runs.submission import (
    RESUMED_RUN,
    Attempt,
    Submission,
    read_submission,
    record_ending,
    record_submission,
    restart_point,
    submissions,
    with_savepoint,
)
from tests.support.flink_stub import A, B, C

RUN = "20261123T042512483350Z-web-shop-5c9be0"
NOW = datetime(2026, 11, 23, 4, 25, 12, 483000, tzinfo=UTC)
ARGV = ("ingest", "web-shop", "--input", "kafka://localhost:9092/web", "--", "--parallelism=2")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def record(lake: Lake, job_id: str, from_savepoint: str | None = None) -> Submission:
    return record_submission(lake, RUN, ARGV, RUN, "localhost:28081", Attempt(job_id, NOW, from_savepoint))


def test_a_record_is_read_back_as_it_was_written(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = record(lake, A)
    assert written == Submission(RUN, ARGV, str(tmp_path), RUN, "localhost:28081", (Attempt(A, NOW),))
    assert read_submission(lake, RUN) == written
    assert written.source == "web-shop"
    assert list(submissions(lake)) == [written]


def test_a_further_attempt_is_added_and_the_same_one_only_once(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = record(lake, A).folder
    monkeypatch.chdir(tmp_path)
    record(lake, B, "file:/c/chk-1")
    again = record(lake, B, "file:/c/chk-1")
    assert again.attempts == (Attempt(A, NOW), Attempt(B, NOW, "file:/c/chk-1"))
    assert again.folder == folder, "the first attempt's arguments are relative to the first attempt's folder"


def test_an_ending_stays_until_the_next_attempt_and_a_savepoint_wins(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    record(lake, A)
    record_ending(lake, RUN, "finished")
    record_ending(lake, RUN, "stopped", "file:/s/1")
    ended = record_ending(lake, RUN, "cancelled").ended
    assert ended and (ended.how, ended.savepoint) == ("stopped", "file:/s/1")
    with monkeypatch.context() as resumed:
        resumed.setenv(RESUMED_RUN, RUN)
        assert record(lake, C).ended == ended, "a supervisor's attempt opens nothing again"
    assert record(lake, B).ended is None
    with pytest.raises(ConfigurationError, match="was not submitted to a cluster"):
        record_ending(lake, "other", "stopped")


_NO_JOB = '{"run_id":"r","argv":[],"folder":"","job_name":"","flink":"","attempts":[{}]}'


@pytest.mark.parametrize("text", ["", "{}", '{"run_id": 1', "[1]", _NO_JOB])
def test_a_damaged_record_is_named(text: str, lake: Lake) -> None:
    record(lake, A)
    path = lake.runs / RUN / "submission.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"{path}: damaged"):
        read_submission(lake, RUN)


def test_a_record_holds_no_more_than_it_says(lake: Lake) -> None:
    record(lake, A)
    document = json.loads((lake.runs / RUN / "submission.json").read_text())
    assert set(document) == {"run_id", "argv", "folder", "job_name", "flink", "attempts", "ended"}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("ingest", "web"), ("ingest", "web", "--from-savepoint", "S")),
        (("ingest", "--from-savepoint", "old", "web"), ("ingest", "web", "--from-savepoint", "S")),
        (("ingest", "--from-savepoint=old", "web"), ("ingest", "web", "--from-savepoint", "S")),
        (
            ("ingest", "web", "--", "--from-savepoint", "x"),
            ("ingest", "web", "--from-savepoint", "S", "--", "--from-savepoint", "x"),
        ),
    ],
)
def test_the_savepoint_is_replaced_or_added_before_options_of_beam(argv: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert with_savepoint(argv, "S") == expected


def test_a_run_goes_on_from_the_newest_state_of_its_last_attempt(lake: Lake) -> None:
    record(lake, A)
    submission = record(lake, B, "file:/c/chk-1")
    assert restart_point(submission, {A: "file:/a", B: "file:/b"}.get) == "file:/b"
    assert restart_point(submission, {A: "file:/a"}.get) == "file:/c/chk-1"
    begun_anew = record(lake, "f" * 32)
    assert restart_point(begun_anew, {A: "file:/a", B: "file:/b"}.get) is None
