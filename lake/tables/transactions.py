"""Transactions that are refused where any branch or tag that they set has moved on since the table was loaded."""

from __future__ import annotations

from collections.abc import Collection

from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef
from pyiceberg.table.update import AssertRefSnapshotId, RemoveSnapshotRefUpdate, SetSnapshotRefUpdate, TableRequirement


class RefTransaction(Transaction):
    """A transaction of a table as it was loaded; used as a context, it commits at its end.

    pyiceberg keeps one requirement of each type, so of several branches that it sets it asserts where the first one was, and a
    commit to another that a rival made meanwhile is lost (apache/iceberg-go#1328 tells of the same in Go). Here each is asserted.
    Properties are not: of two transactions that set the same one the later holds.

    Args:
        table: as it was loaded.
        reads: branches that what is committed rests on, though it may not set them.

    Raises:
        CommitFailedException: at the commit, where the catalog has a branch or tag elsewhere, or one that was to be new.
    """

    def __init__(self, table: Table, reads: Collection[str] = ()) -> None:
        super().__init__(table)
        self._reads = frozenset(reads)

    def commit_transaction(self) -> Table:
        """Commit, unless somebody else was faster. Returns the table as it is then."""
        others = [one for one in self._requirements if not isinstance(one, AssertRefSnapshotId)]
        self._requirements = (*others, *self._assertions())
        return super().commit_transaction()

    def _assertions(self) -> list[TableRequirement]:
        """Where each branch and tag was that is set, also to where it was, or removed."""
        names = {each.ref_name for each in self._updates if isinstance(each, SetSnapshotRefUpdate | RemoveSnapshotRefUpdate)}
        names |= self._reads
        if not self._table.metadata.snapshots:  # then main alone can be asserted, and no other can be there
            names &= {MAIN_BRANCH}
        was = self._table.metadata.refs
        return [AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": _id_of(was.get(name))}) for name in sorted(names)]


def _id_of(ref: SnapshotRef | None) -> int | None:
    return None if ref is None else ref.snapshot_id
