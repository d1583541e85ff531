"""What a replay would change, as one JSON-ready document: rows, windows, columns, reasons, ledgers and a few samples.

The two states are compared block by block (``transforms/replay/diff.py``): whole rows are read of changed rows and samples only. What
is kept of a difference is its position, 16 bytes; from the positions both ledgers tell at the end why each row is there or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table

from contracts.codes import Code
from contracts.errors import ConfigurationError
from contracts.project import Project
from pipelines.manifest import recent_runs
from pipelines.replay.cells import Masked, differing, json_value, whole_rows
from pipelines.replay.plan import dataset_of, moment
from pipelines.replay.record import Replay, Step, replay_of
from pipelines.run import Progress, Report
from transforms.converge.fold import add_hashes, content_hash
from transforms.converge.publish import read_columns
from transforms.converge.swap import PROVENANCE_KEY, newer_rows, overlaps
from transforms.lake.landed import Ints, Landed
from transforms.lake.ledger import LedgerEntry, ledger_of
from transforms.lake.location import Lake
from transforms.lake.tables import DEAD_LETTERS, LEDGER, PublishedFile, published_files
from transforms.replay.diff import Block, compare

KEY = "event_id"
KINDS = ("added", "removed", "changed")
_ANOTHER_ROW, _ANOTHER_READING = "another row won", "same record, other contract or code"
_RUNS_LOOKED_AT = 20
_PUBLISHED = frozenset({Step.PROMOTED, Step.ROLLING_BACK, Step.ROLLED_BACK})
Place = tuple[str, str]  # source and raw file or log


@dataclass(frozen=True)
class _AsOf(Lake):
    """A lake with some tables as a branch or tag has them. refs: by table; the others are read as they are published."""

    refs: Mapping[str, str] = field(default_factory=dict)

    def load(self, name: str) -> Table:
        """See ``Lake``."""
        return Lake(self.root, self.catalog_url, self.refs.get(name)).load(name)


@dataclass(frozen=True)
class _State:
    """One of the two states. lake: as it was read. before_epoch: what its ledger says from this promotion on does not count."""

    lake: Lake
    ref: str
    snapshot_id: int | None
    files: tuple[PublishedFile, ...]
    before_epoch: int | None = None

    def ledger(self, table: str, positions: Mapping[Place, Sequence[Ints]]) -> dict[str, LedgerEntry]:
        """By source, what became of these positions."""
        landed: dict[str, list[Landed]] = {}
        for (source, raw_file), runs in positions.items():
            landed.setdefault(source, []).append(Landed(source, raw_file, tuple(runs), 0))
        return {
            source: sum(ledger_of(self.lake, source, table, units, before_epoch=self.before_epoch).values(), LedgerEntry())
            for source, units in sorted(landed.items())
        }


def difference(lake: Lake, project: Project, name: str, *, samples: int = 5, report: Report | None = None) -> dict[str, Any]:
    """Compare a replay with the live table; of one that was promoted, the live table before with it after.

    Args:
        lake: where.
        project: whose contract says which columns are personal data: their values are masked.
        name: the replay's.
        samples: most rows to show of each kind.
        report: is told of progress.

    Returns:
        The document. Its values are texts, numbers, lists and mappings; times are ISO 8601.

    Raises:
        ConfigurationError: there is no such replay, it was discarded, or has nothing to compare yet.
    """
    replay = replay_of(lake, name)
    _, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    promoted = _is_published(lake, replay)
    live, rebuilt = _states(lake, replay, promoted=promoted)
    base = None if promoted else _files(lake.load(replay.table), replay.tag("base"), replay)
    tally = _Tally(replay.spec["window_s"] * 1_000_000, Masked.of(contract), samples, base)
    total = sum(high - low for low, high in replay.ranges)
    for block in compare(live.files, rebuilt.files, replay.ranges, KEY):
        tally.add(block)
        if report:
            done = sum(min(block.to_us, high) - low for low, high in replay.ranges if low < block.to_us)
            report(Progress("compare", done, total, moment(block.from_us)))
    return {
        **_header(lake, replay, live, rebuilt, promoted=promoted),
        **tally.document(total),
        **_reasons(replay.table, tally, live, rebuilt),
        "ledger": _ledgers(lake, replay, live, rebuilt),
    }


def _is_published(lake: Lake, replay: Replay) -> bool:
    there = replay.tag("promoted") in lake.load(replay.table).metadata.refs
    if replay.step in _PUBLISHED and not there:
        raise ConfigurationError(f"replay {replay.name}: is {replay.step}, and the snapshots of its promotion have expired")
    return there and (replay.step in _PUBLISHED or replay.step is Step.PROMOTING)


def _states(lake: Lake, replay: Replay, *, promoted: bool) -> tuple[_State, _State]:
    table = lake.load(replay.table)
    on_branch = {DEAD_LETTERS: replay.branch, LEDGER: replay.branch}
    if promoted:
        letters = replay.tag("letters")
        kept = {DEAD_LETTERS: letters} if letters in lake.load(DEAD_LETTERS).metadata.refs else {}
        before, after = replay.tag("before"), replay.tag("promoted")
        return (
            _state(lake, table, replay, before, {replay.table: before, **kept}, before_epoch=replay.promotion),
            _state(lake, table, replay, after, {replay.table: after, **on_branch}),
        )
    if replay.step is Step.DISCARDED:
        raise ConfigurationError(f"replay {replay.name}: was discarded; there is nothing left to compare")
    if replay.branch not in table.metadata.refs and replay.step not in (Step.FINISHED, Step.PROMOTING):
        raise ConfigurationError(f"replay {replay.name}: has rebuilt nothing yet; go on with headrace replay run {replay.name}")
    return (
        _state(lake, table, replay, "main", {}),
        _state(lake, table, replay, replay.branch, {replay.table: replay.branch, **on_branch}),
    )


def _state(lake: Lake, table: Table, replay: Replay, ref: str, refs: Mapping[str, str], before_epoch: int | None = None) -> _State:
    snapshot = table.metadata.snapshot_by_name(ref)
    seen = _AsOf(lake.root, lake.catalog_url, refs=refs)
    return _State(seen, ref, snapshot.snapshot_id if snapshot else None, _files(table, ref, replay), before_epoch)


def _files(table: Table, ref: str, replay: Replay) -> tuple[PublishedFile, ...]:
    snapshot = table.metadata.snapshot_by_name(ref)
    found = published_files(table, snapshot) if snapshot else []
    return tuple(file for file in found if overlaps(file, replay.ranges))


def _header(lake: Lake, replay: Replay, live: _State, rebuilt: _State, *, promoted: bool) -> dict[str, Any]:
    base = lake.load(replay.table).metadata.snapshot_by_name(replay.tag("base"))
    refs = {
        "base": {"ref": replay.tag("base"), "snapshot_id": base.snapshot_id if base else None},
        "live": {"ref": live.ref, "snapshot_id": live.snapshot_id},
        "replay": {"ref": rebuilt.ref, "snapshot_id": rebuilt.snapshot_id},
    }
    return {
        "replay": replay.name,
        "dataset": replay.dataset,
        "step": str(replay.step),
        **_standing(replay, promoted=promoted),
        "ranges": [[moment(low), moment(high)] for low, high in replay.ranges],
        "window_s": replay.spec["window_s"],
        "branch": replay.branch,
        "snapshots": refs,
        "contract_versions": {"live": _live_versions(lake, replay, live), "replay": replay.spec["contract_version"]},
        "code_version": replay.spec["code_version"],
    }


def _standing(replay: Replay, *, promoted: bool) -> dict[str, str | None]:
    """What is compared, in a sentence, and the command that may come next."""
    command = "headrace replay"
    if promoted:
        next_ = f"{command} rollback {replay.name}" if replay.step is Step.PROMOTED else None
        state = f"{replay.step}: the live table right before its promotion against the same right after"
        return {"state": state, "next": next_ or (f"{command} promote {replay.name}" if replay.step is Step.PROMOTING else None)}
    if replay.step in (Step.FINISHED, Step.PROMOTING):
        return {"state": f"{replay.step}: the live table against the replay", "next": f"{command} promote {replay.name}"}
    state = f"not finished ({replay.step}): what is not rebuilt yet is told as removed"
    return {"state": state, "next": f"{command} run {replay.name}"}


def _live_versions(lake: Lake, replay: Replay, live: _State) -> list[str]:
    """Contract versions that live dead letters and the manifests of recent runs name."""
    runs = [run.manifest for run in recent_runs(lake, _RUNS_LOOKED_AT)]
    named = {m["contracts"][replay.dataset] for m in runs if "replay" not in m and replay.dataset in m.get("contracts", {})}
    try:
        scan = live.lake.load(DEAD_LETTERS).scan(
            row_filter=EqualTo("dataset", replay.dataset), selected_fields=("contract_version",)
        )
    except NoSuchTableError:
        return sorted(named)
    for batch in scan.to_arrow_batch_reader():
        named.update(batch.column(0).unique().to_pylist())
    return sorted(named)


@dataclass
class _Window:
    """Counts of one window. hashes: content hash of the live rows, of the replay's."""

    rows: list[int] = field(default_factory=lambda: [0, 0])
    hashes: list[int] = field(default_factory=lambda: [0, 0])
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*KINDS, "since"), 0))


