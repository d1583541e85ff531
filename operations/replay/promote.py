"""Promoting a replay and rolling it back: one commit of the dataset's table, then the letters and the ledger that go with it.

Readers of the table see all windows or none. Every step may be done again: a process that was killed at any point is followed by
another ``headrace replay promote`` (or ``rollback``) of the same name, which finds what was done by its tags.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, EqualTo, In
from pyiceberg.table import Table

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.suppressions import Suppressions
from contracts.version import VERSION
from lake.ledger.ledger import append_outcomes
from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.location import Lake
from lake.raw.positions import Ints, Positions
from lake.runs.manifest import write_manifest, write_started
from lake.runs.replays import FOLDER, Replay, Step, add_event, replay_of
from lake.tables.diff import compare
from lake.tables.fold import fold_rows
from lake.tables.iceberg import DEAD_LETTERS, LEDGER, PublishedFile, committed, published_files
from lake.tables.publish import RangeFold, read_rows, table_totals
from lake.tables.swap import Marks, Swap, overlaps, swap_ranges
from lake.upkeep import key_of
from operations.replay.letters import Letters, replace_letters
from pipelines.ingest.run import RunClock, new_run_id
from pipelines.replay.plan import dataset_of
from transforms.converge.transform import commit_letters
from transforms.cut import Cut
from transforms.letters import ConflictLetters

Reached = Callable[[str], None]


@dataclass(frozen=True)
class Promotion:
    """What was published, or taken back. changes: where the changed rows lie, see ``write_changes``."""

    name: str
    dataset: str
    snapshot_id: int | None
    rows: int
    content_hash: str
    changes: str
    added: int
    removed: int
    changed: int


def _nothing(step: str) -> None:
    pass


def promote(name: str, project: Project, lake: Lake, reached: Reached = _nothing) -> Promotion:
    """Publish a finished replay: its ranges of the live table become what was rebuilt and what live jobs published since.

    Args:
        name: the replay's.
        project: for the policies as they are now: ids that were suppressed since stay away.
        lake: where.
        reached: is told of every step that was taken.

    Raises:
        ConfigurationError: it is not finished, or was promoted already.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """

    def check(known: dict[str, Replay]) -> None:
        if known[name].step is not Step.FINISHED:
            raise ConfigurationError(f"replay {name}: is {known[name].step}, and only one that is finished can be promoted")

    if replay_of(lake, name).step is not Step.PROMOTING:
        add_event(lake, name, Step.PROMOTING, {}, check)
    reached("recorded")
    replay = replay_of(lake, name)
    assert replay.promotion is not None
    _, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    clock = RunClock()
    run_id = new_run_id(f"promote-{name}", clock)
    marks = Marks(run_id, _properties(replay), before=replay.tag("before"), after=replay.tag("promoted"))
    table = lake.load(replay.table)
    judged = list(_judged(lake, replay))
    swap = Swap(
        replay.ranges,
        replacement=_files_at(table, replay.branch, replay.ranges),
        base=_files_at(table, replay.tag("base"), replay.ranges),
        judged=_positions(judged),
        keep=_keep(project.suppressions(contract)),
    )
    committed(DEAD_LETTERS, lambda: _tag_letters(lake, replay))
    reached("letters kept")
    conflicts = ConflictLetters(contract, Cut(window_s=replay.spec["window_s"], num_shards=_shards(table)), run_id)
    swap_ranges(lake, replay.table, swap, marks, key=key_of(replay.table), before_commit=_letters_of(lake, conflicts, run_id))
    reached("rows")
    letters = published_files(replace(lake, branch=replay.branch).load(DEAD_LETTERS))
    lost = _lost(lake, replay, (replay.branch, replay.tag("promoted")), conflicts)
    replace_letters(lake, replay.dataset, _positions(judged), letters, lost, Marks(run_id))
    reached("letters")
    append_outcomes(lake, judged, run_id, epoch=replay.promotion)
    reached("ledger")
    promotion = _promotion(lake, replay, ("before", "promoted"), f"{replay.promotion:08d}-{name}")
    reached("changes")
    _tell(lake, replay, Step.PROMOTED, promotion, clock, run_id)
    return promotion


def rollback(name: str, project: Project, lake: Lake, reached: Reached = _nothing) -> Promotion:
    """Take a promotion back: its ranges become what they were before, and what live jobs published since.

    Args:
        name: the replay's.
        project: for the policies as they are now: ids that were suppressed since do not come back.
        lake: where.
        reached: is told of every step that was taken.

    Raises:
        ConfigurationError: it is not promoted; a later promotion or an open replay has some of the same windows.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """

    def check(known: dict[str, Replay]) -> None:
        mine = known[name]
        if mine.step is not Step.PROMOTED:
            raise ConfigurationError(f"replay {name}: is {mine.step}, and only one that was promoted can be rolled back")
        rivals = [r for r in known.values() if r.name != name and r.meets(mine.dataset, mine.ranges)]
        later = [r.name for r in rivals if r.step in (Step.PROMOTED, Step.ROLLING_BACK) and _number(r) > _number(mine)]
        if later:
            raise ConfigurationError(
                f"replay {name}: {', '.join(reversed(later))} rebuilt some of the same windows after it; roll that back first"
            )
        if claiming := [r.name for r in rivals if r.is_open]:
            raise ConfigurationError(
                f"replay {name}: {', '.join(claiming)} is rebuilding some of the same windows; discard it first"
            )

    if replay_of(lake, name).step is not Step.ROLLING_BACK:
        add_event(lake, name, Step.ROLLING_BACK, {}, check)
    reached("recorded")
    replay = replay_of(lake, name)
    _, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    clock = RunClock()
    run_id = new_run_id(f"rollback-{name}", clock)
    table = lake.load(replay.table)
    swap = Swap(
        replay.ranges,
        replacement=_files_at(table, replay.tag("before"), replay.ranges),
        base=_files_at(table, replay.tag("promoted"), replay.ranges),
        keep=_keep(project.suppressions(contract)),
    )
    marks = Marks(run_id, {"headrace.rolled-back": name}, before=replay.tag("unrolled"), after=replay.tag("rolled_back"))
    conflicts = ConflictLetters(contract, Cut(window_s=replay.spec["window_s"], num_shards=_shards(table)), run_id)
    swap_ranges(lake, replay.table, swap, marks, key=key_of(replay.table), before_commit=_letters_of(lake, conflicts, run_id))
    reached("rows")
    judged = _positions(list(_judged(lake, replay)))
    former = _files_at(lake.load(DEAD_LETTERS), replay.tag("letters"), None)
    lost = _lost(lake, replay, (replay.tag("before"), replay.tag("rolled_back")), conflicts)
    replace_letters(lake, replay.dataset, judged, former, lost, Marks(run_id))
    reached("letters")
    committed(LEDGER, lambda: lake.load(LEDGER).delete(EqualTo("epoch", replay.promotion)))
    reached("ledger")
    promotion = _promotion(lake, replay, ("unrolled", "rolled_back"), f"{replay.promotion:08d}-{name}-rollback")
    reached("changes")
    _tell(lake, replay, Step.ROLLED_BACK, promotion, clock, run_id)
    return promotion


def _tell(lake: Lake, replay: Replay, step: Step, promotion: Promotion, clock: RunClock, run_id: str) -> None:
    """As a run's manifest for those who read the dataset: which windows changed, and where the changed rows lie; then on record.

    Killed in between, the next attempt writes a manifest of its own.
    """
    source = f"replay {replay.name}"
    write_started(lake, run_id, clock.started, source)
    manifest = {
        "run_id": run_id,
        "pipeline": f"replay {step}",
        "version": VERSION,
        "started_at": clock.started,
        "finished_at": datetime.now(UTC),
        "source": source,
        "ranges": replay.ranges,
        "changes": asdict(promotion),
        "ledger": {},
        "datasets": {
            replay.dataset: {
                "table": replay.table,
                "rows": promotion.rows,
                "content_hash": promotion.content_hash,
                "snapshot_id": promotion.snapshot_id,
            }
        },
        "timings": clock.told(),
        "verdict": {"exit_code": 0, "reasons": []},
    }
    write_manifest(lake, run_id, manifest)
    begun = Step.PROMOTING if step is Step.PROMOTED else Step.ROLLING_BACK
    _record_end(lake, replay.name, step, begun, asdict(promotion) | {"run_id": run_id})


def discard(name: str, lake: Lake) -> None:
    """Give a replay up, or the way back from one that was promoted: its branches and tags go, and with the next expiry its files.

    Raises:
        ConfigurationError: it is being promoted or rolled back right now.
    """

    def check(known: dict[str, Replay]) -> None:
        if known[name].step in (Step.PROMOTING, Step.ROLLING_BACK):
            raise ConfigurationError(f"replay {name}: is {known[name].step}; give that command again, then discard it")

    replay = replay_of(lake, name)
    if replay.step is not Step.DISCARDED:
        add_event(lake, name, Step.DISCARDED, {}, check)
    for table in (replay.table, DEAD_LETTERS, LEDGER, f"late.{replay.dataset}"):
        committed(table, lambda table=table: _drop_refs(lake, table, replay))  # type: ignore[misc]


class _RecordedAlreadyError(Exception):
    """A rival that did the same was faster."""


def _record_end(lake: Lake, name: str, ended: Step, begun: Step, details: dict[str, Any]) -> None:
    """Put the end on record once, whoever else does the same at the same time."""

    def check(known: dict[str, Replay]) -> None:
        if known[name].step is not begun:
            raise _RecordedAlreadyError

    with contextlib.suppress(_RecordedAlreadyError):
        add_event(lake, name, ended, details, check)


def _drop_refs(lake: Lake, name: str, replay: Replay) -> None:
    try:
        table = lake.load(name)
    except NoSuchTableError:
        return
    tags = {replay.tag(word) for word in ("base", "emptied", "before", "promoted", "letters", "unrolled", "rolled_back")}
    mine = table.metadata.refs.keys() & {replay.branch, *tags}
    if mine:
        with table.manage_snapshots() as manage:
            for ref in mine:
                manage.remove_branch(ref) if ref == replay.branch else manage.remove_tag(ref)


def _number(replay: Replay) -> int:
    return replay.promotion or 0


def _properties(replay: Replay) -> dict[str, str]:
    return {"headrace.replay": replay.name, "headrace.promotion": str(replay.promotion)}


def _shards(table: Table) -> int:
    return int(table.properties["headrace.layout.num-shards"])


def _files_at(table: Table, ref: str, ranges: Sequence[tuple[int, int]] | None) -> list[PublishedFile]:
    """Files of a branch or tag that meet the ranges; none where there is no such reference."""
    snapshot = table.metadata.snapshot_by_name(ref)
    if snapshot is None:
        return []
    return [f for f in published_files(table, snapshot) if ranges is None or overlaps(f, ranges)]


def _keep(suppressions: Suppressions) -> Callable[[pa.Table], npt.NDArray[np.bool_]] | None:
    if not suppressions:
        return None

    def keep(rows: pa.Table) -> npt.NDArray[np.bool_]:
        chosen = np.ones(len(rows), dtype=bool)
        columns = {name: rows.column(name).to_pylist() for name in suppressions.by_column if name in rows.column_names}
        chosen[sorted(suppressions.matching(columns))] = False
        return chosen

    return keep


def _letters_of(lake: Lake, conflicts: ConflictLetters, run_id: str) -> Callable[[Sequence[RangeFold]], None]:
    return lambda folds: commit_letters(lake, folds, conflicts, run_id)


def _tag_letters(lake: Lake, replay: Replay) -> None:
    """Tag the letters as they are before the promotion; does nothing where that was done."""
    table = lake.load(DEAD_LETTERS)
    head = table.current_snapshot()
    if head and replay.tag("letters") not in table.metadata.refs:
        with table.manage_snapshots() as manage:
            manage.create_tag(head.snapshot_id, replay.tag("letters"))


def _lost(lake: Lake, replay: Replay, refs: tuple[str, str], conflicts: ConflictLetters) -> list[Letters]:
    """Letters of rows that were put in place and lost against what live jobs published meanwhile."""
    table, key = lake.load(replay.table), key_of(replay.table)
    put, there = (_files_at(table, ref, replay.ranges) for ref in refs)
    found: list[Letters] = []
    for block in compare(put, there, replay.ranges, key):
        if len(block.changed[0]):
            sides = (block.before_files, block.before, block.changed[0]), (block.after_files, block.after, block.changed[1])
            rows = [rows_at(files, side.take(pa.array(places))) for files, side, places in sides]
            folded = fold_rows([pa.concat_tables(rows, promote_options="permissive")], key)
            if len(folded.losers):
                found += conflicts(folded.losers, folded.won)
    return found


def _judged(lake: Lake, replay: Replay) -> Iterator[PositionOutcomes]:
    """What the replay says of positions: all that it accepted into its ranges, and what it refused and no other window holds."""
    onto = replace(lake, branch=replay.branch)
    names = ("source", "raw_file", "outcome", "runs", "window_from", "window_to")
    rows = onto.load(LEDGER).scan(selected_fields=names).to_arrow()
    found: dict[tuple[str, str, str], list[Ints]] = {}
    reach: dict[tuple[str, str, str], list[int]] = {}
    for row in rows.to_pylist():
        if row["outcome"] == Outcome.OUTSIDE:
            continue
        key = row["source"], row["raw_file"], row["outcome"]
        found.setdefault(key, []).append(np.array(row["runs"], dtype=np.int64))
        reach.setdefault(key, []).extend(us for us in (row["window_from"], row["window_to"]) if us is not None)
    refused = {key[1] for key in found if key[2] != Outcome.ACCEPTED}
    elsewhere = _published_elsewhere(lake, replay, refused) if refused else {}
    for key, parts in found.items():
        source, raw_file, outcome = key
        runs = Positions.of(np.concatenate(parts)).runs
        if outcome != Outcome.ACCEPTED and (other := elsewhere.get((source, raw_file))) is not None:
            runs = _without(runs, other)
        if len(runs):
            low, high = min(reach[key], default=None), max(reach[key], default=None)
            yield PositionOutcomes(source, raw_file, outcome, tuple(runs.tolist()), low, high)


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


def _positions(judged: Sequence[PositionOutcomes]) -> Mapping[tuple[str, str], Positions]:
    runs: dict[tuple[str, str], list[int]] = {}
    for outcome in judged:
        runs.setdefault((outcome.source, outcome.raw_file), []).extend(outcome.runs)
    return {key: Positions.of(flat) for key, flat in runs.items()}


def _promotion(lake: Lake, replay: Replay, tags: tuple[str, str], folder: str) -> Promotion:
    table = lake.load(replay.table)
    counts = write_changes(lake, replay, table, tags, folder)
    rows, digest = table_totals(table)
    head = table.metadata.snapshot_by_name(replay.tag(tags[1]))
    return Promotion(
        replay.name, replay.dataset, head.snapshot_id if head else None, rows, f"{digest:032x}", f"{FOLDER}/{folder}", **counts
    )


def write_changes(lake: Lake, replay: Replay, table: Table, tags: tuple[str, str], folder: str) -> dict[str, int]:
    """Write what changed for those who read the dataset: ``_replays/<folder>/<from>-<to>-<shard>.parquet``.

    Rows of the table with ``_change``: added and changed rows as they are now, removed ones as they were. Always the same files.

    Returns:
        How many rows were added, removed and changed.
    """
    before, after = (_files_at(table, replay.tag(tag), replay.ranges) for tag in tags)
    counts = {"added": 0, "removed": 0, "changed": 0}
    for block in compare(before, after, replay.ranges, key_of(replay.table)):
        kinds: list[tuple[str, Any, pa.Table, Sequence[str]]] = [
            ("added", block.added, block.after, block.after_files),
            ("changed", block.changed[1], block.after, block.after_files),
            ("removed", block.removed, block.before, block.before_files),
        ]
        parts = []
        for change, places, side, files in kinds:
            counts[change] += len(places)
            if len(places):
                chosen = rows_at(files, side.take(pa.array(places)))
                parts.append(chosen.append_column("_change", pa.array([change] * len(chosen))))
        if parts:
            out = io.BytesIO()
            pq.write_table(pa.concat_tables(parts, promote_options="permissive"), out, compression="zstd")
            lake.storage.write(
                lake.at_key(f"{FOLDER}/{folder}/{block.from_us}-{block.to_us}-{block.shard}.parquet"), out.getvalue()
            )
    return counts


def rows_at(files: Sequence[str], wanted: pa.Table) -> pa.Table:
    """Whole rows of data files, by provenance."""
    keys = set(zip(*(wanted.column(n).to_pylist() for n in ("_source", "_raw_file", "_position")), strict=True))
    parts = []
    for path in files:
        rows = read_rows(path)
        have = zip(*(rows.column(n).to_pylist() for n in ("_source", "_raw_file", "_position")), strict=True)
        parts.append(rows.filter(pa.array([place in keys for place in have], pa.bool_())))
    return pa.concat_tables(parts, promote_options="permissive")
