"""Dead letters into their table, from whoever makes them of rows that lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table.refs import MAIN_BRANCH

from lake.location import Lake
from lake.tables.data_files import read_columns, read_rows, write_rows
from lake.tables.iceberg import DEAD_LETTERS, committed, published_files
from lake.tables.publish import RangeFold, fold_ranges, publish
from lake.tables.ranges import Ints, Span
from lake.tables.swap import CommitLabels, replace_files

LETTER_COLUMNS = (
    "_source", "_raw_file", "_position", "_received_at", "_fingerprint", "_row_hash", "_rank", "_window_time", "_revision",
)  # fmt: skip
PlacedLetters = Iterable[tuple[int, int, int, pa.Table]]  # from, to, shard, rows of the table
Letters = Callable[[pa.Table | None, pa.Table | None], PlacedLetters]  # of rows that are conflicts, and of such that are none
Chosen = Callable[[pa.Table], npt.NDArray[np.bool_]]


def publish_letters(lake: Lake, letters: PlacedLetters, run_id: str) -> None:
    """Commit dead letters."""
    table = lake.load(DEAD_LETTERS)
    published = published_files(table)
    found: list[RangeFold] = []
    for from_us, to_us, shard, rows in letters:
        spans = partial(_always, (from_us, to_us))
        found += fold_ranges(table, published, rows, spans, key="dead_letter_id", shard=shard)
    publish(lake, DEAD_LETTERS, found, key="dead_letter_id", run_id=run_id)


def remove_letters(lake: Lake, chosen: Chosen, run_id: str) -> None:
    """Delete dead letters in one commit. Only for what is worked out again: jobs withdraw letters, and delete none.

    Args:
        lake: where.
        chosen: which rows go.
        run_id: goes into the snapshot's properties.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    remove_rows(lake, DEAD_LETTERS, chosen, run_id)


def remove_rows(lake: Lake, name: str, chosen: Chosen, run_id: str, columns: Sequence[str] | None = None) -> None:
    """Delete rows of a table that is folded into, in one commit; does nothing where there is no such table.

    Args:
        lake: where.
        name: the table's; one without a horizon.
        chosen: which rows go.
        run_id: goes into the snapshot's properties.
        columns: that ``chosen`` looks at; None for all. Files without such a row are read no further.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """

    def attempt() -> None:
        table = lake.load(name)
        gone, new = [], []
        for file in published_files(table):
            if columns is not None and not chosen(read_columns(file.path, columns)).any():
                continue
            rows = read_rows(file.path)
            going = chosen(rows)
            if going.any():
                gone.append(file)
                if not going.all():
                    new.append(write_rows(table, rows.filter(pa.array(~going)), file.from_us, file.to_us, file.shard))
        if gone:
            replace_files(table, gone, new, CommitLabels(run_id), lake.branch or MAIN_BRANCH)

    with contextlib.suppress(NoSuchTableError):
        committed(name, attempt)


def _always(span: Span, _: Ints) -> list[Span]:
    return [span]