@dataclass
class _Tally:
    """Adds blocks up. base: files that were live when the replay began; None where no row counts as newer than the replay.

    ``since`` are live rows that the base had not and that differ from the replay: promote folds them in, so they are neither removed nor
    changed. Of these ``since_met`` have a row of the same key in the replay; the winner rule chooses between the two.
    """

    window_us: int
    masked: Masked
    most: int
    base: Sequence[PublishedFile] | None
    windows: dict[int, _Window] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)
    positions: dict[str, dict[Place, list[Ints]]] = field(default_factory=lambda: {"added": {}, "removed": {}})
    changed_why: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    since_met: int = 0

    def add(self, block: Block) -> None:
        """Take a block in."""
        newer = self._newer(block)
        gone, changed = newer[block.removed], newer[block.changed[0]]
        removed = block.removed[~gone]
        old, new = (places[~changed] for places in block.changed)
        since = np.concatenate((block.removed[gone], block.changed[0][changed]))
        self.since_met += int(changed.sum())
        for number, rows in enumerate((block.before, block.after)):
            self._count_rows(number, rows)
        for kind, side, places in (
            ("added", block.after, block.added), ("removed", block.before, removed),
            ("changed", block.before, old), ("since", block.before, since),
        ):  # fmt: skip
            for window, count in zip(*np.unique(self._windows_of(side)[places], return_counts=True), strict=True):
                self.windows[int(window)].counts[kind] += int(count)
        self._note("added", block.after, block.added, block.after_files)
        self._note("removed", block.before, removed, block.before_files)
        if len(old):
            self._compare_rows(block, old, new)

    def document(self, span_us: int) -> dict[str, Any]:
        """Totals, windows, columns and samples. span_us: length of all ranges."""
        told = sorted((start, window) for start, window in self.windows.items())
        counts = {kind: sum(w.counts[kind] for _, w in told) for kind in (*KINDS, "since")}
        live, rebuilt = (sum(w.rows[side] for _, w in told) for side in (0, 1))
        hashes = [f"{add_hashes(*(w.hashes[side] for _, w in told)):032x}" for side in (0, 1)]
        differing_ = [(start, window) for start, window in told if any(window.counts.values())]
        return {
            "totals": {
                "live_rows": live,
                "replay_rows": rebuilt,
                "same": live - counts["removed"] - counts["changed"] - counts["since"],
                **counts,
                "since_met": self.since_met,
                "live_hash": hashes[0],
                "replay_hash": hashes[1],
            },
            "equal": hashes[0] == hashes[1] and not any(counts.values()),
            "windows_in_all": span_us // self.window_us,
            "windows_equal": span_us // self.window_us - len(differing_),
            "windows": [self._window_line(start, window) for start, window in differing_],
            "columns": dict(sorted(self.columns.items(), key=lambda item: (-item[1], item[0]))),
        }

    def _window_line(self, start: int, window: _Window) -> dict[str, Any]:
        return {
            "from": moment(start * self.window_us),
            "to": moment((start + 1) * self.window_us),
            "live_rows": window.rows[0],
            "replay_rows": window.rows[1],
            **window.counts,
            "live_hash": f"{window.hashes[0]:032x}",
            "replay_hash": f"{window.hashes[1]:032x}",
        }

    def _newer(self, block: Block) -> npt.NDArray[np.bool_]:
        """By place of the live rows: whether it differs from the replay and the base had it not."""
        newer = np.zeros(len(block.before), dtype=bool)
        places = np.concatenate((block.removed, block.changed[0]))
        if self.base is None or not len(places) or set(block.before_files) <= {file.path for file in self.base}:
            return newer
        unknown = np.ones(len(places), dtype=bool)
        rows = block.before.take(pa.array(places))
        wanted = set(_provenance(rows))
        for file in self.base:
            if file.overlaps(block.from_us, block.to_us, block.shard):
                known = wanted.intersection(_provenance(read_columns(file.path, PROVENANCE_KEY)))
                unknown &= newer_rows(rows, known)
        newer[places] = unknown
        return newer

    def _windows_of(self, rows: pa.Table) -> Ints:
        times: Ints = rows.column("_window_time").cast(pa.int64()).to_numpy() // self.window_us
        return times

    def _count_rows(self, side: int, rows: pa.Table) -> None:
        windows = self._windows_of(rows)
        order = np.argsort(windows, kind="stable")
        hashes = rows.select(["_row_hash"]).take(pa.array(order))
        found, starts = np.unique(windows[order], return_index=True)
        for window, start, end in zip(found.tolist(), starts, [*starts[1:], len(rows)], strict=True):
            known = self.windows.setdefault(window, _Window())
            known.rows[side] += int(end - start)
            known.hashes[side] = add_hashes(known.hashes[side], content_hash(hashes.slice(start, end - start)))

    def _note(self, kind: str, side: pa.Table, places: Ints, files: Sequence[str]) -> None:
        """Keep where these rows come from, and the first of them as samples."""
        if not len(places):
            return
        rows = side.take(pa.array(places))
        by_place: dict[Place, list[int]] = {}
        for source, raw_file, position in _provenance(rows):
            by_place.setdefault((source, raw_file), []).append(position)
        for place, positions in by_place.items():
            runs = np.column_stack((np.array(positions, dtype=np.int64), np.ones(len(positions), dtype=np.int64))).ravel()
            self.positions[kind].setdefault(place, []).append(runs)
        self.samples[kind] += [_sample(row) for row in rows.slice(0, self.most - len(self.samples[kind])).to_pylist()]

    def _compare_rows(self, block: Block, old: Ints, new: Ints) -> None:
        before, after = block.before.take(pa.array(old)), block.after.take(pa.array(new))
        moved = np.array([a != b for a, b in zip(_provenance(before), _provenance(after), strict=True)])
        for why, count in ((_ANOTHER_ROW, int(moved.sum())), (_ANOTHER_READING, int((~moved).sum()))):
            self.changed_why[why] = self.changed_why.get(why, 0) + count
        whole = whole_rows(block.before_files, before), whole_rows(block.after_files, after)
        differ = differing(*whole)
        for column, mask in differ.items():
            if count := int(mask.sum()):
                self.columns[column] = self.columns.get(column, 0) + count
        for place in range(min(len(old), self.most - len(self.samples["changed"]))):
            there, here = (rows.slice(place, 1).to_pylist()[0] for rows in (before, after))
            sample = _sample(here) | {"why": _ANOTHER_ROW if moved[place] else _ANOTHER_READING}
            if moved[place]:
                sample |= {
                    "live_source": there["_source"],
                    "live_raw_file": there["_raw_file"],
                    "live_position": there["_position"],
                }
            columns = [column for column, mask in differ.items() if mask[place]]
            sample["columns"] = [
                {
                    "column": column,
                    **{side: self._value(rows, column, place) for side, rows in zip(("live", "replay"), whole, strict=True)},
                }
                for column in columns
            ]
            self.samples["changed"].append(sample)

    def _value(self, rows: pa.Table, column: str, place: int) -> Any:
        value = rows.column(column)[place].as_py() if column in rows.column_names else None
        return self.masked.shown(column, value)


