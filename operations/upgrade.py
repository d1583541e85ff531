"""Lakes of an earlier format to this one's and back, and tables to another deduplication horizon.

Killed anywhere, it is done again: a table says that it is to be looked at as a whole before anything else is done with it, and says
its format last. A sweep of any job would finish what is left in between.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import In
from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, Deduplication
from contracts.spec.project import Project
from lake.ledger.outcomes import Outcome
from lake.ledger.upgrade import note_duplicates
from lake.location import Lake
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import recent_runs
from lake.tables.iceberg import (
    DERIVED_PROPERTY,
    FORMAT,
    GRID_PROPERTY,
    HORIZON_PROPERTY,
    LEDGER,
    VACATED_PROPERTY,
    Layout,
    Vacated,
    committed,
    dropped_branch,
    dropped_rows,
    format_of,
    layout_of,
    num_shards,
    settled_refs,
)
from lake.tables.publish import table_totals
from lake.tables.sweep import sweep
from lake.upkeep import folded_tables, key_of
from transforms.cut import Cut
from transforms.letters import HorizonLetters

_EVERYTHING = ((-(1 << 62), 1 << 62),)
_RUNS_LOOKED_AT = 1_000
NEW_OUTCOMES = (Outcome.DUPLICATE, Outcome.HELD, Outcome.EXPIRED, Outcome.ERASED)
Report = Callable[[str], None]


@dataclass(frozen=True)
class TableStep:
    """What is done, or was done, with a table.

    format, horizon_s, derived: as it is, see Layout; to_horizon_s, to_derived: as it will be. rows, dropped, content_hash: of the
    table as it is. known: whether the project has a contract of its dataset.
    """

    table: str
    format: int
    horizon_s: int | None
    derived: bool
    to_horizon_s: int | None
    to_derived: bool
    rows: int
    dropped: int
    content_hash: str
    known: bool = True

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return (self.format, self.horizon_s, self.derived) != (FORMAT, self.to_horizon_s, self.to_derived)


def plan_upgrade(lake: Lake, project: Project) -> list[TableStep]:
    """What ``upgrade`` would do with each table that is folded into.

    Raises:
        ConfigurationError: a contract cannot be used.
    """
    return [_step(lake, name, _wanted(project, name)) for name in _in_order(lake)]


def upgrade(lake: Lake, project: Project, report: Report) -> Iterator[tuple[TableStep, TableStep]]:
    """Bring every table to this format, and to the horizon of its contract. Doing it again changes nothing.

    Args:
        lake: where.
        project: where contracts lie.
        report: is told what is being done.

    Returns:
        Each table before and after, as it is done.

    Raises:
        ConfigurationError: a run is going on, or a contract cannot be used.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    _refuse_if_running(lake)
    for step in plan_upgrade(lake, project):
        if step.needed:
            report(f"{step.table}: {step.rows:,} rows")
            contract = _wanted(project, step.table)
            _lay_out(lake, step.table, contract)
            _settle(lake, step.table, contract)
            if contract and step.format < FORMAT:
                for source in project.sources_of(contract.name):
                    note_duplicates(lake, project.source(source)[0], step.table)
            committed(step.table, partial(_as_this_format, lake, step.table))
        yield step, _step(lake, step.table, _wanted(project, step.table))


