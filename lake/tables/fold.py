"""The fold of rows: one row per key and cell of time, by the winner rule. Pure, commutative, associative and idempotent.

A cell is a stretch of GRID_S, the finest range that a table can have: rows of one key in different cells may lie in other ranges
and never meet, so they stay apart in every range, and neither the length of windows nor a compaction changes a row.

Winner = the smallest of (``_rank``: the contract's order columns, ``_fingerprint``, ``_row_hash``, ``_source``, ``_raw_file``,
``_position``); so provenance only separates equal rows. Rows of one key with another fingerprint than the winner's are *conflicts*:
of each such fingerprint the smallest row is kept as the loser that becomes a dead letter, its repeats are duplicates. A fingerprint
that lost may win later, by a smaller row: so the winner of a contested key is told too, and takes back the letter of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.units import SECOND_US

GRID_S = 60
_ORDER = ("_rank", "_fingerprint", "_row_hash", "_source", "_raw_file", "_position", "_window_time")
_MODULUS = 2**128


@dataclass(frozen=True)
class Folded:
    """What a fold gives.

    rows: the winners, sorted by (_window_time, key). losers: one row per losing fingerprint of a key and cell. won: what beat them.
    beaten: places, in the tables one after the other, of all rows that lost to a row of another position; in order.
    """

    rows: pa.Table
    losers: pa.Table
    won: pa.Table
    beaten: npt.NDArray[np.int64]


def fold_rows(tables: Sequence[pa.Table], key: str) -> Folded:
    """Fold tables of one schema.

    Args:
        tables: at least one; rows of any order and overlap.
        key: the column with the key, a string without nulls.
    """
    rows = pa.concat_tables(tables).combine_chunks()
    codes = codes_of(rows.column(key))
    repeated = _repeated(codes)
    if repeated.any():
        cells = rows.column("_window_time").cast(pa.int64()).to_numpy() // (GRID_S * SECOND_US)
        codes[repeated] = np.unique(np.column_stack((codes, cells))[repeated], axis=0, return_inverse=True)[1].ravel()
        repeated[repeated] = _repeated(codes[repeated])
    losers = won = rows.slice(0, 0)
    beaten = np.empty(0, dtype=np.int64)
    if repeated.any():
        contested = np.flatnonzero(repeated)
        order, first_of_key, first_of_fingerprint = _rank(rows, codes, contested)
        lost = first_of_fingerprint & ~first_of_key
        losers = rows.take(contested[order][lost])
        keys = np.cumsum(first_of_key)
        beaten = _beaten(rows, contested[order], first_of_key)
        won = rows.take(contested[order][first_of_key & np.isin(keys, keys[lost])])
        rows = rows.take(np.concatenate((np.flatnonzero(~repeated), contested[order][first_of_key])))
    rows = rows.take(pc.sort_indices(rows, [("_window_time", "ascending"), (key, "ascending")]))
    return Folded(rows.combine_chunks(), losers.combine_chunks(), won.combine_chunks(), beaten)


def _beaten(rows: pa.Table, ordered: npt.NDArray[np.int64], first_of_key: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Which of the rows at these places lost to a row of another position; a winner read again has not.

    Args:
        rows: all rows.
        ordered: places of contested ones, by key and winner rule.
        first_of_key: which of them begin a key: the winners.
    """
    lost, won = ordered[~first_of_key], ordered[first_of_key][np.cumsum(first_of_key) - 1][~first_of_key]
    positions = rows.column("_position").to_numpy()
    same = positions[lost] == positions[won]
    for name in ("_raw_file", "_source"):
        at = np.flatnonzero(same)
        column = rows.column(name)
        same[at] = pc.equal(column.take(pa.array(lost[at])), column.take(pa.array(won[at]))).to_numpy()
    return np.sort(lost[~same])


def _repeated(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which values are there more than once."""
    return np.bincount(codes)[codes] > 1 if len(codes) else np.empty(0, dtype=bool)


def codes_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A small integer per distinct value."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _rank(
    rows: pa.Table, codes: npt.NDArray[np.int64], contested: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Order of the contested rows by key and winner rule; which begins a key; which begins a (key, fingerprint)."""
    subset = rows.select(list(_ORDER)).take(contested).append_column("_key", pa.array(codes[contested]))
    order = pc.sort_indices(subset, [("_key", "ascending"), *((name, "ascending") for name in _ORDER)]).to_numpy()
    keys = codes[contested][order]
    first_of_key = np.diff(keys, prepend=-1) != 0
    seen: set[tuple[int, bytes]] = set()
    first_of_fingerprint = np.zeros(len(order), dtype=bool)
    fingerprints = subset.column("_fingerprint").take(pa.array(order)).to_pylist()
    for i, pair in enumerate(zip(keys.tolist(), fingerprints, strict=True)):
        if pair not in seen:
            seen.add(pair)
            first_of_fingerprint[i] = True
    # A fingerprint that equals the winner's is a duplicate of it, not a loser; its first row is the winner itself.
    return order, first_of_key, first_of_fingerprint


def content_hash(rows: pa.Table) -> int:
    """Sum modulo 2^128 of the rows' hashes (xxh3_128 of their canonical JSON, big endian)."""
    digests = rows.column("_row_hash").combine_chunks()
    if isinstance(digests, pa.ChunkedArray):
        digests = digests.combine_chunks()
    if len(digests) == 0:
        return 0
    raw = np.frombuffer(digests.buffers()[1], dtype=">u4", count=4 * len(digests), offset=16 * digests.offset)
    limbs = raw.reshape(-1, 4).astype(np.uint64).sum(axis=0).tolist()
    return sum(int(limb) << shift for limb, shift in zip(limbs, (96, 64, 32, 0), strict=True)) % _MODULUS


def add_hashes(*hashes: int) -> int:
    """Content hashes add up over disjoint sets of rows; a negative one takes rows away."""
    return sum(hashes) % _MODULUS


def identity_of(rows: pa.Table) -> str:
    """Names these rows, provenance included: the same folded rows have the same name in every run."""
    digest = xxhash.xxh3_128()
    for name in ("_row_hash", "_fingerprint", "_source", "_raw_file", "_position"):
        column = rows.column(name).combine_chunks()
        if name in ("_source", "_raw_file"):
            column = column.dictionary_encode()
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            digest.update("\0".join(column.dictionary.to_pylist()).encode())
            column = column.indices
        column = pa.concat_arrays([column]) if isinstance(column, pa.Array) else column.combine_chunks()
        width = column.type.bit_width // 8
        digest.update(memoryview(column.buffers()[1])[width * column.offset : width * (column.offset + len(column))])
    return digest.hexdigest()
