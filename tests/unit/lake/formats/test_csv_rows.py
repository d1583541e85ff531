from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.spec.source import CsvDialect, SourceSpec
from tests.support.compressed import gz, gzip_members, zstd_frames
from tests.support.format_laws import Seen, agree, is_damaged, packings, read_whole, small_pieces, spec_of

COLUMNS = ("id", "name", "notes")
CSV = spec_of("csv", columns=COLUMNS)
HEADER = b"id,name,notes\n"


@pytest.fixture(autouse=True, scope="module")
def _pieces_of_forty_bytes() -> Iterator[None]:
    with small_pieces(40):
        yield


def with_dialect(**dialect: object) -> SourceSpec:
    return spec_of("csv", columns=COLUMNS, csv=CsvDialect(**dialect))  # type: ignore[arg-type]


def written(rows: list[list[str]], *, delimiter: str = ",", line_end: str = "\r\n") -> str:
    """Rows as the standard library writes them."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return out.getvalue()


def values(seen: list[Seen]) -> list[list[str | None]]:
    return [list(s.value.values()) if s.value else [] for s in seen]


CELL = st.text(alphabet=st.sampled_from('ab,;"\n\r ü🧡\x00'), max_size=12)
ROW = st.lists(CELL.filter(lambda c: c.strip("\r\n \x00") != ""), min_size=3, max_size=3)


@given(rows=st.lists(ROW, max_size=8), chunk=st.integers(1, 300), data=st.data())
def test_what_the_standard_library_wrote_is_read_back_in_any_chunks(rows: list[list[str]], chunk: int, data: st.DataObject) -> None:
    text = HEADER + written(rows).encode()
    seen = agree(with_dialect(null_values=frozenset()), data.draw(packings(text)), chunk)
    assert values(seen) == rows


LINE = st.one_of(
    st.tuples(*[st.sampled_from([b"1", b"x" * 30, b'"a"', b'"a,b"', b'"a""b"', b"", b'5" pipe', b'"open', b'shut"'])] * 3).map(
        b",".join
    ),
    st.sampled_from(
        [b"", b" ", b"\r", b'"', b'""', b'"""', b"a,b", b"a,b,c,d", b"\xff,b,c", b"a,b\rc,d", b"x" * 150, b'"' + b"y" * 150]
    ),
)


@given(lines=st.lists(LINE, max_size=14), ends=st.booleans(), mark=st.booleans(), chunk=st.integers(1, 300), data=st.data())
def test_chunks_give_what_the_whole_file_gives(lines: list[bytes], ends: bool, mark: bool, chunk: int, data: st.DataObject) -> None:
    text = codecs.BOM_UTF8 * mark + HEADER + b"\n".join(lines) + b"\n" * ends
    seen = agree(spec_of("csv", columns=COLUMNS, record_bytes=100), data.draw(packings(text)), chunk)
    kept = b"".join(s.raw for s in seen)
    if max(map(len, lines), default=0) <= 100:
        assert sorted(kept.split()) == sorted(b"\n".join(lines).split())  # no byte of a record is lost or told twice


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_raise(data: bytes, header: bool) -> None:
    for spec in (CSV, with_dialect(encoding="utf-16-le"), with_dialect(encoding="cp1252", delimiter=";")):
        agree(spec, HEADER * header + data, 40)


def test_a_quoted_line_end_is_no_end_of_a_record() -> None:
    seen = agree(CSV, HEADER + b'1,Ann,"first\nsecond\r\nthird"\r\n2,Bob,"say ""hi"""\n', 10)
    assert values(seen) == [["1", "Ann", "first\nsecond\r\nthird"], ["2", "Bob", 'say "hi"']]
    assert seen[0].raw == b'1,Ann,"first\nsecond\r\nthird"\r\n'


def test_null_values_are_the_specs() -> None:
    assert values(agree(CSV, HEADER + b"1,,NULL\n", 10)) == [["1", None, "NULL"]]
    assert values(agree(with_dialect(null_values=frozenset({"NULL"})), HEADER + b"1,,NULL\n", 10)) == [["1", "", None]]


def test_blank_lines_crlf_a_mark_and_no_last_line_end_are_accepted() -> None:
    data = codecs.BOM_UTF8 + b"\r\n\nid,name,notes\r\n\r\n1,a,b\r\n   \r\n2,c,d"
    assert values(agree(CSV, data, 10)) == [["1", "a", "b"], ["2", "c", "d"]]


@pytest.mark.parametrize("data", [b"", b"\n", HEADER, HEADER + b"\n\r\n", codecs.BOM_UTF8 + HEADER, gz(HEADER)])
def test_a_file_without_rows_has_no_records(data: bytes) -> None:
    assert agree(CSV, data, 10) == []


def test_columns_are_found_by_name_in_any_order_and_more_of_them_do_no_harm() -> None:
    (seen,) = agree(CSV, b"notes,extra,id,name\nn,e,1,a\n", 10)
    assert seen.value == {"notes": "n", "extra": "e", "id": "1", "name": "a"}


def test_another_header_fails_every_record_and_names_what_is_missing() -> None:
    seen = agree(CSV, b"identifier,name,remarks\n1,a,b\n2,c,d\n", 10)
    assert [s.rules for s in seen] == [("header",)] * 2
    assert seen[0].violations[0].expected == "a header with id, notes"
    assert seen[1].raw == b"2,c,d\n"


def test_another_separator_is_another_header() -> None:
    assert [s.rules for s in agree(CSV, b"id;name;notes\n1;a;b\n", 10)] == [("header",)]
    assert values(agree(with_dialect(delimiter=";"), b"id;name;notes\n1;a,b;c\n", 10)) == [["1", "a,b", "c"]]


