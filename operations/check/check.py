"""Whether what lies in a lake fits together: catalog, metadata, data files, raw files, their index, ledger, repairs and receipts.

Reads only. Beside running jobs a file that vanishes between two looks is looked for again before it counts as missing.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.spec.project import Project
from lake.location import Lake
from operations.check.accounts import check_ledger, check_receipts
from operations.check.findings import Checked, Notes
from operations.check.raw import check_logs, check_raw, check_schemas
from operations.check.repairs import check_repairs
from operations.check.tables import check_tables


def check_lake(lake: Lake, project: Project, *, verify: bool = False, report: Callable[[str], None] = lambda _: None) -> Checked:
    """Check all of a lake.

    Args:
        lake: which.
        project: with its sources, by which the ledger is added up.
        verify: also read all raw and data files, and compare their hashes.
        report: is told what is looked at.

    Raises:
        ComponentDownError: catalog or store does not answer.
    """
    notes = Notes(lake.root)
    report("catalog and tables")
    names = check_tables(lake, notes, verify)
    report("raw files")
    files = check_raw(lake, notes, verify)
    report("raw segments of logs")
    check_logs(lake, notes)
    check_schemas(lake, notes, verify)
    if not notes.has(names):  # else rows that are missing have been told, and the ledger cannot be added up
        report("ledger")
        check_ledger(lake, project, files, names, notes)
    report("repairs and receipts")
    check_repairs(lake, notes)
    check_receipts(lake, notes)
    return Checked(notes.looked_at, list(notes.found.values()))
