"""JSON lines: one JSON object a line; or, with ``records:``, one SDK batch of records a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from contracts.codes import Violation
from contracts.compiler.exact import decode_json
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec
from lake.formats.base import Bookmark, ParsedRecords, RecordBlock
from lake.formats.lines import read_text_pieces

_decode = decode_json
_raw_value = msgspec.json.Decoder(msgspec.Raw).decode
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raw_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
BATCH_RECORDS = 1 << 20  # of one payload: a record's place in it has so many bits where payloads come from a log
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])', re.DOTALL)


class JsonLines:
    """See the module. Blank lines, CRLF, a missing last line end and a byte-order mark are accepted without complaint."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """See Format."""
        ordinal = start.ordinal
        for piece in read_text_pieces(file, start.offset, self._spec.payload_bytes):
            lines = piece.text.split(b"\n")
            torn = lines.pop() if piece.damaged else b""
            lines = [line for line in lines if line and not line.isspace()]
            block = json_block(self._spec, Bookmark(ordinal, piece.offset), lines, piece.end - piece.offset)
            block.lost_bytes += piece.end - piece.offset - len(piece.text)
            if piece.damaged:
                block = _with_damage(block, torn[: self._spec.record_bytes], piece.damaged)
            if block.count:
                yield block
            ordinal += block.count


def json_block(spec: SourceSpec, start: Bookmark, payloads: list[bytes], size_bytes: int) -> RecordBlock:
    """A block of JSON payloads, one record each, or several with ``records:``."""
    lost = sum(size for size in map(len, payloads) if size > spec.payload_bytes)
    if spec.records is None:
        return RecordBlock(start, len(payloads), size_bytes, lambda: parse_payloads(spec, payloads), lost_bytes=lost)
    records = spec.records
    decoded = parse_payloads(spec, payloads)
    count = sum(_batch_size(decoded, i, records) for i in range(len(payloads)))
    return RecordBlock(start, count, size_bytes, lambda: parse_messages(spec, payloads), lost_bytes=lost)


def parse_messages(spec: SourceSpec, payloads: list[bytes]) -> ParsedRecords:
    """The records of JSON payloads, one each, or several with ``records:``."""
    decoded = parse_payloads(spec, payloads)
    return decoded if spec.records is None else _explode(decoded, payloads, spec.records, spec.record_bytes)


def parse_payloads(spec: SourceSpec, payloads: list[bytes]) -> ParsedRecords:
    """Decode JSON texts; what cannot be decoded fails with the reason."""
    records: list[Any] = []
    failed: dict[int, list[Violation]] = {}
    max_depth, limit = spec.max_depth, spec.payload_bytes
    append = records.append
    for payload in payloads:
        if payload.count(b"{") + payload.count(b"[") > max_depth or len(payload) > limit:
            violation = _oversized(payload, max_depth, limit)
            if violation:
                failed[len(records)] = [violation]
                append(None)
                continue
        try:
            append(_decode(payload))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            failed[len(records)] = [_why_undecodable(payload)]
            append(None)
    return ParsedRecords(records, lambda i: payloads[i][: spec.record_bytes], failed)


def _oversized(payload: bytes, max_depth: int, limit: int) -> Violation | None:
    if len(payload) > limit:
        return Violation("$", "record_bytes", f"at most {limit} bytes")
    depth = 0
    for match in _BRACKETS.finditer(payload):
        if match[1]:
            depth += 1
            if depth > max_depth:
                return Violation("$", "depth", f"at most {max_depth} levels")
        elif match[2]:
            depth -= 1
    return None


def _why_undecodable(payload: bytes) -> Violation:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return Violation("$", "encoding", "UTF-8")
    try:
        _raw_value(payload)
        _decode(payload)
    except msgspec.ValidationError:  # well-formed, but a number that no double and no sensible integer can hold
        return Violation("$", "range", "numbers that a double can hold")
    except (msgspec.DecodeError, RecursionError):
        pass
    return Violation("$", "syntax", "well-formed JSON")


def _items(payload: Any, path: PayloadPath) -> list[Any] | None:
    for step in path.steps:
        if not isinstance(payload, dict):
            return None
        payload = payload.get(step)
    return payload if isinstance(payload, list) and len(payload) <= BATCH_RECORDS else None


def _batch_size(decoded: ParsedRecords, index: int, path: PayloadPath) -> int:
    """How many records a payload counts for; one where its list cannot be found."""
    items = _items(decoded.records[index], path) if index not in decoded.failed else None
    return 1 if items is None else len(items)


def _explode(decoded: ParsedRecords, payloads: Sequence[bytes], path: PayloadPath, limit: int) -> ParsedRecords:
    records: list[Any] = []
    envelopes: list[Mapping[str, Any]] = []
    failed: dict[int, list[Violation]] = {}
    origin: list[tuple[int, int | None]] = []
    for number, payload in enumerate(decoded.records):
        items = _items(payload, path) if number not in decoded.failed else None
        if items is None:
            failed[len(records)] = decoded.failed.get(number, [Violation(str(path), "syntax", "a list of records")])
            records.append(None)
            envelopes.append({})
            origin.append((number, None))
            continue
        if len(payloads[number]) > limit:  # some item may be too large
            for i, item in enumerate(_raw_list(payloads[number], path)):
                if len(item) > limit:
                    failed[len(records) + i] = [Violation("$", "record_bytes", f"at most {limit} bytes")]
        records += items
        envelopes += [payload] * len(items)
        origin += [(number, i) for i in range(len(items))]

    def raw(index: int) -> bytes:
        number, item = origin[index]
        if item is None:
            return decoded.raw(number)
        return bytes(_raw_list(payloads[number], path)[item]).strip()[:limit]

    return ParsedRecords(records, raw, failed, envelopes, [number for number, _ in origin])


def _raw_list(payload: bytes, path: PayloadPath) -> list[msgspec.Raw]:
    """The texts of a batch's items."""
    value = msgspec.Raw(payload)
    for step in path.steps:
        value = _raw_fields(value)[step]
    return _raw_items(value)


def _with_damage(block: RecordBlock, torn: bytes, damage: Violation) -> RecordBlock:
    """The same block, and after it one more record for what could not be read."""
    inner, count = block.parse, block.count

    def parse() -> ParsedRecords:
        parsed = inner()
        raw = parsed.raw
        return ParsedRecords(
            [*parsed.records, None],
            lambda i: torn if i == count else raw(i),
            {**parsed.failed, count: [damage]},
            None if parsed.envelopes is None else [*parsed.envelopes, {}],
        )

    return RecordBlock(block.start, count + 1, block.size_bytes, parse, damaged=True, lost_bytes=block.lost_bytes)
