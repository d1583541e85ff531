from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, repeat
from pathlib import Path

import pytest

from benchmarks.ingest import quick
from benchmarks.ingest import sample as samples
from benchmarks.ingest.bench import Rounds, Series
from benchmarks.ingest.contestants import DUCKDB_1, JOB, LOOP, Contestant
from benchmarks.ingest.measure import Measured
from benchmarks.ingest.outcome import OutcomesDifferError
from benchmarks.ingest.quick import Ratio, ratios_of, slower
from benchmarks.ingest.sample import Sample

RECORDED = {"job_to_loop": Ratio(2.0, 1.9, 0.1), "job_to_duckdb_1": Ratio(1.0, 1.0, 0.1)}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(samples, "CACHE", tmp_path)
    monkeypatch.setattr(samples, "make_sample", lambda *_: Sample(tmp_path, 1_000, 1, 1_000))
    ratios = {name: asdict(ratio) for name, ratio in RECORDED.items()}
    (tmp_path / "recorded.json").write_text(json.dumps({"events": 1_000, "ratios": ratios}))
    return tmp_path / "recorded.json"


def take(monkeypatch: pytest.MonkeyPatch, job_s: Iterator[float]) -> list[str]:
    """Contestants take so many seconds of CPU time; says who ran."""
    ran: list[str] = []

    def measure(_: Rounds, contestant: Contestant, series: Series, *, compare: bool) -> None:
        ran.append(f"{contestant.name}{' compared' if compare else ''}")
        seconds = {JOB.name: job_s, LOOP.name: repeat(5.0), DUCKDB_1.name: repeat(10.0)}[contestant.name]
        series.runs.append(Measured(99.0, next(seconds), 1))

    monkeypatch.setattr(Rounds, "measure", measure)
    return ran


def run(recorded: Path, *more: str) -> int:
    return quick.main(["--events", "1000", "--rounds", "3", "--recorded", str(recorded), *more])


def test_ratios_as_recorded_pass_and_outputs_are_compared_before_the_first(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = take(monkeypatch, repeat(10.0))
    assert run(recorded) == 0
    assert ran[:3] == ["job compared", "loop compared", "duckdb_1 compared"]
    assert ran[3:6] == ["duckdb_1", "loop", "job"], "in turn, backwards"
    assert len(ran) == 9


def test_a_job_that_is_slower_by_more_than_the_noise_fails_and_says_by_how_much(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = take(monkeypatch, repeat(12.5))
    assert run(recorded) == 1
    assert (
        "job_to_loop: 2.50, recorded 2.00 with a noise of 10%: the job has become 25% slower beside it" in capsys.readouterr().err
    )
    assert len(ran) == 18, "measured again before it fails"


def test_what_was_slow_for_some_rounds_only_passes_when_it_is_measured_again(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, chain([20.0, 20.0, 10.0], repeat(10.0)))
    assert run(recorded) == 0


def test_recording_writes_what_the_next_run_is_held_against(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, repeat(30.0))
    assert run(recorded, "--record") == 0
    assert json.loads(recorded.read_text())["ratios"]["job_to_loop"] == asdict(Ratio(6.0, 6.0, quick.NOISE_MIN))
    assert run(recorded) == 0


@pytest.mark.parametrize(("cpu_s", "exit_code"), [(13.0, 0), (14.0, 1)])
def test_on_another_machine_only_much_slower_fails(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, cpu_s: float, exit_code: int
) -> None:
    recorded.write_text(json.dumps(json.loads(recorded.read_text()) | {"machine": "another"}))
    take(monkeypatch, repeat(cpu_s))
    assert run(recorded) == exit_code


def test_ratios_of_another_size_fail_nothing(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.write_text(json.dumps({"events": 5, "ratios": {}}))
    take(monkeypatch, repeat(99.0))
    assert run(recorded) == 0


def test_other_outputs_fail_before_any_ratio(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differ(*_: object, **__: object) -> None:
        raise OutcomesDifferError("rows")

    monkeypatch.setattr(Rounds, "measure", differ)
    assert run(recorded) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("ratio", "of_least", "fails"),
    [(2.19, 2.1, False), (2.21, 2.1, True), (2.21, 2.08, False), (2.19, 2.0, False), (1.0, 1.0, False)],
)
def test_the_recorded_noise_is_the_limit_by_median_and_by_least_times(ratio: float, of_least: float, fails: bool) -> None:
    found = {"job_to_loop": Ratio(ratio, of_least, 0.0), "job_to_duckdb_1": Ratio(1.0, 1.0, 0.0)}
    assert bool(slower(RECORDED, found)) is fails


def test_one_round_on_a_busy_machine_moves_neither_ratio_nor_noise() -> None:
    seconds = {"job": [10.0, 10.1, 30.0, 9.9, 10.0], "loop": [5.0] * 5, "duckdb_1": [10.0, 10.1, 30.0, 9.9, 10.0]}
    found = ratios_of(seconds)
    assert found["job_to_loop"] == Ratio(2.0, 1.98, quick.NOISE_MIN)
    assert found["job_to_duckdb_1"] == Ratio(1.0, 1.0, quick.NOISE_MIN)
