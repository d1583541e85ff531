"""What an upgrade of a lake writes into its ledger: notes that jobs of format 1 did not write."""

from __future__ import annotations

import numpy as np

from contracts.spec.source import SourceSpec
from lake.ledger.ledger import landed_of
from lake.ledger.outcomes import Outcome, PositionOutcomes, positions_of, runs_of
from lake.ledger.proofs import judge
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.raw.positions import extent_batches
from lake.tables.iceberg import LEDGER, LEDGER_SCHEMA, ensure_table

_RUN_ID = "upgrade"


def note_duplicates(lake: Lake, spec: SourceSpec, table: str) -> int:
    """Note the accepted positions of a source that nothing is known of as duplicates, which is what format 1 took them for.

    To be done once, while no job works and before the table says that it is of format 2; what is missing later is lost. Killed, it
    may be done again: what is noted is not noted twice. A lake with a branch stands for the replay of that name.

    Args:
        lake: where.
        spec: the source.
        table: the table that its rows are published in.

    Returns:
        How many positions were noted.
    """
    ensure_table(lake, LEDGER, LEDGER_SCHEMA, None)
    noted = 0
    for extents in extent_batches(landed_of(lake, spec)):
        notes = []
        for judged in judge(lake, spec.name, table, extents):
            places = np.flatnonzero(judged.unproven)
            if len(places):
                runs = runs_of(positions_of(judged.positions.runs)[places])
                notes.append(PositionOutcomes(spec.name, judged.raw_file, Outcome.DUPLICATE, runs, None, None, spec.dataset))
                noted += len(places)
        append_outcomes(lake, notes, _RUN_ID)
    return noted
