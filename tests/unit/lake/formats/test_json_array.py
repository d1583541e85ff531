from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.compressed import gz, gzip_members, zstd_frames
from tests.support.format_laws import agree, is_damaged, packings, small_pieces, spec_of

ARRAY = spec_of("json_array")


@pytest.fixture(autouse=True, scope="module")
def _pieces_of_forty_bytes() -> Iterator[None]:
    with small_pieces(40):
        yield


TEXT = st.text(alphabet=st.sampled_from('a"\\[]{},:\n ü🧡'), max_size=20)
OBJECT = st.fixed_dictionaries(
    {"id": st.integers(0, 99)}, optional={"t": TEXT, "n": st.lists(st.fixed_dictionaries({"k": TEXT}), max_size=3)}
)
BLANK = st.sampled_from(["", " ", "\n", "\r\n\t "])


@given(objects=st.lists(OBJECT, max_size=8), blank=BLANK, mark=st.booleans(), chunk=st.integers(1, 300), data=st.data())
def test_an_array_gives_its_elements_in_any_chunks(
    objects: list[dict[str, Any]], blank: str, mark: bool, chunk: int, data: st.DataObject
) -> None:
    body = f"{blank},{blank}".join(json.dumps(o, ensure_ascii=False) for o in objects)
    text = ("\ufeff" * mark + f"{blank}[{blank}{body}{blank}]{blank}").encode()
    packed = data.draw(packings(text))
    assert [s.value for s in agree(ARRAY, packed, chunk)] == objects
    assert not is_damaged(ARRAY, packed)


@given(objects=st.lists(OBJECT, max_size=8), blank=BLANK, chunk=st.integers(1, 300), data=st.data())
def test_objects_in_a_row_are_read_as_well(objects: list[dict[str, Any]], blank: str, chunk: int, data: st.DataObject) -> None:
    text = (blank + blank.join(json.dumps(o) for o in objects) + blank).encode()
    assert [s.value for s in agree(ARRAY, data.draw(packings(text)), chunk)] == objects


@given(objects=st.lists(OBJECT, min_size=1, max_size=8), chunk=st.integers(1, 300), data=st.data())
def test_an_array_that_is_cut_gives_its_whole_elements_then_one_damage(
    objects: list[dict[str, Any]], chunk: int, data: st.DataObject
) -> None:
    text = json.dumps(objects).encode()
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    seen = agree(ARRAY, data.draw(packings(cut)), chunk)
    good = [s.value for s in seen[:-1]]
    assert good == objects[: len(good)]
    assert len(good) >= cut.count(b"\n") + (len(json.dumps(objects[:1])) <= len(cut) and len(objects) > 1)
    assert seen[-1].rules == ("damage",)


PART = st.sampled_from(
    [
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b'"',
        b'\\"',
        b'{"id":1}',
        b" ",
        b"\n",
        b"x",
        b"\x00",
        b"\xff",
        b"a" * 50,
        b"]]",
        b"[[",
        codecs.BOM_UTF8,
    ]
)


@given(parts=st.lists(PART, max_size=20), chunk=st.integers(1, 100), data=st.data())
def test_no_bytes_raise_and_chunks_agree(parts: list[bytes], chunk: int, data: st.DataObject) -> None:
    agree(ARRAY, data.draw(packings(b"".join(parts))), chunk)
    agree(spec_of("json_array", records="n"), b"".join(parts), chunk)


@pytest.mark.parametrize("data", [b"", b" \n", b"[]", b"[ ]\n", codecs.BOM_UTF8, codecs.BOM_UTF8 + b"[]", gz(b"")])
def test_an_array_of_nothing_has_no_records(data: bytes) -> None:
    assert agree(ARRAY, data, 10) == []
    assert not is_damaged(ARRAY, data)


def test_one_lone_object_is_one_record() -> None:
    assert [s.value for s in agree(ARRAY, b'{\n "id": 1\n}\n', 10)] == [{"id": 1}]


def test_broken_elements_fail_beside_good_ones() -> None:
    seen = agree(ARRAY, b'[{"id":1},{"id":},7,,{"id":NaN},{"id":"\xff"},{"id":2}]', 10)
    assert [s.rules for s in seen] == [(), ("syntax",), (), ("syntax",), ("encoding",), ()]
    assert [s.value for s in seen if not s.violations] == [{"id": 1}, 7, {"id": 2}]
    assert seen[1].raw == b'{"id":}'


@pytest.mark.parametrize("tail", [b"x", b'{"id":3}', b"[]", b"\x00\x00", b"<html>"])
def test_garbage_behind_an_array_is_one_damage(tail: bytes) -> None:
    seen = agree(ARRAY, b'[{"id":1},{"id":2}]\n' + tail, 10)
    assert [s.value for s in seen] == [{"id": 1}, {"id": 2}, None]
    assert seen[-1].rules == ("damage",)
    assert seen[-1].raw == tail


@pytest.mark.parametrize("compress", [gzip_members, zstd_frames])
def test_a_compressed_array_that_is_cut_gives_its_whole_elements_then_one_damage(compress: object) -> None:
    assert callable(compress)
    data = compress([b'[{"id":1},', b'{"id":2},{"id"'])[:-1]
    seen = agree(ARRAY, data, 10)
    assert seen[0].value == {"id": 1}
    assert [s.rules for s in seen[-1:]] == [("damage",)]
    assert is_damaged(ARRAY, data)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_files_are_read_by_their_mark(encoding: str) -> None:
    text = '\ufeff[{"id":"ü"},\r\n{"id":"🧡"}]'
    assert [s.value for s in agree(ARRAY, text.encode(encoding), 5)] == [{"id": "ü"}, {"id": "🧡"}]


def test_an_element_that_is_too_large_or_too_deep_fails_alone() -> None:
    spec = spec_of("json_array", record_bytes=100, max_depth=4)
    elements = [b'{"id":1}', b'{"id":"' + b"x" * 100 + b'"}', b'{"id":[[[[]]]]}', b'{"id":2}']
    assert [s.rules for s in agree(spec, b"[" + b",".join(elements) + b"]", 10)] == [(), ("record_bytes",), ("depth",), ()]
