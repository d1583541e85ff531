"""Avro data without a container around them: the records of a block, and the bodies of messages.

The compiled reader is asked first. Where it stumbles, a record is read at a time, so that each costs only itself.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
from fastavro import _read_py

from contracts.codes import Violation
from lake.formats.avro_schema import AvroSchema
from lake.formats.base import DAMAGE, ParsedRecords
from lake.formats.parquet_values import text_of


@dataclass(frozen=True)
class Payload:
    """Records behind each other: how many there should be, and their bytes; None where they cannot be had.

    broken: what is told of a record that its bytes do not give.
    """

    count: int
    data: bytes | None
    broken: Violation = DAMAGE


def read_bodies(schema: AvroSchema, bodies: Sequence[bytes], limit: int, broken: Violation) -> ParsedRecords:
    """One record of each body.

    Args:
        schema: that they were written with.
        bodies: each of one record, and nothing behind it.
        limit: bytes that a record may take.
        broken: what is told of a body that is none.
    """
    records: list[Any] = []
    failed: dict[int, list[Violation]] = {}
    decode: Any = fastavro.schemaless_reader
    for body in bodies:
        source = io.BytesIO(body)
        try:
            if schema.recursive or len(body) > limit:
                raise ValueError("to be read with care")
            record = decode(source, schema.fast)
            whole = not source.read(1)
        except Exception:  # whatever a decoder trips over in bytes that are not what they say
            whole = False
        if not whole:
            parsed = one_by_one(schema, [Payload(1, body, broken)], limit)
            record = parsed.records[0]
            if 0 in parsed.failed:
                failed[len(records)] = parsed.failed[0]
        records.append(record)
    return ParsedRecords(records, bodies.__getitem__, failed)


def one_by_one(schema: AvroSchema, payloads: Sequence[Payload], limit: int) -> ParsedRecords:
    """Where something in these payloads cannot be decoded: a record at a time.

    A value that no type of ours holds is Unheld in its record; where the bytes make no sense the rest of the block is damage.
    """
    records: list[Any] = []
    raw: list[bytes] = []
    failed: dict[int, list[Violation]] = {}
    for payload in payloads:
        end = len(records) + payload.count
        source = io.BytesIO(payload.data or b"")
        try:
            while len(records) < end and payload.data is not None:
                at = source.tell()
                skip_record(schema, source)
                size = source.tell() - at
                source.seek(at)
                if size > limit:
                    failed[len(records)] = [Violation("$", "record_bytes", f"at most {limit} bytes")]
                    records.append(None)
                    source.seek(at + size)
                else:
                    records.append(_read(schema, source))
                raw.append(payload.data[at : at + min(size, limit)])
            if source.read(1) and payload.count:
                failed[end - 1] = [payload.broken]  # the block holds more than it says
        except Exception:  # as in read_bodies
            pass
        lost = range(len(raw), end)
        failed.update((i, [payload.broken]) for i in lost)
        records[len(raw) :] = [None] * len(lost)
        raw += [b""] * len(lost)
    return ParsedRecords(records, raw.__getitem__, failed)


def record_sizes(schema: AvroSchema, data: bytes, count: int) -> list[int] | None:
    """The bytes of each record; None where these are not so many records."""
    source = io.BytesIO(data)
    sizes: list[int] = []
    try:
        for _ in range(count):
            before = source.tell()
            skip_record(schema, source)
            sizes.append(source.tell() - before)
    except Exception:  # whatever a decoder trips over in bytes that are not what they say
        return None
    return None if source.read(1) else sizes


def skip_record(schema: AvroSchema, source: io.BytesIO) -> None:
    """Go over a record; nothing is made of it. In Python where a type holds itself: the compiled reader would end the process."""
    if schema.recursive or schema.nothing is None:
        _read_py.schemaless_reader(source, schema.exact, handle_unicode_errors="surrogateescape")
    else:
        fastavro.schemaless_reader(source, schema.exact, schema.nothing)


def _read(schema: AvroSchema, source: io.BytesIO) -> Any:
    read: Any = _read_py.schemaless_reader if schema.recursive else fastavro.schemaless_reader
    return _with_bad_text(read(source, schema.exact, handle_unicode_errors="surrogateescape"))


def _with_bad_text(value: Any) -> Any:
    """The same value, but for texts that are not UTF-8: they were read with surrogates for the bytes that are none."""
    if isinstance(value, str):
        return value if value.isascii() else text_of(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, dict):
        return {_key(key): _with_bad_text(item) for key, item in value.items()}
    return [_with_bad_text(item) for item in value] if isinstance(value, list) else value


def _key(key: str) -> str:
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