def test_rows_of_another_length_are_ragged_and_the_others_good() -> None:
    seen = agree(CSV, HEADER + b"1,a,b\n2,a\n3,a,b,c\n4,a,b\n", 10)
    assert [s.rules for s in seen] == [(), ("fields",), ("fields",), ()]
    assert seen[1].violations[0].expected == "3 fields"


def test_a_file_with_line_ends_of_an_old_mac_is_told() -> None:
    seen = agree(CSV, b"id,name,notes\r1,a,b\r2,c,d\r", 10)
    assert [s.rules for s in seen] == [("header",)]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_is_read_in_the_specs_encoding(encoding: str) -> None:
    data = written([list(COLUMNS), ["1", "Müller", "schön,\nwahr"], ["2", "Łuk" if "utf" in encoding else "Luk", "é"]]).encode(
        encoding
    )
    seen = agree(with_dialect(encoding=encoding), data, 10)
    assert values(seen)[0] == ["1", "Müller", "schön,\nwahr"]
    assert len(seen) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_wins_over_the_specs_encoding(encoding: str) -> None:
    data = written([list(COLUMNS), ["1", "Müller", "x"]]).encode(encoding)
    assert values(agree(with_dialect(encoding="cp1252"), data, 10)) == [["1", "Müller", "x"]]


def test_bytes_of_another_encoding_fail_their_record_only() -> None:
    seen = agree(CSV, HEADER + b"1,M\xfcller,x\n2,a,b\n", 10)
    assert [s.rules for s in seen] == [("encoding",), ()]
    assert [s.rules for s in agree(with_dialect(encoding="cp1252"), HEADER + b"1,\x81,x\n2,\x80,b\n", 10)] == [("encoding",), ()]


def test_a_quote_that_is_never_closed_costs_its_own_line_only() -> None:
    rows = [b"%d,a,b\n" % i for i in range(50)]
    rows[10] = b'10,"a,b\n'
    seen = agree(CSV, HEADER + b"".join(rows), 10)
    assert [s.rules for s in seen] == [() if i != 10 else ("syntax",) for i in range(50)]
    assert seen[10].raw == rows[10]


def test_a_quote_that_a_later_cell_seems_to_close_costs_its_own_line_only() -> None:
    rows = [b"%d,a,b\n" % i for i in range(50)]
    rows[10], rows[20] = b'10,"a,b\n', b'20,"a",5" pipe\n'
    seen = agree(CSV, HEADER + b"".join(rows), 10)
    assert [s.ordinal for s in seen if s.violations] == [10]
    assert seen[20].value == {"id": "20", "name": "a", "notes": '5" pipe'}


def test_inches_are_no_quotes() -> None:
    seen = agree(CSV, HEADER + b'1,5" pipe,x\n2,a,b\n3,6" pipe,x\n4,a,b\n', 10)
    assert [s.value["name"] for s in seen] == ['5" pipe', "a", '6" pipe', "a"]


def test_an_open_quote_gives_up_after_a_thousand_lines() -> None:
    data = HEADER + b'0,"a,b\n' + b"".join(b"%d,a,b\n" % i for i in range(1, 2_500))
    with small_pieces(5_000):
        seen = agree(CSV, data, 20_000)
    assert [s.ordinal for s in seen if s.violations] == [0]
    assert len(seen) == 2_500


def test_a_cell_may_be_as_long_as_a_record() -> None:
    (seen,) = agree(CSV, HEADER + b"1,a," + b"n" * 300_000 + b"\n", 10)
    assert len(seen.value["notes"]) == 300_000


def test_a_record_that_is_too_long_fails_alone() -> None:
    spec = spec_of("csv", columns=COLUMNS, record_bytes=50)
    lines = [
        b"1,a,b\n",
        b"2,a," + b"x" * 60 + b"\n",
        b'3,"' + b"x" * 60 + b",b\n",
        b"4,a,b\n",
        b'5,"' + b"x" * 60 + b'",b\n',
        b"6,a,b\n",
    ]
    seen = agree(spec, HEADER + b"".join(lines), 10)
    assert [s.rules for s in seen] == [(), ("record_bytes",), ("record_bytes",), (), ("record_bytes",), ()]


@pytest.mark.parametrize("compress", [gzip_members, zstd_frames])
def test_a_row_that_is_cut_is_never_taken_for_a_whole_one(compress: object) -> None:
    assert callable(compress)
    data = compress([HEADER + b"1,a,note\n", b"2,b,a long no"]) + compress([b"te\n"])[:9]
    seen = agree(CSV, data, 10)
    assert values(seen) == [["1", "a", "note"], []]
    assert seen[1].rules == ("damage",)
    assert seen[1].raw == b"2,b,a long no"
    assert is_damaged(CSV, data)


def test_a_quoted_record_that_is_cut_is_one_damage_with_its_bytes() -> None:
    data = gzip_members([HEADER + b'1,a,b\n2,b,"one\ntwo\nthr'])[:-1]
    seen = agree(CSV, data, 10)
    assert [s.rules for s in seen] == [(), ("damage",)]
    assert seen[1].raw == b'2,b,"one\ntwo\nthr'


@pytest.mark.parametrize("data", [gz(HEADER)[:-1], gz(b"id,na")[:-1], gz(b"")[:-1]])
def test_a_file_that_is_cut_within_its_header_is_one_damage(data: bytes) -> None:
    assert [s.rules for s in agree(CSV, data, 10)] == [("damage",)]


def test_a_million_quotes_take_no_quadratic_time() -> None:
    data = HEADER + b'"\n' * 30_000
    assert len(read_whole(CSV, data)) > 0
