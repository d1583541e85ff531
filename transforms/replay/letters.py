"""Dead letters of positions that a replay has judged anew: the old ones go, its own come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, EqualTo, Or
from pyiceberg.table.refs import MAIN_BRANCH

from transforms.converge.publish import RangeFold, fold_range, read_columns, read_rows, rebase, write_rows
from transforms.converge.swap import Marks, replace_files
from transforms.lake.landed import Positions
from transforms.lake.location import Lake
from transforms.lake.tables import DEAD_LETTERS, PublishedFile, committed, published_files

KEY = "dead_letter_id"
Judged = Mapping[tuple[str, str], Positions]  # by source and raw file or log
_WHERE = ("_source", "_raw_file", "_position", "dataset")


def replace_letters(lake: Lake, dataset: str, judged: Judged, letters: Sequence[PublishedFile], marks: Marks) -> None:
    """Replace the dead letters of judged positions. Doing it again changes nothing.

    Args:
        lake: where; its branch is what is changed.
        dataset: whose letters.
        judged: the positions.
        letters: files that hold the letters that come; of these only those of judged positions count.
        marks: what the commit is known by.
    """

    def attempt() -> None:
        table = lake.load(DEAD_LETTERS)
        gone: list[PublishedFile] = []
        there: list[PublishedFile] = []
        written: set[str] = set()
        for file in published_files(table):
            mask = judged_rows(read_columns(file.path, _WHERE), dataset, judged)
            if not mask.any():
                there.append(file)
                continue
            gone.append(file)
            kept = read_rows(file.path).filter(pa.array(~mask))
            if len(kept):
                path = write_rows(table, kept, file.from_us, file.to_us, file.shard)
                there.append(PublishedFile(file.from_us, file.to_us, file.shard, path, len(kept)))
                written.add(path)
        folds = rebase(table, there, list(_incoming(lake, dataset, judged, letters, there)), KEY)
        taken = {path for fold in folds if fold.path for path in fold.read}
        gone += [file for file in there if file.path in taken - written]
        new = [*(written - taken), *(fold.path for fold in folds if fold.path)]
        if gone or new:
            replace_files(table, gone, new, _exactly(gone), marks, lake.branch or MAIN_BRANCH)

    committed(DEAD_LETTERS, attempt)


def _incoming(
    lake: Lake, dataset: str, judged: Judged, letters: Sequence[PublishedFile], there: Sequence[PublishedFile]
) -> Iterator[RangeFold]:
    table = lake.load(DEAD_LETTERS)
    for file in letters:
        rows = read_rows(file.path)
        rows = rows.filter(pa.array(judged_rows(rows, dataset, judged)))
        if len(rows):
            yield fold_range(table, there, rows, key=KEY, from_us=file.from_us, to_us=file.to_us, shard=file.shard)


def judged_rows(rows: pa.Table, dataset: str, judged: Judged) -> npt.NDArray[np.bool_]:
    """Which rows are of this dataset and of judged positions."""
    mask = np.zeros(len(rows), dtype=bool)
    names = list(zip(rows.column("_source").to_pylist(), rows.column("_raw_file").to_pylist(), strict=True))
    positions = rows.column("_position").to_numpy()
    own = np.array([name == dataset for name in rows.column("dataset").to_pylist()], dtype=bool)
    by_name: dict[tuple[str, str], list[int]] = {}
    for index, name in enumerate(names):
        if own[index] and name in judged:
            by_name.setdefault(name, []).append(index)
    for name, indexes in by_name.items():
        at = positions[indexes]
        known = judged[name]
        mask[indexes] = known.ranks(at + 1) > known.ranks(at)
    return mask


def _exactly(files: Sequence[PublishedFile]) -> BooleanExpression:
    """These files and no others: ranges of a shard are disjoint."""
    terms: list[BooleanExpression] = [
        And(EqualTo("_shard", f.shard), And(EqualTo("_from", f.from_us), EqualTo("_to", f.to_us))) for f in files
    ] or [EqualTo("_shard", -1)]
    while len(terms) > 1:
        terms = [Or(*terms[i : i + 2]) if len(terms[i : i + 2]) > 1 else terms[i] for i in range(0, len(terms), 2)]
    return terms[0]
