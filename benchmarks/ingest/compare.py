"""A peer's output beside the job's: ids, every contract column by id, rejects with their reasons. Forms are evened out, values not.

JSON text is compared as values (a peer keeps the text or the order of keys as it likes), times to the microsecond. Ids that were
derived from content are named by their content, since each tool has a hash of its own. Losers of a conflict are no rejects for a
peer: only the job and the loop write letters for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pyiceberg.expressions import And, EqualTo, NotEqualTo

from benchmarks.ingest.outcome import SOURCE, TABLE
from contracts.codes import Code
from contracts.compiler.exact import CANONICAL_JSON, decode_json
from contracts.compiler.schemas import TIMESTAMP
from contracts.spec.project import Project
from lake.location import Lake
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN

SPEC, CONTRACT = Project.load(Path(__file__).parents[2] / "examples/webshop").source(SOURCE)
COLUMNS = tuple(column.name for column in CONTRACT.columns)
_JSON = frozenset(c.name for c in CONTRACT.columns if c.type.value == "json") | {"consent"}
_CONTENT = ("user_id", "anonymous_id", "event_type", "event_name", "original_timestamp", "properties")
_NOTHING = 0
_RAW_BYTES = SPEC.record_bytes  # the job keeps no more of a line that is too large
Hashes = npt.NDArray[np.uint64]
Letters = Counter[tuple[str, int]]


@dataclass(frozen=True)
class Content:
    """What an output says, as hashes.

    keys: one per row, sorted. columns: hashes of a column's values, in the order of keys; columns that the output has. letters:
    rejects by code and hash of the line; None where it has no reasons.
    """

    keys: Hashes
    columns: dict[str, Hashes]
    letters: Letters | None


def content_of_lake(root: Path) -> Content:
    """What the job published; read a data file at a time."""
    lake = Lake.at(str(root))
    scan = lake.catalog().load_table(TABLE).scan(selected_fields=COLUMNS)
    letters = lake.catalog().load_table(DEAD_LETTERS)
    judged = And(EqualTo("_source", SOURCE), NotEqualTo("code", WITHDRAWN), NotEqualTo("code", str(Code.CONFLICTING_DUPLICATE)))
    found = letters.scan(row_filter=judged, selected_fields=("code", "raw")).to_arrow()
    return _content(scan.to_arrow_batch_reader(), _letters(found))


def content_of_files(output: Path) -> Content:
    """What a peer wrote: Parquet below ``rows`` and, if it tells reasons, below ``dead_letters``."""
    letters = sorted((output / "dead_letters").rglob("*.parquet"))
    told = pa.concat_tables(pq.ParquetFile(path).read() for path in letters) if letters else None
    return _content(_batches(sorted((output / "rows").rglob("*.parquet"))), None if told is None else _letters(told))


def content_of_batches(batches: Iterable[pa.RecordBatch], letters: pa.Table | None) -> Content:
    """What was read from elsewhere, in the same columns."""
    return _content(batches, None if letters is None else _letters(letters))


def differences(expected: Content, found: Content, without: Sequence[str] = ()) -> list[str]:
    """In what an output differs, in words; nothing where it does not.

    Args:
        expected: the job's.
        found: the peer's.
        without: columns that the peer does not make, and says so.
    """
    common, ours, theirs = np.intersect1d(expected.keys, found.keys, return_indices=True)
    told = []
    if missing := len(expected.keys) - len(common):
        told.append(f"{missing:,} of {len(expected.keys):,} rows missing")
    if more := len(found.keys) - len(common):
        told.append(f"{more:,} rows too many")
    for name in COLUMNS:
        if name in without:
            continue
        if name not in found.columns:
            told.append(f"no column {name}")
        elif name != CONTRACT.event_id and (wrong := int((expected.columns[name][ours] != found.columns[name][theirs]).sum())):
            told.append(f"{name} differs in {wrong:,} rows")
    if expected.letters is not None and found.letters is not None:
        told += _letter_differences(expected.letters, found.letters)
    return told


def _letter_differences(expected: Letters, found: Letters) -> Iterator[str]:
    if all(line == _NOTHING for _, line in found):  # it tells the reasons, and keeps no line
        expected = _without_lines(expected)
    by_code: Counter[str] = Counter()
    for sign, letters in ((-1, expected - found), (1, found - expected)):
        for (code, _), number in letters.items():
            by_code[f"{'more' if sign > 0 else 'fewer'} {code}"] += number
    for what, number in sorted(by_code.items()):
        yield f"rejects: {number:,} {what}"


def _without_lines(letters: Letters) -> Letters:
    by_code: Letters = Counter()
    for (code, _), number in letters.items():
        by_code[code, _NOTHING] += number
    return by_code


def _batches(paths: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        yield from pq.ParquetFile(path).iter_batches()


def _letters(table: pa.Table) -> Letters:
    """A line that is no UTF-8 counts by its code alone: tools show it in ways of their own."""
    raw = table.column("raw").cast(pa.binary()).to_pylist() if "raw" in table.column_names else [None] * len(table)
    pairs = zip(table.column("code").to_pylist(), raw, strict=True)
    by_code_alone = str(Code.INVALID_ENCODING)
    return Counter(
        (code, _NOTHING if line is None or code == by_code_alone else xxhash.xxh3_64_intdigest(line[:_RAW_BYTES]))
        for code, line in pairs
    )


def _content(batches: Iterable[pa.RecordBatch], letters: Letters | None) -> Content:
    keys: list[Hashes] = []
    columns: dict[str, list[Hashes]] = {}
    for batch in batches:
        hashed = {name: _hashes(name, batch.column(name)) for name in COLUMNS if name in batch.schema.names}
        for name, values in hashed.items():
            columns.setdefault(name, []).append(values)
        keys.append(_keys(batch.column(CONTRACT.event_id or ""), hashed))
    if not keys:
        return Content(np.empty(0, np.uint64), {name: np.empty(0, np.uint64) for name in COLUMNS}, letters)
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return Content(joined[order], {name: np.concatenate(parts)[order] for name, parts in columns.items()}, letters)


def _keys(ids: pa.Array, hashed: dict[str, Hashes]) -> Hashes:
    keys = hashed[CONTRACT.event_id or ""].copy()
    derived = [i for i, value in enumerate(ids.to_pylist()) if value is None or value.startswith("fp-")]
    for i in derived:
        keys[i] = xxhash.xxh3_64_intdigest(b"".join(hashed[name][i].tobytes() for name in _CONTENT if name in hashed))
    return keys


def _hashes(name: str, column: pa.Array) -> Hashes:
    """A hash per value, nulls included; each distinct value is looked at once."""
    if isinstance(column.type, pa.BaseExtensionType):  # DuckDB's JSON
        column = column.storage
    if pa.types.is_timestamp(column.type):
        column = column.cast(TIMESTAMP if column.type.tz else pa.timestamp("us"), safe=False).cast(pa.int64())
    if not pa.types.is_map(column.type) and not pa.types.is_struct(column.type):
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        distinct = [_hash(name, value) for value in encoded.dictionary.to_pylist()]
        table = np.array([*distinct, _NOTHING], dtype=np.uint64)
        taken: Hashes = table[encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)]
        return taken
    return np.array([_NOTHING if value is None else _hash(name, value) for value in column.to_pylist()], dtype=np.uint64)


def _hash(name: str, value: Any) -> int:
    if name in _JSON:
        value = _canonical(value)
    return xxhash.xxh3_64_intdigest(value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass"))


def _canonical(value: Any) -> bytes:
    if isinstance(value, list):  # a map
        value = dict(value)
    elif isinstance(value, dict):  # a struct: a member that is null is none
        value = {key: member for key, member in value.items() if member is not None}
    else:
        try:
            whole = ".0" in value
            value = decode_json(value)
        except (msgspec.MsgspecError, RecursionError):
            return str(value).encode("utf-8", "surrogatepass")
        value = _whole_numbers(value) if whole else value
    return CANONICAL_JSON.encode(value)


def _whole_numbers(value: Any) -> Any:
    """120.0 and 120 are one number in JSON, and some tools write the latter for the former."""
    if isinstance(value, dict):
        return {key: _whole_numbers(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value
