"""The fold of rows: one row per key and cell of time, by the winner rule. Commutative, associative and idempotent in its rows.

A cell is a stretch of GRID_S, the finest range that a table can have: rows of one key in different cells may lie in other ranges
and never meet, so they stay apart in every range, and neither the length of windows nor a compaction changes a row.

Winner = of the highest ``_revision`` the smallest of (``_rank``: the contract's order columns, ``_fingerprint``, ``_row_hash``,
``_source``, ``_raw_file``, ``_position``); so provenance only separates equal rows. Rows of one key, of the winner's revision and
another fingerprint are *conflicts*: of each such fingerprint the smallest row is kept as the loser that becomes a dead letter, its
repeats are duplicates. A fingerprint that lost may win later, by a smaller row: so the winner of a contested key is told too, and
takes back the letter of its own. A row of another revision is no conflict: it may be other because it was read otherwise (decision
0033).
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
_REVISION = "_revision"  # files of versions before have none, which is lower than all
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
        ranked = _rank(rows, codes, contested)
        losers = rows.take(ranked.places[ranked.lost])
        keys = np.cumsum(ranked.first)
        beaten = np.sort(ranked.places[~ranked.of_winner])
        won = rows.take(ranked.places[ranked.first & np.isin(keys, keys[ranked.lost])])
        rows = rows.take(np.concatenate((np.flatnonzero(~repeated), ranked.places[ranked.first])))
    rows = rows.take(pc.sort_indices(rows, [("_window_time", "ascending"), (key, "ascending")]))
    return Folded(rows.combine_chunks(), losers.combine_chunks(), won.combine_chunks(), beaten)


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


@dataclass(frozen=True)
class _Ranked:
    """Contested rows by key and winner rule.

    places: of each in all rows. first: which begin a key: the winners. of_winner: which are of the position that won their key: the
    winners, and other readings of their records. lost: one per fingerprint that is in conflict with its winner.
    """

    places: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]
    of_winner: npt.NDArray[np.bool_]
    lost: npt.NDArray[np.bool_]


def _rank(rows: pa.Table, codes: npt.NDArray[np.int64], contested: npt.NDArray[np.int64]) -> _Ranked:
    subset = rows.select(list(_ORDER)).take(contested).append_column("_key", pa.array(codes[contested]))
    subset = subset.append_column(_REVISION, pa.array(revisions_of(rows)[contested]))
    by = [("_key", "ascending"), (_REVISION, "descending"), *((name, "ascending") for name in _ORDER)]
    order = pc.sort_indices(subset, by).to_numpy()
    ordered = subset.take(pa.array(order))
    keys, revisions = (ordered.column(name).to_numpy() for name in ("_key", _REVISION))
    first = np.diff(keys, prepend=-1) != 0
    winner = np.flatnonzero(first)[np.cumsum(first) - 1]
    alike = revisions == revisions[winner]
    seen: set[tuple[int, bytes]] = set()
    first_of_fingerprint = np.zeros(len(order), dtype=bool)
    fingerprints = ordered.column("_fingerprint").to_pylist()
    for i, pair in enumerate(zip(keys.tolist(), fingerprints, strict=True)):
        if alike[i] and pair not in seen:
            seen.add(pair)
            first_of_fingerprint[i] = True
    # A fingerprint that equals the winner's is a duplicate of it, not a loser; its first row is the winner itself.
    return _Ranked(contested[order], first, _same_position(ordered, winner), first_of_fingerprint & ~first)


def revisions_of(rows: pa.Table) -> npt.NDArray[np.int64]:
    """By which revision each row was read, see contracts/compiler/revisions.py; -1 of versions without them."""
    if _REVISION not in rows.column_names:
        return np.full(len(rows), -1)
    revisions: npt.NDArray[np.int64] = rows.column(_REVISION).fill_null(-1).to_numpy()
    return revisions


def _same_position(rows: pa.Table, others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows are of the same position as these other ones of them."""
    positions = rows.column("_position").to_numpy()
    same: npt.NDArray[np.bool_] = positions == positions[others]
    for name in ("_raw_file", "_source"):
        at = np.flatnonzero(same)
        column = rows.column(name)
        same[at] = pc.equal(column.take(pa.array(at)), column.take(pa.array(others[at]))).to_numpy()
    return same


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
    names = ["_row_hash", "_fingerprint", "_source", "_raw_file", "_position"]
    if _REVISION in rows.column_names and rows.column(_REVISION).null_count < len(rows):  # else the name that versions before give
        names.append(_REVISION)
    for name in names:
        column = (rows.column(name).fill_null(-1) if name == _REVISION else rows.column(name)).combine_chunks()
        if name in ("_source", "_raw_file"):
            column = column.dictionary_encode()
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            digest.update("\0".join(column.dictionary.to_pylist()).encode())
            column = column.indices
        column = pa.concat_arrays([column]) if isinstance(column, pa.Array) else column.combine_chunks()
        width = column.type.bit_width // 8
        digest.update(memoryview(column.buffers()[1])[width * column.offset : width * (column.offset + len(column))])
    return digest.hexdigest()
