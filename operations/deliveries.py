"""Where deliveries stand: what their readers told last, put together by run, and what of it somebody has to be woken for.

Counts are those that readers keep since their workers began, not receipts: reading all receipts takes minutes in a lake of years.
The manifest of a run that has ended, and ``headrace reconcile``, count receipts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from contracts.errors import ConfigurationError
from contracts.spec.destination import Limits
from contracts.spec.project import Project
from contracts.units import SECOND_US, us_to_datetime
from lake.location import Lake
from lake.receipts.state import DOWN, ENDED, OK, SILENT_S, THROTTLED, ReaderState, read_states
from lake.runs.manifest import RunSummary, read_run
from lake.runs.submission import read_submission
from pipelines.deliver.options import PIPELINE

SILENT, STARTING = "silent", "starting"
_START_S = 120.0  # until a job of a cluster, or one more of its readers, has told something
_DOUBT = ", or one event is to blame: nothing that it takes is known to tell by"
_WORST_FIRST = (SILENT, DOWN, THROTTLED, OK, ENDED)


@dataclass(frozen=True, kw_only=True)
class DeliveryState:
    """Where a run stands that delivers and was not brought to its end.

    state: the worst of its readers': silent, one has told nothing for more than 30 s and was not done; down; throttled; ok; ended,
    all are done or gave up. starting: none has told anything yet. since: when that began; of silent, the last sign. last_failure:
    class of the destination's last one. in_doubt: one event may be to blame, and there was nothing to tell by.
    next_try_in_s: until a destination that is down is asked again. endless: it reads a topic
    without an end; None while nobody told. readers, silent_readers: how many the run has, and which of them are silent.

    counts: rows by what became of them since counts_since, when the first of its workers began: delivered, refused,
    ``withheld:<reason>``, filtered, and before, which an earlier run settled. events_per_s, bytes_per_s: delivered over the last
    half minute. requests, of which retried repeat one that failed and throttled were answered 429. waiting: rows that were read and
    are not settled. lag: rows of the topic that were not read yet, None where that is not known.

    queue_age_s: for how long the oldest row waits, also while nobody works; None where nothing waits or rows come from a table.
    queue_age_limit_s: from which age on it is late; limit_note: why that is the usual limit and not the destination's own, else
    None. late: whether it is. problems: what somebody has to be woken for, one sentence each.
    """

    run_id: str
    destination: str
    state: str
    since: datetime
    last_failure: str | None = None
    in_doubt: bool = False
    next_try_in_s: float | None = None
    endless: bool | None = None
    readers: int = 0
    silent_readers: tuple[int, ...] = ()
    counts: dict[str, int]
    counts_since: datetime | None = None
    events_per_s: float = 0.0
    bytes_per_s: float = 0.0
    requests: int = 0
    retried: int = 0
    throttled: int = 0
    waiting: int = 0
    lag: int | None = None
    queue_age_s: float | None = None
    queue_age_limit_s: float
    limit_note: str | None = None
    late: bool = False
    problems: tuple[str, ...] = ()


def deliveries(lake: Lake, project: Project, runs: Iterable[RunSummary], now_us: int | None = None) -> list[DeliveryState]:
    """All deliveries that work, or should: by destination, then run.

    Args:
        lake: whose deliveries.
        project: says from which age on a queue is late.
        runs: where to look for runs that began and have told nothing yet.
        now_us: microseconds since 1970; the clock's.
    """
    now_us = time.time_ns() // 1_000 if now_us is None else now_us
    storage, found = lake.storage, []
    for destination in storage.folders(lake.at_key("deliveries")):
        limit_s, note = _limit(project, destination)
        for states in _current(lake, destination, now_us):
            found.append(_put_together(states, now_us, limit_s, note))
    told = {state.run_id for state in found}
    for run in runs:
        if run.pipeline == PIPELINE and run.run_id not in told and (state := _begun(lake, project, run, now_us)):
            found.append(state)
    return sorted(found, key=lambda state: (state.destination, state.run_id))


def _current(lake: Lake, destination: str, now_us: int) -> Iterator[list[ReaderState]]:
    """What the readers of each run told, but of runs that were ended on purpose, or that a newer one took the place of.

    The place of a run that does not work any more: without an end, of one without an end; with one, of one with an end.
    """
    runs = [list(states) for _, states in groupby(read_states(lake, destination), lambda state: state.run_id)]
    for number, states in enumerate(runs):
        run_id, endless = states[0].run_id, states[0].endless
        submission = read_submission(lake, run_id)
        if submission is not None and submission.ended:
            continue
        works = any(state.state != ENDED and not _silent(state, now_us) for state in states)
        newer = any(later[0].endless == endless for later in runs[number + 1 :])
        if works or not (newer or (not endless and _newest_finished(lake, destination) > run_id)):
            yield states


def _newest_finished(lake: Lake, destination: str) -> str:
    """The newest run that delivered to this destination and came to its end; "" if none did."""
    for run_id in lake.storage.folders(lake.at_key("_runs"))[::-1]:
        if run_id.partition("-")[2].rpartition("-")[0] == f"{PIPELINE}-{destination}":
            run = read_run(lake, run_id)
            if run is not None and run.state == "finished":
                return run_id
    return ""


def _begun(lake: Lake, project: Project, run: RunSummary, now_us: int) -> DeliveryState | None:
    """A run that told nothing yet; None where it has ended."""
    submission = read_submission(lake, run.run_id)
    if run.state == "finished" or (submission.ended if submission else run.state != "running"):
        return None
    destination = run.source
    since = datetime.fromisoformat(run.started_at)
    age_s = (us_to_datetime(now_us) - since).total_seconds()
    lost = submission is not None and age_s > _START_S
    limit_s, note = _limit(project, destination)
    problem = f"{destination}: run {run.run_id} has given no sign since it was submitted {age_s:,.0f} s ago"
    return DeliveryState(
        run_id=run.run_id, destination=destination, state=SILENT if lost else STARTING, since=since, counts={},
        queue_age_limit_s=limit_s, limit_note=note, problems=(problem,) if lost else (),
    )  # fmt: skip


def _put_together(states: Sequence[ReaderState], now_us: int, limit_s: float, note: str | None) -> DeliveryState:
    """One run's readers. Those that are silent count with what they told last, but for what they do at this moment."""
    first = states[0]
    began_us = min(state.started_us for state in states)
    silent = {state.reader for state in states if _silent(state, now_us)}
    if now_us - began_us > _START_S * SECOND_US:
        silent |= set(range(first.of)) - {state.reader for state in states}
    by_state = {name: [s for s in states if s.state == name and s.reader not in silent] for name in (DOWN, THROTTLED, OK, ENDED)}
    by_state[SILENT] = [state for state in states if state.reader in silent]
    worst = SILENT if silent else next(name for name in _WORST_FIRST if by_state[name])
    since_us = min((s.updated_us if worst == SILENT else s.since_us for s in by_state[worst]), default=began_us)
    working = [state for state in states if state.reader not in silent and state.state != ENDED]
    tries = [s.next_try_us for s in by_state[DOWN] if s.next_try_us is not None]
    oldest_us = min((s.oldest_us for s in states if s.state != ENDED and s.oldest_us is not None), default=None)
    age_s = None if oldest_us is None else round(max(now_us - oldest_us, 0) / SECOND_US, 3)
    failed = max(by_state[worst], key=lambda state: state.since_us, default=None)
    late = age_s is not None and age_s > limit_s
    counts: Counter[str] = Counter()
    for state in states:
        counts.update(state.counts)
    made = DeliveryState(
        run_id=first.run_id, destination=first.destination, state=worst, since=us_to_datetime(since_us),
        last_failure=(failed.last_failure if failed else None) or None,
        in_doubt=any(s.in_doubt for s in by_state[worst]),
        next_try_in_s=round(max(min(tries) - now_us, 0) / SECOND_US, 3) if tries and worst == DOWN else None,
        endless=first.endless, readers=first.of, silent_readers=tuple(sorted(silent)),
        counts=dict(sorted(counts.items())), counts_since=us_to_datetime(began_us),
        events_per_s=round(sum(s.events_per_s for s in working), 1), bytes_per_s=round(sum(s.bytes_per_s for s in working), 1),
        requests=sum(s.requests for s in states), retried=sum(s.retried for s in states),
        throttled=sum(s.throttled for s in states), waiting=sum(s.waiting for s in states if s.state != ENDED),
        lag=sum(s.lag or 0 for s in states) if any(s.lag is not None for s in states) else None,
        queue_age_s=age_s, queue_age_limit_s=limit_s, limit_note=note, late=late,
        problems=(),
    )  # fmt: skip
    return _with_problems(made, now_us)


