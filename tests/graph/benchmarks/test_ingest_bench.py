from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.ingest import __main__ as bench_command
from benchmarks.ingest import measure, quick, report
from benchmarks.ingest import sample as samples
from benchmarks.ingest.bench import Rounds, Series, cpu_s, wall_s
from benchmarks.ingest.budget import REST
from benchmarks.ingest.compare import COLUMNS, Content
from benchmarks.ingest.contestants import OWN, Peer
from benchmarks.ingest.measure import Measured, RunFailedError, run_measured
from benchmarks.ingest.outcome import OutcomesDifferError, Result, require_equal
from benchmarks.ingest.sample import Sample
from contracts.compiler.checker import RecordChecker
from contracts.spec.project import Project
from lake.formats.jsonl import parse_payloads
from tests.support.tiers import sized

RESULT = Result(rows=2, content_hash="aa", ids="bb", dead_letters=(("malformed", 1),), letter_positions="cc", positions="dd")


@pytest.mark.long
def test_all_contestants_put_out_the_same_and_only_then_figures_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    figures = tmp_path / "figures.json"
    own = ",".join(contestant.name for contestant in OWN)
    options = f"--events 3000 --orders arrival --row-events 3000 --rounds 1 --contestants {own},duckdb"
    arguments = [*options.split(), "--json", str(figures)]

    assert bench_command.main(arguments) == 0, capsys.readouterr().err

    document = json.loads(figures.read_text())
    entry = document["samples"]["arrival-3000"]
    assert entry["rows"] > 2_500
    assert {"malformed", "missing_required", "conflicting_duplicate"} <= entry["dead_letters"].keys()
    outputs = {name: series["output"] for name, series in entry["contestants"].items()}
    assert outputs == {contestant.name: "same" for contestant in OWN} | {"duckdb": "differs"}, (
        "it takes NaN, and the first of two keys"
    )
    assert set(entry["contestants"]["duckdb"]["differs"]) == {
        "2 of 2,913 rows missing",
        "2 rows too many",
        "rejects: 2 fewer malformed",
        "rejects: 2 more not_in_enum",
    }
    assert {"fold", REST} <= document["budget"]["us_per_event"].keys()
    assert "DuckDB puts out something else" in figures.with_suffix(".txt").read_text()
    assert "<svg" in figures.with_suffix(".html").read_text()
    assert not list((tmp_path / "cache").glob("run-*")), "outputs are removed"
    assert bench_command.main(["--write-readme", "--json", str(figures)]) == 0
    readme = (tmp_path / "README.md").read_text()
    assert "{{" not in readme
    assert f"`python -m benchmarks.ingest {options}` on" in readme
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


def test_the_last_line_of_what_a_failed_run_said_names_the_error(tmp_path: Path) -> None:
    java = "java.lang.RuntimeException\nCaused by: java.lang.OutOfMemoryError: Java heap space\n\t... 20 more"
    script = f"import sys; print({java!r}); sys.exit(1)"
    with pytest.raises(RunFailedError) as raised:
        run_measured(["-c", script], [0], tmp_path / "log")
    assert str(raised.value).splitlines()[-1] == "Caused by: java.lang.OutOfMemoryError: Java heap space"


def test_a_contestant_that_takes_the_memory_of_the_machine_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "MEMORY_SHARE", (150 << 20) / psutil.virtual_memory().total)
    pid = tmp_path / "pid"
    child = f"import os, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); b = bytearray(200 << 20); input()"
    parent = f"import sys, subprocess; subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE).wait()"
    with pytest.raises(RunFailedError, match=r"MemoryError: more than 0\.1 GiB"):
        run_measured(["-c", parent], [0], tmp_path / "log")
    deadline = time.monotonic() + 30.0
    while _lives(int(pid.read_text())):
        assert time.monotonic() < deadline


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_part_is_scaled_to_a_million_without_its_start() -> None:
    series = Series(events=100_200, runs=[Measured(12.0, 7.0, 1)], starts=[Measured(2.0, 1.0, 1), Measured(3.0, 2.0, 1)])
    assert series.per_million(wall_s) == [pytest.approx(2.0 + 10.0 * 9.998)]
    assert series.per_million(cpu_s) == [pytest.approx(1.0 + 6.0 * 9.998)]


def test_the_whole_is_scaled_to_a_million_with_its_start() -> None:
    assert Series(events=500_000, runs=[Measured(12.0, 7.0, 1)]).per_million(wall_s) == [24.0]


