"""What of the records that were read again is proven: no letter is withdrawn without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan, NotEqualTo

from lake.ledger.outcomes import Outcome, runs_of
from lake.ledger.sidecars import bounds_of, outcomes_of
from lake.location import Lake
from lake.raw.positions import Extent, Ints, Positions
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN
from operations.reprocess.judge import Verdicts
from operations.reprocess.letters import CONVERGE, FileLetters


def keep_proven(lake: Lake, source: str, letters: Sequence[FileLetters], verdicts: Mapping[str, Verdicts], number: int) -> None:
    """Leave of what passes only what became so.

    The ledger has an outcome of it with this number. And what lost against another row has lost to none again: neither the letter
    that its row would have then is there, nor another that came since. What is a duplicate now has none, as if it had come so.

    Args:
        lake: where. Rows were published, and the horizon was applied if there are conflicts.
        source: whose records.
        letters: that these records had.
        verdicts: by raw file or log; ``passing`` is narrowed.
        number: that the outcomes were said with.
    """
    extents = [Extent(name, Positions.of(runs_of(found.passing))) for name, found in verdicts.items() if len(found.passing)]
    if not extents:
        return
    outcomes = outcomes_of(lake, source, extents)
    lost = _lost_again(lake, source, letters, verdicts)
    for name in (extent.raw_file for extent in extents):
        said = outcomes[name].runs if name in outcomes else {}
        parts = [run for (epoch, told), runs in said.items() if epoch >= number and told != Outcome.DUPLICATE for run in runs]
        proven = Positions.of(np.concatenate(parts)) if parts else Positions.of(())
        found = verdicts[name]
        found.passing = found.passing[proven.ranks(found.passing + 1) > proven.ranks(found.passing)]
        found.passing = found.passing[~np.isin(found.passing, lost.get(name, []))]


def _lost_again(lake: Lake, source: str, letters: Sequence[FileLetters], verdicts: Mapping[str, Verdicts]) -> dict[str, list[int]]:
    """Positions whose repaired row lost against another, by raw file or log."""
    at_stake = {name: found.at_stake for name, found in verdicts.items() if found.at_stake}
    extents = [Extent(name, Positions.of(runs_of(_places(own)))) for name, own in at_stake.items()]
    if not extents:
        return {}
    before = {letter for file in letters if file.raw_file in at_stake for letter in file.column("dead_letter_id")}
    low, high = bounds_of(extents)
    places = And(EqualTo("_source", source), And(GreaterThanOrEqual("_position", low), LessThan("_position", high)))
    condition = And(places, And(EqualTo("stage", CONVERGE), NotEqualTo("code", WITHDRAWN)))
    names = ("_raw_file", "_position", "dead_letter_id")
    found: dict[str, list[int]] = {}
    for batch in lake.load(DEAD_LETTERS).scan(condition, selected_fields=names).to_arrow_batch_reader():
        for raw_file, position, letter in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
            own = at_stake.get(raw_file, {}).get(position)
            if own and (letter in own or letter not in before):
                found.setdefault(raw_file, []).append(position)
    return found


def _places(own: Mapping[int, object]) -> Ints:
    return np.fromiter(own, np.int64, len(own))
