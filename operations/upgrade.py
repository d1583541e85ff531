"""Lakes of an earlier format to this one's and back, and tables to another deduplication horizon.

Killed anywhere, it is done again. A table says first that it is on its way to another format, so that jobs of neither version take
it, and says its new format last. A change of the horizon alone is finished by the sweep of any job.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import In
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, Deduplication, name_and_major
from contracts.spec.project import Project
from contracts.units import SECOND_US
from lake.ledger.outcomes import Outcome
from lake.ledger.upgrade import note_duplicates
from lake.location import AUDIT, Lake
from lake.runs.clock import RunClock, new_run_id
from lake.tables.audit import audited, is_audited
from lake.tables.data_files import read_columns
from lake.tables.iceberg import (
    DERIVED_PROPERTY,
    FORMAT,
    GRID_PROPERTY,
    HORIZON_PROPERTY,
    LEDGER,
    VACATED_PROPERTY,
    Layout,
    PublishedFile,
    committed,
    dropped_branch,
    dropped_rows,
    format_of,
    known_files,
    layout_of,
    settled_refs,
    unfinished_grid,
    unfinished_verb,
    vacating,
)
from lake.tables.key_filters import KeyFilter, key_hashes
from lake.tables.letters import remove_letters
from lake.tables.publish import table_totals
from lake.tables.sweep import sweep
from lake.tables.transactions import RefTransaction
from lake.upkeep import folded_tables, key_of
from operations.busy import refuse_if_busy
from transforms.converge.settle import settle
from transforms.letters import of_horizon

_EVERYTHING = ((-(1 << 62), 1 << 62),)
_TOLD_EVERY_S = 5.0
_SAMPLED_FILES = 3
_COMMITS_S = 0.3  # of a table without rows
_BESIDE_HASHING = 4.0  # what the whole takes, as a multiple of reading and hashing the keys: measured, see docs/decisions/0023
NEW_OUTCOMES = (Outcome.DUPLICATE, Outcome.HELD, Outcome.EXPIRED, Outcome.ERASED)
Report = Callable[[str], None]


@dataclass(frozen=True)
class TableStep:
    """What is done, or was done, with a table.

    format, horizon_s, derived: as it is, see Layout; to_format, to_horizon_s, to_derived: as it will be. unfinished: the command
    that was killed in the midst of it. rows, dropped, content_hash: of the table as it is. known: whether the project has a
    contract of its dataset.
    """

    table: str
    format: int
    horizon_s: int | None
    derived: bool
    to_format: int
    to_horizon_s: int | None
    to_derived: bool
    unfinished: str | None
    rows: int
    dropped: int
    content_hash: str
    known: bool = True

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        target = self.to_format, self.to_horizon_s, self.to_derived
        return self.unfinished is not None or (self.format, self.horizon_s, self.derived) != target


@dataclass(frozen=True)
class Work:
    """How much a table has to look at. seconds: about how long that takes, by what a few of its files took just now."""

    files: int
    size_bytes: int
    seconds: float


def plan_upgrade(lake: Lake, project: Project) -> list[TableStep]:
    """What ``upgrade`` would do with each table that is folded into.

    Raises:
        ConfigurationError: a contract cannot be used.
    """
    return [_to_this(lake, project, name) for name in _in_order(lake)]


def upgrade(lake: Lake, project: Project, report: Report) -> Iterator[tuple[TableStep, TableStep]]:
    """Bring every table to this format, and to the horizon of its contract. Doing it again changes nothing.

    Args:
        lake: where.
        project: where contracts lie.
        report: is told what is being done.

    Returns:
        Each table before and after, as it is done.

    Raises:
        ConfigurationError: a run or a replay is going on, or a contract cannot be used.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    refuse_if_busy(lake)
    for step in plan_upgrade(lake, project):
        if step.needed:
            with _told(report, step):
                _upgrade_table(lake, project, step, report)
        yield step, _to_this(lake, project, step.table)


def _upgrade_table(lake: Lake, project: Project, step: TableStep, report: Report) -> None:
    name, contract = step.table, _wanted(project, step.table)
    run_id = new_run_id("upgrade", RunClock())
    was_swept = HORIZON_PROPERTY in lake.load(name).properties
    committed(name, partial(_unsettle, lake, name, "upgrade" if step.format < FORMAT else None))
    if was_swept and contract:  # they are judged again
        remove_letters(lake, partial(of_horizon, dataset=contract.dataset), run_id)
    committed(name, partial(_begin, lake, name, Layout(horizon_s=step.to_horizon_s, derived=step.to_derived)))
    if _is_swept(name):
        looking = _Looking(report, step)
        if contract:
            settle(lake, contract, run_id, looking=looking)
        else:
            sweep(audited(lake, name), name, key=key_of(name), run_id=run_id, looking=looking)
    if contract and step.format < FORMAT:
        for source in project.sources_of(contract.dataset):
            report(f"{name}: duplicates of {source}")
            note_duplicates(lake, project.source(source)[0], name)
    committed(name, partial(_as_this_format, lake, name))


