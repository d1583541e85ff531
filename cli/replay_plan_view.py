"""How ``headrace replay plan``, ``run`` and ``gate`` show what they came to, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.console import LEDGER_COLUMNS, advise, ledger_cells, stdout, table
from contracts.units import size_text, us_text
from operations.replay.gate import ReplayVerdict
from pipelines.replay.costs import told_cost
from pipelines.replay.plan import ReplayPlan
from pipelines.replay.run import ReplayReport

_MOST_HELD = 30


def show_plan(plan: ReplayPlan) -> None:
    """What would be read and rebuilt, what that takes, and whether it may."""
    stdout.print(f"dataset {plan.dataset}, contract {plan.contract.version}")
    stdout.print(f"asked:   {us_text(plan.asked[0], 'seconds')} to {us_text(plan.asked[1], 'seconds')}")
    for low, high in plan.ranges[:20]:
        stdout.print(f"rebuilt: {us_text(low)} to {us_text(high)}")
    if len(plan.ranges) > 20:
        stdout.print(f"         and {len(plan.ranges) - 20} more ranges")
    rows = [
        [s.source, len(s.pieces), s.records, s.size_bytes, s.skipped, ", ".join(f"{n} {why}" for why, n in s.why.items())]
        for s in plan.selections
    ]
    stdout.print(table(["source", "pieces of raw", "records", "bytes", "not read", "why"], rows))
    stdout.print(f"{plan.windows:,} windows, {plan.records:,} records, {size_text(plan.size_bytes)} of raw")
    stdout.print(f"it will take {plan.estimate.told()}")
    if not plan.published:
        told = (
            f"the table reaches from {' to '.join(us_text(us, 'seconds') for us in plan.reach)}"
            if plan.reach
            else "the table is empty"
        )
        stdout.print(f"no row is published in this range now; {told}", style="yellow")
    stdout.print("read by: " + (", ".join(plan.consumers) or "nobody is named in the contract or in headrace.yaml (consumers)"))
    if plan.above:
        stdout.print("is refused: " + "; ".join(plan.above), style="red")
    if plan.exceeded:
        stdout.print("needs --approved-by and --reason: " + "; ".join(plan.exceeded), style="yellow")


def show_run(report: ReplayReport) -> None:
    """What became of what was read, what it took, and what comes next."""
    rows = [[source, *ledger_cells(entry), entry.outside, entry.pending, entry.lost] for source, entry in report.ledger.items()]
    stdout.print(table(["source", *LEDGER_COLUMNS, "other windows", "pending", "lost"], rows))
    show_cost({"cost": report.cost, "estimate": report.estimate, "cost_to_estimate": report.cost_to_estimate})
    for reason in report.reasons:
        stdout.print(reason, style="red")
    if report.paused:
        advise(f"paused; headrace replay run {report.name} goes on")
    elif not report.reasons:
        advise(f"branch {report.branch} is ready; headrace replay diff {report.name} shows what would change")


def show_cost(taken: Mapping[str, Any]) -> None:
    """Print what a replay took, and what it was to take; nothing where that was not noted."""
    if told := told_cost(taken):
        stdout.print(told)


def show_verdict(verdict: ReplayVerdict) -> None:
    """What the gate would hold, and what comes next."""
    if not verdict.has_gate:
        stdout.print(f"{verdict.dataset} has no gate: nothing would be held")
        return
    for told in verdict.needs or (f"the gate of {verdict.dataset} would hold nothing",):
        stdout.print(told, style="red" if verdict.needs else "")
    rows = [
        (held["from"], held["to"], held["severity"], ", ".join(held["rules"]), held["rows"]) for held in verdict.document()["held"]
    ]
    if rows:
        stdout.print(table(("from", "to", "severity", "rules", "rows"), rows[:_MOST_HELD]))
    if len(rows) > _MOST_HELD:
        stdout.print(f"… and {len(rows) - _MOST_HELD} more; --json has them all")
    if verdict.waiting:
        stdout.print(f"{verdict.waiting} of its partitions may still grow, since a stream feeds {verdict.dataset}, and would wait")
    allow = " --allow-held publishes the rest; readers keep what they see of these" if verdict.needs else ""
    advise(f"next: headrace replay promote {verdict.name}{allow}")