def _provenance(rows: pa.Table) -> Iterator[tuple[str, str, int]]:
    return zip(*(rows.column(name).to_pylist() for name in PROVENANCE_KEY), strict=True)


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event_id": row[KEY],
        "window_time": json_value(row["_window_time"]),
        "source": row["_source"],
        "raw_file": row["_raw_file"],
        "position": row["_position"],
    }


def _reasons(table: str, tally: _Tally, live: _State, rebuilt: _State) -> dict[str, Any]:
    """Why rows were added (the live ledger knows) and removed (the replay's does), counted and of each sample."""
    asked: dict[str, tuple[_State, Callable[[LedgerEntry], dict[str, int]]]] = {
        "added": (live, _why_added),
        "removed": (rebuilt, _why_removed),
    }
    why: dict[str, dict[str, int]] = {}
    for kind, (state, reasons) in asked.items():
        why[kind] = reasons(sum(state.ledger(table, tally.positions[kind]).values(), LedgerEntry()))
        for sample in tally.samples[kind]:
            where = {(sample["source"], sample["raw_file"]): [np.array([sample["position"], 1], dtype=np.int64)]}
            sample["why"] = next(iter(reasons(sum(state.ledger(table, where).values(), LedgerEntry()))))
    why["changed"] = {reason: count for reason, count in tally.changed_why.items() if count}
    ordered = {kind: dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for kind, found in why.items()}
    return {"why": ordered, "samples": tally.samples}


