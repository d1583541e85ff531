"""The rounds: every contestant in turn, fresh output each time, outputs compared as they come."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ingest.measure import Measured, run_measured
from benchmarks.ingest.outcome import Result, require_equal, result_of_lake, result_of_loop, result_of_row_job
from benchmarks.ingest.sample import Sample, head_of

TINY_EVENTS = 200  # what is left of a run on so few is its start
Say = Callable[[str], None]
_CORES = frozenset(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    arguments: for ``python``, from sample and output folder. partial: measured on the first events only.
    """

    name: str
    title: str
    cores: int
    arguments: Callable[[Path, Path], list[str]]
    result: Callable[[Path], Result]
    partial: bool = False


def _job(workers: int) -> Callable[[Path, Path], list[str]]:
    def arguments(sample: Path, output: Path) -> list[str]:
        verb = ["-m", "cli.main", "ingest", "web", "--input", str(sample), "--lake", str(output)]
        return [*verb, "--project", "examples/webshop", "--window", "1h", "--workers", str(workers), "--max-rejected", "100%"]

    return arguments


def _loop(processes: int) -> Callable[[Path, Path], list[str]]:
    module = "benchmarks.ingest.bare_loop"
    return lambda sample, output: ["-m", module, str(sample), str(output), "--processes", str(processes)]


JOB = Contestant("job", "`headrace ingest`", 1, _job(1), result_of_lake)
LOOP = Contestant("loop", "bare loop", 1, _loop(1), result_of_loop)
ROW_JOB = Contestant(
    "row_job",
    "row job in Beam",
    1,
    lambda s, o: ["-m", "benchmarks.ingest.row_job", str(s), str(o)],
    result_of_row_job,
    partial=True,
)
JOB_2 = Contestant("job_2", "`headrace ingest --workers 2`", 2, _job(2), result_of_lake)
LOOP_2 = Contestant("loop_2", "bare loop, two processes", 2, _loop(2), result_of_loop)
CONTESTANTS = (JOB, LOOP, ROW_JOB, JOB_2, LOOP_2)


@dataclass
class Series:
    """The rounds of one contestant on one sample.

    starts: runs on a tiny sample, one per round, of a contestant that is measured on a part only: its start, which a million events
        pay once.
    """

    events: int
    runs: list[Measured] = field(default_factory=list)
    starts: list[Measured] = field(default_factory=list)

    def per_million(self, figure: Callable[[Measured], float]) -> list[float]:
        """Wall or CPU time of a million events, per round."""
        if not self.starts:
            return [figure(run) * 1_000_000 / self.events for run in self.runs]
        start = min(map(figure, self.starts))  # noise only ever adds
        scale = (1_000_000 - TINY_EVENTS) / (self.events - TINY_EVENTS)
        return [start + (figure(run) - start) * scale for run in self.runs]


def wall_s(run: Measured) -> float:
    """Its wall time."""
    return run.wall_s


def cpu_s(run: Measured) -> float:
    """Its CPU time."""
    return run.cpu_s


@dataclass
class Contest:
    """All that was measured on one sample."""

    sample: Sample
    result: Result
    series: dict[str, Series]

    def ratio(self, one: Contestant, other: Contestant, figure: Callable[[Measured], float] = wall_s) -> float:
        """How many times as long one takes as the other: the median over the rounds."""
        pairs = zip(self.series[one.name].per_million(figure), self.series[other.name].per_million(figure), strict=True)
        return statistics.median(a / b for a, b in pairs)


def run_contest(sample: Sample, rounds: int, row_events: int, work: Path, say: Say) -> Contest:
    """Run all rounds on one sample.

    Args:
        sample: the events.
        rounds: how often each contestant runs.
        row_events: on how many of the events the row job runs.
        work: folder for outputs; each is removed once it was compared.
        say: is told what is going on.

    Raises:
        OutcomesDifferError: two contestants put out something else.
        RunFailedError: one failed.
    """
    partial = row_events < sample.events
    part = head_of(sample, row_events) if partial else sample
    tiny = head_of(sample, TINY_EVENTS) if partial else None
    series = {c.name: Series(part.events if c.partial else sample.events) for c in CONTESTANTS}
    expected = _compare_on(part, work, say) if partial else None
    whole: dict[str, Result] = {}
    with _bench_on_another_core():
        for number in range(1, rounds + 1):
            for contestant in CONTESTANTS:
                say(f"round {number} of {rounds}: {contestant.name}")
                if contestant.partial and tiny:
                    series[contestant.name].starts.append(_run(contestant, tiny, work)[0])
                measured, result = _run(contestant, part if contestant.partial else sample, work)
                if contestant.partial and expected:
                    require_equal({"the job on the same events": expected, contestant.name: result})
                else:
                    whole[contestant.name] = result
                    require_equal(whole)
                series[contestant.name].runs.append(measured)
    return Contest(sample, whole[JOB.name], series)


def _compare_on(part: Sample, work: Path, say: Say) -> Result:
    """What every contestant puts out for the events that the row job gets."""
    say(f"comparing outputs on {part.events:,} events")
    results = {contestant.name: _run(contestant, part, work)[1] for contestant in CONTESTANTS}
    require_equal(results)
    return results[JOB.name]


def _run(contestant: Contestant, sample: Sample, work: Path) -> tuple[Measured, Result]:
    output = work / contestant.name
    cores = sorted(_CORES)[-contestant.cores :]
    try:
        measured = run_measured(contestant.arguments(sample.folder, output), cores, work / f"{contestant.name}.log")
        return measured, contestant.result(output)
    finally:
        shutil.rmtree(output, ignore_errors=True)


@contextmanager
def _bench_on_another_core() -> Iterator[None]:
    """Keep our own looking at memory and comparing off the core that one-core contestants run on."""
    os.sched_setaffinity(0, {min(_CORES)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CORES)
