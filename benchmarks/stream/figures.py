"""What is computed from measured values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WARM_UP = 0.2  # of a run; what is fitted and counted comes after it
LAG_TOLERANCE = 0.01  # lag may grow by this share of the rate
DELAY_TOLERANCE = 0.05  # seconds that publication may fall behind in a second
SCHEDULE_TOLERANCE_MS = 1_000.0  # how far the producer itself may have been behind
BROKER, PRODUCER, CONSUMER = "broker", "producer", "consumer"  # processes that are no contestant's
_FIT_POINTS, _FIT_WINDOWS = 10, 3
_LOWEST_OF_S = 15.0  # longer than any contestant waits between two commits of its offsets


@dataclass(frozen=True)
class Progress:
    """Messages that a job had taken over at a moment of the wall clock."""

    at_s: float
    taken: int


@dataclass(frozen=True)
class Visible:
    """When rows of one window and shard were first to be seen. Times in seconds since 1970."""

    window_end_s: float
    visible_s: float
    rows: int

    @property
    def delay_s(self) -> float:
        """From the end of the window."""
        return self.visible_s - self.window_end_s


@dataclass(frozen=True)
class Load:
    """What was to be sent: ``rate`` messages a second from ``start_s`` on, for ``seconds``. late_ms_max: how well that was kept."""

    rate: float
    start_s: float
    seconds: float
    late_ms_max: float

    def sent(self, at_s: float) -> float:
        """Messages due by a moment."""
        return self.rate * min(max(at_s - self.start_s, 0.0), self.seconds)

    @property
    def end_s(self) -> float:
        """When the last message was due."""
        return self.start_s + self.seconds

    @property
    def measured_from_s(self) -> float:
        """The end of the warm-up."""
        return self.start_s + WARM_UP * self.seconds


def lags(load: Load, progress: Sequence[Progress]) -> list[tuple[float, float]]:
    """(moment, messages due and not taken over), after the warm-up and up to the last due message."""
    return [(p.at_s, load.sent(p.at_s) - p.taken) for p in progress if load.measured_from_s <= p.at_s <= load.end_s]


def low_lags(load: Load, progress: Sequence[Progress]) -> list[tuple[float, float]]:
    """The least lag of the seconds up to each moment, so that offsets that are committed every ten seconds are no rise."""
    lowest_of_s = min(_LOWEST_OF_S, load.seconds / 4)
    points = [(p.at_s, load.sent(p.at_s) - p.taken) for p in progress if load.start_s <= p.at_s <= load.end_s]
    begin_s = max(load.measured_from_s, load.start_s + lowest_of_s)
    return [(at, min(lag for t, lag in points if at - lowest_of_s < t <= at)) for at, _ in points if at >= begin_s]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through points by least squares, y per x."""
    x, y = np.asarray(points, dtype=float).T
    x = x - x.mean()
    return float((x @ (y - y.mean())) / (x @ x))


def grows(load: Load, progress: Sequence[Progress], windows: Sequence[Visible]) -> list[str]:
    """Why a rate was not held; nothing where it was.

    Args:
        load: what was sent.
        progress: looked at every second or so.
        windows: those that ended while messages were sent.
    """
    reasons = []
    if load.late_ms_max > SCHEDULE_TOLERANCE_MS:
        reasons.append(f"the producer itself was up to {load.late_ms_max / 1_000:.1f} s behind its schedule")
    points = low_lags(load, progress)
    if len(points) < _FIT_POINTS:
        reasons.append(f"only {len(points)} looks at the lag, {_FIT_POINTS} are needed")
    elif (growth := slope(points)) > LAG_TOLERANCE * load.rate:
        reasons.append(f"lag grew by {growth:,.0f} messages a second, to {points[-1][1]:,.0f}")
    ended = [w for w in windows if load.measured_from_s <= w.window_end_s <= load.end_s]
    if len({w.window_end_s for w in ended}) >= _FIT_WINDOWS:
        fallen = slope([(w.window_end_s, w.delay_s) for w in ended])
        if fallen > DELAY_TOLERANCE:
            reasons.append(f"windows were published later and later, by {fallen:.2f} s a second")
    return reasons


