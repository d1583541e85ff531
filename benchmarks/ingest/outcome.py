"""What a contestant put out, read back from its files: the ground on which times may be compared."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pyiceberg.expressions import And, EqualTo, NotEqualTo

from lake.ledger.outcomes import Outcome, positions_of
from lake.location import Lake
from lake.tables.fold import content_hash
from lake.tables.iceberg import DEAD_LETTERS, LEDGER, WITHDRAWN

TABLE, SOURCE = "validated.customer_event", "web"


class OutcomesDifferError(Exception):
    """Two contestants did not do the same work."""


@dataclass(frozen=True)
class Result:
    """What came out. None where a contestant has no such thing (the row job knows no positions).

    rows, content_hash, ids: accepted rows, the sum of their hashes, the hash of their sorted ids. dead_letters: number by code.
    letter_positions, positions: hash of the positions of dead letters by code, and of all by outcome.
    """

    rows: int
    content_hash: str
    ids: str
    dead_letters: tuple[tuple[str, int], ...]
    letter_positions: str | None = None
    positions: str | None = None


def require_equal(results: dict[str, Result]) -> None:
    """Compare the results of contestants.

    Raises:
        OutcomesDifferError: two differ; names them, and in what.
    """
    (first, expected), *others = results.items()
    differences = []
    for name, result in others:
        for field in fields(Result):
            left, right = getattr(expected, field.name), getattr(result, field.name)
            if left is not None and right is not None and left != right:
                differences.append(f"{field.name}: {first} has {left}, {name} has {right}")
    if differences:
        raise OutcomesDifferError("the contestants' outputs differ, so their times mean nothing:\n  " + "\n  ".join(differences))


def result_of_lake(root: Path) -> Result:
    """What the job published."""
    lake = Lake.at(str(root))
    rows = lake.catalog().load_table(TABLE).scan(selected_fields=("event_id", "_row_hash")).to_arrow()
    letters = lake.catalog().load_table(DEAD_LETTERS)
    wanted = ("code", "_raw_file", "_position")
    found = letters.scan(
        row_filter=And(EqualTo("_source", SOURCE), NotEqualTo("code", WITHDRAWN)), selected_fields=wanted
    ).to_arrow()
    decided = NotEqualTo("outcome", Outcome.DUPLICATE)  # a note on an accepted position
    outcomes = lake.catalog().load_table(LEDGER).scan(decided, ("raw_file", "outcome", "runs")).to_arrow()
    return _result(rows, found, outcomes)


def result_of_loop(output: Path) -> Result:
    """What the bare loop wrote."""
    outcomes = pa.concat_tables(pq.read_table(path) for path in sorted(output.glob("outcomes-*.parquet")))
    return _result(_read(output / "rows"), _read(output, "dead_letters-*.parquet"), outcomes)


def result_of_row_job(output: Path) -> Result:
    """What the row job wrote."""
    return _result(_read(output / "rows"), _read(output / "dead_letters"), None)


def _read(folder: Path, pattern: str = "*.parquet") -> pa.Table:
    columns = ("event_id", "_row_hash", "code", "_raw_file", "_position")
    tables = []
    for path in sorted(glob.glob(f"{folder}/{pattern}")):
        file = pq.ParquetFile(path)
        tables.append(file.read(columns=[name for name in columns if name in file.schema_arrow.names]))
    return pa.concat_tables(tables)


def _result(rows: pa.Table, letters: pa.Table, outcomes: pa.Table | None) -> Result:
    hashes = rows.set_column(
        rows.column_names.index("_row_hash"), "_row_hash", rows.column("_row_hash").cast(pa.binary(16)).combine_chunks()
    )
    codes = letters.column("code").to_pylist()
    return Result(
        rows=len(rows),
        content_hash=f"{content_hash(hashes):032x}",
        ids=_hash_of(sorted(rows.column("event_id").to_pylist())),
        dead_letters=tuple(sorted((code, codes.count(code)) for code in set(codes))),
        letter_positions=None if outcomes is None else _hash_of(_letter_keys(letters)),
        positions=None if outcomes is None else _positions_hash(outcomes),
    )


def _letter_keys(letters: pa.Table) -> list[str]:
    rows = zip(*(letters.column(name).to_pylist() for name in ("_raw_file", "_position", "code")), strict=True)
    return sorted(json.dumps(row) for row in rows)


def _positions_hash(outcomes: pa.Table) -> str:
    """Of runs by raw file and outcome, however they are cut."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for row in outcomes.to_pylist():
        found.setdefault((row["raw_file"], row["outcome"]), []).append(positions_of(row["runs"]))
    positions = {key: np.sort(np.concatenate(parts)).astype("<i8").tobytes() for key, parts in found.items()}
    return _hash_of(f"{key}{xxhash.xxh3_128_hexdigest(positions[key])}" for key in sorted(key for key, p in positions.items() if p))


def _hash_of(texts: Iterable[str] | Sequence[str]) -> str:
    return xxhash.xxh3_128_hexdigest("\n".join(texts).encode())
