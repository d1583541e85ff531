"""One measured run: one job, one rate, on a stack that is up."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.csv

from benchmarks.stream.bed import SHARES, Child, Difference, DiffersError, RunFailedError, Say, Sent, make_topic
from benchmarks.stream.contestants import OURS, Contestant, contestant
from benchmarks.stream.figures import (
    BROKER,
    CONSUMER,
    PRODUCER,
    WARM_UP,
    CpuUse,
    Load,
    Progress,
    grows,
    judgement,
    lags,
    latencies_ms,
    low_lags,
    percentiles,
    slope,
)
from benchmarks.stream.ours import TABLE, OurJob
from benchmarks.stream.processes import CpuMeter
from benchmarks.stream.sweeps import SweepFigures
from devstack.stack import Stack

_FIRST = 50, 4.0  # messages a second, seconds
_START_S = 120.0
_LOOK_S = 1.0
_SETTLE_S = 300.0
_QUIET_S = 75.0  # a sweep is due every minute
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Figures:
    """What a run gave. None where the job has no such thing, or the run was too short for it.

    not_held: why the rate was not held; empty where it was. lag: messages, at the end of the load. lag_growth: a second.
    latency_ms, freshness_s: percentiles. checkpoint_bytes: per event, as uploaded. written_per_row: rows written to the published
    table per row in it. tables: commits and files an hour. sweeps: only of runs with copies. differs: where a peer's output does.
    """

    job: str
    rate: int
    seconds: float
    events: int
    not_held: list[str]
    lag: int
    lag_growth: float
    late_ms_max: float
    latency_ms: dict[str, float] | None
    freshness_s: dict[str, float] | None
    windows: int
    checkpoints: int
    checkpoint_bytes: float | None
    written_per_row: float | None
    tables: dict[str, dict[str, float]]
    cpu: CpuUse
    limit: str
    settled_s: float
    sweeps: SweepFigures | None = None
    differs: Difference | None = None

    @property
    def cpu_us(self) -> float | None:
        """Microseconds of CPU a message, without broker, producer and consumer; None where it does not keep up."""
        return None if self.not_held else round(self.cpu.own_s / (self.rate * self.cpu.wall_s) * 1e6, 1)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        document = asdict(self)
        document["cpu_us_per_message"] = self.cpu_us
        document["cpu"] |= {"idle_share": round(self.cpu.idle_share, 3), "other_share": round(self.cpu.other_share, 3)}
        return document


def measure(stack: Stack, name: str, rate: int, seconds: float, work: Path, say: Say, copies: float = 0.0) -> Figures:
    """Load one job with one rate and read everything back.

    Args:
        stack: is up, and nothing runs on it.
        name: of JOBS; the stack has Flink unless it is of PEERS.
        rate: messages a second.
        seconds: how long; the first fifth is warm-up.
        work: where files of the run may lie; they are removed.
        say: is told what happens.
        copies: share of messages that copy an event of another minute; not for the row job, which knows none.

    Raises:
        RunFailedError: what was published is not what was sent, or a process failed.
    """
    number = next(_numbers)
    folder = work / f"run-{number}"
    folder.mkdir(parents=True)
    topic, rows = f"web-events-{number}", f"rows-{number}" if name == OURS else None
    for made in filter(None, (topic, rows)):
        make_topic(stack.kafka_bootstrap, made)
    job = contestant(name, stack, folder, topic, rows)
    say(f"{name}: starting, {rate:,} messages a second for {seconds:.0f} s")
    try:
        job.start()
        return _loaded(stack, name, job, rate, seconds, folder, topic, say, copies)
    except RunFailedError as error:
        failure = job.failure()
        raise RunFailedError(f"{name}, {rate:,}/s: {error}" + (f"; it failed: {failure}" if failure else "")) from None
    finally:
        job.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _loaded(
    stack: Stack,
    name: str,
    job: Contestant,
    rate: int,
    seconds: float,
    folder: Path,
    topic: str,
    say: Say,
    copies: float,
) -> Figures:
    ids, arrived = folder / "sent.tsv", folder / "arrivals.tsv"
    bootstrap = ("--bootstrap", stack.kafka_bootstrap)
    progress: list[Progress] = []
    swept, ages_s = job if copies and isinstance(job, OurJob) else None, list[float]()
    checkpoints: dict[int, int] = {}  # collected while it runs, since only the last few are remembered
    with ExitStack() as children:
        consumer = None
        if job.immediate:
            consumer = children.enter_context(
                Child("benchmarks.stream.arrivals", *bootstrap, "--topic", job.immediate, "--out", str(arrived))
            )
            if consumer.first_line() != "ready":
                consumer.end()
        first = _warm_up(job, topic, bootstrap, folder / "first.tsv")
        shares = (*SHARES, "--copies", str(copies))
        arguments = ("--topic", topic, "--rate", str(rate), "--seconds", str(seconds), "--ids", str(ids), *shares)
        producer = children.enter_context(Child("benchmarks.stream.producer", *bootstrap, *arguments))
        ours = {producer.pid: PRODUCER} | ({consumer.pid: CONSUMER} if consumer else {})
        meter = CpuMeter(lambda: processes_of(stack, job) | ours)
        sending_since = None
        while producer.runs:
            began = time.time()
            progress.append(Progress(began, job.taken() - len(first.lines)))
            if sending_since is None and ids.exists() and ids.stat().st_size:
                sending_since = began
            if sending_since is not None and began > sending_since + WARM_UP * seconds:
                meter.look()
                if swept:
                    ages_s.append(swept.settled_age_s())
            checkpoints |= job.checkpoints()
            time.sleep(max(0.0, _LOOK_S - (time.time() - began)))
        said = json.loads(producer.end())
        sent = Sent.read(ids)
        everything = Sent.of(first, sent)
        say(f"{name}: {len(everything.lines):,} messages sent; waiting until all of them are accounted for")
        ended, settled_s = time.monotonic(), _settle(job, everything)
        left = 0
        if swept:
            left, everything = _sweep_up(swept, everything, topic, bootstrap, folder / "last.tsv", say)
        checkpoints |= job.checkpoints()
        if consumer:
            consumer.end(ask=True)
    differs = _difference(job, everything)
    load = Load(rate, pc.min(sent.due["time_ms"]).as_py() / 1_000, len(sent.lines) / rate, said["late_ms_max"])
    windows = [w for w in job.windows() if w.window_end_s <= load.end_s]
    points, lows = lags(load, progress), low_lags(load, progress)
    latency = percentiles(_latencies_ms(sent, arrived, load)) if job.immediate else None
    written, published = job.written(), job.published()
    hours = (load.seconds + time.monotonic() - ended) / 3_600
    measured_windows = [w for w in windows if w.window_end_s >= load.measured_from_s]
    size = sum(checkpoints.values())
    return Figures(
        job=name,
        rate=rate,
        seconds=round(load.seconds, 1),
        events=len(sent.events),
        not_held=grows(load, progress, windows),
        lag=round(points[-1][1]) if points else 0,
        lag_growth=round(slope(lows), 2) if len(lows) > 1 else 0.0,
        late_ms_max=said["late_ms_max"],
        latency_ms=latency,
        freshness_s=percentiles([w.delay_s for w in measured_windows], (50, 99, 100)),
        windows=len({w.window_end_s for w in measured_windows}),
        checkpoints=len(checkpoints),
        checkpoint_bytes=round(size / len(everything.lines), 1) if checkpoints else None,
        written_per_row=round(written[TABLE].rows / published, 2) if TABLE in written and published else None,
        tables={
            table: {"commits_per_hour": round(w.commits / hours), "files_per_hour": round(w.files / hours)}
            for table, w in written.items()
        },
        cpu=meter.use,
        limit=judgement(meter.use),
        settled_s=round(settled_s, 1),
        sweeps=swept.sweeps(left, ages_s) if swept else None,
        differs=differs,
    )


def _difference(job: Contestant, sent: Sent) -> Difference | None:
    """How a peer's output differs from what was sent."""
    try:
        job.check(sent)
    except DiffersError as error:
        if not job.may_differ:
            raise
        return error.difference
    return None


