"""Which keys a data file may hold, in a small file beside it.

Hashes of the keys, cut to as many bits as let one in a million of other keys pass: a minute of a large stream has some hundred
thousand of them, and a file that one of them seems to be in is read. A sorted set of integers, kept as their differences (Parquet's
DELTA_BINARY_PACKED): some 23 bits a key. This is the Golomb-coded set of Putze, Sanders, Singler, "Cache-, Hash-
and Space-Efficient Bloom Filters", 2007, in an encoding that every Parquet library reads.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from lake.location import data_path
from lake.storage import storage_of
from lake.tables.data_files import read_columns

_PASS_BITS = 20  # one of 2^20 keys that are not there is taken for one that is
_SUFFIX = ".keys"
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class KeyFilter:
    """bits: length of the hashes, at most 63. cut: sorted and distinct, so long."""

    bits: int
    cut: npt.NDArray[np.int64]

    @classmethod
    def of(cls, hashes: Hashes) -> KeyFilter:
        """Of the hashes of a file's keys."""
        bits = min(_PASS_BITS + max(len(hashes) - 1, 0).bit_length(), 63)
        return cls(bits, np.unique((hashes >> np.uint64(64 - bits)).astype(np.int64)))

    def may_hold(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of these keys may be there; none that is there is missing. hashes: sorted."""
        cut = (hashes >> np.uint64(64 - self.bits)).astype(np.int64)
        found = np.zeros(len(cut), dtype=bool)
        if len(cut) <= len(self.cut):
            places = np.searchsorted(self.cut, cut)
            found[:] = self.cut[np.minimum(places, len(self.cut) - 1)] == cut
        elif len(self.cut):
            starts, ends = np.searchsorted(cut, self.cut), np.searchsorted(cut, self.cut, side="right")
            for place in np.flatnonzero(starts < ends).tolist():
                found[starts[place] : ends[place]] = True
        return found


def key_hashes(keys: pa.ChunkedArray) -> Hashes:
    """xxh3_64 of each key."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(key) for key in keys.cast(pa.binary()).to_pylist()), np.uint64, len(keys))


def filter_file(data_file: str) -> str:
    """Where the filter of a data file lies."""
    return data_path(data_file) + _SUFFIX


def write_filter(data_file: str, keys: pa.ChunkedArray) -> KeyFilter:
    """Write the filter of a data file. It is a function of the file, so any number of processes may write it."""
    made = KeyFilter.of(key_hashes(keys))
    content = io.BytesIO()
    table = pa.table({f"bits_{made.bits}": made.cut})
    pq.write_table(
        table, content, compression="none", use_dictionary=False, column_encoding={table.column_names[0]: "DELTA_BINARY_PACKED"}
    )
    location = filter_file(data_file)
    storage_of(location).put_if_absent(location, content.getvalue())
    return made


def read_filter(data_file: str, key: str) -> KeyFilter:
    """The filter of a data file; made where there is none yet. key: the key column."""
    location = filter_file(data_file)
    with contextlib.suppress(FileNotFoundError):
        table = pq.read_table(pa.BufferReader(storage_of(location).read(location)))
        return KeyFilter(int(table.column_names[0].removeprefix("bits_")), table.column(0).to_numpy())
    return write_filter(data_file, read_columns(data_file, [key]).column(key))