def percentiles(values: Sequence[float], shares: Sequence[float] = (50, 95, 99, 100)) -> dict[str, float] | None:
    """Percentiles that are values themselves, as p50 … max; None without values."""
    if not len(values):
        return None
    found = np.percentile(np.asarray(values, dtype=float), list(shares), method="higher").tolist()
    return {"max" if share == 100 else f"p{share:g}": round(value, 3) for share, value in zip(shares, found, strict=True)}


def latencies_ms(due: pa.Table, arrivals: pa.Table, load: Load) -> list[float]:
    """Per event that was due after the warm-up: its first arrival less the time at which it was to be sent.

    Args:
        due: id and time_ms of each event.
        arrivals: id and time_ms of everything that arrived, in any order.
        load: tells the end of the warm-up.

    Raises:
        ValueError: an event never arrived; a percentile without it would be too good.
    """
    due = due.filter(pc.greater_equal(due["time_ms"], load.measured_from_s * 1_000))
    first = arrivals.group_by("id").aggregate([("time_ms", "min")])
    places = pc.index_in(due["id"].combine_chunks(), first["id"].combine_chunks())
    if places.null_count:
        lost = due["id"].combine_chunks().filter(pc.is_null(places))
        raise ValueError(f"{len(lost):,} of {len(due):,} events never arrived on the immediate topic, such as {lost[0]}")
    waited: list[float] = pc.subtract(
        first["time_ms_min"].combine_chunks().take(places), due["time_ms"].combine_chunks()
    ).to_pylist()
    return waited


@dataclass(frozen=True)
class CpuUse:
    """CPU seconds by process over an interval. idle_s: of all cores. other_s: of processes that are no part of it."""

    wall_s: float
    cores: int
    cpu_s: Mapping[str, float]
    resident_mib: Mapping[str, int] = field(default_factory=dict)
    idle_s: float = 0.0

    @property
    def other_s(self) -> float:
        """What the rest of the machine used."""
        return max(0.0, self.wall_s * self.cores - self.idle_s - sum(self.cpu_s.values()))

    @property
    def own_s(self) -> float:
        """What the contestant used."""
        return sum(used for name, used in self.cpu_s.items() if name not in (BROKER, PRODUCER, CONSUMER))

    @property
    def idle_share(self) -> float:
        """Of all cores."""
        return self.idle_s / (self.wall_s * self.cores)

    @property
    def other_share(self) -> float:
        """Of all cores, by what is no part of the run."""
        return self.other_s / (self.wall_s * self.cores)


_IDLE_IS_USED_UP, _CORE_IS_FULL, _OTHERS_DISTURB = 0.10, 0.90, 0.05


def judgement(use: CpuUse) -> str:
    """In one line what limits."""
    name, most = max(use.cpu_s.items(), key=lambda item: item[1])
    told = f"most CPU: {name}, {most / use.wall_s:.2f} of {use.cores} cores; idle {use.idle_share:.0%}"
    if use.other_share > _OTHERS_DISTURB:
        return f"other processes of the machine used {use.other_share:.0%} of it, so no limit can be told; {told}"
    if use.idle_share < _IDLE_IS_USED_UP:
        return f"all cores are used up; {told}"
    if most / use.wall_s > _CORE_IS_FULL:
        return f"{name} may be at what one thread can do; {told}"
    return f"no process is at a limit at this rate; {told}"


def find_highest(rates: Sequence[int], probe: Callable[[int], bool], hold: Callable[[int], bool], refine: int) -> int | None:
    """The highest rate that is held.

    Args:
        rates: tried in rising order until one is not held.
        probe: whether a rate is held for a short time.
        hold: whether it is for the full time; asked from the highest down.
        refine: how often to try between the highest that was held and the lowest that was not.
    """
    held: list[int] = []
    failed: int | None = None
    for rate in sorted(rates):
        if not probe(rate):
            failed = rate
            break
        held.append(rate)
    for _ in range(refine if failed is not None and held else 0):
        assert failed is not None
        middle = round((held[-1] + failed) / 200) * 100
        if not held[-1] < middle < failed:
            break
        if probe(middle):
            held.append(middle)
        else:
            failed = middle
    return next((rate for rate in reversed(held) if hold(rate)), None)
