"""What a lake says of repaired records."""

from __future__ import annotations

from lake.location import Lake
from lake.repairs import repair_faults, repaired_sources
from operations.check.findings import Notes, State

_FROM_BACKUP = "bring it back from a backup; without it a replay does not repair what was repaired"


def check_repairs(lake: Lake, notes: Notes) -> None:
    """Look at the documents of ``repairs/``."""
    for source in repaired_sources(lake):
        notes.looked("sources with repairs", 1)
        for name, is_gone in repair_faults(lake, source):
            if is_gone:
                notes.add("repairs", "repairs whose numbers are missing", State.MISSING, _FROM_BACKUP, name)
            else:
                notes.add("repairs", "repairs that cannot be read", State.CHANGED, _FROM_BACKUP, name)
