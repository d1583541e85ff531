"""``headrace lake upgrade | downgrade``: a lake of another version's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from cli.console import json_option, lake_option, open_lake, plain_errors, print_json, project_option, say, stdout, table
from contracts.units import DURATION_UNITS
from lake.location import Lake
from lake.tables.iceberg import UNLIMITED_S
from operations.upgrade import TableStep, downgrade, plan_upgrade, upgrade, work_of
from runners.option_readers import in_largest_unit


@click.command("upgrade", epilog="\b\nExample:\n  headrace lake upgrade --dry-run")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@lake_option
@project_option
@json_option
@plain_errors
def upgrade_lake(dry_run: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Bring a lake of an earlier version to this one's format, and tables to the deduplication horizon of their contracts.

    Stop its jobs first, and start them with this version afterwards. May be killed and given again. Content hashes stay where no id
    has copies in different minutes. The way back is lake downgrade.
    """
    opened, found = open_lake(lake, project)
    if dry_run:
        _print_plan(opened, plan_upgrade(opened, found), as_json)
    else:
        _print_steps(list(upgrade(opened, found, say)), as_json)


@click.command("downgrade", epilog="\b\nExample:\n  headrace lake downgrade")
@lake_option
@project_option
@json_option
@plain_errors
def downgrade_lake(lake: str | None, project: Path | None, as_json: bool) -> None:
    """Bring a lake back to format 1, for the version before: what the deduplication horizon dropped is published again.

    Stop its jobs first. May be killed and given again.
    """
    opened, _ = open_lake(lake, project)
    _print_steps(list(downgrade(opened, say)), as_json)


def _print_plan(opened: Lake, steps: Sequence[TableStep], as_json: bool) -> None:
    """What an upgrade would do, and about how long it takes."""
    works = [work_of(opened, step) for step in steps]
    if as_json:
        pairs = zip(steps, works, strict=True)
        print_json([{"before": asdict(s), "after": asdict(s), "needed": s.needed, "work": asdict(work)} for s, work in pairs])
        return
    rows = []
    for step, work in zip(steps, works, strict=True):
        horizon = _arrow(horizon_text(step.horizon_s), horizon_text(step.to_horizon_s))
        cells = (step.table, _arrow(step.format, step.to_format), horizon, step.rows, step.dropped, work.files, work.size_bytes)
        rows.append((*cells, f"{work.seconds:,.1f}" if step.needed else "", "would be done" if step.needed else ""))
    stdout.print(table(("table", "format", "horizon", "rows", "dropped", "files", "bytes", "about seconds", ""), rows))
    _print_unknown(steps)
    if needed := [work.seconds for step, work in zip(steps, works, strict=True) if step.needed]:
        stdout.print(f"about {sum(needed):,.0f} s in all; nothing was changed", markup=False)


def _print_steps(steps: Sequence[tuple[TableStep, TableStep]], as_json: bool) -> None:
    if as_json:
        print_json([{"before": asdict(before), "after": asdict(after), "needed": before.needed} for before, after in steps])
        return
    rows = []
    for before, after in steps:
        horizon = _arrow(horizon_text(before.horizon_s), horizon_text(after.horizon_s))
        cells = (after.table, _arrow(before.format, after.format), horizon, _arrow(before.rows, after.rows), after.dropped)
        rows.append((*cells, _arrow(before.content_hash, after.content_hash), "done" if before.needed else ""))
    stdout.print(table(("table", "format", "horizon", "rows", "dropped", "content_hash", ""), rows))
    _print_unknown([before for before, _ in steps])


def _arrow(before: int | str, after: int | str) -> str:
    texts = [f"{x:,}" if isinstance(x, int) else x for x in (before, after)]
    return texts[0] if before == after else " → ".join(texts)


def _print_unknown(steps: Sequence[TableStep]) -> None:
    for step in steps:
        if not step.known:
            horizon = horizon_text(step.to_horizon_s)
            kept = "it keeps its horizon" if step.format == step.to_format else f"it gets the default horizon, {horizon}"
            stdout.print(f"{step.table}: no contract of it in this project; {kept}", markup=False)


def horizon_text(seconds: int | None) -> str:
    """A deduplication horizon in its largest unit."""
    if seconds is None or seconds == UNLIMITED_S:
        return "unlimited"
    return in_largest_unit(DURATION_UNITS)(seconds) if seconds else "none"
