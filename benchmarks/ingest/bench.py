"""The rounds: every contestant in turn, fresh output each time, outputs compared as they come."""

from __future__ import annotations

import os
import re
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.ingest.compare import Content, content_of_lake, differences
from benchmarks.ingest.contestants import JOB, PEERS_PYTHON, Contestant, Own, Peer
from benchmarks.ingest.measure import Measured, RunFailedError, run_measured
from benchmarks.ingest.outcome import Result, require_equal, result_of_lake
from benchmarks.ingest.sample import Sample, head_of, readable_part

TINY_EVENTS = 200  # what is left of a run on so few is its start
Say = Callable[[str], None]
T = TypeVar("T")
_CORES = frozenset(os.sched_getaffinity(0))
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception|Failed)\b.*")
_REASON_CHARACTERS = 200


@dataclass
class Series:
    """The rounds of one contestant on one sample.

    starts: runs on a tiny sample, one per round, of a contestant that is measured on a part only: its start, which a million events
        pay once. differs: in what its output is not the job's; nothing where it is the same. refused: why it did not take the
        sample; then it ran on the part of it that any reader of JSON takes. missing: why there is no figure at all.
    """

    events: int
    runs: list[Measured] = field(default_factory=list)
    starts: list[Measured] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    refused: str = ""
    missing: str = ""

    @property
    def output(self) -> str:
        """What its figures are worth: ``same`` as the job's, or not."""
        if self.missing:
            return "none"
        return ", ".join(["differs"] * bool(self.differs) + ["other input"] * bool(self.refused)) or "same"

    def per_million(self, figure: Callable[[Measured], float]) -> list[float]:
        """Wall or CPU time of a million events, per round."""
        if not self.starts:
            return [figure(run) * 1_000_000 / self.events for run in self.runs]
        start = min(map(figure, (*self.starts, *self.runs)))  # noise only ever adds; on a busy machine more than a short run takes
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

    def ratio(self, one: Contestant, other: Contestant, figure: Callable[[Measured], float] = wall_s) -> float | None:
        """How many times as long one takes as the other: the median over the rounds; None where one has no figures."""
        if not all(contestant.name in self.series and self.series[contestant.name].runs for contestant in (one, other)):
            return None
        pairs = zip(self.series[one.name].per_million(figure), self.series[other.name].per_million(figure), strict=True)
        return statistics.median(a / b for a, b in pairs)


