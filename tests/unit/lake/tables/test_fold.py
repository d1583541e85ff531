"""The fold of rows against a naive reference, and its laws: commutative, associative, idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compiler.schemas import PROVENANCE
from lake.tables.fold import GRID_S, add_hashes, content_hash, fold_rows, identity_of

SCHEMA = pa.schema([pa.field("event_id", pa.string()), pa.field("content", pa.string()), *PROVENANCE])
ORDER = ("_revision", "_rank", "_fingerprint", "_row_hash", "_source", "_raw_file", "_position")
Row = dict[str, Any]


def digest(*parts: object) -> bytes:
    """Sixteen bytes that sort like the parts; what a hash would be, but legible."""
    return "/".join(map(str, parts)).encode().ljust(16, b".")


def row(
    event_id: str = "a",
    content: int = 0,
    rank: int = 0,
    sent: int = 0,
    source: str = "web",
    file: str = "f",
    position: int = 0,
    second: int = 0,
    revision: int | None = 5,
) -> Row:
    """A row as the decoder makes it: fingerprint and hash follow from the content, position and file from where it came."""
    return {
        "event_id": event_id,
        "content": f"{content}/{sent}",
        "_window_time": second * 1_000_000,
        "_time_corrected": False,
        "_received_at": rank,
        "_source": source,
        "_raw_file": file,
        "_position": position,
        "_fingerprint": digest(content),
        "_row_hash": digest(content, rank, sent),
        "_rank": rank.to_bytes(8, "big"),
        "_revision": revision,
    }


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


def fold(*parts: Sequence[Row]) -> tuple[pa.Table, pa.Table]:
    folded = fold_rows([table(part) for part in parts], "event_id")
    return folded.rows, folded.losers


def reference(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Winners and losers, in plain Python."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for each in rows:
        groups.setdefault((each["event_id"], each["_window_time"] // (GRID_S * 1_000_000)), []).append(each)
    winners, losers = [], []
    for group in groups.values():
        ranked = sorted(group, key=winner_rule)
        winners.append(ranked[0])
        seen = {ranked[0]["_fingerprint"]}
        for each in ranked:
            if each["_revision"] == ranked[0]["_revision"] and each["_fingerprint"] not in seen:
                seen.add(each["_fingerprint"])
                losers.append(each)
    return winners, losers


def winner_rule(each: Row) -> tuple[Any, ...]:
    return (-1 if each["_revision"] is None else -each["_revision"] - 2, *(each[name] for name in ORDER[1:]))


def listed(rows: pa.Table | Sequence[Row]) -> list[tuple[Any, ...]]:
    """What decides, sorted."""
    plain = rows.to_pylist() if isinstance(rows, pa.Table) else rows
    return sorted((tuple(r[name] for name in ("event_id", "content", *ORDER)) for r in plain), key=str)


def rows_of(*revisions: int | None) -> st.SearchStrategy[list[Row]]:
    return st.lists(
        st.builds(
            row,
            event_id=st.sampled_from("abc"),
            content=st.integers(0, 2),
            rank=st.integers(0, 3),
            sent=st.integers(0, 1),
            source=st.sampled_from(["web", "mobile"]),
            file=st.sampled_from("fg"),
            position=st.integers(0, 2),
            second=st.sampled_from([0, 59, 60, 7_200]),
            revision=st.sampled_from(revisions),
        ),
        max_size=25,
    )


ROWS = rows_of(None, 0, 5, 6)


@given(ROWS)
def test_fold_equals_the_naive_reference(rows: list[Row]) -> None:
    winners, losers = reference(rows)
    found, lost = fold(rows)
    assert listed(found) == listed(winners)
    assert listed(lost) == listed(losers)


@given(ROWS, st.randoms(use_true_random=False))
def test_fold_is_commutative(rows: list[Row], rng: Any) -> None:
    shuffled = rng.sample(rows, len(rows))
    (found, lost), (again, lost_again) = fold(rows), fold(shuffled)
    assert listed(found) == listed(again)
    assert listed(lost) == listed(lost_again)
    # Rows that are equal in all that decides are equal in all that is shown, so the names of the files are the same too.
    assert identity_of(found) == identity_of(again)


@given(ROWS, ROWS, ROWS)
def test_fold_of_rows_is_associative(one: list[Row], two: list[Row], three: list[Row]) -> None:
    left = fold(fold(one, two)[0].to_pylist(), three)[0]
    right = fold(one, fold(two, three)[0].to_pylist())[0]
    assert listed(left) == listed(right) == listed(fold(one, two, three)[0])


@given(ROWS, ROWS)
def test_fold_is_idempotent(one: list[Row], two: list[Row]) -> None:
    once = fold(one, two)[0]
    again, lost = fold(once.to_pylist(), once.to_pylist())
    assert listed(again) == listed(once)
    assert len(lost) == 0
    assert listed(fold(once.to_pylist(), one, two)[0]) == listed(once)


@given(rows_of(5), st.integers(0, 25))
def test_losers_of_two_steps_are_those_of_one_but_for_contents_that_win_in_the_end(rows: list[Row], cut: int) -> None:
    """The fold forgets losers. Whoever keeps them (as dead letters) keeps of each content the smallest row ever."""
    first, lost_first = fold(rows[:cut])
    _, lost_then = fold(first.to_pylist(), rows[cut:])
    winning = {(cell(r), r["_fingerprint"]) for r in fold(rows)[0].to_pylist()}
    kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for each in [*lost_first.to_pylist(), *lost_then.to_pylist()]:
        name, rank = (cell(each), each["_fingerprint"]), tuple(each[n] for n in ORDER)
        if name not in winning:
            kept[name] = min(rank, kept.get(name, rank))
    assert kept == {(cell(r), r["_fingerprint"]): tuple(r[n] for n in ORDER) for r in fold(rows)[1].to_pylist()}


def cell(plain: Row) -> tuple[str, int]:
    return plain["event_id"], int(plain["_window_time"].timestamp()) // GRID_S


def test_provenance_only_separates_equal_rows() -> None:
    smaller = row(content=0, rank=1, source="z", file="z", position=9)
    larger = row(content=0, rank=2, source="a", file="a", position=0)
    assert listed(fold([larger, smaller])[0]) == listed([smaller])
    twins = [row(source="web", position=3), row(source="web", position=2), row(source="mobile", file="g", position=7)]
    assert listed(fold(twins)[0]) == listed([twins[2]])
    assert len(fold(twins)[1]) == 0


def test_of_each_losing_content_the_smallest_row_is_the_loser_and_its_repeats_are_not() -> None:
    rows = [row(content=1, rank=0), row(content=1, rank=5), row(content=2, rank=4), row(content=2, rank=3), row(content=3, rank=9)]
    winner, losers = fold(rows)
    assert listed(winner) == listed([rows[0]])
    assert listed(losers) == listed([rows[3], rows[4]])


def test_a_record_that_is_read_again_under_a_higher_revision_takes_its_own_place_and_is_no_conflict() -> None:
    old, new = row(content=0, rank=0, revision=1), row(content=1, rank=9, revision=2)
    for parts in ([[old], [new]], [[new], [old]], [[old, new]]):
        folded = fold_rows([table(part) for part in parts], "event_id")
        assert (listed(folded.rows), len(folded.losers), len(folded.beaten)) == (listed([new]), 0, 0)


def test_rows_of_versions_without_revisions_give_way_and_keep_their_files_names() -> None:
    old, new = row(revision=None), row(content=1, rank=1, revision=0)
    before = table([old]).drop_columns("_revision")
    folded = fold_rows([table([new]), before.append_column("_revision", pa.nulls(1, pa.int64()))], "event_id")
    assert listed(folded.rows) == listed([new])
    assert identity_of(before) == identity_of(table([old])) != identity_of(table([row(revision=0)]))
    alone = fold_rows([before, before], "event_id")
    assert alone.rows.column_names == before.column_names


def test_one_key_in_two_cells_stays_twice_whatever_the_range() -> None:
    rows = [row(second=59), row(second=60), row(second=119, content=1, rank=1)]
    winners, losers = fold(rows)
    assert listed(winners) == listed(rows[:2])
    assert listed(losers) == listed(rows[2:])


def test_rows_are_sorted_by_window_time_and_key() -> None:
    rows = [row("b", second=5), row("a", second=7), row("a", second=200), row("c", second=5)]
    found = fold(rows)[0]
    assert found.column("event_id").to_pylist() == ["b", "c", "a", "a"]


def test_fold_of_nothing_is_nothing() -> None:
    found, losers = fold([])
    assert (len(found), len(losers), content_hash(found)) == (0, 0, 0)


@given(ROWS, st.integers(0, 25))
def test_content_hash_adds_up_over_disjoint_rows_and_is_the_plain_sum(rows: list[Row], cut: int) -> None:
    whole = table(rows)
    expected = sum(int.from_bytes(r["_row_hash"], "big") for r in rows) % 2**128
    assert content_hash(whole) == expected
    assert add_hashes(content_hash(whole.slice(0, cut)), content_hash(whole.slice(cut))) == expected
    assert add_hashes(expected, -content_hash(whole.slice(0, cut))) == content_hash(whole.slice(cut))
    chunked = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    assert content_hash(chunked) == expected


def test_content_hash_wraps_at_128_bits() -> None:
    rows = table([row(), row()]).set_column(
        SCHEMA.get_field_index("_row_hash"), SCHEMA.field("_row_hash"), pa.array([b"\xff" * 16] * 2, pa.binary(16))
    )
    assert content_hash(rows) == 2**128 - 2


@pytest.mark.parametrize(
    "changed",
    [{"source": "mobile"}, {"file": "g"}, {"position": 1}, {"content": 1}, {"sent": 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_identity_tells_rows_apart_by_content_and_provenance(changed: dict[str, Any]) -> None:
    base = {"event_id": "a", "rank": 1}
    assert identity_of(table([row(**base)])) != identity_of(table([row(**base, **changed)]))


@settings(max_examples=25)
@given(ROWS, st.integers(1, 10))
def test_identity_does_not_depend_on_chunks_or_slices(rows: list[Row], cut: int) -> None:
    whole = table(rows)
    chunked = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    padded = pa.concat_tables([table([row("z")]), whole]).combine_chunks().slice(1)
    assert identity_of(whole) == identity_of(chunked) == identity_of(padded)
