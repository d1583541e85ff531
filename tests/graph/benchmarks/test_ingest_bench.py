from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from benchmarks.ingest import __main__ as bench_command
from benchmarks.ingest import report
from benchmarks.ingest import sample as samples
from benchmarks.ingest.bench import CONTESTANTS, Series, cpu_s, wall_s
from benchmarks.ingest.measure import Measured, RunFailedError, run_measured
from benchmarks.ingest.outcome import OutcomesDifferError, Result, require_equal

RESULT = Result(rows=2, content_hash="aa", ids="bb", dead_letters=(("malformed", 1),), letter_positions="cc", positions="dd")


def test_all_contestants_put_out_the_same_and_only_then_figures_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    figures = tmp_path / "figures.json"
    arguments = ["--events", "3000", "--row-events", "3000", "--rounds", "1", "--no-shuffled", "--json", str(figures)]

    assert bench_command.main(arguments) == 0, capsys.readouterr().err

    entry = json.loads(figures.read_text())["samples"]["arrival"]
    assert entry["rows"] > 2_500
    assert {"malformed", "missing_required", "conflicting_duplicate"} <= entry["dead_letters"].keys()
    assert set(entry["contestants"]) == {contestant.name for contestant in CONTESTANTS}
    assert not list((tmp_path / "cache").glob("run-*")), "outputs are removed"
    assert bench_command.main(["--write-readme", "--json", str(figures)]) == 0
    readme = (tmp_path / "README.md").read_text()
    assert "{{" not in readme
    assert "`python -m benchmarks.ingest --events 3000 --row-events 3000 --rounds 1 --no-shuffled` on" in readme
    assert str(tmp_path) not in readme


@pytest.mark.parametrize("changed", ["rows", "content_hash", "ids", "dead_letters", "letter_positions", "positions"])
def test_any_difference_between_two_results_is_an_error_that_names_it(changed: str) -> None:
    other = replace(RESULT, **{changed: (("malformed", 2),) if changed == "dead_letters" else 3 if changed == "rows" else "zz"})
    with pytest.raises(OutcomesDifferError, match=f"{changed}: job has .* loop has "):
        require_equal({"job": RESULT, "loop": other})


def test_what_a_contestant_does_not_have_is_not_compared() -> None:
    require_equal({"job": RESULT, "row_job": replace(RESULT, letter_positions=None, positions=None)})


def test_different_outputs_end_the_command_with_1_and_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differ(*_: object) -> None:
        require_equal({"job": RESULT, "loop": replace(RESULT, ids="zz")})

    monkeypatch.setattr(samples, "CACHE", tmp_path)
    monkeypatch.setattr(samples, "make_sample", lambda *_, **__: None)
    monkeypatch.setattr(bench_command, "run_contest", differ)
    assert bench_command.main(["--json", str(tmp_path / "figures.json")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "outputs differ" in told.err
    assert not (tmp_path / "figures.json").exists()


def test_time_and_memory_of_children_count_too(tmp_path: Path) -> None:
    child = "b = bytearray(150 << 20); import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    measured = run_measured(["-c", parent], [0], tmp_path / "log")
    assert measured.cpu_s >= 0.4
    assert measured.peak_bytes >= 150 << 20


def test_a_contestant_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"(?s)ended with 3.*out of luck"):
        run_measured(["-c", "import sys; print('out of luck'); sys.exit(3)"], [0], tmp_path / "log")


def test_a_part_is_scaled_to_a_million_without_its_start() -> None:
    series = Series(events=100_200, runs=[Measured(12.0, 7.0, 1)], starts=[Measured(2.0, 1.0, 1), Measured(3.0, 2.0, 1)])
    assert series.per_million(wall_s) == [pytest.approx(2.0 + 10.0 * 9.998)]
    assert series.per_million(cpu_s) == [pytest.approx(1.0 + 6.0 * 9.998)]


def test_the_whole_is_scaled_to_a_million_with_its_start() -> None:
    assert Series(events=500_000, runs=[Measured(12.0, 7.0, 1)]).per_million(wall_s) == [24.0]


def test_shuffling_keeps_the_lines_and_spreads_every_hour_over_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path)
    ordered, shuffled = samples.make_sample(3_000, 7), samples.make_sample(3_000, 7, shuffled=True)

    def lines(folder: Path) -> list[list[bytes]]:
        return [path.read_bytes().splitlines() for path in sorted(folder.glob("*.jsonl"))]

    assert sorted(chain(*lines(ordered.folder))) == sorted(chain(*lines(shuffled.folder)))

    def hours(part: list[bytes]) -> int:
        return len({line.split(b'"receivedAt":"')[1][:13] for line in part if b'"receivedAt":"' in line})

    assert max(map(hours, lines(ordered.folder))) < 12
    assert min(map(hours, lines(shuffled.folder))) >= 20  # 24 where files are not as small as here


def test_a_sample_has_no_line_that_is_blank_or_ends_with_a_carriage_return_or_begins_with_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path)
    sample = samples.make_sample(3_000, 7)
    lines = [line for path in sample.folder.glob("*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]]
    assert len(lines) == sample.events
    assert all(line.strip() and not line.endswith(b"\r") and not line.startswith(b"\xef\xbb\xbf") for line in lines)
    assert samples.head_of(sample, 1_234).events == 1_234
