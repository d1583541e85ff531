"""Filters of keys: none that is there is missing, few others pass, whatever the sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.tables.key_filters import KeyFilter, filter_file, key_hashes, read_filter, write_filter


def keys(start: int, end: int) -> pa.ChunkedArray:
    return pa.chunked_array([[f"k-{n}" for n in range(start, end)]], pa.string())


@pytest.mark.parametrize("held", [0, 1, 2, 50, 20_000])
@pytest.mark.parametrize("asked", [0, 1, 3, 1_000, 50_000])
def test_none_that_is_there_is_missing_and_few_others_pass(held: int, asked: int) -> None:
    made = KeyFilter.of(key_hashes(keys(0, held)))
    hashes = key_hashes(keys(0, asked))
    order = np.argsort(hashes)
    found = np.zeros(asked, dtype=bool)
    found[order] = made.may_hold(hashes[order])
    assert found[:held].all()
    assert found[held:].sum() <= 2, "one in a million is meant"


def test_a_filter_beside_a_data_file_is_read_and_made_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"event_id": keys(0, 10_000), "other": np.arange(10_000)}), path)
    made = read_filter(str(path), "event_id")
    file = Path(filter_file(str(path)))
    assert 8 * file.stat().st_size / 10_000 < 25, "bits a key"
    again = write_filter(str(path), keys(0, 10_000))
    for other in (again, read_filter(str(path), "event_id")):
        assert other.bits == made.bits
        assert (other.cut == made.cut).all()
