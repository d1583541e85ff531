"""What a replay says of source positions, and so what its promotion puts in the place of what was said before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyiceberg.expressions import And, In, NotEqualTo

from lake.ledger.folds import outcomes_at
from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.ledger.outcomes import positions_of as positions_in_runs
from lake.location import Lake
from lake.raw.positions import Ints, Positions
from lake.runs.replays import Replay, Step, events
from lake.tables.data_files import PROVENANCE_KEY, read_columns
from lake.tables.iceberg import LEDGER, dropped_branch, known_files
from lake.tables.swap import Covered, overlaps

_ROWS = (Outcome.ACCEPTED, Outcome.DUPLICATE)  # said of positions whose rows came into the ranges


def replay_outcomes(lake: Lake, replay: Replay) -> Iterator[PositionOutcomes]:
    """What the replay says of positions.

    All that it accepted into its ranges, with notes of rows that lost there, or that the horizon drops there; and what it refused
    and no other window holds, but for what was reprocessed since it began, and so after it was read.
    """
    onto = replace(lake, branch=replay.branch)
    names = ("source", "raw_file", "outcome", "runs", "window_from", "window_to")
    rows = onto.load(LEDGER).scan(selected_fields=names).to_arrow()
    dropped = [f for f in known_files(onto.load(replay.table), onto.branch) if f.dropped and overlaps(f, replay.ranges)]
    for file in dropped:
        yield from outcomes_at(read_columns(file.path, PROVENANCE_KEY), Outcome.DUPLICATE, replay.dataset)
    found: dict[tuple[str, str, str], list[Ints]] = {}
    reach: dict[tuple[str, str, str], list[int]] = {}
    for row in rows.to_pylist():
        if row["outcome"] == Outcome.OUTSIDE:
            continue
        key = row["source"], row["raw_file"], row["outcome"]
        found.setdefault(key, []).append(np.array(row["runs"], dtype=np.int64))
        reach.setdefault(key, []).extend(us for us in (row["window_from"], row["window_to"]) if us is not None)
    refused = {key[1] for key in found if key[2] not in _ROWS}
    elsewhere = _published_elsewhere(lake, replay, refused) if refused else {}
    since = _reprocessed_since(lake, replay) if refused else {}
    for key, parts in found.items():
        source, raw_file, outcome = key
        runs = Positions.of(np.concatenate(parts)).runs
        for known in (elsewhere, since):
            if outcome not in _ROWS and (other := known.get((source, raw_file))) is not None:
                runs = _without(runs, other)
        if len(runs):
            low, high = min(reach[key], default=None), max(reach[key], default=None)
            yield PositionOutcomes(source, raw_file, outcome, tuple(runs.tolist()), low, high, replay.dataset)


def _without(runs: Ints, positions: Ints) -> Ints:
    pieces = []
    cuts = np.unique(positions)
    for first, length in runs.reshape(-1, 2).tolist():
        inside = cuts[(cuts >= first) & (cuts < first + length)]
        edges = [first - 1, *inside.tolist(), first + length]
        pieces += [(a + 1, b - a - 1) for a, b in pairwise(edges) if b - a > 1]
    return np.array(pieces, dtype=np.int64).ravel()


def _published_elsewhere(lake: Lake, replay: Replay, raw_names: set[str]) -> dict[tuple[str, str], Ints]:
    """Positions of these files and logs whose rows are published outside the replay's ranges."""
    table = lake.load(replay.table)
    found: dict[tuple[str, str], list[int]] = {}
    condition = And(In("_source", set(replay.spec["sources"])), In("_raw_file", raw_names))
    bounds = np.array(replay.ranges, dtype=np.int64).ravel()
    for batch in table.scan(
        row_filter=condition, selected_fields=("_source", "_raw_file", "_position", "_window_time")
    ).to_arrow_batch_reader():
        times = batch.column("_window_time").cast(pa.int64()).to_numpy()
        outside = np.searchsorted(bounds, times, side="right") % 2 == 0
        rows = batch.filter(pa.array(outside))
        for source, raw_file, position in zip(
            *(rows.column(n).to_pylist() for n in ("_source", "_raw_file", "_position")), strict=True
        ):
            found.setdefault((source, raw_file), []).append(position)
    return {key: np.array(positions, dtype=np.int64) for key, positions in found.items()}


def _reprocessed_since(lake: Lake, replay: Replay) -> dict[tuple[str, str], Ints]:
    """Positions that were reprocessed since the replay began, and are accounted for otherwise than as dead letters.

    But for those whose rows lie in the replay's base: they were reprocessed before it read, so the replay knows better.
    """
    begun = replay.events[0].number
    numbers = {e.number for e in events(lake) if e.step is Step.REPROCESSING and e.number > begun}
    if not numbers:
        return {}
    condition = And(In("epoch", numbers), NotEqualTo("outcome", str(Outcome.DUPLICATE)))
    runs: dict[tuple[str, str], list[Ints]] = {}
    fields = ("source", "raw_file", "runs", "dataset")
    for batch in lake.load(LEDGER).scan(row_filter=condition, selected_fields=fields).to_arrow_batch_reader():
        for row in batch.to_pylist():
            if row["dataset"] == replay.dataset:
                runs.setdefault((row["source"], row["raw_file"]), []).append(np.array(row["runs"], dtype=np.int64))
    found = {key: positions_in_runs(np.concatenate(parts)) for key, parts in runs.items()}
    base = _in_base(lake, replay, found)
    return {key: np.setdiff1d(positions, base.get(key, [])) for key, positions in found.items()}


def _in_base(lake: Lake, replay: Replay, wanted: Mapping[tuple[str, str], Ints]) -> dict[tuple[str, str], list[int]]:
    """Those of these positions whose rows the replay's base holds, published or dropped."""
    table = lake.load(replay.table)
    found: dict[tuple[str, str], list[int]] = {}
    if not wanted:
        return found
    condition = And(In("_source", {source for source, _ in wanted}), In("_raw_file", {raw_file for _, raw_file in wanted}))
    for ref in (replay.tag("base"), dropped_branch(replay.tag("base"))):
        snapshot = table.metadata.snapshot_by_name(ref)
        if snapshot is None:
            continue
        rows = table.scan(row_filter=condition, selected_fields=PROVENANCE_KEY, snapshot_id=snapshot.snapshot_id)
        for batch in rows.to_arrow_batch_reader():
            for source, raw_file, position in zip(*(batch.column(n).to_pylist() for n in PROVENANCE_KEY), strict=True):
                found.setdefault((source, raw_file), []).append(position)
    return found


def positions_of(outcomes: Sequence[PositionOutcomes]) -> Covered:
    """Their positions, by source and raw file or log."""
    runs: dict[tuple[str, str], list[int]] = {}
    for outcome in outcomes:
        runs.setdefault((outcome.source, outcome.raw_file), []).extend(outcome.runs)
    return {key: Positions.of(flat) for key, flat in runs.items()}
