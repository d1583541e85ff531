"""The law: a value comes out as it went in, or as something that no column takes. Writers are of others, or by hand."""

from __future__ import annotations

import io
import json
import struct
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.compiler.exact import Unheld
from contracts.compiler.timestamps import MAX_US, MIN_US
from contracts.units import EPOCH
from tests.support.format_laws import Seen, read_whole, spec_of

INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([MIN_US, MAX_US, MIN_US - 1, MAX_US + 1, -1, 0, 1])
INT32 = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-719_162, -719_163, 2_932_896, 2_932_897])
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
NAIVE = EPOCH.replace(tzinfo=None)


def moment(number: int, unit: str, *, local: bool = False) -> datetime | None:
    """By datetime's own arithmetic; what is beyond microseconds is cut. None beyond years 1 to 9999."""
    us = number * 10**6 // PER_SECOND[unit]
    return (NAIVE if local else EPOCH) + timedelta(microseconds=us) if MIN_US <= us <= MAX_US else None


def same(found: Any, expected: Any, stored: Any) -> None:
    """Exactly the value; or, where there is none, what says so and holds what was stored."""
    if expected is None:
        assert isinstance(found, Unheld) and found.stored == stored
    else:
        assert found == expected and type(found) is type(expected)


def parquet(values: pa.Array, **options: Any) -> Seen:
    out = io.BytesIO()
    pq.write_table(pa.table({"v": values}), out, **options)
    (seen,) = read_whole(spec_of("parquet", columns=["v"]), out.getvalue())
    assert not seen.violations
    return seen


def nested(values: pa.Array) -> list[tuple[pa.Array, Any]]:
    """The same value at the top, in a struct, a list, a map, and a list of structs; each with how to find it."""
    struct_of = pa.StructArray.from_arrays([values], ["x"])
    offsets = pa.array([0, len(values)], pa.int32())
    return [
        (values, lambda v: v),
        (struct_of, lambda v: v["x"]),
        (pa.ListArray.from_arrays(offsets, values), lambda v: v[0]),
        (pa.MapArray.from_arrays(offsets, pa.array(["k"]), values), lambda v: v["k"]),
        (pa.ListArray.from_arrays(offsets, struct_of), lambda v: v[0]["x"]),
    ]


@given(
    number=INT64, unit=st.sampled_from(["ms", "us", "ns"]), zone=st.sampled_from(["UTC", "+10:00", "Mars/Olympus", "tzutc()", None])
)
def test_parquet_timestamps_of_every_unit_zone_and_depth(number: int, unit: str, zone: str | None) -> None:
    values = pa.array([number]).cast(pa.timestamp(unit, zone))
    for array, find in nested(values):
        same(find(parquet(array).value["v"]), moment(number, unit, local=zone is None), number)


@given(number=INT32)
def test_parquet_dates(number: int) -> None:
    expected = date(1970, 1, 1) + timedelta(days=number) if -719_162 <= number <= 2_932_896 else None
    for array, find in nested(pa.array([number], pa.int32()).cast(pa.date32())):
        same(find(parquet(array).value["v"]), expected, number)


@given(number=st.integers(0, 86_400 * 10**9 - 1), unit=st.sampled_from(["us", "ns"]))
def test_parquet_times(number: int, unit: str) -> None:
    us = number * 10**6 // PER_SECOND[unit]
    if us >= 86_400 * 10**6:
        return
    for array, find in nested(pa.array([number]).cast(pa.time64(unit))):
        same(find(parquet(array).value["v"]), (EPOCH + timedelta(microseconds=us)).time(), number)


