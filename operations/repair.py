"""Data files that were lost or cut, taken out of their tables: else every reader of the range fails, and a replay of it too.

The ledger then tells the records whose rows were in them as lost, and a replay of the ranges makes the rows again from raw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from contracts.errors import ConfigurationError
from contracts.spec.model import name_and_major
from contracts.spec.project import Project
from lake.location import Lake, data_path
from lake.storage import storage_of
from lake.tables.audit import audited, begin_anew
from lake.tables.exchange import exchange_files
from lake.tables.iceberg import LEDGER, RUN_PROPERTY, PublishedFile, committed, horizon_s, known_files, published_files
from lake.tables.swap import CommitLabels, Range, replace_files
from lake.tables.sweep import sweep
from lake.tables.transactions import RefTransaction
from lake.upkeep import folded_tables, key_of
from transforms.converge.settle import settle


@dataclass(frozen=True)
class Repaired:
    """What was taken out of a table. rows: as its metadata tell, dropped ones included. ranges: in which they lay."""

    table: str
    files: int
    rows: int
    ranges: tuple[Range, ...]


def take_out_lost(lake: Lake, project: Project, run_id: str) -> Iterator[Repaired]:
    """Take the data files that are gone out of the current state of every table. Older snapshots and other branches keep them.

    The audit branch of a gated table that somebody deleted, and that cannot be found again, begins at main anew: what was held went
    with it, and its windows are told.

    Args:
        lake: nothing writes into it.
        project: with the contracts, for the dead letters of what the horizon drops afterwards.
        run_id: goes into the commits.

    Raises:
        ComponentDownError: catalog or store does not answer; may be done again.
    """
    for name in [*folded_tables(lake), LEDGER]:
        gone = begin_anew(lake, name)
        written = audited(lake, name)
        lost = committed(name, lambda name=name: _take_out(lake, name, run_id))  # type: ignore[misc]
        if written is not lake:  # of a gated table first main, which nothing else is published from, then what jobs commit to
            lost += [f for f in committed(name, lambda n=name, at=written: _take_out(at, n, run_id)) if f not in lost]  # type: ignore[misc]
        if gone:
            yield Repaired(name, 0, 0, tuple(gone))
        if not lost:
            continue
        if horizon_s(lake.load(name)):
            _settle(lake, project, name, run_id)
        yield Repaired(name, len(lost), sum(file.rows for file in lost), _ranges(lost) if name != LEDGER else ())


def _take_out(lake: Lake, name: str, run_id: str) -> list[PublishedFile]:
    table = lake.load(name)
    branch = lake.branch_of(name)
    lost = _lost(table, published_files(table) if name == LEDGER else known_files(table, branch))
    if not lost:
        return []
    if name == LEDGER:  # a union of what was appended, without totals
        with RefTransaction(table) as transaction:
            exchange_files(table, transaction, lost, [], {RUN_PROPERTY: run_id}, MAIN_BRANCH)
    else:
        vacated = _ranges(lost) if horizon_s(table) else ()
        replace_files(table, lost, [], CommitLabels(run_id), branch or MAIN_BRANCH, vacated=vacated)
    return lost


def _lost(table: Table, files: Sequence[PublishedFile]) -> list[PublishedFile]:
    """Those that are gone, or have another size than was written."""
    storage = storage_of(data_path(table.location()))

    def is_gone(file: PublishedFile) -> bool:
        try:
            return storage.stat(data_path(file.path)).size_bytes != file.size_bytes
        except FileNotFoundError:
            return True

    return [file for file, gone in zip(files, storage.map(is_gone, files), strict=True) if gone]


def _ranges(files: Sequence[PublishedFile]) -> tuple[Range, ...]:
    """What these files cover, in order and disjoint."""
    merged: list[Range] = []
    for low, high in sorted({(file.from_us, file.to_us) for file in files}):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def _settle(lake: Lake, project: Project, name: str, run_id: str) -> None:
    """Consumers read the settled state, which still names what is lost."""
    dataset = name.partition(".")[2]
    try:
        source = next(iter(project.sources_of(dataset)), None)
        contract = project.source(source)[1] if source else project.contract(*name_and_major(dataset))
    except ConfigurationError:
        sweep(lake, name, key=key_of(name), run_id=run_id)
        return
    settle(lake, contract, run_id)
