"""Applying the horizon to the table of a dataset, with the dead letters that its contract gives."""

from __future__ import annotations

from collections.abc import Callable

from contracts.spec.model import Contract
from lake.location import Lake
from lake.tables.audit import load_to_write
from lake.tables.iceberg import PublishedFile, num_shards
from lake.tables.sweep import Swept, sweep
from transforms.cut import Cut
from transforms.letters import HorizonLetters


def settle(
    lake: Lake, contract: Contract, run_id: str, cut: Cut | None = None, looking: Callable[[PublishedFile], None] | None = None
) -> Swept:
    """Sweep the published table of a dataset until one of its snapshots is settled (sweep.py). The table must be there.

    Args:
        lake: where; its branch is what is swept, of a gated table the audit branch.
        contract: the dataset's.
        run_id: goes into the snapshots' properties and the letters.
        cut: ranges and shards of the letters; None for hours, and the table's shards.
        looking: is told each file before it is looked at.

    Raises:
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    name = contract.table
    lake, table = load_to_write(lake, name)
    letters = HorizonLetters(contract, cut or Cut(num_shards=num_shards(table)), run_id)
    return sweep(lake, name, key=contract.event_id, run_id=run_id, letters=letters, looking=looking)
