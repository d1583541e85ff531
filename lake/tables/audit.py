"""The audit branch of a gated table: where jobs commit to, and what main is published from.

That a table is gated says a property of the table, not the program that writes: so also a job that was started before takes the
audit branch from its next commit on. The branch begins at main. Where somebody deleted it, it is found by another property, as
long as housekeeping has not forgotten its snapshots.
"""

from __future__ import annotations

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.errors import ConfigurationError
from lake.location import AUDIT, Lake
from lake.tables.exchange import AUDITED, note_head, note_public, note_state, noted_heads
from lake.tables.holds import GATE_PROPERTY, Range, gate_properties, holds_of, partition_length_s
from lake.tables.iceberg import HASH_PROPERTY, ROWS_PROPERTY, RUN_PROPERTY, committed, dropped_branch, settled_refs
from lake.tables.transactions import RefTransaction


def load_to_write(lake: Lake, name: str) -> tuple[Lake, Table]:
    """The lake as who commits rows to a table has to take it, and the table: a gated one by its audit branch, which is there.

    Raises:
        ConfigurationError: the audit branch was deleted, and cannot be found again.
    """
    table = lake.load(name)
    if lake.branch is not None or partition_length_s(table) is None:
        return lake, table
    if not is_whole(table):
        committed(name, lambda: _begin(lake, name, None, "audit-branch"))
    elif name in lake.audited:
        return lake, table
    lake = lake.auditing({*lake.audited, name})
    return lake, lake.load(name)


def audited(lake: Lake, name: str) -> Lake:
    """The lake as the jobs of a table see it: of a gated one by its audit branch. Names tables that are not there too."""
    try:
        return lake.auditing({*lake.audited, name}) if is_audited(lake, name) else lake
    except NoSuchTableError:
        return lake


def is_audited(lake: Lake, name: str) -> bool:
    """Whether jobs commit to an audit branch of this table. It exists."""
    return partition_length_s(lake.catalog().load_table(name)) is not None


def begin_audit(lake: Lake, name: str, partition_s: int, run_id: str) -> None:
    """Give a table an audit branch, which begins at main. Does nothing where it has one.

    Args:
        lake: where.
        name: a table that is folded into.
        partition_s: how long the partitions are that its gate judges.
        run_id: goes into the snapshot of a table that has none yet.

    Raises:
        ConfigurationError: the branch was deleted, and cannot be found again.
        ComponentDownError: no commit succeeded before the deadline.
    """
    committed(name, lambda: _begin(lake, name, partition_s, run_id))


def begin_anew(lake: Lake, name: str) -> list[Range]:
    """Begin the audit branch at main again, where it was lost for good: what was held is held no longer, and its rows are gone.

    The ledger tells them as lost, and a replay of their windows brings them back.

    Returns:
        Window times of what was held.
    """

    def attempt() -> list[Range]:
        table = lake.catalog().load_table(name)
        main = table.metadata.snapshot_by_name(MAIN_BRANCH)
        if partition_length_s(table) is None or is_whole(table) or main is None:
            return []
        try:
            _lost_heads(lake, name, table)
        except ConfigurationError:
            pass
        else:
            _begin(lake, name, None, "audit-branch")
            return []
        holds = holds_of(table)
        with RefTransaction(table) as transaction:
            for hold in holds.values():
                transaction.remove_properties(*hold.properties())
            _branch(transaction, main, table.metadata.snapshot_by_name(dropped_branch(None)))
            note_public(transaction)
        return list(holds)

    return committed(name, attempt)


def end_audit(lake: Lake, name: str, snapshot_id: int) -> bool:
    """Take the audit branch away, of a table whose contract has no gate any more: from now on jobs commit to main again.

    Args:
        lake: where.
        name: the table's.
        snapshot_id: of the audit branch, whose rows main has.

    Returns:
        Whether that is done; not, where a job has committed meanwhile.
    """

    def attempt() -> bool:
        table = lake.catalog().load_table(name)
        head = table.metadata.snapshot_by_name(AUDIT)
        if head is None or head.snapshot_id != snapshot_id or holds_of(table):
            return False
        tags = [tag for tag in settled_refs(AUDIT) if tag in table.metadata.refs]
        with RefTransaction(table) as transaction:
            manage = ManageSnapshots(transaction)
            for branch in (AUDIT, dropped_branch(AUDIT)):
                if branch in table.metadata.refs:
                    manage.remove_branch(branch)
            for tag in tags:
                manage.remove_tag(tag)
            manage.commit()
            transaction.remove_properties(*gate_properties(table))
        return True

    return committed(name, attempt)


def is_whole(table: Table) -> bool:
    """Whether the audit branch is there, and that of its dropped rows where it had one."""
    wanted = {AUDIT, *(branch for branch in noted_heads(table) if branch in AUDITED)}
    return wanted <= table.metadata.refs.keys()


def _begin(lake: Lake, name: str, partition_s: int | None, run_id: str) -> None:
    table = lake.catalog().load_table(name)
    known_s = partition_length_s(table)
    wanted = {GATE_PROPERTY: str(partition_s)} if partition_s is not None and partition_s != known_s else {}
    if is_whole(table) and not wanted:
        return
    with RefTransaction(table) as transaction:
        if not table.metadata.snapshots:
            totals = {RUN_PROPERTY: run_id, ROWS_PROPERTY: "0", HASH_PROPERTY: f"{0:032x}"}
            note_state(transaction, totals, MAIN_BRANCH)
        if not is_whole(table):
            main = transaction.table_metadata.snapshot_by_name(MAIN_BRANCH)
            assert main is not None
            if known_s is None:
                _branch(transaction, main, table.metadata.snapshot_by_name(dropped_branch(None)))
                note_public(transaction)
            else:
                _branch(transaction, *_lost_heads(lake, name, table))
        if wanted:
            transaction.set_properties(wanted)


def _branch(transaction: Transaction, head: Snapshot, dropped: Snapshot | None) -> None:
    """Let the audit branch, and that of its dropped rows, name these."""
    manage = ManageSnapshots(transaction).create_branch(head.snapshot_id, AUDIT)
    beside = dropped_branch(AUDIT)
    if dropped:
        manage.create_branch(dropped.snapshot_id, beside)
    elif beside in transaction.table_metadata.refs:
        manage.remove_branch(beside)
    manage.commit()
    for branch in AUDITED:
        note_head(transaction, branch)


def _lost_heads(lake: Lake, name: str, table: Table) -> tuple[Snapshot, Snapshot | None]:
    """What the audit branch and that of its dropped rows named last.

    Raises:
        ConfigurationError: these snapshots have expired.
    """
    known = {branch: head for branch, head in noted_heads(table).items() if branch in AUDITED}
    heads = {branch: table.metadata.snapshot_by_name(branch) or table.snapshot_by_id(head) for branch, head in known.items()}
    head = heads.get(AUDIT)
    if head is None or None in heads.values():
        held = len(holds_of(table))
        raise ConfigurationError(
            f"table {name} of lake {lake.root}: its audit branch was deleted, and its snapshots have expired: with it the rows of "
            f"{held} held partitions. headrace lake repair begins the branch at main again and says which windows to replay"
        )
    return head, heads.get(dropped_branch(AUDIT))
