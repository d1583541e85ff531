"""What all formats share: blocks of records, their raw bytes, and how damage is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from contracts.codes import Violation

PIECE_BYTES = 1 << 20  # of text or records at once: less costs more for each column, more leaves the caches (docs/performance.md)
DAMAGE = Violation("$", "damage", "a readable file up to its end")


@dataclass(frozen=True)
class Bookmark:
    """A place in a file where reading may begin.

    ordinal: of the next record. offset: in the decompressed stream, bytes (Parquet: the row group).
    """

    ordinal: int = 0
    offset: int = 0


@dataclass
class ParsedRecords:
    """Decoded records of one block.

    records: dicts, or anything where ``failed`` has the index. failed: index to violations. raw: the bytes of a record by index, as
    received where the format has them; for dead letters only. envelopes: the SDK batch around each record, or None. messages: where
    payloads hold several records, the index of each record's payload, ascending; None where each is one. versions: what stands
    beside each record about the version of its schema, in a header or a registry; None where nothing can.
    """

    records: Sequence[Any]
    raw: Callable[[int], bytes]
    failed: dict[int, list[Violation]] = field(default_factory=dict)
    envelopes: Sequence[Mapping[str, Any]] | None = None
    messages: Sequence[int] | None = None
    versions: Sequence[str | None] | None = None

    def first(self, count: int) -> ParsedRecords:
        """The first so many of them."""
        if count >= len(self.records):
            return self
        envelopes = None if self.envelopes is None else self.envelopes[:count]
        messages = None if self.messages is None else self.messages[:count]
        versions = None if self.versions is None else self.versions[:count]
        failed = {i: violations for i, violations in self.failed.items() if i < count}
        return ParsedRecords(self.records[:count], self.raw, failed, envelopes, messages, versions)


@dataclass
class RecordBlock:
    """Some records that stand together; ``parse`` decodes them.

    start: where the block begins. count: its records; damage counts as one. size_bytes: decompressed. lost_bytes: of these, in
    records that are larger than they may be.
    """

    start: Bookmark
    count: int
    size_bytes: int
    parse: Callable[[], ParsedRecords]
    damaged: bool = False
    lost_bytes: int = 0


class Format(Protocol):
    """One file format of one source spec."""

    def blocks(self, file: BinaryIO, start: Bookmark) -> Iterator[RecordBlock]:
        """The blocks of a file from a bookmark on. Never raises on bad bytes: damage is a record.

        Args:
            file: the file as it lies there (compressed or not), seekable, at any position.
            start: ``Bookmark()`` or one that a former call for the same bytes gave.
        """
        ...


def damaged_block(start: Bookmark, raw: bytes, violation: Violation = DAMAGE) -> RecordBlock:
    """The block for a damaged place: one record that failed."""
    return RecordBlock(start, 1, max(len(raw), 1), lambda: ParsedRecords([None], lambda _i: raw, {0: [violation]}), damaged=True)
