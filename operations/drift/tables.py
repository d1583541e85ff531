"""Tables that the contracts of a project ask for, against those of a lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.evolution.datasets import contract_changes
from contracts.evolution.stored import stored_name
from contracts.evolution.verdicts import judge
from contracts.spec.model import Contract
from operations.drift.differences import Difference, Kind, listed


@dataclass(frozen=True, kw_only=True)
class WantedTable:
    """A table that a source fills.

    columns: type by column, as a run makes them. required: those that a run makes NOT NULL. layout: properties that a job asks
    for. upgraded: those of them that ``headrace lake upgrade`` changes. fill: the command that fills it. pending: whether a
    schedule runs that command anyway.
    """

    name: str
    contract: Contract
    columns: Mapping[str, str]
    required: frozenset[str] = frozenset()
    layout: Mapping[str, str] = field(default_factory=dict)
    upgraded: frozenset[str] = frozenset()
    fill: str = ""
    pending: bool = False
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class DeployedTable:
    """A table as the catalog has it. columns: type by column. required: NOT NULL."""

    columns: Mapping[str, str]
    required: frozenset[str] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)


def compare_tables(
    where: str,
    wanted: Sequence[WantedTable],
    deployed: Mapping[str, DeployedTable],
    kept: Mapping[str, Sequence[Contract]],
    known: frozenset[str],
) -> Iterator[Difference]:
    """Tables that were never made, have other columns or another layout, were filled by another contract, or belong to none.

    A column that a contract has given up stays in its table: that is how tables are. So is a column that a run of a later contract
    will add: told once, as a difference of the contract.

    Args:
        where: the lake.
        wanted: what the project's sources fill.
        deployed: by name, in the namespaces of datasets.
        kept: by dataset, the contracts that its table was filled by, the oldest first.
        known: every table that a contract of the project stands for.
    """
    for table in wanted:
        have, states = deployed.get(table.name), kept.get(table.contract.dataset, ())
        if have is None:
            if table.name == table.contract.table:
                told = "never made" if not states else "gone: it was filled before"
                remedy = table.fill if not states else "headrace lake rebuild-catalog"
                yield _difference(where, table, told, table.contract.version, remedy, pending=table.pending and not states)
            continue
        if table.name == table.contract.table:
            yield from _contract(where, table, states)
        yield from _columns(where, table, have, states)
        yield from _layout(where, table, have)
    for name in sorted(deployed.keys() - known):
        yield Difference(
            kind=Kind.TABLES, what=f"table {name}", where=where, deployed="there", repository="no contract for it",
            remedy="bring the contract back, or say in its place what became of it; a lake drops no table by itself",
        )  # fmt: skip


def _contract(where: str, table: WantedTable, states: Sequence[Contract]) -> Iterator[Difference]:
    """By what a table was filled, against the contract: told by the rules of ``headrace contract check --against-lake``."""
    contract = table.contract
    if not states or stored_name(contract) in {stored_name(state) for state in states}:
        return
    changes = [change for change in contract_changes(states[-1], contract) if not change.documentation]
    if not changes:
        return
    verdict = judge(contract, states)
    deployed, told = f"filled by contract {states[-1].version}", f"{contract.version}: {listed(change.what for change in changes)}"
    if not verdict.allowed:
        remedy = f"headrace contract check {contract.name} --against-lake says what it breaks, and what to do"
        yield _difference(where, table, deployed, f"breaks it, {told}", remedy)
    else:
        yield _difference(where, table, deployed, told, table.fill, pending=table.pending)


def _columns(where: str, table: WantedTable, have: DeployedTable, states: Sequence[Contract]) -> Iterator[Difference]:
    filled = {column.name for state in states for column in state.columns}
    newest = {column.name for column in states[-1].columns} if states else set()
    for name, kind in table.columns.items():
        if name not in have.columns:
            if name in newest or name not in table.contract.by_name or not states:  # else the contract is newer than the table
                yield _difference(where, table, f"no column {name}", f"{name} {kind}", table.fill, pending=table.pending)
        elif have.columns[name] != kind:
            remedy = "give the column another name: a column's type cannot change; headrace contract check --against-lake"
            yield _difference(where, table, f"{name} is {have.columns[name]}", f"{name} is {kind}", remedy)
        elif name in have.required - table.required:
            yield _difference(where, table, f"{name} is NOT NULL", f"{name} is optional", table.fill, pending=table.pending)
    strangers = sorted(have.columns.keys() - table.columns.keys() - filled)
    if strangers and states:
        remedy = "declare them in the contract, or drop them with the tool that added them; no run fills them"
        yield _difference(where, table, f"columns {', '.join(strangers)}", "in no contract that filled it", remedy)


def _layout(where: str, table: WantedTable, have: DeployedTable) -> Iterator[Difference]:
    for key, value in sorted(table.layout.items()):
        there = have.properties.get(key)
        if there == value:
            continue
        short = key.rsplit(".", 1)[-1]
        fixed = f"give the table's --{short} in the options of its schedule: a layout is fixed when a table is made"
        remedy = "headrace lake upgrade" if key in table.upgraded else f"{fixed}, and a job that asks for another is refused"
        yield _difference(where, table, f"{short} {there or 'not set'}", f"{short} {value}", remedy)


def _difference(
    where: str, table: WantedTable, deployed: str, repository: str, remedy: str, *, pending: bool = False
) -> Difference:
    return Difference(
        kind=Kind.TABLES, what=f"table {table.name}", where=where, deployed=deployed, repository=repository, remedy=remedy,
        file=table.file, pending=pending,
    )  # fmt: skip
