"""``python -m benchmarks.deduplication``: seven days of events, then minutes of new ones with copies, and a sweep of each.

The history is written as data files of an hour and a shard, as a table has it after compaction, without the graph: what is measured
is the sweep. Each new minute holds copies of events of the history's last hours. A sweep must drop exactly these.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyiceberg.table.update.snapshot import ManageSnapshots

from benchmarks.ingest.sample import CACHE
from contracts.compiler.schemas import PROVENANCE
from contracts.units import DAY_S, HOUR_S, SECOND_US
from lake.location import Lake
from lake.tables.data_files import write_rows
from lake.tables.iceberg import Layout, PublishedFile, ensure_table, known_files, settled_tag
from lake.tables.key_filters import filter_file, write_filter
from lake.tables.publish import fold_range, publish
from lake.tables.sweep import sweep
from lake.tables.transactions import RefTransaction

_TABLE, _KEY, _SHARDS, _DAYS = "validated.event", "event_id", 4, 7
_SCHEMA = pa.schema([pa.field(_KEY, pa.string()), *PROVENANCE])
_BEGAN_S = 1_790_000_000 // DAY_S * DAY_S
_COPIES = 0.01
_ODD = np.uint64(0x9E3779B97F4A7C15)


class WrongError(Exception):
    """A sweep dropped something else than the copies."""


@dataclass(frozen=True)
class Swept:
    """One sweep. new: rows that came. dropped: of them. wall_s, cpu_s: what it took."""

    new: int
    dropped: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Measured:
    """history: rows. files: of the history. filter_bits: of a key. sweeps: one after the other. peak_mib: of the process."""

    history: int
    files: int
    filter_bits: float
    fold_wall_s: float
    sweeps: Sequence[Swept]
    peak_mib: float


def _digests(numbers: np.ndarray, salt: int) -> pa.Array:
    """16 bytes for each number, that no compression makes smaller."""
    left = (numbers.astype(np.uint64) + np.uint64(salt)) * _ODD
    right = (left ^ (left >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(numbers), [None, pa.py_buffer(np.column_stack((left, right)).tobytes())]
    )


def _rows(numbers: np.ndarray, times_us: np.ndarray) -> pa.Table:
    """Rows of the events with these numbers."""
    spread = numbers.astype(np.uint64) * _ODD
    ids = [f"{left:016x}-{right:016x}" for left, right in zip(spread.tolist(), numbers.tolist(), strict=True)]
    count = len(numbers)
    columns = {
        _KEY: pa.array(ids),
        "_window_time": pa.array(times_us, pa.timestamp("us", "UTC")),
        "_time_corrected": pa.repeat(pa.scalar(False), count),
        "_received_at": pa.array(times_us, pa.timestamp("us", "UTC")),
        "_source": pa.repeat("web", count),
        "_raw_file": pa.repeat("f", count),
        "_position": pa.array(numbers.astype(np.int64)),
        "_fingerprint": _digests(numbers, 1),
        "_row_hash": _digests(numbers, 2),
        "_rank": pa.array([b"\0"] * count, pa.binary()),
    }
    return pa.Table.from_arrays([columns[f.name] for f in _SCHEMA], schema=_SCHEMA)


def _history(table: object, rows: int) -> Iterator[str]:
    """Data files of the whole hours, a shard each: event number n is at its place in time, its shard is n modulo the shards."""
    hours = _DAYS * 24
    per_hour = rows // hours // _SHARDS * _SHARDS
    for hour in range(hours):
        from_us = (_BEGAN_S + hour * HOUR_S) * SECOND_US
        for shard in range(_SHARDS):
            numbers = np.arange(hour * per_hour + shard, (hour + 1) * per_hour, _SHARDS, dtype=np.uint64)
            times = from_us + (np.arange(len(numbers)) * (HOUR_S * SECOND_US) // max(len(numbers), 1))
            part = _rows(numbers, times)
            path = write_rows(table, part, from_us, from_us + HOUR_S * SECOND_US, shard)  # type: ignore[arg-type]
            write_filter(path, part.column(_KEY))
            yield path


def measure(work: Path, rows: int, minute: int, minutes: int, copied_hours: int) -> Measured:
    """Write the history, then minutes of new events, and sweep after each.

    Args:
        work: folder for the lake.
        rows: of the history.
        minute: rows of a new minute.
        minutes: how many.
        copied_hours: the last hours of the history, of which there are copies.

    Raises:
        WrongError: a sweep dropped something else than the copies.
    """
    lake = Lake.at(str(work / "lake"))
    lake.create()
    table = ensure_table(lake, _TABLE, _SCHEMA, Layout(num_shards=_SHARDS, horizon_s=_DAYS * DAY_S))
    paths = list(_history(table, rows))
    table.add_files(paths, check_duplicate_files=False)
    sizes = [Path(filter_file(path)).stat().st_size for path in paths]
    table = lake.load(_TABLE)
    head = table.current_snapshot()
    assert head is not None
    with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
        manage.create_tag(head.snapshot_id, settled_tag(None))  # no two events of it have one id
    rng, done, folding = np.random.default_rng(7), [], 0.0
    for number in range(minutes):
        began = time.perf_counter()
        copies = _publish_minute(lake, rng, rows, minute, number, copied_hours)
        folding += time.perf_counter() - began
        began, cpu = time.perf_counter(), time.process_time()
        found = sweep(lake, _TABLE, key=_KEY, run_id="sweep")
        done.append(Swept(minute, found.dropped, time.perf_counter() - began, time.process_time() - cpu))
        if found.dropped != copies:
            raise WrongError(f"{found.dropped:,} pairs were dropped, {copies:,} are copies")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return Measured(rows, len(paths), 8 * sum(sizes) / rows, folding, done, peak)


def _publish_minute(lake: Lake, rng: np.random.Generator, rows: int, minute: int, number: int, copied_hours: int) -> int:
    """Publish a minute behind the history; how many of its rows are copies of events in it."""
    from_us = (_BEGAN_S + _DAYS * DAY_S + number * 60) * SECOND_US
    per_hour = rows // (_DAYS * 24) // _SHARDS * _SHARDS
    first = max(rows // 24, per_hour * (_DAYS * 24 - copied_hours))  # the first hours leave the horizon
    copies = np.unique(rng.integers(first, per_hour * _DAYS * 24, int(minute * _COPIES)).astype(np.uint64))
    fresh = np.arange(minute - len(copies), dtype=np.uint64) + np.uint64(10 * rows + number * minute)
    table = lake.load(_TABLE)
    known: list[PublishedFile] = known_files(table, None)
    folds = []
    for shard in range(_SHARDS):
        numbers = np.concatenate([part[part % _SHARDS == shard] for part in (copies, fresh)])
        times = from_us + np.sort(rng.integers(0, 60 * SECOND_US, len(numbers)))
        part = _rows(numbers, times)
        folds.append(fold_range(table, known, part, key=_KEY, from_us=from_us, to_us=from_us + 60 * SECOND_US, shard=shard))
    publish(lake, _TABLE, folds, key=_KEY, run_id="job")
    return len(copies)


def lines(found: Measured) -> list[str]:
    """The figures, for people."""
    said = [f"history {found.history:,} rows in {found.files:,} files; filters {found.filter_bits:.1f} bits a key"]
    for swept in found.sweeps:
        said.append(f"{swept.new:,} new rows, {swept.dropped:,} dropped: {swept.wall_s:.1f} s, {swept.cpu_s:.1f} s of CPU")
    return [*said, f"folding and committing the new rows {found.fold_wall_s:.1f} s; peak {found.peak_mib:,.0f} MiB"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deduplication", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the history (default: %(default)s)")
    parser.add_argument("--minute", type=int, default=300_000, help="rows of a new minute (default: %(default)s, 5,000 a second)")
    parser.add_argument("--minutes", type=int, default=3, help="how many of them (default: %(default)s)")
    parser.add_argument(
        "--copied-hours", type=int, default=_DAYS * 24, help="of which there are copies, the last (default: all %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one document")
    given = parser.parse_args(argv)
    work = CACHE / "deduplication"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        found = measure(work, given.rows, given.minute, given.minutes, given.copied_hours)
    except WrongError as error:
        print(f"benchmarks.deduplication: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(asdict(found)) if given.json else "\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
