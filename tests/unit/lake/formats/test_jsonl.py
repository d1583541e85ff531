from __future__ import annotations

import codecs
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.compressed import gz, gzip_members, zstd_frames
from tests.support.format_laws import agree, is_damaged, packings, read_whole, small_pieces, spec_of

JSONL = spec_of("jsonl")
BATCHES = spec_of("jsonl", records="batch")


@pytest.fixture(autouse=True, scope="module")
def _pieces_of_fifty_bytes() -> Iterator[None]:
    with small_pieces(50):
        yield


def objects(count: int) -> list[bytes]:
    return [b'{"id":%d}' % i for i in range(count)]


LINE = st.one_of(
    st.integers(0, 999).map(lambda i: b'{"id":%d}' % i),
    st.integers(0, 400).map(lambda n: json.dumps({"id": "x" * n}).encode()),
    st.sampled_from(
        [b"", b" ", b"\t\r", b'{"id":1}\r', b"{", b"[1]", b"null", b"\x00", b'{"id":"\xff"}', b'{"id":NaN}', b'"\\ud800"']
    ),
    st.binary(max_size=30).filter(lambda b: b"\n" not in b),
)
ITEM = st.sampled_from([{"id": 1}, 7, None, {"id": "x" * 60}])
BATCH = st.one_of(
    st.lists(ITEM, max_size=5).map(lambda items: json.dumps({"batch": items, "sentAt": "2026"}).encode()),
    st.sampled_from([b"", b"{}", b'{"batch":{}}', b"[]", b"{", b'{"batch":[]}', b'{"batch":[[]]}']),
)


@given(lines=st.lists(LINE, max_size=12), ends=st.booleans(), mark=st.booleans(), chunk=st.integers(1, 300), data=st.data())
def test_chunks_give_what_the_whole_file_gives(lines: list[bytes], ends: bool, mark: bool, chunk: int, data: st.DataObject) -> None:
    text = codecs.BOM_UTF8 * mark + b"\n".join(lines) + b"\n" * ends
    seen = agree(spec_of("jsonl", record_bytes=200), data.draw(packings(text)), chunk)
    if not text.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"\x28\xb5")):
        assert len(seen) == sum(bool(line.strip()) for line in (b"\n".join(lines)).split(b"\n"))


@given(lines=st.lists(BATCH, max_size=8), chunk=st.integers(1, 300), data=st.data())
def test_chunks_of_batches_give_what_the_whole_file_gives(lines: list[bytes], chunk: int, data: st.DataObject) -> None:
    agree(BATCHES, data.draw(packings(b"\n".join(lines))), chunk)


@given(
    count=st.integers(1, 40),
    kept=st.integers(4, 900),
    compress=st.sampled_from([gzip_members, zstd_frames]),
    chunk=st.integers(1, 300),
)
def test_a_cut_file_gives_its_good_records_then_one_damage(count: int, kept: int, compress: object, chunk: int) -> None:
    assert callable(compress)
    members = [compress([line + b"\n"]) for line in objects(count)]
    data = b"".join(members)[:kept]
    ends = [sum(map(len, members[:n])) for n in range(count + 1)]
    whole = max(n for n in range(count + 1) if ends[n] <= len(data))
    seen = agree(JSONL, data, chunk)
    good = [s for s in seen if not s.violations]
    assert [s.value for s in good] == [{"id": i} for i in range(len(good))]
    assert whole <= len(good) <= whole + 1  # all of a member may be there but its checksum
    assert [s.rules for s in seen[len(good) :]] == ([] if len(data) in ends else [("damage",)])
    assert is_damaged(JSONL, data) is (len(data) not in ends)


def test_oddities_are_accepted_without_complaint() -> None:
    data = codecs.BOM_UTF8 + b'{"id":1}\r\n\n  \r\n{"id":2,"id":3}\n\t{"id":4} \n{"id":5}'
    assert [s.value for s in agree(JSONL, data, 10)] == [{"id": 1}, {"id": 3}, {"id": 4}, {"id": 5}]
    assert not is_damaged(JSONL, data)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \r\n", codecs.BOM_UTF8, gz(b""), zstd_frames([b""])])
