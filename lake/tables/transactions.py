"""Transactions that are refused where any branch or tag that they move has moved on since the table was loaded."""

from __future__ import annotations

from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef
from pyiceberg.table.update import AssertRefSnapshotId, TableRequirement


class RefTransaction(Transaction):
    """A transaction of a table as it was loaded; used as a context, it commits at its end.

    pyiceberg keeps one requirement of each type, so of several branches that it moves it asserts where the first one was, and a
    commit to another that a rival made meanwhile is lost (apache/iceberg-go#1328 tells of the same in Go). Here each is asserted.

    Raises:
        CommitFailedException: at the commit, where the catalog has a branch or tag elsewhere, or one that was to be new.
    """

    def commit_transaction(self) -> Table:
        """Commit, unless somebody else was faster. Returns the table as it is then."""
        others = [one for one in self._requirements if not isinstance(one, AssertRefSnapshotId)]
        self._requirements = (*others, *self._moved())
        return super().commit_transaction()

    def _moved(self) -> list[TableRequirement]:
        """Where each branch and tag was that is elsewhere now, is new, or is gone."""
        was, becomes = self._table.metadata.refs, self.table_metadata.refs
        if not self._table.metadata.snapshots:  # then main alone can be asserted, and no other can be there
            was, becomes = {}, {name: ref for name, ref in becomes.items() if name == MAIN_BRANCH}
        names = sorted(name for name in {*was, *becomes} if was.get(name) != becomes.get(name))
        return [AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": _id_of(was.get(name))}) for name in names]


def _id_of(ref: SnapshotRef | None) -> int | None:
    return None if ref is None else ref.snapshot_id