def downgrade(lake: Lake, report: Report) -> Iterator[tuple[TableStep, TableStep]]:
    """Bring every table back to format 1: what the horizon dropped is published again. Doing it again changes nothing.

    Raises:
        ConfigurationError: a run is going on.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    _refuse_if_running(lake)
    committed(LEDGER, partial(_without_notes, lake))
    for name in _in_order(lake):
        before = replace(_step(lake, name, None), known=True)
        if before.format == FORMAT:
            report(f"{name}: {before.rows:,} rows")
            committed(name, partial(_begin, lake, name, Layout(horizon_s=0)))
            sweep(lake, name, key=key_of(name), run_id=_run_id("downgrade"))
            committed(name, partial(_as_format_1, lake, name))
        yield before, replace(_step(lake, name, None), known=True)


def _in_order(lake: Lake) -> list[str]:
    """Datasets first: a job that finds the rest as it was is refused."""
    return sorted(folded_tables(lake), key=lambda name: (not name.startswith("validated."), name))


def _wanted(project: Project, table: str) -> Contract | None:
    """The contract whose horizon a table has; None for a table that has none, or whose contract is not in the project."""
    namespace, dataset = table.split(".")
    if namespace != "validated":
        return None
    for source in project.sources_of(dataset):
        return project.source(source)[1]
    try:
        return project.contract(dataset, 1)
    except ConfigurationError:
        return None


def _rule(table: str, contract: Contract | None) -> Deduplication:
    if not table.startswith("validated."):
        return Deduplication(0)
    return contract.deduplication if contract else Deduplication()


def _step(lake: Lake, name: str, contract: Contract | None) -> TableStep:
    table = lake.load(name)
    rows, digest = table_totals(table)
    layout, rule = layout_of(table), _rule(name, contract)
    known = contract is not None or not name.startswith("validated.")
    return TableStep(
        name, format_of(table), layout.horizon_s, layout.derived, rule.horizon_s, rule.derived,
        rows, dropped_rows(table, None), f"{digest:032x}", known,
    )  # fmt: skip


def _lay_out(lake: Lake, name: str, contract: Contract | None) -> None:
    rule = _rule(name, contract)
    wanted = Layout(horizon_s=rule.horizon_s, derived=rule.derived)
    committed(name, partial(_begin, lake, name, wanted))


def _begin(lake: Lake, name: str, wanted: Layout) -> None:
    """Set the horizon, and let whoever sweeps next look at everything; does nothing where that was done."""
    table = lake.load(name)
    known = layout_of(table)
    if HORIZON_PROPERTY in table.properties and (known.horizon_s, known.derived) == (wanted.horizon_s, wanted.derived):
        return
    with table.transaction() as transaction:
        transaction.set_properties(wanted.horizon_properties() | Vacated.of(table).and_of(_EVERYTHING).properties())
        for tag in table.metadata.refs.keys() & {*settled_refs(None)}:
            ManageSnapshots(transaction).remove_tag(tag).commit()


def _settle(lake: Lake, name: str, contract: Contract | None) -> None:
    letters = None
    run_id = _run_id("upgrade")
    if contract:
        letters = HorizonLetters(contract, Cut(num_shards=num_shards(lake.load(name))), run_id)
    sweep(lake, name, key=key_of(name), run_id=run_id, letters=letters)


def _as_this_format(lake: Lake, name: str) -> None:
    with lake.load(name).transaction() as transaction:
        transaction.set_properties({GRID_PROPERTY: Layout().grid_text})


def _as_format_1(lake: Lake, name: str) -> None:
    table = lake.load(name)
    mine = {HORIZON_PROPERTY, DERIVED_PROPERTY, VACATED_PROPERTY} & table.properties.keys()
    with table.transaction() as transaction:
        transaction.set_properties({GRID_PROPERTY: str(Layout().grid_s)})
        transaction.remove_properties(*mine)
        for tag in table.metadata.refs.keys() & {*settled_refs(None)}:
            ManageSnapshots(transaction).remove_tag(tag).commit()
        if dropped_branch(None) in table.metadata.refs:
            ManageSnapshots(transaction).remove_branch(dropped_branch(None)).commit()


def _without_notes(lake: Lake) -> None:
    """Format 1 knows no such outcomes."""
    with contextlib.suppress(NoSuchTableError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Delete operation did not match any records"
        lake.load(LEDGER).delete(In("outcome", {str(outcome) for outcome in NEW_OUTCOMES}))


def _refuse_if_running(lake: Lake) -> None:
    running = [run.run_id for run in recent_runs(lake, _RUNS_LOOKED_AT) if run.state == "running"]
    if running:
        raise ConfigurationError(
            f"lake {lake.root}: run {running[0]} is going on; wait for it, or stop it. What runs on a cluster: headrace job stop"
        )


def _run_id(verb: str) -> str:
    return new_run_id(verb, RunClock())