class Rounds:
    """One sample, its parts, and what the job puts out for each of them."""

    def __init__(self, sample: Sample, row_events: int, work: Path, say: Say) -> None:
        self.sample, self._work, self._say = sample, work, say
        self.is_cut = row_events < sample.events
        self.part = head_of(sample, row_events) if self.is_cut else sample
        self.tiny = head_of(sample, TINY_EVENTS) if self.is_cut else None
        self.results: dict[Path, dict[str, Result]] = {}
        self._contents: dict[Path, Content] = {}

    def sample_for(self, contestant: Contestant) -> Sample:
        """On what a contestant runs."""
        return self.part if contestant.partial else self.sample

    def series_of(self, contestant: Contestant) -> Series:
        """Its rounds, none yet."""
        absent = isinstance(contestant, Peer) and not contestant.is_installed()
        return Series(self.sample_for(contestant).events, missing="not installed: make peers" if absent else "")

    def measure(self, contestant: Contestant, series: Series, *, compare: bool = True) -> None:
        """One more run of a contestant. compare: its output, too.

        Raises:
            OutcomesDifferError: the output of job, loop or row job is not that of the others.
            RunFailedError: one of the three failed.
        """
        sample = self.sample_for(contestant)
        if not compare:
            self._measure(contestant, series, sample, lambda _: None)
        elif isinstance(contestant, Own):
            if sample.folder not in self.results and contestant != JOB:
                self._job_on(sample)
            result = self._measure(contestant, series, sample, contestant.result)
            results = self.results.setdefault(sample.folder, {})
            results["the job on the same events" if contestant == JOB else contestant.name] = result
            require_equal(results)
        elif isinstance(contestant, Peer):
            self._measure_peer(contestant, series, sample)

    def _measure_peer(self, peer: Peer, series: Series, sample: Sample) -> None:
        if series.missing:
            return
        if series.refused:
            sample = readable_part(sample)
        try:
            content = self._measure(peer, series, sample, peer.content)
        except RunFailedError as error:
            if series.refused or series.runs:
                series.missing = _reason_of(error)
                return
            series.refused = _reason_of(error)
            sample = readable_part(sample)
            series.events = sample.events
            self._measure_peer(peer, series, self.sample_for(peer))
            return
        told = differences(self._expected(sample), content, peer.without)
        series.differs += [difference for difference in told if difference not in series.differs]

    def _measure(self, contestant: Contestant, series: Series, sample: Sample, read: Callable[[Path], T]) -> T:
        start = self._run(contestant, self.tiny, lambda _: None)[0] if contestant.partial and self.tiny else None
        measured, output = self._run(contestant, sample, read)
        series.runs.append(measured)
        if start:
            series.starts.append(start)
        return output

    def _expected(self, sample: Sample) -> Content:
        if sample.folder not in self._contents:
            self._job_on(sample)
        return self._contents[sample.folder]

    def _job_on(self, sample: Sample) -> None:
        """What the job puts out, without taking its time."""
        self._say(f"what the job puts out for {sample.events:,} events")
        _, (result, content) = self._run(JOB, sample, lambda output: (result_of_lake(output), content_of_lake(output)))
        results = self.results.setdefault(sample.folder, {})
        results.setdefault("the job on the same events", result)
        require_equal({**results, "the job once more": result})
        self._contents[sample.folder] = content

    def _run(self, contestant: Contestant, sample: Sample, read: Callable[[Path], T]) -> tuple[Measured, T]:
        output = self._work / contestant.name
        cores = sorted(_CORES)[-contestant.cores :]
        log = self._work / f"{contestant.name}.log"
        try:
            measured = run_measured(contestant.arguments(sample.folder, output), cores, log, contestant.python)
            return measured, read(output)
        finally:
            shutil.rmtree(output, ignore_errors=True)


def run_contest(sample: Sample, contestants: Sequence[Contestant], rounds: int, row_events: int, work: Path, say: Say) -> Contest:
    """Run all rounds on one sample.

    Args:
        sample: the events.
        contestants: who takes part; the job first.
        rounds: how often each contestant runs.
        row_events: on how many of the events those run that are measured on a part.
        work: folder for outputs; each is removed once it was compared.
        say: is told what is going on.

    Raises:
        OutcomesDifferError: job, loop and row job put out something else; that of peers is told.
        RunFailedError: one of the three failed.
    """
    on = Rounds(sample, row_events, work, say)
    series = {contestant.name: on.series_of(contestant) for contestant in contestants}
    with _bench_on_another_core():
        for number in range(1, rounds + 1):
            for contestant in contestants:
                say(f"round {number} of {rounds}: {contestant.name}")
                on.measure(contestant, series[contestant.name])
    return Contest(sample, on.results[sample.folder]["the job on the same events"], series)


def _reason_of(error: RunFailedError) -> str:
    """The last line of what it wrote that names an error, cut, without places on this machine."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    named = [line for line in lines if _ERROR.match(line)] or lines or [str(error).splitlines()[0]]
    told = named[-1].replace(str(PEERS_PYTHON.parents[3]) + "/", "")
    return told if len(told) <= _REASON_CHARACTERS else told[:_REASON_CHARACTERS] + "…"


@contextmanager
def _bench_on_another_core() -> Iterator[None]:
    """Keep our own looking at memory and comparing off the core that one-core contestants run on."""
    os.sched_setaffinity(0, {min(_CORES)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CORES)
