"""What must become of every generated record: the rows of `truth.parquet`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

OUT = "out"
DUPLICATE = "duplicate"
OUT_OR_DUPLICATE = "out_or_duplicate"  # wholly identical copies: exactly one of the group is out
OUT_OR_CONFLICT = "out_or_conflict"  # one key, other values: one of the group is out, the other conflicting_duplicate
FILTERED = "filtered"
DEAD_LETTER = "dead_letter"

SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("ordinal", pa.int64(), nullable=False),
        pa.field("person", pa.string()),
        pa.field("event_id", pa.string()),
        pa.field("expected", pa.string(), nullable=False),
        pa.field("code", pa.string()),
        pa.field("duplicate_group", pa.string()),
        pa.field("defect", pa.string()),
        pa.field("copy", pa.string()),
    ],
    metadata={
        "ordinal": "ordinal of the record in its file from 0; blank lines and the CSV header do not count",
        "defect": "name of the defect, oddity or kind of copy that the generator put in",
        "copy": "a byte-identical file of another name; its records are listed once, under `file`",
    },
)


class Row(NamedTuple):
    """One generated record and its expected fate; `at_ms` orders the records of a file."""

    at_ms: int
    person: str | None
    event_id: str | None
    body: Any  # bytes of JSON, or the columns of an entity
    kind: str = ""
    expected: str = OUT
    code: str | None = None
    group: str | None = None
    defect: str | None = None


class Truth:
    """Writes `truth.parquet`, one row group per file, and counts for the summary."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=1)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.defects: Counter[tuple[str, str, str, str | None]] = Counter()

    def add_file(self, source: str, file: str, rows: Sequence[Row], copy: str | None = None) -> None:
        """The records of one file, in the order of their ordinals."""
        if not rows:
            return
        count = len(rows)
        _at, person, event_id, _body, _kind, expected, code, group, defect = zip(*rows, strict=True)
        columns = [
            pa.repeat(source, count),
            pa.repeat(file, count),
            pa.array(range(count), pa.int64()),
            *(pa.array(column, pa.string()) for column in (person, event_id, expected, code, group, defect)),
            pa.repeat(pa.scalar(copy, pa.string()), count),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=count)
        self.outcomes.update((source, outcome) for outcome in expected)
        self.defects.update((source, row.defect, row.expected, row.code) for row in rows if row.defect)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

    def summary(self) -> Iterable[str]:
        """A table of records per source and expected outcome."""
        sources = sorted({source for source, _ in self.outcomes})
        outcomes = [OUT, OUT_OR_DUPLICATE, OUT_OR_CONFLICT, DUPLICATE, FILTERED, DEAD_LETTER]
        yield "".join([f"{'source':<8}", f"{'records':>10}", *(f"{outcome:>18}" for outcome in outcomes)])
        for source in sources:
            counts = [self.outcomes[source, outcome] for outcome in outcomes]
            yield "".join([f"{source:<8}", f"{sum(counts):>10}", *(f"{count:>18}" for count in counts)])
        yield f"{'all':<8}{self.outcomes.total():>10}"