def _warm_up(job: Contestant, topic: str, bootstrap: Sequence[str], ids: Path) -> Sent:
    """Send a few messages and wait until the job has taken them: its workers have started, and all code is loaded."""
    rate, seconds = _FIRST
    arguments = ("--topic", topic, "--rate", str(rate), "--seconds", str(seconds), "--ids", str(ids))
    with Child("benchmarks.stream.producer", *bootstrap, *arguments) as producer:
        producer.end()
    sent = Sent.read(ids)
    until = time.monotonic() + _START_S
    while job.taken() < len(sent.lines):
        if time.monotonic() > until:
            raise RunFailedError(f"the job did not take its first {len(sent.lines)} messages within {_START_S:.0f} s")
        time.sleep(_LOOK_S)
    return sent


def processes_of(stack: Stack, job: Contestant) -> dict[int, str]:
    """Those of a contestant, and the broker."""
    broker = stack.pid("kafka")
    return {**job.processes(), **({} if broker is None else {broker: BROKER})}


def _settle(job: Contestant, sent: Sent) -> float:
    """Wait until everything has an outcome; how long that took."""
    began = time.monotonic()
    while not job.settled(sent):
        if time.monotonic() - began > _SETTLE_S:
            raise RunFailedError(f"not all messages are accounted for {_SETTLE_S:.0f} s after the last was sent")
        time.sleep(_LOOK_S)
    return time.monotonic() - began


def _sweep_up(job: OurJob, sent: Sent, topic: str, bootstrap: Sequence[str], ids: Path, say: Say) -> tuple[int, Sent]:
    """Wait until the sweeps have dropped all copies: a while without a message, then with a few, since sweeps come behind commits.

    Returns:
        Copies that were left when a few more messages had to be sent, and all that was sent.
    """
    until = time.monotonic() + _QUIET_S
    while (left := job.left(sent)) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    if not left:
        return 0, sent
    say(f"{left:,} copies are still published; sending a few more messages, so that there are commits")
    until = time.monotonic() + _SETTLE_S
    rate, _ = _FIRST
    with Child("benchmarks.stream.producer", *bootstrap, "--topic", topic, "--rate", str(rate), "--ids", str(ids)) as producer:
        while job.left(sent) and producer.runs:
            if time.monotonic() > until:
                raise RunFailedError(f"{job.left(sent):,} copies are still published after {_SETTLE_S:.0f} s of further messages")
            time.sleep(_LOOK_S)
        producer.end(ask=True)
    everything = Sent.of(sent, Sent.read(ids))
    _settle(job, everything)
    return left, everything


def _latencies_ms(sent: Sent, arrived: Path, load: Load) -> list[float]:
    options = pyarrow.csv.ReadOptions(column_names=["id", "time_ms"])
    arrivals = pyarrow.csv.read_csv(arrived, options, pyarrow.csv.ParseOptions(delimiter="\t"))
    try:
        return latencies_ms(sent.due, arrivals, load)
    except ValueError as error:
        raise RunFailedError(str(error)) from None
