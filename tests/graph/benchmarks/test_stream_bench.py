"""What the load benchmark computes, without a stack; the jobs themselves run in ``python -m benchmarks.stream --quick``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.ingest import report as ingest_report
from benchmarks.stream import __main__ as command
from benchmarks.stream import hot_path, ours
from benchmarks.stream.bed import Child, Difference, RunFailedError, Sent, free_ports, require_once
from benchmarks.stream.contestants import OURS, OURS_WITHOUT, PEERS, ROW
from benchmarks.stream.figures import (
    CpuUse,
    Load,
    Progress,
    Visible,
    find_highest,
    grows,
    judgement,
    lags,
    latencies_ms,
    percentiles,
    slope,
)
from benchmarks.stream.processes import CpuMeter
from benchmarks.stream.report import Beside, Found, beside_ours, document_of, lines_of
from benchmarks.stream.run import Figures
from benchmarks.stream.sweeps import Commits, Sweep, SweepFigures, commits_of_sweeps, swept
from devstack.layout import Layout, Ports
from devstack.stack import Stack
from lake.raw.log_ids import LogId
from lake.tables.sweep import Swept, sweep
from lake.upkeep import compact
from tests.support.small_tables import NAME, make, put, row
from transforms.converge.upkeep import SweepBeside

START_S = 1_795_400_000.0
LOAD = Load(rate=1_000, start_s=START_S, seconds=300, late_ms_max=12.0)


def looks(behind: Any) -> list[Progress]:
    """A look a second; behind(t): messages that are not taken after t seconds."""
    return [Progress(START_S + t, round(LOAD.sent(START_S + t) - behind(t))) for t in range(-20, 320)]


def windows(delay: Any) -> list[Visible]:
    return [Visible(START_S + t, START_S + t + delay(t), 1_000) for t in range(60, 301, 60) for _ in range(4)]


STEADY = windows(lambda t: 20 + t % 7)


# --- whether a rate was held


def test_the_schedule_is_the_clock_and_nothing_is_due_before_it_or_after_it() -> None:
    assert [LOAD.sent(START_S + t) for t in (-5, 0, 10, 300, 400)] == [0, 0, 10_000, 300_000, 300_000]


def test_lag_is_looked_at_after_the_warm_up_while_messages_are_sent() -> None:
    found = lags(LOAD, looks(lambda t: 500))
    assert [at - START_S for at, _ in found] == list(range(60, 301))
    assert {lag for _, lag in found} == {500}


def test_slope_is_that_of_the_line() -> None:
    assert slope([(START_S + t, 7 - 3.5 * t) for t in range(100)]) == pytest.approx(-3.5)


@pytest.mark.parametrize(
    "behind",
    [
        lambda t: 2_000,
        lambda t: 2_000 + 9 * t,  # less than a hundredth of the rate: within what is tolerated
        lambda t: max(0, 40_000 - 1_000 * t),  # a slow start that was caught up within the warm-up
        lambda t: 1_000 * (t % 10),  # offsets that are committed every ten seconds
        lambda t: 5_000 + Random(t).randrange(-3_000, 3_000),
    ],
    ids=["constant", "within tolerance", "slow start", "saw-tooth", "noise"],
)
def test_lag_that_does_not_grow_is_held(behind: Any) -> None:
    assert grows(LOAD, looks(behind), STEADY) == []


@pytest.mark.parametrize(
    "behind", [lambda t: 11 * t, lambda t: 1_000 * (t % 10) + 50 * t, lambda t: max(0, t - 150) * 300], ids=["line", "saw", "knee"]
)
def test_lag_that_grows_is_not_held(behind: Any) -> None:
    (reason,) = grows(LOAD, looks(behind), STEADY)
    assert reason.startswith("lag grew by ")


@pytest.mark.parametrize("phase", range(10))
def test_commits_every_ten_seconds_are_no_rise_in_a_short_run_either(phase: int) -> None:
    short = Load(rate=1_000, start_s=START_S, seconds=60, late_ms_max=12.0)
    seen = [Progress(START_S + t, round(short.sent(START_S + t - (t + phase) % 10))) for t in range(61)]
    assert grows(short, seen, []) == []
    stalled = [Progress(p.at_s, min(p.taken, 30_000)) for p in seen]
    assert grows(short, stalled, [])[0].startswith("lag grew by ")


def test_windows_that_are_published_later_and_later_are_not_held() -> None:
    (reason,) = grows(LOAD, looks(lambda t: 0), windows(lambda t: 20 + 0.2 * t))
    assert reason == "windows were published later and later, by 0.20 s a second"


def test_two_windows_are_too_few_to_tell_a_trend() -> None:
    assert grows(LOAD, looks(lambda t: 0), windows(lambda t: t)[-8:]) == []


def test_a_producer_that_is_late_itself_gives_no_figure() -> None:
    late = Load(rate=1_000, start_s=START_S, seconds=300, late_ms_max=2_500)
    assert grows(late, looks(lambda t: 0), STEADY) == ["the producer itself was up to 2.5 s behind its schedule"]


def test_a_lag_that_nobody_looked_at_is_not_held() -> None:
    assert grows(LOAD, looks(lambda t: 0)[:85], STEADY) == ["only 5 looks at the lag, 10 are needed"]


# --- the search


def test_the_highest_rate_is_searched_upwards_refined_and_held_for_the_full_time() -> None:
    asked: list[tuple[str, int]] = []

    def ask(kind: str, limit: int, rate: int) -> bool:
        asked.append((kind, rate))
        return rate <= limit

    found = find_highest([3_000, 1_000, 2_000, 4_000], lambda r: ask("probe", 2_700, r), lambda r: ask("hold", 2_200, r), refine=2)
    assert found == 2_000
    assert asked == [("probe", rate) for rate in (1_000, 2_000, 3_000, 2_500, 2_800)] + [("hold", 2_500), ("hold", 2_000)]


def test_where_no_rate_is_held_there_is_none() -> None:
    assert find_highest([1_000, 2_000], lambda r: False, lambda r: True, refine=3) is None
    assert find_highest([1_000], lambda r: True, lambda r: False, refine=3) is None


# --- latency


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([float(v) for v in range(1, 1_001)]) == {"p50": 501, "p95": 951, "p99": 991, "max": 1_000}
    assert percentiles([3.0, 1.0], (50, 99, 100)) == {"p50": 3, "p99": 3, "max": 3}
    assert percentiles([]) is None


def moments(**seconds: float) -> pa.Table:
    """Ids and times, in milliseconds since 1970."""
    return pa.table({"id": list(seconds), "time_ms": [(START_S + s) * 1_000 for s in seconds.values()]})


def test_latency_is_the_first_arrival_less_the_intended_time_after_the_warm_up() -> None:
    due = moments(a=0, b=59, c=60, d=61, e=299)
    again = moments(c=70, d=62)
    arrived = pa.concat_tables([again, moments(e=299.007, d=63, c=60.0405)])
    assert sorted(latencies_ms(due, arrived, LOAD)) == pytest.approx([7.0, 40.5, 1_000.0])


def test_an_event_that_never_arrived_gives_no_latency() -> None:
    with pytest.raises(ValueError, match="1 of 2 events never arrived on the immediate topic, such as lost"):
        latencies_ms(moments(lost=70, here=71), moments(here=72, early=10), LOAD)


# --- exactly once


def sent(*kinds: str) -> Sent:
    columns = {"id": [f"e{i}" for i in range(len(kinds))], "kind": list(kinds), "time_ms": [5 * i for i in range(len(kinds))]}
    return Sent(
        pa.table({**columns, "partition": [i % 2 for i in range(len(kinds))], "offset": [i // 2 for i in range(len(kinds))]})
    )


SENT = sent("event", "disordered", "duplicate", "invalid", "event")


def test_what_was_sent_tells_rows_due_times_and_ends() -> None:
    assert SENT.events["id"].to_pylist() == ["e0", "e1", "e4"]
    assert SENT.due.select(["id", "time_ms"]).to_pylist() == [{"id": "e0", "time_ms": 0}, {"id": "e4", "time_ms": 20}]
    assert SENT.ends == {0: 3, 1: 2}
    assert len(Sent.of(SENT, SENT).lines) == 10


def test_every_event_once_is_exact() -> None:
    require_once(pa.chunked_array([["e4"], ["e1", "e0"]]), SENT)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["e0", "e1"], "1 are missing, 0 rows are there again, 0 were never sent"),
        (["e0", "e1", "e4", "e4"], "0 are missing, 1 rows are there again, 0 were never sent"),
        (["e0", "e1", "e4", "e3"], "0 are missing, 0 rows are there again, 1 were never sent"),
    ],
)
def test_anything_else_is_an_error(ids: list[str], told: str) -> None:
    with pytest.raises(RunFailedError, match=f"of 3 events {told}"):
        require_once(pa.chunked_array([ids]), SENT)


# --- CPU


def test_cpu_is_counted_from_the_first_look_and_whole_for_what_started_later() -> None:
    burn = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\nsys.stdin.read()"

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    named: dict[int, str] = {}
    meter = CpuMeter(lambda: named)
    with start() as early:
        assert early.stdout and early.stdout.readline()
        named[early.pid] = "early"
        meter.look()
        with start() as late:
            assert late.stdout and late.stdout.readline()
            named[late.pid] = "late"
            meter.look()
            use = meter.use
            late.communicate()
        early.communicate()
    assert use.cpu_s["late"] > 0.25, "all of what it used"
    assert use.cpu_s["early"] < 0.1, "only what it used since"
    assert use.resident_mib["late"] > 0
    assert use.wall_s > 0.2


USE = CpuUse(wall_s=100.0, cores=2, cpu_s={"broker": 20.0, "Python worker 1": 85.0, "Python worker 2": 84.0}, idle_s=6.0)


FULL_CORE = CpuUse(wall_s=100.0, cores=2, cpu_s={"a": 97.0, "b": 3.0}, idle_s=95.0)
AT_EASE = CpuUse(wall_s=100.0, cores=2, cpu_s={"a": 30.0}, idle_s=165.0)


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (USE, "all cores are used up; most CPU: Python worker 1, 0.85 of 2 cores; idle 3%"),
        (FULL_CORE, "a may be at what one thread can do; most CPU: a, 0.97 of 2 cores; idle 48%"),
        (AT_EASE, "no process is at a limit at this rate; most CPU: a, 0.30 of 2 cores; idle 82%"),
    ],
)
def test_what_limits_is_told_in_one_line(use: CpuUse, told: str) -> None:
    assert judgement(use) == told


def test_no_limit_is_told_where_others_use_the_machine() -> None:
    assert judgement(CpuUse(100.0, 2, {"a": 50.0}, {}, 50.0)).startswith(
        "other processes of the machine used 50% of it, so no limit"
    )


# --- what is told


def figures(**changes: Any) -> Figures:
    values: dict[str, Any] = {
        "job": OURS, "rate": 5_000, "seconds": 300.0, "events": 1_470_000, "not_held": [], "lag": 9_500, "lag_growth": 1.5,
        "late_ms_max": 12.0, "latency_ms": {"p50": 310.4, "p95": 900.0, "p99": 1_200.6, "max": 3_000.0},
        "freshness_s": {"p50": 14.25, "p99": 21.0, "max": 22.0}, "windows": 4, "checkpoints": 30, "checkpoint_bytes": 41.7,
        "written_per_row": 1.25, "tables": {"validated.customer_event": {"commits_per_hour": 300, "files_per_hour": 400}},
        "cpu": USE, "limit": judgement(USE), "settled_s": 61.0,
    }  # fmt: skip
    return Figures(**{**values, **changes})


ROW_FIGURES = figures(
    job=ROW, rate=500, not_held=["lag grew by 7 messages a second, to 900"], latency_ms=None, written_per_row=None, tables={},
    checkpoint_bytes=None, freshness_s={"p50": 80.0, "p99": 95.0, "max": 99.0},
)  # fmt: skip


def test_figures_become_a_table_and_a_line_for_each_that_misses_its_aim() -> None:
    lines = lines_of(Found({OURS: 5_000, ROW: None}, [figures(), ROW_FIGURES]))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[2] == [
        OURS,
        "5,000",
        "300",
        "yes",
        "9,500",
        "310 / 900 / 1201 / 3000",
        "14.2 / 21.0 / 22.0",
        "1.25",
        "42",
        "1.89",
        "338",
        "same",
    ]
    assert cells[3] == [ROW, "500", "300", "no", "9,500", "–", "80.0 / 95.0 / 99.0", "–", "–", "1.89", "–", "same"]
    assert {len(line) for line in lines if line.startswith("|")} == {len(lines[0])}
    assert "- highest rate held by headrace: **5,000 messages/s**" in lines
    assert "- highest rate held by row job: none of those tried" in lines
    assert "- row job, 500/s: not held: lag grew by 7 messages a second, to 900" in lines
    assert "- row job, 500/s: windows are visible after 95 s (p99; aim 90, not reached)" in lines
    assert f"- headrace, 5,000/s: {USE_LINE}" in lines
    assert not [line for line in lines if "headrace, 5,000/s" in line and "not reached" in line]
    assert "- headrace, 5,000/s: 9.0 rows written per row (aim 8, not reached)" in lines_of(
        Found(runs=[figures(written_per_row=9.0)])
    )


USE_LINE = "all cores are used up; most CPU: Python worker 1, 0.85 of 2 cores; idle 3%"


def test_cpu_is_that_of_a_contestant_alone_and_told_where_it_keeps_up() -> None:
    use = CpuUse(100.0, 2, {"broker": 20.0, "producer": 9.0, "consumer": 8.0, "Spark": 30.0, "more": 10.0})
    assert figures(cpu=use, rate=1_000).cpu_us == 400.0
    assert figures(cpu=use, not_held=["lag grew"]).cpu_us is None


def test_others_are_told_beside_ours_by_rate_and_by_cpu_and_so_is_other_output() -> None:
    peer = figures(job="bytewax", rate=2_500, cpu=CpuUse(100.0, 2, {"bytewax 1": 84.5}), differs=Difference(1_470_000, 2, 1, 0))
    slower = figures(job="bytewax", rate=1_000, cpu=CpuUse(100.0, 2, {"bytewax 1": 84.5}))
    found = Found({OURS: 5_000, "bytewax": 2_500, ROW: None}, [figures(), slower, peer, ROW_FIGURES], ["quixstreams, 5/s: it died"])
    assert beside_ours(found) == [Beside("bytewax", 0.5, 338.0, 1.0)]
    lines = lines_of(found)
    assert "- bytewax: its highest rate held is **0.50** of ours; a message takes **1.00** times our CPU, 338 µs" in lines
    (row,) = [line for line in lines if line.startswith("| bytewax") and "2,500" in line]
    assert row.split("|")[-2].strip() == "3 rows differ"
    told = "of 1,470,000 events 2 are missing, 1 rows are there again, 0 were never sent"
    assert f"- bytewax, 2,500/s: puts out something else: {told}" in lines
    assert lines[-1] == "- no figures: quixstreams, 5/s: it died"
    assert document_of("c", found)["runs"][2]["differs"] == {"events": 1_470_000, "missing": 2, "repeated": 1, "strange": 0}
    assert beside_ours(Found({"bytewax": 2_500}, [peer])) == []


def test_the_document_holds_every_figure() -> None:
    document = json.loads(json.dumps(document_of("python -m benchmarks.stream", Found({OURS: 5_000}, [figures(), ROW_FIGURES]))))
    assert document["highest_rate_held"] == {OURS: 5_000}
    first, second = document["runs"]
    assert first["cpu"]["cpu_s"] == USE.cpu_s
    assert (first["cpu"]["idle_share"], first["cpu"]["other_share"]) == (0.03, 0.025)
    assert (first["latency_ms"]["p99"], second["latency_ms"]) == (1_200.6, None)


# --- the command, with jobs that only say what they were asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """What is measured; rates up to 2,000 are held."""
    calls: list[tuple[str, int, float]] = []

    def measure(stack: Any, name: str, rate: int, seconds: float, _work: Path, _say: Any, copies: float) -> Figures:
        assert copies == 0
        assert stack == ("Kafka only" if name in PEERS else "with Flink")
        calls.append((name, rate, seconds))
        return figures(job=name, rate=rate, seconds=seconds, not_held=[] if rate <= 2_000 else ["lag grew"])

    @contextmanager
    def no_stack(*_: object, flink: bool) -> Any:
        yield "with Flink" if flink else "Kafka only"

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "private_stack", no_stack)
    return calls


def run(*arguments: str, output: Path) -> Mapping[str, Any]:
    assert command.main([*arguments, "--output", str(output)]) == 0
    document: Mapping[str, Any] = json.loads(output.read_text())
    return document


def test_quick_runs_each_job_once_and_claims_no_rate(tmp_path: Path, asked: list[tuple[str, int, float]]) -> None:
    document = run("--quick", output=tmp_path / "figures.json")
    assert asked == [(name, 300, 20.0) for name in (OURS, OURS_WITHOUT, ROW)]
    assert document["highest_rate_held"] == {}
    assert document["command"] == "python -m benchmarks.stream --quick"


def test_quick_runs_everyone_and_peers_on_a_stack_without_flink(tmp_path: Path, asked: list[tuple[str, int, float]]) -> None:
    run("--quick", "--job", "all", output=tmp_path / "figures.json")
    assert asked == [(name, 300, 20.0) for name in (OURS, OURS_WITHOUT, ROW, *PEERS)]


def test_a_peer_that_fails_is_told_and_holds_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]) -> None:
    rates: list[int] = []

    def fail(_stack: Any, name: str, rate: int, *_: Any) -> Figures:
        rates.append(rate)
        if rate > 1_000:
            raise RunFailedError(f"{name}, {rate}/s: it no longer runs")
        return figures(job=name, rate=rate)

    monkeypatch.setattr(command, "measure", fail)
    document = run("--job", "bytewax", "--rates", "1000,2000", "--refine", "0", output=tmp_path / "figures.json")
    assert rates == [1_000, 2_000, 1_000]
    assert document["highest_rate_held"] == {"bytewax": 1_000}
    assert document["failed"] == ["bytewax, 2000/s: it no longer runs"]


def test_rates_are_tried_held_and_latency_is_measured_at_its_own_rate(
    tmp_path: Path, asked: list[tuple[str, int, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--job", "ours", "--rates", "1000,3000", "--probe", "30", "--hold", "60", "--refine", "1", "--latency-rate", "700")
    document = run(*given, output=tmp_path / "deep/figures.json")
    search = [(1_000, 30.0), (3_000, 30.0), (2_000, 30.0), (2_000, 60.0)]
    assert asked == [(OURS, *one) for one in [*search, (700, 60.0)]] + [(OURS_WITHOUT, *one) for one in search]
    assert document["highest_rate_held"] == {OURS: 2_000, OURS_WITHOUT: 2_000}
    assert [(r["job"], r["rate"]) for r in document["runs"]] == [(OURS, 2_000), (OURS, 700), (OURS_WITHOUT, 2_000)]
    assert "**2,000 messages/s**" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [("--hold", "5"), ("--probe", "0"), ("--rates", "100,0"), ("--job", "theirs"), ("--copies", "60%")]
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    wrong: tuple[str, str], asked: list[tuple[str, int, float]]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([*wrong])
    assert (ended.value.code, asked) == (2, [])


def test_a_run_that_is_not_exact_ends_with_1_and_no_figure(
    tmp_path: Path, asked: list[tuple[str, int, float]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: object) -> Figures:
        raise RunFailedError("of 3 events 1 are missing")

    monkeypatch.setattr(command, "measure", lose)
    assert command.main(["--quick", "--output", str(tmp_path / "figures.json")]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "error: of 3 events 1 are missing\n")
    assert not (tmp_path / "figures.json").exists()


def test_copies_are_one_run_of_our_job_for_each_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]) -> None:
    calls: list[Any] = []

    def measure(_stack: Any, name: str, rate: int, seconds: float, *rest: Any) -> Figures:
        calls.append((name, rate, seconds, rest[-1]))
        return figures(sweeps=SWEEPS)

    monkeypatch.setattr(command, "measure", measure)
    document = run("--copies", "1%", "--rates", "2000,5000", "--hold", "600", output=tmp_path / "figures.json")
    assert calls == [(OURS, 2_000, 600.0, 0.01), (OURS, 5_000, 600.0, 0.01)]
    assert document["runs"][0]["sweeps"]["commits"] == {"commits": 2, "on_main": 4, "on_dropped": 3}


def test_what_is_accounted_for_stays_so_where_nothing_more_was_landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "frontier", lambda _lake, _spec, _log, start: 3 if start < 3 else None)
    job = ours.OurJob(Stack(Layout.default()), tmp_path, "t", None, {LogId("t", "i", 0): 0})
    first = Sent(SENT.lines.filter(pc.equal(SENT.lines["partition"], 0)))
    assert job.settled(first) and job.settled(first) and job.settled(first)


# --- sweeps

SWEEPS = SweepFigures(
    published=960, dropped=10, folded=20, refused=10, left=3, sweeps=[Sweep(4, 1.0, 0.5), Sweep(6, 3.0, 1.5)], put_off=[],
    commits=Commits(2, 4, 3), settled_age_s=[10.0, 20.0, 60.0],
)  # fmt: skip


def test_what_sweeps_did_is_told_in_lines() -> None:
    assert SWEEPS.lines() == [
        "960 published + 10 dropped + 20 folded + 10 refused, as many as were sent",
        "2 sweeps, 0 put off; 2 commits, with 4 snapshots of main and 3 of dropped",
        "CPU of the sweeps' threads 2.0 s, of one sweep 1.0 s (median), 1.5 s (most); it took 2.0 s (median), 3.0 s (most)",
        "oldest unsettled commit 20.0 s (median), 60.0 s (most)",
        "3 copies were left published after the last message until others came",
    ]


def test_sweeps_of_a_job_are_read_from_its_log_and_its_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lake = make(tmp_path / "lake", horizon_s=86_400)

    def sweep_now(what: Callable[[], Swept] = partial(sweep, lake, NAME, key="event_id", run_id="run")) -> None:  # noqa: B008
        SweepBeside(NAME, what).step()
        for thread in threading.enumerate():
            if thread.name == f"sweep {NAME}":
                thread.join()

    with caplog.at_level("INFO"):
        put(lake, [row("a", 0), row("b", 0, position=1)], 60)
        sweep_now()
        put(lake, [row("a", 600, position=2), row("c", 600, position=3)], 60)
        sweep_now()
        put(lake, [row("b", 1_200, position=4), row("d", 1_200, position=5)], 60)
        compact(lake, NAME, to_s=900, run_id="other")
        sweep_now()
        sweep_now(lambda: {}["gone"])
    done, put_off = swept(caplog.messages, NAME)
    assert [sweep.dropped for sweep in done] == [0, 1, 1] and all(0 < sweep.cpu_s <= sweep.wall_s + 1 for sweep in done)
    assert put_off == ["KeyError"]
    assert swept(caplog.messages, "validated.other") == ([], [])
    table = lake.load(NAME)
    main, dropped = (ours._lineage(table, branch) for branch in ("main", "dropped"))
    found = commits_of_sweeps(main, dropped)
    assert found.commits == 2
    assert 2 <= found.on_main <= 4 and 2 <= found.on_dropped <= 4


# --- processes


def test_a_process_that_fails_is_told_with_its_last_words() -> None:
    with (
        Child("benchmarks.stream.arrivals", "--nonsense") as child,
        pytest.raises(RunFailedError, match=r"ended with 2: .*--bootstrap"),
    ):
        child.end()


def test_a_process_is_gone_when_its_block_ends() -> None:
    with Child("http.server", "--bind", "127.0.0.1", "0") as child:
        assert child.runs
        pid = child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_ports_are_free_and_each_has_one() -> None:
    ports = free_ports(3).numbers(3).values()
    assert len(set(ports)) == len(ports) == len(Ports.names(3))
    assert all(20_000 <= port < 32_768 for port in ports)


# --- the README


def test_the_section_on_streams_outlives_new_figures_of_the_main_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme, document = tmp_path / "README.md", tmp_path / "ingest.json"
    monkeypatch.setattr(ingest_report, "README", readme)
    document.write_text(
        json.dumps({"command": "c", "date": "d", "seed": 1, "rounds": 1, "machine": ingest_report.machine(), "samples": {}})
    )
    ingest_report.write_readme(document)
    written = readme.read_text()
    assert "## stream" not in written
    readme.write_text("# Old\n\nold figures\n\n## stream: under load\n\nkept\n")
    ingest_report.write_readme(document)
    assert readme.read_text() == written + "\n## stream: under load\n\nkept\n"


# --- the hot path


def test_the_parts_of_the_hot_path_give_what_the_job_makes_and_each_has_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert hot_path.main(["--poll", "60", "20", "--bundle", "120", "--rounds", "1", "--profile", "check"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["60", "20"]
    timed = {line.split()[0]: [float(value) for value in line.split()[1:3]] for line in lines[:12]}
    assert set(timed) == {"all", *hot_path._PARTS} - {"check"}
    assert min(min(values) for values in timed.values()) > 0
    assert timed["all"][0] == pytest.approx(sum(values[0] for name, values in timed.items() if name != "all"), abs=0.1)
    assert any("checker.py" in line for line in lines[12:])
