"""What a replay will probably take: from what earlier runs of the same dataset took, else a guess that is called one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.units import duration_text, size_text
from lake.location import Lake
from lake.runs.cost import RunCost
from lake.runs.manifest import RunSummary, recent_runs
from lake.runs.usage import Ceiling
from pipelines.ingest.slices import bytes_at_once
from pipelines.replay.options import ReplayOptions

_RUNS_LOOKED_AT = 100
_TELLING_S = 30.0  # a run that worked as long as that tells of any other
_TELLING_SHARE = 30  # and one of at least this part of the records
_RECORDS_PER_S = 25_000  # one core, 38 columns
_BASE_BYTES, _WORKER_BYTES = 400 << 20, 250 << 20  # resident before any record: the program, and each worker process more
_BYTES_PER_BYTE = 3.0  # resident per byte of raw that one graph run takes
_SMALL_BYTES = 16 << 20
DURATION, CPU, MEMORY = "duration", "CPU time", "memory"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a replay will probably take.

    cpu_s, peak_memory_bytes: None where they are the cluster's and not known. rests_on: in words. guessed: which of DURATION, CPU
    and MEMORY no earlier run tells.
    """

    seconds: float
    cpu_s: float | None
    peak_memory_bytes: int | None
    rests_on: str
    guessed: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As a part of the plan's JSON."""
        return {
            "estimated_seconds": round(self.seconds, 1),
            "estimated_cpu_seconds": None if self.cpu_s is None else round(self.cpu_s, 1),
            "estimated_peak_memory_bytes": self.peak_memory_bytes,
            "estimate_from": self.rests_on,
            "estimate_guessed": list(self.guessed),
            "estimate_told": self.told(),
        }

    def told(self) -> str:
        """In a sentence."""
        cpu = "CPU time not known" if self.cpu_s is None else f"{duration_text(self.cpu_s)} of CPU time"
        memory = (
            "memory not known" if self.peak_memory_bytes is None else f"{size_text(self.peak_memory_bytes)} of memory at its peak"
        )
        guessed = f"; a guess: {', '.join(self.guessed)}" if self.guessed else ""
        return f"about {duration_text(self.seconds)}, {cpu}, {memory} (from {self.rests_on}{guessed})"

    def above(self, ceiling: Ceiling) -> list[str]:
        """What of it is above a ceiling, one sentence each. A guess refuses nothing: the run itself is held to the ceiling."""
        cpu_s = 0.0 if CPU in self.guessed else self.cpu_s or 0.0
        memory = 0 if MEMORY in self.guessed else self.peak_memory_bytes or 0
        told = (ceiling.broken(0, cpu_s), ceiling.broken(memory, -ceiling.spent_s))
        return [f"by what {self.rests_on} took, it {each}" for each in told if each]


def make_estimate(lake: Lake, dataset: str, options: ReplayOptions, records: int, size_bytes: int) -> Estimate:
    """Work out what reading so many records and bytes of raw takes.

    Args:
        lake: with earlier runs.
        dataset: what is rebuilt: runs of others tell nothing of it.
        options: how it runs: runs with another runner, or other workers, tell nothing either.
        records: of raw that are read.
        size_bytes: of the same.
    """
    known = sorted(_comparable(lake, dataset, options), key=lambda run: (run.pipeline == "replay", run.cost.read_records))
    telling = [r for r in known if r.worked_s >= _TELLING_S or r.cost.read_records * _TELLING_SHARE >= records]
    slowest_s = size_bytes / options.max_rate if options.max_rate else 0.0
    is_here, workers = options.runner == "direct", options.workers or 1
    at_once = bytes_at_once(size_bytes, workers, options.slice_bytes)
    if not telling:
        cpu_s = records / _RECORDS_PER_S
        return Estimate(
            seconds=max(cpu_s, slowest_s),
            cpu_s=cpu_s if is_here else None,
            peak_memory_bytes=int(_BASE_BYTES + _WORKER_BYTES * (workers - 1) + _BYTES_PER_BYTE * at_once) if is_here else None,
            rests_on=f"the usual rate of one core: no earlier run of {dataset} is like it",
            guessed=(DURATION, *((CPU, MEMORY) if is_here else ())),
        )
    run = telling[-1]
    share = records / run.cost.read_records
    peak, is_guess = _peak(telling, at_once) if is_here else (None, False)
    return Estimate(
        seconds=max(run.unthrottled_s * share, slowest_s),
        cpu_s=None if run.cost.cpu_s is None else run.cost.cpu_s * share,
        peak_memory_bytes=peak,
        rests_on=f"run {run.run_id}",
        guessed=(MEMORY,) if is_guess else (),
    )


@dataclass(frozen=True)
class _Run:
    """A run that may be compared with. at_once: bytes of raw that one graph run took."""

    run_id: str
    pipeline: str
    cost: RunCost
    at_once: int
    throttled: bool

    @property
    def worked_s(self) -> float:
        """How long it worked; a machine that is busy with others makes no run longer."""
        return self.cost.wall_s if self.cost.cpu_s is None else self.cost.cpu_s

    @property
    def unthrottled_s(self) -> float:
        """How long it took, had no rate held it back."""
        if self.throttled and self.cost.cpu_s is not None:
            return min(self.cost.wall_s, self.cost.cpu_s / (self.cost.workers or 1))
        return self.cost.wall_s


def _comparable(lake: Lake, dataset: str, options: ReplayOptions) -> Iterator[_Run]:
    for run in recent_runs(lake, _RUNS_LOOKED_AT):
        if (
            run.cost is None
            or dataset not in run.contracts
            or run.pipeline not in ("ingest", "replay")
            or not run.cost.read_records
        ):
            continue
        given = run.manifest.get("options", {})
        if given.get("runner", "direct") != options.runner:
            continue
        if options.runner == "direct" and run.cost.workers != (options.workers or 1):
            continue
        yield _of(run, run.cost, given)


def _of(run: RunSummary, cost: RunCost, given: dict[str, Any]) -> _Run:
    at_once = bytes_at_once(cost.read_bytes, cost.workers or 1, given.get("slice_bytes"))
    return _Run(run.run_id, run.pipeline, cost, at_once, given.get("max_rate") is not None)


def _peak(runs: Sequence[_Run], at_once: int) -> tuple[int | None, bool]:
    """Of the run that took nearly as much at once, with the difference; and whether that run is too far from it to tell."""
    near = min(runs, key=lambda run: (abs(run.at_once - at_once), -(run.cost.peak_memory_bytes or 0)))
    peak, apart = near.cost.peak_memory_bytes, at_once - near.at_once
    if peak is None:
        return None, False
    is_guess = abs(apart) > _SMALL_BYTES and not near.at_once / 2 <= at_once <= near.at_once * 2
    return max(int(peak + _BYTES_PER_BYTE * apart), min(peak, _BASE_BYTES)), is_guess