def _with_problems(made: DeliveryState, now_us: int) -> DeliveryState:
    problems = []
    silent_s = (us_to_datetime(now_us) - made.since).total_seconds()
    if made.silent_readers:
        which = ", ".join(map(str, made.silent_readers))
        who = "its reader" if made.readers == 1 else f"reader {which} of {made.readers}"
        problems.append(
            f"{made.destination}: run {made.run_id}: no sign of {who} for {silent_s:,.0f} s; "
            "the worker is dead, or cannot write to the lake"
        )
    if made.late:
        problems.append(
            f"{made.destination}: run {made.run_id}: the oldest row has waited {made.queue_age_s:,.0f} s, longer than "
            f"{made.queue_age_limit_s:g} s (limits.queue_age_s): {_cause(made)}"
        )
    return replace(made, problems=tuple(problems))


def _cause(made: DeliveryState) -> str:
    """Why a queue is as old as it is."""
    if made.state == SILENT:
        return "nobody works on it"
    if made.state == DOWN:
        return f"the destination is down ({made.last_failure or 'no failure noted'}){_DOUBT if made.in_doubt else ''}"
    if made.state == THROTTLED:
        return "the destination asks for less"
    return f"more comes in than is delivered, {made.events_per_s:,.0f} events/s"


def _limit(project: Project, destination: str) -> tuple[float, str | None]:
    """From which age on a queue is late; and why that is not the destination's own."""
    try:
        return project.destination(destination)[0].limits.queue_age_s, None
    except ConfigurationError as error:
        return Limits().queue_age_s, str(error)


def _silent(state: ReaderState, now_us: int) -> bool:
    return state.state != ENDED and now_us - state.updated_us > SILENT_S * SECOND_US