def downgrade(lake: Lake, report: Report) -> Iterator[tuple[TableStep, TableStep]]:
    """Bring every table back to format 1: what the horizon dropped is published again. Doing it again changes nothing.

    Raises:
        ConfigurationError: a run or a replay is going on, or a dataset has a gate.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    refuse_if_busy(lake)
    if gated := [name for name in _in_order(lake) if is_audited(lake, name)]:
        raise ConfigurationError(
            f"lake {lake.root}: {', '.join(gated)} has a gate, which format 1 does not know: its jobs would publish past it. Take "
            "the rules of severity quarantine and stop out of the contract, then: headrace quality release DATASET --by NAME"
        )
    steps = [_to_format_1(lake, name) for name in _in_order(lake)]
    if any(step.needed for step in steps):
        run_id = new_run_id("downgrade", RunClock())
        for step in steps:
            committed(step.table, partial(_unsettle, lake, step.table, "downgrade"))
        committed(LEDGER, partial(_without_notes, lake))
        remove_letters(lake, partial(of_horizon, dataset=None), run_id)
        steps = [_to_format_1(lake, step.table) for step in steps]
    for step in steps:
        if step.needed:
            with _told(report, step):
                committed(step.table, partial(_begin, lake, step.table, Layout(horizon_s=0)))
                if _is_swept(step.table):
                    sweep(lake, step.table, key=key_of(step.table), run_id=run_id)
                committed(step.table, partial(_as_format_1, lake, step.table))
        yield step, _to_format_1(lake, step.table)


def work_of(lake: Lake, step: TableStep) -> Work:
    """How much is to be done for a table, and about how long it takes."""
    table = lake.load(step.table)
    known = known_files(table, None)
    size = sum(task.file.file_size_in_bytes for task in table.scan().plan_files())
    seconds = _COMMITS_S if step.needed else 0.0
    if step.needed and known and step.to_horizon_s != 0:
        seconds += _sweep_seconds(known, key_of(step.table), step.to_horizon_s)
    return Work(len(known), size, round(seconds, 1))


def _sweep_seconds(known: Sequence[PublishedFile], key: str, to_horizon_s: int | None) -> float:
    """About what a sweep of these files takes: their keys are hashed, and looked up in the filters of every file near them."""
    sample = sorted(known, key=lambda file: file.rows)[-_SAMPLED_FILES:]
    hashing = looking = 0.0
    for file in sample:
        began = time.perf_counter()
        hashes = np.sort(key_hashes(read_columns(file.path, (key, "_window_time")).column(key)))
        made = KeyFilter.of(hashes)
        between = time.perf_counter()
        made.may_hold(hashes)
        hashing, looking = hashing + between - began, looking + time.perf_counter() - between
    rows = sum(file.rows for file in sample)
    horizon_us = 1 << 62 if to_horizon_s is None else to_horizon_s * SECOND_US
    looked_up = sum(file.rows * near for file, near in _near(known, horizon_us))
    return sum(file.rows for file in known) * _BESIDE_HASHING * hashing / rows + looked_up * looking / rows


def _near(known: Sequence[PublishedFile], horizon_us: int) -> Iterator[tuple[PublishedFile, int]]:
    """Each file, and how many of its shard lie within the horizon before and after it."""
    for shard in {file.shard for file in known}:
        own = [file for file in known if file.shard == shard]
        starts, ends = np.sort([f.from_us for f in own]), np.sort([f.to_us for f in own])
        for file in own:
            begun = int(np.searchsorted(starts, file.to_us + horizon_us))
            yield file, begun - int(np.searchsorted(ends, file.from_us - horizon_us, side="right"))


def _in_order(lake: Lake) -> list[str]:
    """Datasets first: a job that finds the rest as it was is refused."""
    return sorted(folded_tables(lake), key=lambda name: (not name.startswith("validated."), name))


def _is_swept(table: str) -> bool:
    """Whether it has a horizon, and so a tag of what is settled; late rows and dead letters have none."""
    return table.startswith("validated.")


def _wanted(project: Project, table: str) -> Contract | None:
    """The contract whose horizon a table has; None for a table that has none, or whose contract is not in the project."""
    if not _is_swept(table):
        return None
    dataset = table.partition(".")[2]
    for source in project.sources_of(dataset):
        return project.source(source)[1]
    try:
        return project.contract(*name_and_major(dataset))
    except ConfigurationError:
        return None


def _to_this(lake: Lake, project: Project, name: str) -> TableStep:
    contract = _wanted(project, name)
    if contract:
        return _step(lake, name, FORMAT, contract.deduplication)
    if not _is_swept(name):
        return _step(lake, name, FORMAT, Deduplication(0))
    table = lake.load(name)
    if format_of(table) < FORMAT:
        return _step(lake, name, FORMAT, Deduplication(), known=False)
    layout = layout_of(table)  # somebody chose it, with a contract that is elsewhere
    return _step(lake, name, FORMAT, Deduplication(layout.horizon_s, layout.derived), known=False)


def _to_format_1(lake: Lake, name: str) -> TableStep:
    return _step(lake, name, 1, Deduplication(0))


def _step(lake: Lake, name: str, to_format: int, rule: Deduplication, *, known: bool = True) -> TableStep:
    table = lake.load(name)
    rows, digest = table_totals(table)
    layout = layout_of(table)
    return TableStep(
        name, format_of(table), layout.horizon_s, layout.derived, to_format, rule.horizon_s, rule.derived,
        unfinished_verb(table), rows, dropped_rows(table, None), f"{digest:032x}", known,
    )  # fmt: skip


def _unsettle(lake: Lake, name: str, verb: str | None) -> None:
    """Let the next sweep look at everything. verb: what the table is in the midst of; None where jobs may go on with it."""
    table = lake.load(name)
    with RefTransaction(table) as transaction:
        if verb:
            transaction.set_properties({GRID_PROPERTY: unfinished_grid(table, verb)})
        _remove_settled(transaction, table)


def _begin(lake: Lake, name: str, wanted: Layout) -> None:
    """Set the horizon, and let whoever sweeps next look at everything; does nothing where that was done."""
    table = lake.load(name)
    known = layout_of(table)
    if HORIZON_PROPERTY in table.properties and (known.horizon_s, known.derived) == (wanted.horizon_s, wanted.derived):
        return
    with RefTransaction(table) as transaction:
        transaction.set_properties(wanted.horizon_properties() | vacating(_EVERYTHING))
        _remove_settled(transaction, table)


def _remove_settled(transaction: Transaction, table: Table) -> None:
    for tag in table.metadata.refs.keys() & {*settled_refs(None), *settled_refs(AUDIT)}:
        ManageSnapshots(transaction).remove_tag(tag).commit()


def _as_this_format(lake: Lake, name: str) -> None:
    with RefTransaction(lake.load(name)) as transaction:
        transaction.set_properties({GRID_PROPERTY: Layout().grid_text})


def _as_format_1(lake: Lake, name: str) -> None:
    table = lake.load(name)
    mine = [key for key in table.properties if key.startswith((HORIZON_PROPERTY, DERIVED_PROPERTY, VACATED_PROPERTY))]
    with RefTransaction(table) as transaction:
        transaction.set_properties({GRID_PROPERTY: str(Layout().grid_s)})
        transaction.remove_properties(*mine)
        _remove_settled(transaction, table)
        if dropped_branch(None) in table.metadata.refs:
            ManageSnapshots(transaction).remove_branch(dropped_branch(None)).commit()


def _without_notes(lake: Lake) -> None:
    """Format 1 knows no such outcomes."""
    with contextlib.suppress(NoSuchTableError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Delete operation did not match any records"
        lake.load(LEDGER).delete(In("outcome", {str(outcome) for outcome in NEW_OUTCOMES}))


@contextlib.contextmanager
def _told(report: Report, step: TableStep) -> Iterator[None]:
    """Tell when work on a table begins, and how long it took."""
    report(f"{step.table}: {step.rows:,} rows")
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    report(f"{step.table}: done in {seconds:,.1f} s" + (f", {step.rows / seconds:,.0f} rows/s" if step.rows else ""))


class _Looking:
    """Tells how far a sweep is, now and then."""

    def __init__(self, report: Report, step: TableStep) -> None:
        self._report, self._step = report, step
        self._rows, self._last = 0, time.monotonic()

    def __call__(self, file: PublishedFile) -> None:
        if time.monotonic() - self._last >= _TOLD_EVERY_S:
            self._last, total = time.monotonic(), self._step.rows + self._step.dropped
            self._report(f"{self._step.table}: {min(self._rows, total):,} of {total:,} rows looked at")
        self._rows += file.rows
