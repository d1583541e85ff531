"""Adding up what two states differ in, block by block: rows, windows, columns, samples, and where rows that came or went are from.

Whole rows are read of changed rows only. What is kept of a row that came or went is its position: 16 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.units import us_text
from lake.raw.positions import Ints
from lake.tables.data_files import PROVENANCE_KEY, newer_rows, provenance_keys, read_columns, whole_rows
from lake.tables.diff import Block
from lake.tables.fold import add_hashes, content_hash
from lake.tables.iceberg import PublishedFile
from operations.cells import Masked, differing, json_value
from operations.replay.states import Place

KEY = "event_id"
KINDS = ("added", "removed", "changed")
_ANOTHER_ROW, _ANOTHER_READING = "another row won", "same record, other contract or code"


@dataclass
class _Window:
    """Counts of one window. hashes: content hash of the live rows, of the replay's."""

    rows: list[int] = field(default_factory=lambda: [0, 0])
    hashes: list[int] = field(default_factory=lambda: [0, 0])
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*KINDS, "since"), 0))


@dataclass
class Tally:
    """Adds blocks up. base: files that were live when the replay began; None where no row counts as newer than the replay.

    ``since`` are live rows that the base had not and that differ from the replay: promote folds them in, so they are neither
    removed nor changed. Of these ``since_met`` have a row of the same key in the replay; the winner rule chooses between the two.
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
        windows = sorted(self.windows.items(), key=lambda item: item[0])
        counts = {kind: sum(w.counts[kind] for _, w in windows) for kind in (*KINDS, "since")}
        live, rebuilt = (sum(w.rows[side] for _, w in windows) for side in (0, 1))
        hashes = [f"{add_hashes(*(w.hashes[side] for _, w in windows)):032x}" for side in (0, 1)]
        differing_ = [(start, window) for start, window in windows if any(window.counts.values())]
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
            "from": us_text(start * self.window_us),
            "to": us_text((start + 1) * self.window_us),
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
        wanted = set(provenance_keys(rows))
        for file in self.base:
            if file.overlaps(block.from_us, block.to_us, block.shard):
                known = wanted.intersection(provenance_keys(read_columns(file.path, PROVENANCE_KEY)))
                unknown &= newer_rows(rows, known)
        newer[places] = unknown
        return newer

    def _windows_of(self, rows: pa.Table) -> Ints:
        times: Ints = rows.column("_window_time").cast(pa.int64()).to_numpy() // self.window_us
        return times

    def _count_rows(self, side: int, rows: pa.Table) -> None:
        if not len(rows):
            return
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
        for source, raw_file, position in provenance_keys(rows):
            by_place.setdefault((source, raw_file), []).append(position)
        for place, positions in by_place.items():
            runs = np.column_stack((np.array(positions, dtype=np.int64), np.ones(len(positions), dtype=np.int64))).ravel()
            self.positions[kind].setdefault(place, []).append(runs)
        self.samples[kind] += [_sample(row) for row in rows.slice(0, self.most - len(self.samples[kind])).to_pylist()]

    def _compare_rows(self, block: Block, old: Ints, new: Ints) -> None:
        before, after = block.before.take(pa.array(old)), block.after.take(pa.array(new))
        moved = np.array([a != b for a, b in zip(provenance_keys(before), provenance_keys(after), strict=True)])
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


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event_id": row[KEY],
        "window_time": json_value(row["_window_time"]),
        "source": row["_source"],
        "raw_file": row["_raw_file"],
        "position": row["_position"],
    }
