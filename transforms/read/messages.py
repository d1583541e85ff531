"""The element between reading and decoding: the messages that one poll gave."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from apache_beam import coders

from contracts.spec.source import SourceSpec
from lake.formats import ParsedRecords
from lake.formats.framed import parse_framed
from lake.formats.jsonl import parse_messages
from lake.raw.batch import RawBlock
from lake.raw.log_ids import BATCH_BITS

Headers = tuple[tuple[str, bytes | None], ...]


class _Coded(msgspec.Struct, array_like=True):
    logs: list[str]
    offsets: bytes
    times: bytes
    watermarks: bytes
    values: list[bytes]
    headers: list[Headers] | None = None  # jobs of versions before wrote none
    schemas: dict[str, bytes] | None = None


@dataclass(eq=False)
class MessageBatch:
    """Messages of one or several logs; those of one log in the order of their offsets.

    logs: the log's id, the rows' ``_raw_file``; offsets, times_us (record times, see clocks.py), watermarks_us (W, see
    late.py): per message.
    values: payloads; a null value is empty. headers: per message, as Kafka gives them, and that of the landing (framing.py); None
    where the source has no use for them. schemas: those that these name, by fingerprint; None where the source has no wire format.
    Parsed once, however often asked.
    """

    logs: list[str]
    offsets: npt.NDArray[np.int64]
    times_us: npt.NDArray[np.int64]
    watermarks_us: npt.NDArray[np.int64]
    values: list[bytes]
    headers: list[Headers] | None = None
    schemas: dict[str, bytes] | None = None
    _parsed: ParsedRecords | None = field(default=None, repr=False)

    def parse(self, spec: SourceSpec) -> ParsedRecords:
        """The records in them."""
        if self._parsed is None:
            self._parsed = self._parse(spec)
            rule = spec.schema_version
            if rule and rule.header:
                told = [_last(headers, rule.header) for headers in self.headers or [()] * len(self.values)]
                self._parsed.versions = told if spec.records is None else [told[i] for i in self._parsed.messages or ()]
        return self._parsed

    def _parse(self, spec: SourceSpec) -> ParsedRecords:
        if spec.wire_format is None:
            return parse_messages(spec, self.values)
        return parse_framed(spec, self.values, self.headers or [()] * len(self.values), self.schemas or {})

    @classmethod
    def joined(cls, batches: Sequence[MessageBatch]) -> MessageBatch:
        """At least one batch, put behind each other: what they cost once, many small ones would cost each."""
        if len(batches) == 1:
            return batches[0]
        return cls(
            [log for batch in batches for log in batch.logs],
            np.concatenate([batch.offsets for batch in batches]),
            np.concatenate([batch.times_us for batch in batches]),
            np.concatenate([batch.watermarks_us for batch in batches]),
            [value for batch in batches for value in batch.values],
            None
            if all(batch.headers is None for batch in batches)
            else [headers for batch in batches for headers in batch.headers or [()] * len(batch.values)],
            None if batches[0].schemas is None else {k: v for batch in batches for k, v in (batch.schemas or {}).items()},
        )

    def blocks(self, spec: SourceSpec) -> Iterator[RawBlock]:
        """See RawBatch."""
        message = self.message_of_record(spec)
        yield RawBlock(
            self.parse(spec),
            self.positions(spec),
            self.logs if spec.records is None else [self.logs[i] for i in message.tolist()],
            self.times_us[message].tolist(),
            self.watermarks_us[message],
            [i for i, number in enumerate(message.tolist()) if not self.values[number]],
        )

    def message_of_record(self, spec: SourceSpec) -> npt.NDArray[np.int64]:
        """Per record the index of its message."""
        messages = self.parse(spec).messages
        return np.arange(len(self.values)) if messages is None else np.asarray(messages, dtype=np.int64)

    def records_per_message(self, spec: SourceSpec) -> npt.NDArray[np.int64]:
        """How many records each message holds; one where they cannot be told apart."""
        counts: npt.NDArray[np.int64] = np.bincount(self.message_of_record(spec), minlength=len(self.values))
        return counts

    def positions(self, spec: SourceSpec) -> npt.NDArray[np.int64]:
        """Per record its position in the log, see segments.py."""
        if spec.records is None:
            return self.offsets
        messages = self.message_of_record(spec)
        starts = np.searchsorted(messages, np.arange(len(self.values)))
        within = np.arange(len(messages)) - starts[messages] if len(messages) else messages
        positions: npt.NDArray[np.int64] = (self.offsets[messages] << BATCH_BITS) | within
        return positions


def payload_of(value: bytes | None, spec: SourceSpec) -> bytes:
    """A null value is empty; a byte-order mark is no part of a text, as in files."""
    payload = value or b""
    return payload if spec.wire_format else payload.removeprefix(codecs.BOM_UTF8)


def _last(headers: Headers, key: str) -> str | None:
    """The text of a header; of several with one key the last, as Kafka's own ``lastHeader`` has it."""
    return next((value.decode("utf-8", "replace") for name, value in reversed(headers) if name == key and value is not None), None)


class MessageBatchCoder(coders.Coder):
    """MessagePack. Runners fuse reading with decoding, so this is for tests and for runners that do not."""

    def encode(self, value: MessageBatch) -> bytes:
        """To bytes."""
        offsets, times, marks = (a.astype("<i8").tobytes() for a in (value.offsets, value.times_us, value.watermarks_us))
        further = () if value.headers is None else (value.headers,) if value.schemas is None else (value.headers, value.schemas)
        return msgspec.msgpack.encode((value.logs, offsets, times, marks, value.values, *further))

    def decode(self, encoded: bytes) -> MessageBatch:
        """From bytes."""
        coded = msgspec.msgpack.decode(encoded, type=_Coded)
        offsets, times, marks = (np.frombuffer(column, dtype="<i8") for column in (coded.offsets, coded.times, coded.watermarks))
        return MessageBatch(coded.logs, offsets, times, marks, coded.values, coded.headers, coded.schemas)

    def is_deterministic(self) -> bool:
        """Columns come in a fixed order."""
        return True

    def to_type_hint(self) -> Any:
        """The type it codes."""
        return MessageBatch


coders.registry.register_coder(MessageBatch, MessageBatchCoder)