def test_a_file_of_nothing_has_no_records(data: bytes) -> None:
    assert agree(JSONL, data, 10) == []
    assert not is_damaged(JSONL, data)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"id":', "syntax"),
        (b'{"id":NaN}', "syntax"),
        (b'{"id":-Infinity}', "syntax"),
        (b'{"id":"\\ud83d"}', "syntax"),
        (b"{'id':1}", "syntax"),
        (b"\x00\x00\x00", "syntax"),
        (b'{"id":1}{"id":2}', "syntax"),
        (b'{"id":"M\xfcller"}', "encoding"),
        (b'{"id":"\xed\xa0\x80"}', "encoding"),
        (b'{"id":1e999}', "range"),
        (b'{"id":' + b"[" * 65 + b"]" * 65 + b"}", "depth"),
        (b"[" * 100_000, "depth"),
        (b'{"id":"' + b"x" * (1 << 20) + b'"}', "record_bytes"),
    ],
)
def test_what_is_no_json_fails_with_its_rule_beside_good_records(line: bytes, rule: str) -> None:
    seen = agree(JSONL, b'{"id":0}\n' + line + b'\n{"id":2}\n', 10)
    assert [s.rules for s in seen] == [(), (rule,), ()]
    assert [seen[0].value, seen[2].value] == [{"id": 0}, {"id": 2}]
    assert seen[1].raw == line[: 1 << 20]


def test_brackets_in_strings_are_no_depth() -> None:
    line = json.dumps({"id": '[{"' * 500}).encode()
    assert [s.value for s in agree(JSONL, line, 10)] == [{"id": '[{"' * 500}]


def test_exactly_as_deep_and_as_long_as_allowed_is_accepted() -> None:
    spec = spec_of("jsonl", max_depth=3, record_bytes=20)
    lines = [b'{"id":[[1]]}', b'{"id":[[[1]]]}', b'{"id":"' + b"x" * 11 + b'"}', b'{"id":"' + b"x" * 12 + b'"}']
    assert [s.rules for s in agree(spec, b"\n".join(lines), 10)] == [(), ("depth",), (), ("record_bytes",)]


def test_2_to_the_64_and_long_integers_are_kept_exactly() -> None:
    seen = agree(JSONL, b'{"id":18446744073709551616}\n{"id":-99999999999999999999999}\n', 10)
    assert [s.value for s in seen] == [{"id": 2**64}, {"id": -99999999999999999999999}]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_files_are_read_by_their_mark(encoding: str) -> None:
    text = '\ufeff{"id":"ü"}\r\n\r\n{"id":"🧡"}\n'
    assert [s.value for s in agree(JSONL, text.encode(encoding), 5)] == [{"id": "ü"}, {"id": "🧡"}]


def test_a_blank_end_of_a_cut_file_takes_no_good_record_with_it() -> None:
    data = gzip_members([b'{"id":0}\n{"id":1}\n  '])[:-1]
    seen = agree(JSONL, data, 10)
    assert [s.rules for s in seen] == [(), (), ("damage",)]


def test_the_torn_record_is_the_raw_bytes_of_the_damage() -> None:
    data = gzip_members([b'{"id":0}\n{"id":'])[:-1]
    seen = agree(JSONL, data, 10)
    assert [(s.rules, s.raw) for s in seen] == [((), b'{"id":0}'), (("damage",), b'{"id":')]


def test_batches_count_their_records_and_keep_their_bytes() -> None:
    lines = [
        b'{"batch":[{"id":1},{ "id" : 2 }],"sentAt":"2026-11-02T10:00:00Z"}',
        b'{"batch":[]}',
        b'{"events":[{"id":3}]}',
        b'{"batch":{"id":4}}',
        b"{",
        b'{"batch":[5],"batch":[6, {"id":7}]}',
    ]
    seen = agree(BATCHES, b"\n".join(lines), 10)
    assert [s.value for s in seen] == [{"id": 1}, {"id": 2}, None, None, None, 6, {"id": 7}]
    assert [s.rules for s in seen] == [(), (), ("syntax",), ("syntax",), ("syntax",), (), ()]
    assert [s.raw for s in seen] == [b'{"id":1}', b'{ "id" : 2 }', lines[2], lines[3], lines[4], b"6", b'{"id":7}']
    assert seen[2].violations[0].path == "batch"


def test_a_cut_file_of_batches_is_one_damage_after_its_records() -> None:
    data = gz(b'{"batch":[{"id":1},{"id":2}]}\n{"batch":[{"id":3}')[:-1]
    seen = agree(BATCHES, data, 10)
    assert [s.value for s in seen] == [{"id": 1}, {"id": 2}, None]
    assert seen[-1].rules == ("damage",)


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    agree(JSONL, data, 40)
    agree(BATCHES, data, 40)


def test_a_long_line_is_one_record_and_the_next_is_read() -> None:
    seen = read_whole(JSONL, b'{"id":0}\n' + b"a" * (5 << 20) + b'\n{"id":2}\n')
    assert [s.rules for s in seen] == [(), ("record_bytes",), ()]
    assert len(seen[1].raw) == 1 << 20
