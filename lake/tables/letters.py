"""Dead letters into their table, from whoever makes them of rows that lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pyarrow as pa

from lake.location import Lake
from lake.tables.iceberg import DEAD_LETTERS, published_files
from lake.tables.publish import RangeFold, fold_ranges, publish
from lake.tables.ranges import Ints, Span

LETTER_COLUMNS = ("_source", "_raw_file", "_position", "_received_at", "_fingerprint", "_row_hash", "_rank", "_window_time")
PlacedLetters = Iterable[tuple[int, int, int, pa.Table]]  # from, to, shard, rows of the table
Letters = Callable[[pa.Table | None, pa.Table | None], PlacedLetters]  # of rows that are conflicts, and of such that are none


def publish_letters(lake: Lake, letters: PlacedLetters, run_id: str) -> None:
    """Commit dead letters."""
    table = lake.load(DEAD_LETTERS)
    published = published_files(table)
    found: list[RangeFold] = []
    for from_us, to_us, shard, rows in letters:
        spans = partial(_always, (from_us, to_us))
        found += fold_ranges(table, published, rows, spans, key="dead_letter_id", shard=shard)
    publish(lake, DEAD_LETTERS, found, key="dead_letter_id", run_id=run_id)


def _always(span: Span, _: Ints) -> list[Span]:
    return [span]
