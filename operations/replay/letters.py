"""Dead letters of positions that a replay speaks for: the old ones go, its own come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from lake.location import Lake
from lake.tables.data_files import read_columns, read_rows, write_rows
from lake.tables.iceberg import DEAD_LETTERS, PublishedFile, committed, published_files
from lake.tables.publish import RangeFold, fold_range, rebase
from lake.tables.swap import CommitLabels, Covered, at_positions, replace_files

KEY = "dead_letter_id"
Letters = tuple[int, int, int, pa.Table]  # from, to, shard, rows
_WHERE = ("_source", "_raw_file", "_position", "dataset")


def replace_letters(
    lake: Lake, dataset: str, covered: Covered, letters: Sequence[PublishedFile], conflicts: Sequence[Letters], labels: CommitLabels
) -> None:
    """Replace the dead letters of these positions. Doing it again changes nothing.

    Args:
        lake: where; its branch is what is changed.
        dataset: whose letters.
        covered: the positions.
        letters: files that hold the letters that come; of these only those of these positions count.
        conflicts: letters that come too: of rows that lost against what was published since.
        labels: what the commit is known by.
    """
    coming = [*_of_positions(dataset, covered, letters), *conflicts]

    def attempt() -> None:
        table = lake.load(DEAD_LETTERS)
        gone: list[PublishedFile] = []
        there: list[PublishedFile] = []
        written: set[str] = set()
        for file in published_files(table):
            mask = _covered(read_columns(file.path, _WHERE), dataset, covered)
            if not mask.any():
                there.append(file)
                continue
            gone.append(file)
            kept = read_rows(file.path).filter(pa.array(~mask))
            if len(kept):
                path = write_rows(table, kept, file.from_us, file.to_us, file.shard)
                there.append(PublishedFile(file.from_us, file.to_us, file.shard, path, len(kept)))
                written.add(path)
        folds = rebase(table, there, list(_incoming(table, there, coming)), KEY)
        taken = {path for fold in folds if fold.path for path in fold.read}
        gone += [file for file in there if file.path in taken - written]
        new = [*(written - taken), *(path for fold in folds for path in fold.paths)]
        if gone or new:
            replace_files(table, gone, new, labels, lake.branch or MAIN_BRANCH)

    committed(DEAD_LETTERS, attempt)


def _of_positions(dataset: str, covered: Covered, letters: Sequence[PublishedFile]) -> Iterator[Letters]:
    for file in letters:
        rows = read_rows(file.path)
        rows = rows.filter(pa.array(_covered(rows, dataset, covered)))
        if len(rows):
            yield file.from_us, file.to_us, file.shard, rows


def _incoming(table: Table, there: Sequence[PublishedFile], coming: Sequence[Letters]) -> Iterator[RangeFold]:
    for from_us, to_us, shard, rows in coming:
        yield fold_range(table, there, rows, key=KEY, from_us=from_us, to_us=to_us, shard=shard)


def _covered(rows: pa.Table, dataset: str, covered: Covered) -> npt.NDArray[np.bool_]:
    """Which rows are of this dataset and of these positions."""
    own = np.array([name == dataset for name in rows.column("dataset").to_pylist()], dtype=bool)
    return own & at_positions(rows, covered)
