"""Some records of raw batches: those at chosen positions, such as those of dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contracts.spec.source import SourceSpec
from lake.formats import Bookmark, ParsedRecords, format_for
from lake.raw.batch import RawBatch, RawBlock
from lake.raw.files import RawChunk, open_raw
from lake.raw.positions import Positions


@dataclass(frozen=True, eq=False)
class ChosenRecords:
    """The records of a batch, all of one raw file or log, that stand at these positions. A file's other blocks are not parsed."""

    batch: RawBatch
    positions: Positions

    def blocks(self, spec: SourceSpec) -> Iterator[RawBlock]:
        """See RawBatch."""
        whole = _blocks_with(self.batch, spec, self.positions) if isinstance(self.batch, RawChunk) else self.batch.blocks(spec)
        for block in whole:
            at = np.flatnonzero(self.positions.ranks(block.positions + 1) > self.positions.ranks(block.positions))
            if len(at):
                yield part_of(block, at.tolist())


def _blocks_with(chunk: RawChunk, spec: SourceSpec, wanted: Positions) -> Iterator[RawBlock]:
    """As ``RawChunk.blocks``, without those blocks that hold no wanted position."""
    low, high = wanted.bounds
    end = min(chunk.ordinal + chunk.records, high)
    with open_raw(chunk) as file:
        for block in format_for(spec).blocks(file, Bookmark(chunk.ordinal, chunk.offset)):
            first = block.start.ordinal
            if first >= end:
                return
            if first + block.count > low and len(wanted.within(first, first + block.count)):
                parsed = block.parse().first(end - first)
                count = len(parsed.records)
                yield RawBlock(parsed, np.arange(first, first + count), [chunk.raw_file] * count, [chunk.received_at_us] * count)


def part_of(block: RawBlock, at: list[int]) -> RawBlock:
    """The records of a block at these indexes, ascending."""
    parsed, places = block.parsed, {index: place for place, index in enumerate(at)}
    part = ParsedRecords(
        [parsed.records[i] for i in at],
        lambda place: parsed.raw(at[place]),
        {places[i]: why for i, why in parsed.failed.items() if i in places},
        None if parsed.envelopes is None else [parsed.envelopes[i] for i in at],
        None if parsed.messages is None else [parsed.messages[i] for i in at],
        None if parsed.versions is None else [parsed.versions[i] for i in at],
    )
    return RawBlock(
        part,
        block.positions[at],
        [block.raw_files[i] for i in at],
        [block.received_at_us[i] for i in at],
        None if block.watermarks_us is None else block.watermarks_us[at],
        [places[i] for i in block.tombstones if i in places],
    )