@given(
    days=st.integers(-(2**31), 2**31 - 1) | st.sampled_from([2440588, 5373484, 0, 1721426]),
    nanos=st.integers(0, 86_400 * 10**9 - 1),
)
@example(days=2_440_588 + 213_503_982, nanos=0)  # as microseconds it wraps to 1969
def test_int96_is_the_time_that_was_written_or_none(days: int, nanos: int) -> None:
    """Written by hand: a Julian day and nanoseconds of it."""
    out = io.BytesIO()
    plain = struct.pack("<qi", 0, 2_440_588)
    for array, find in nested(pa.array([0], pa.timestamp("us"))):
        out = io.BytesIO()
        pq.write_table(
            pa.table({"v": array}),
            out,
            use_deprecated_int96_timestamps=True,
            use_dictionary=False,
            compression="none",
            store_schema=False,
        )
        data = out.getvalue()
        assert data.count(plain) >= 1
        (seen,) = read_whole(spec_of("parquet", columns=["v"]), data.replace(plain, struct.pack("<qi", nanos, days)))
        if days == 0:  # Arrow reads day 0, 4713 before our era, as 1970: it is what it writes for nulls
            return
        us = (days - 2_440_588) * 86_400 * 10**6 + nanos // 1_000
        if MIN_US <= us <= MAX_US:
            assert find(seen.value["v"]) == NAIVE + timedelta(microseconds=us)
        else:
            assert isinstance(find(seen.value["v"]), Unheld)


def test_int96_in_lists_and_structs_keeps_nulls_and_the_place_of_each() -> None:
    """More rows than a block has, so that columns come in slices."""
    moments = [None if n % 5 == 0 else NAIVE + timedelta(days=n) for n in range(5_000)]
    table = pa.table({
        "v": pa.array([None if n % 7 == 0 else {"at": m, "text": str(n)} for n, m in enumerate(moments)]),
        "w": pa.array([None if n % 3 == 0 else [m] * (n % 4) for n, m in enumerate(moments)], pa.list_(pa.timestamp("us"))),
        "x": pa.array([[{"at": m}] * (n % 2) for n, m in enumerate(moments)], pa.list_(pa.struct([("at", pa.timestamp("us"))]))),
    })  # fmt: skip
    out = io.BytesIO()
    pq.write_table(table, out, use_deprecated_int96_timestamps=True, store_schema=False)
    seen = [record.value for record in read_whole(spec_of("parquet", columns=["v", "w", "x"]), out.getvalue())]
    assert seen == table.to_pylist()


@given(text=st.binary(max_size=8))
def test_parquet_text_is_text_or_says_that_it_is_none(text: bytes) -> None:
    values = pa.Array.from_buffers(pa.string(), 1, pa.array([text]).buffers())
    try:
        expected = text.decode()
    except UnicodeDecodeError:
        expected = None
    for array, find in nested(values):
        same(find(parquet(array).value["v"]), expected, text)


# Avro -------------------------------------------------------------------------------------------------


def avro(stored: Any, plain: Any, rich: Any, codec: str = "null") -> Any:
    """A value written as a plain type, in a file whose schema says more of it; at the top, in a union and in an array."""
    found = []
    for wrap in (lambda t: t, lambda t: ["null", t], lambda t: {"type": "array", "items": t}):
        value = [stored] if wrap("int") == {"type": "array", "items": "int"} else stored
        body, head = io.BytesIO(), io.BytesIO()
        fields = [{"name": "v", "type": wrap(plain)}]
        fastavro.schemaless_writer(body, {"type": "record", "name": "r", "fields": fields}, {"v": value})
        sync = b"0123456789abcdef"
        schema = json.dumps({"type": "record", "name": "r", "fields": [{"name": "v", "type": wrap(rich)}]}).encode()
        meta = {"avro.schema": schema, "avro.codec": codec.encode()}
        fastavro.schemaless_writer(head, {"type": "map", "values": "bytes"}, meta)
        size = len(body.getvalue())
        data = b"Obj\x01" + head.getvalue() + sync + b"\x02" + long(size) + body.getvalue() + sync
        (seen,) = read_whole(spec_of("avro", columns=["v"]), data)
        assert not seen.violations
        assert seen.raw == body.getvalue()  # as received
        found.append(seen.value["v"][0] if value != stored else seen.value["v"])
    assert found[0] == found[1] == found[2]
    return found[0]


