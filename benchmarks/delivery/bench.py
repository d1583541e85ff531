"""The rounds: every contestant in turn, a fresh endpoint each time, and what arrived compared before a time counts."""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]

from benchmarks.delivery.endpoints import Arrivals, Endpoint, Running
from benchmarks.delivery.sample import DESTINATION, RANGE, Sample, by_user
from benchmarks.ingest.measure import RunFailedError
from benchmarks.stream.bed import Child, run_json

Say = Callable[[str], None]
_BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True)
class Timed:
    """One run. wall_s, cpu_s: of what is timed. startup_s: a command's time before and after delivery; its cpu_s has that, too."""

    wall_s: float
    cpu_s: float
    startup_s: float | None = None


@dataclass(frozen=True)
class Bed:
    """What contestants run on. topic: address of the same rows on a topic, None where there is none."""

    sample: Sample
    topic: str | None = None


@dataclass(frozen=True)
class Contestant:
    """One way to deliver. on_topic: from the topic, where there is one. ordered: whether events of a user arrive in order."""

    name: str
    title: str
    run: Callable[[Bed, Running], Timed]
    on_topic: bool = False
    ordered: bool = True


def _library(client: str, threads: int) -> Callable[[Bed, Running], Timed]:
    def run(bed: Bed, endpoint: Running) -> Timed:
        arguments = (client, "--threads", str(threads), "--url", endpoint.url, "--events", str(bed.sample.events))
        return Timed(**run_json("benchmarks.delivery.theirs", *arguments))

    return run


def _capacity(bed: Bed, endpoint: Running) -> Timed:
    return Timed(**run_json("benchmarks.delivery.capacity", "--url", endpoint.url, "--events", str(bed.sample.events)))


def _reader(*, topic: bool) -> Callable[[Bed, Running], Timed]:
    def run(bed: Bed, endpoint: Running) -> Timed:
        _prepare(bed.sample, endpoint)
        source = ("--topic", bed.topic) if topic and bed.topic else ()
        return Timed(**run_json("benchmarks.delivery.ours", "--project", str(bed.sample.project), *source))

    return run


def _command(*, topic: bool) -> Callable[[Bed, Running], Timed]:
    def run(bed: Bed, endpoint: Running) -> Timed:
        _prepare(bed.sample, endpoint)
        source = ("--input", bed.topic, "--until", "now") if topic and bed.topic else ("--start", RANGE[0], "--end", RANGE[1])
        verb = ("deliver", DESTINATION, *source, "--project", str(bed.sample.project), "--json")
        began_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        with Child("cli.main", *verb) as child:
            manifest = json.loads(child.end())
        whole_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        wall_s = float(manifest["timings"]["deliver_s"])
        return Timed(wall_s, cpu_s, startup_s=whole_s - wall_s)

    return run


def _prepare(sample: Sample, endpoint: Running) -> None:
    """Nothing is delivered yet."""
    shutil.rmtree(sample.lake / "deliveries", ignore_errors=True)
    sample.point_at(f"{endpoint.url}/v1/batch")


CAPACITY = Contestant("capacity", "requests made beforehand", _capacity, ordered=False)
SEGMENT = Contestant("segment", "segment-analytics-python", _library("segment", 1))
SEGMENT_2 = Contestant("segment_2", "the same, two threads", _library("segment", 2), ordered=False)
RUDDERSTACK = Contestant("rudderstack", "rudder-sdk-python", _library("rudderstack", 1))
READER = Contestant("reader", "headrace, one reader", _reader(topic=False))
READER_TOPIC = Contestant("reader_topic", "headrace, one reader, topic", _reader(topic=True), on_topic=True)
COMMAND = Contestant("command", "`headrace deliver`", _command(topic=False))
COMMAND_TOPIC = Contestant("command_topic", "`headrace deliver`, topic", _command(topic=True), on_topic=True)
CONTESTANTS = (CAPACITY, SEGMENT, SEGMENT_2, RUDDERSTACK, READER, COMMAND, READER_TOPIC, COMMAND_TOPIC)


@dataclass(frozen=True)
class Run:
    """A contestant's run. endpoint_cpu_s: of the endpoint meanwhile. others: share of the cores that other processes used."""

    timed: Timed
    endpoint_cpu_s: float
    others: float


@dataclass
class Contest:
    """All runs on one endpoint, by contestant."""

    endpoint: Endpoint
    events: int
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def median(self, name: str, figure: Callable[[Run], float]) -> float:
        """Of a contestant's rounds."""
        return statistics.median(map(figure, self.runs[name]))

    def ratio(self, name: str, wall_s: Callable[[Timed], float], clients: Sequence[str]) -> float:
        """How many times as long the fastest of these clients takes: the median over the rounds."""
        own = [wall_s(run.timed) for run in self.runs[name]]
        theirs = [min(self.runs[client][number].timed.wall_s for client in clients) for number in range(len(own))]
        return statistics.median(a / b for a, b in zip(theirs, own, strict=True))


def run_contest(bed: Bed, endpoint: Endpoint, rounds: int, say: Say) -> Contest:
    """Run all rounds on one kind of endpoint.

    Raises:
        RunFailedError: a contestant failed, or what arrived is not every event once, or not in order where that is promised.
    """
    contest = Contest(endpoint, len(bed.sample.ids))
    for number in range(1, rounds + 1):
        for contestant in CONTESTANTS:
            if contestant.on_topic and bed.topic is None:
                continue
            run = _measured(contestant, bed, endpoint)
            say(f"{endpoint.name}, round {number} of {rounds}: {contestant.name} {contest.events / run.timed.wall_s:,.0f} events/s")
            contest.runs.setdefault(contestant.name, []).append(run)
    return contest


def _measured(contestant: Contestant, bed: Bed, endpoint: Endpoint) -> Run:
    with endpoint.started() as running:
        server = psutil.Process(running.pid)
        began_s, busy_s, served_s = time.perf_counter(), _busy_s(), _cpu_s(server)
        children_s = _children_s()
        timed = contestant.run(bed, running)
        endpoint_cpu_s = _cpu_s(server) - served_s
        others_s = _busy_s() - busy_s - endpoint_cpu_s - (_children_s() - children_s)
        share = others_s / (time.perf_counter() - began_s) / psutil.cpu_count()
        require(contestant, bed.sample, endpoint.arrivals(running.url))
    return Run(timed, endpoint_cpu_s, max(share, 0.0))


def require(contestant: Contestant, sample: Sample, arrivals: Arrivals) -> None:
    """Every event once, and a user's in order where the contestant promises it.

    Raises:
        RunFailedError: says what is wrong.
    """
    found, wanted = [event_id for event_id, _ in arrivals], set(sample.ids)
    missing, again, strange = len(wanted - set(found)), len(found) - len(set(found)), len(set(found) - wanted)
    if missing or again or strange:
        told = f"{missing:,} are missing, {again:,} came again, {strange:,} were never sent"
        raise RunFailedError(f"{contestant.name}: of {len(wanted):,} events {told}")
    if contestant.ordered and by_user(arrivals) != sample.orders():
        raise RunFailedError(f"{contestant.name}: events of a user came out of order")


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in _BUSY))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _children_s() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def titles() -> Mapping[str, str]:
    """What contestants are called in a table."""
    return {contestant.name: contestant.title for contestant in CONTESTANTS}


def names(contest: Contest) -> Sequence[str]:
    """Who ran."""
    return [contestant.name for contestant in CONTESTANTS if contestant.name in contest.runs]