def test_shuffling_keeps_the_lines_and_spreads_every_hour_over_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path)
    ordered, shuffled = samples.make_sample(3_000, 7), samples.make_sample(3_000, 7, "shuffled")

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


def test_of_a_half_invalid_sample_half_is_invalid_and_any_reader_takes_its_readable_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "CACHE", tmp_path)
    spec, contract = Project.load(quick.RECORDED.parents[2] / "examples/webshop").source("web")
    sample = samples.make_sample(3_000, 7, "half_invalid")

    def judged(part: Sample) -> tuple[int, set[str]]:
        lines = [line for path in sorted(part.folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
        parsed = parse_payloads(spec, lines)
        rejected = RecordChecker(contract, spec).check(parsed.records, failed=parsed.failed).rejected
        return len(rejected), {str(reasons[0].code) for reasons in rejected.values()}

    number, codes = judged(sample)
    assert 0.47 < number / sample.events < 0.53
    assert {"malformed", "invalid_encoding", "too_deep", "missing_required", "wrong_type", "bad_timestamp", "bad_length"} <= codes
    readable = samples.readable_part(sample)
    number, codes = judged(readable)
    assert number > readable.events / 4
    assert codes == {"missing_required", "not_in_enum", "bad_timestamp", "bad_length", "unknown_schema_version"}


NOTHING, ONE = (Content(keys, dict.fromkeys(COLUMNS, keys), None) for keys in (np.empty(0, np.uint64), np.ones(1, np.uint64)))


def a_peer(code: str, content: Content = NOTHING) -> Peer:
    arguments = "import sys; sample = sys.argv[1]; " + code
    return Peer(name="peer", title="peer", cores=1, arguments=lambda s, _: ["-c", arguments, str(s)], content=lambda _: content)


@pytest.fixture
def rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Rounds on a sample of two lines, one of which no reader of JSON takes; the job puts out nothing for it."""
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "one.jsonl").write_text('{"messageId":"a"}\n{"messageId":\n')
    monkeypatch.setattr(Rounds, "_expected", lambda *_: NOTHING)
    (tmp_path / "work").mkdir()
    return Rounds(Sample.at(folder, 2), 2, tmp_path / "work", lambda _: None)


def test_a_peer_with_the_same_output_is_told_as_that(rounds: Rounds) -> None:
    series = Series(2)
    rounds.measure(a_peer("pass"), series)
    assert (series.output, len(series.runs)) == ("same", 1)


def test_a_peer_with_another_output_ends_nothing_and_is_told(rounds: Rounds) -> None:
    series = Series(2)
    rounds.measure(a_peer("pass", ONE), series)
    rounds.measure(a_peer("pass", ONE), series)
    assert (series.output, series.differs[0], len(series.runs)) == ("differs", "1 rows too many", 2)


def test_a_peer_that_does_not_take_the_sample_runs_on_the_readable_part_and_says_why(rounds: Rounds) -> None:
    series = Series(2)
    peer = a_peer("assert sample.endswith('-readable'), 'no JSON'")
    for _ in range(2):
        rounds.measure(peer, series)
    assert (series.output, series.refused, series.events) == ("other input", "AssertionError: no JSON", 1)
    assert len(series.runs) == 2


def test_a_peer_that_fails_altogether_has_no_figures_and_is_not_tried_again(rounds: Rounds) -> None:
    series = Series(2)
    for _ in range(2):
        rounds.measure(a_peer("raise ValueError('out of luck')"), series)
    assert (series.output, series.missing, series.runs) == ("none", "ValueError: out of luck", [])


def test_a_peer_that_is_not_installed_has_no_figures_and_is_told(rounds: Rounds, tmp_path: Path) -> None:
    peer = replace(a_peer("pass"), python=tmp_path / "no" / "python")
    series = rounds.series_of(peer)
    rounds.measure(peer, series)
    assert (series.output, series.missing, series.runs) == ("none", "not installed: make peers", [])


@pytest.mark.load
def test_the_job_takes_no_more_cpu_time_beside_loop_and_duckdb_than_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """The gate of ``make bench-quick``, with fewer rounds, and beside other tests: these do not slow all contestants alike."""
    assert quick.main(["--rounds", str(sized(2, 5)), "--noise", "0.2"]) == 0, capsys.readouterr().err