def long(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


@given(unscaled=st.integers(-(2**300), 2**300), precision=st.integers(1, 60), data=st.data())
def test_avro_decimals_have_all_their_digits(unscaled: int, precision: int, data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, precision))
    stored = unscaled.to_bytes(40, "big", signed=True)
    expected = Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))
    decimal = {"logicalType": "decimal", "precision": precision, "scale": scale}
    assert avro(stored, "bytes", {"type": "bytes", **decimal}) == expected
    fixed = {"type": "fixed", "name": "f", "size": 40}
    assert avro(stored, fixed, {**fixed, **decimal}) == expected


@given(number=INT64, unit=st.sampled_from(["ms", "us", "ns"]), local=st.booleans())
def test_avro_timestamps(number: int, unit: str, local: bool) -> None:
    name = ("local-" if local else "") + "timestamp-" + {"ms": "millis", "us": "micros", "ns": "nanos"}[unit]
    same(avro(number, "long", {"type": "long", "logicalType": name}), moment(number, unit, local=local), number)


@given(number=INT32)
def test_avro_dates_and_times_of_day(number: int) -> None:
    expected = date(1970, 1, 1) + timedelta(days=number) if -719_162 <= number <= 2_932_896 else None
    same(avro(number, "int", {"type": "int", "logicalType": "date"}), expected, number)
    of_day = (EPOCH + timedelta(milliseconds=number)).time() if 0 <= number < 86_400_000 else None
    same(avro(number, "int", {"type": "int", "logicalType": "time-millis"}), of_day, number)


FIXED16 = {"type": "fixed", "name": "f", "size": 16}
FIXED12 = {"type": "fixed", "name": "f", "size": 12}


@pytest.mark.parametrize(
    ("stored", "plain", "more", "expected"),
    [
        ("9B2E1E40-0000-4000-8000-0000000000AB", "string", {"logicalType": "uuid"}, "9B2E1E40-0000-4000-8000-0000000000AB"),
        ("no uuid", "string", {"logicalType": "uuid"}, "no uuid"),
        (UUID(int=7).bytes, FIXED16, {"logicalType": "uuid"}, UUID(int=7)),
        (struct.pack("<III", 14, 3, 4_005), FIXED12, {"logicalType": "duration"}, "P14M3DT4.005S"),
        (b"\x04\x01\x02\x04", "bytes", {"logicalType": "big-decimal"}, Decimal("2.58")),
        # unknown and invalid logical types are ignored, as the specification says
        (b"\x7b", "bytes", {"logicalType": "decimal", "precision": 4, "scale": 5}, b"\x7b"),
        (b"\x7b", "bytes", {"logicalType": "decimal", "precision": "5"}, b"\x7b"),  # fastavro issue 261, from HIVE-5823
        (b"\x7b", "bytes", {"logicalType": "decimal"}, b"\x7b"),
        (b"\x7b", "bytes", {"logicalType": "decimal", "precision": 10}, Decimal(123)),  # fastavro issue 445: scale may be left out
        (bytes(15) + b"\x7b", FIXED16, {"logicalType": "decimal", "precision": 99}, bytes(15) + b"\x7b"),  # materialize pull 3628
        (5, "long", {"logicalType": "date"}, 5),
        (5, "long", {"logicalType": "timestamp-fortnights"}, 5),
        ("x", "string", {"logicalType": "datetime2"}, "x"),  # fastavro issue 691
        (bytes(11), {**FIXED12, "size": 11}, {"logicalType": "duration"}, bytes(11)),
    ],
)
def test_avro_values_of_other_logical_types(stored: Any, plain: Any, more: Any, expected: Any) -> None:
    rich = {**(plain if isinstance(plain, dict) else {"type": plain}), **more}
    same(avro(stored, plain, rich), expected, stored)
