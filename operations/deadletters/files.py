"""Data files with letters, and the bounds of time that their metadata tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import IntegerType, TimestamptzType

from lake.location import Lake
from lake.tables.iceberg import DEAD_LETTERS, manifests_of, num_shards

LATE_NAMESPACE = "late"
_TIMES = ("_received_at", "_window_time")
_FIRST, _LAST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest time of a file's rows, microseconds since 1970; wide open where its metadata says none."""

    low: int = _FIRST
    high: int = _LAST


@dataclass(frozen=True)
class LetterFile:
    """A data file with letters.

    late_of: the dataset, if its rows are late ones; None of dead letters. times: bounds of ``_received_at`` and ``_window_time``.
    """

    path: str
    rows: int
    late_of: str | None
    times: Mapping[str, Bounds]


def letter_files(lake: Lake, *, whole_ids: Sequence[str] = ()) -> Iterator[LetterFile]:
    """All data files with dead letters and with late rows.

    Args:
        lake: where; of its branch.
        whole_ids: only files that may hold one of these dead letters, by their shard.
    """
    try:
        table = lake.load(DEAD_LETTERS)
    except NoSuchTableError:
        pass
    else:
        yield from _files(table, None, {_shard_of(one, num_shards(table)) for one in whole_ids})
    for _, dataset in sorted(lake.catalog().list_tables(LATE_NAMESPACE)):
        yield from _files(lake.load(f"{LATE_NAMESPACE}.{dataset}"), dataset, set())


def _shard_of(dead_letter_id: str, shards: int) -> int:
    return int(xxhash.xxh3_128_intdigest(dead_letter_id.encode())) % shards


def _files(table: Table, late_of: str | None, shards: set[int]) -> Iterator[LetterFile]:
    snapshot = table.current_snapshot()
    ids = {field.name: field.field_id for field in table.schema().fields}
    for manifest in manifests_of(table, snapshot) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            file = entry.data_file
            if shards and int(from_bytes(IntegerType(), file.lower_bounds[ids["_shard"]])) not in shards:
                continue
            times = {name: _bounds(file, ids[name]) for name in _TIMES}
            yield LetterFile(file.file_path, file.record_count, late_of, times)


def _bounds(file: DataFile, column: int) -> Bounds:
    low, high = ((limits or {}).get(column) for limits in (file.lower_bounds, file.upper_bounds))
    return Bounds(
        _FIRST if low is None else int(from_bytes(TimestamptzType(), low)),
        _LAST if high is None else int(from_bytes(TimestamptzType(), high)),
    )
