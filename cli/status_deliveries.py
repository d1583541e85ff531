"""How ``headrace status`` shows deliveries: those that were run, and of those that work, or should, where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cli.console import stdout, table
from lake.receipts.receipts import BEFORE, DELIVERED, FILTERED, REFUSED, WITHHELD
from lake.receipts.state import DOWN
from lake.runs.manifest import RunSummary
from operations.deliveries import SILENT, STARTING, DeliveryState

_OUTCOMES = ("delivered", "withheld", "refused", "filtered", "settled before")
_STATE = (*_OUTCOMES, "events/s", "requests", "retried", "throttled", "waiting", "lag", "queue age")


def show_delivery_runs(runs: Sequence[RunSummary]) -> None:
    """The table of runs that delivered, the newest first."""
    rows = []
    later: set[str] = set()
    for run in runs:
        if "counts" in run.manifest:
            later.add(run.source)
            seconds = round(run.timings["total_s"])
            rows.append((run.run_id, run.source, run.state, seconds, *_outcomes(run.manifest["counts"]), run.verdict))
        else:
            advice = advice_on(run) if run.source not in later else ""
            rows.append((run.run_id, run.source, run.state, None, *([None] * len(_OUTCOMES)), advice))
    stdout.print(table(("delivery", "destination", "state", "seconds", *_OUTCOMES, "verdict"), rows))


def advice_on(run: RunSummary) -> str:
    """Why a run broke off, as far as it could say, and what to do."""
    again = "run the same command again"
    return f"{run.why}; {again}" if run.broke_off and run.why else again if run.broke_off else ""


def show_delivery(made: DeliveryState) -> None:
    """Where one stands, and in red what is wrong with it."""
    title = f"run {made.run_id}: delivers to {made.destination}: {_in_words(made)}"
    if made.counts_since:
        title += f"; counted since {_time(made.counts_since)}"
    age = None if made.queue_age_s is None else f"{made.queue_age_s:,.0f} s" + (" LATE" if made.late else "")
    cells = (
        *_outcomes(made.counts), round(made.events_per_s), made.requests, made.retried, made.throttled, made.waiting, made.lag, age,
    )  # fmt: skip
    stdout.print(table(_STATE, [cells], title=title))
    if made.limit_note:
        stdout.print(f"late is a queue older than {made.queue_age_limit_s:g} s, the usual limit: {made.limit_note}")
    for problem in made.problems:
        stdout.print(f"LATE: {problem}" if made.late and problem is made.problems[-1] else problem, style="red", markup=False)


def _in_words(made: DeliveryState) -> str:
    since = _time(made.since)
    if made.state == SILENT:
        return f"silent since {since}"
    if made.state == STARTING:
        return f"starting since {since}, no sign yet"
    if made.state != DOWN:
        return f"{made.state} since {since}"
    again = "being tried now" if not made.next_try_in_s else f"next try in {made.next_try_in_s:,.0f} s"
    doubt = ", or one event is to blame (see probe: of destinations)" if made.in_doubt else ""
    return f"down since {since}{doubt}, last failure {made.last_failure or 'unknown'}, {again}"


def _outcomes(counts: Mapping[str, int]) -> list[Any]:
    withheld = sum(count for name, count in counts.items() if name.partition(":")[0] == WITHHELD)
    return [counts.get(DELIVERED, 0), withheld, *(counts.get(name, 0) for name in (REFUSED, FILTERED, BEFORE))]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
