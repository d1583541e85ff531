"""An example of each cause: the shape of what stands at the violated path, and where the letter is; never a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from contracts.spec.paths import PayloadPath
from lake.storage import read_batches
from operations.deadletters.files import LetterFile
from operations.deadletters.late import late_letters
from operations.deadletters.shapes import ABSENT, shape_of

_COLUMNS = ("dead_letter_id", "position", "code", "source", "stage", "dataset", "raw", "violations")
_BATCH_ROWS = 2_048  # little is decoded beyond the row that is looked for
_WHOLE = "$"
_NONE = {"path": "", "rule": "", "expected": ""}  # of what was recovered they are gone with its letter


def examples_at(files: Sequence[LetterFile], places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Letters at places as examples.

    Args:
        files: with letters.
        places: of a letter each: which of the files, and the number of the row.

    Returns:
        By place: dead_letter_id, position, code, source, stage, dataset; ``violation``, the first; ``shape`` of what stands there,
        None where the letter keeps no bytes.
    """
    found: dict[tuple[int, int], dict[str, Any]] = {}
    wanted = sorted(set(places))
    for number in {file for file, _ in wanted}:
        for row, letter in _rows(files[number], [row for file, row in wanted if file == number]):
            violation = (letter.pop("violations") or [_NONE])[0]
            found[number, row] = letter | {"violation": violation, "shape": shape_at(letter.pop("raw"), str(violation["path"]))}
    return found


def _rows(file: LetterFile, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    first = 0
    for batch in _batches(file):
        here = [row - first for row in rows if first <= row < first + len(batch)]
        if here:
            yield from zip((row + first for row in here), batch.take(pa.array(here)).to_pylist(), strict=True)
        first += len(batch)
        if first > rows[-1]:
            return


def _batches(file: LetterFile) -> Iterator[pa.RecordBatch]:
    if file.late_of is None:
        return read_batches(file.path, _COLUMNS, _BATCH_ROWS)
    return late_letters(file, _COLUMNS, _BATCH_ROWS)[0]


def shape_at(raw: bytes | None, path: str) -> str | None:
    """The shape of what stands at a path of a record's bytes; of the record where the path is that, or the bytes are no JSON."""
    if raw is None:
        return None
    try:
        record = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return f"a record of {len(raw):,} bytes"
    if path == _WHOLE:
        return f"a record of {len(raw):,} bytes: {shape_of(record)}"
    return "; ".join(shape_of(value) if there else ABSENT for there, value in (_at(record, one) for one in path.split("|")))


def _at(record: Any, path: str) -> tuple[bool, Any]:
    """Whether there is something at a path, and what. A violation may name a key with dots as it is."""
    if isinstance(record, Mapping) and path in record:
        return True, record[path]
    try:
        steps = PayloadPath.parse(path).steps
    except ValueError:
        return False, None
    value = record
    for number, step in enumerate(steps):
        if not isinstance(value, Mapping) or step not in value:
            rest = ".".join(steps[number:])
            return (True, value[rest]) if isinstance(value, Mapping) and rest in value else (False, None)
        value = value[step]
    return True, value