def _why_added(entry: LedgerEntry) -> dict[str, int]:
    """What had become of positions in the live lake whose rows only the replay has."""
    found = {
        "late row folded in": entry.late,
        "was filtered": entry.filtered,
        "was never ingested": entry.pending,
        "was in another window": entry.out + entry.outside,
        "lost against another row before": entry.duplicate + entry.codes.get(Code.CONFLICTING_DUPLICATE, 0),
        **_by_code("was rejected", entry),
    }
    return {reason: count for reason, count in found.items() if count}


def _why_removed(entry: LedgerEntry) -> dict[str, int]:
    """What became of positions in the replay whose rows only the live table has."""
    found = {
        "filtered now": entry.filtered,
        "its raw was not read": entry.pending,
        "belongs to another window now": entry.outside + entry.out,
        "lost against another row now": entry.duplicate + entry.codes.get(Code.CONFLICTING_DUPLICATE, 0),
        "late now": entry.late,
        **_by_code("rejected now", entry),
    }
    return {reason: count for reason, count in found.items() if count}


def _by_code(told: str, entry: LedgerEntry) -> dict[str, int]:
    codes = {code: count for code, count in entry.codes.items() if code != Code.CONFLICTING_DUPLICATE}
    known = sum(codes.values()) + entry.codes.get(Code.CONFLICTING_DUPLICATE, 0)
    return {f"{told}: {code}": count for code, count in sorted(codes.items())} | {
        f"{told}; its dead letter is gone": max(entry.dead_letter - known, 0)
    }


def _ledgers(lake: Lake, replay: Replay, live: _State, rebuilt: _State) -> dict[str, Any]:
    """By source, what became of the raw that the replay read: in the live lake, and in the replay."""
    read: dict[Place, list[Ints]] = {}
    rows = Lake(lake.root, lake.catalog_url, replay.branch).load(LEDGER).scan(selected_fields=("source", "raw_file", "runs"))
    for batch in rows.to_arrow_batch_reader():
        for source, raw_file, runs in zip(*(batch.column(n) for n in ("source", "raw_file", "runs")), strict=True):
            read.setdefault((source.as_py(), raw_file.as_py()), []).append(runs.values.to_numpy())
    sides = {"live": live.ledger(replay.table, read), "replay": rebuilt.ledger(replay.table, read)}
    return {source: {side: asdict(entries[source]) for side, entries in sides.items()} for source in sides["replay"]}
