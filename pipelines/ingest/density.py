"""How long the windows of bounded input are: as long as memory allows. Ranges of tables are chosen within them, by the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from contracts.units import HOUR_S, SECOND_US
from lake.raw.files import RawChunk
from lake.tables.ranges import LENGTHS_S
from transforms.decode.kernel import RecordDecoder

FOLDED_BYTES = 1 << 30  # decompressed input that one window may hold; a fold takes a shard of it
WHOLE_S = LENGTHS_S[-1]
_SAMPLES = 32
_CHOICES_S: tuple[int, ...] = tuple(seconds for seconds in reversed(LENGTHS_S) if seconds >= HOUR_S)


def window_for(chunks: Sequence[RawChunk], spec: SourceSpec, contract: Contract, *, at_once_bytes: int) -> int:
    """Seconds of the longest window that holds at most FOLDED_BYTES, as a sample of the chunks tells; an hour at least.

    Args:
        chunks: what is read.
        spec: its source.
        contract: what its rows must keep.
        at_once_bytes: how much of it one graph run takes.
    """
    if min(at_once_bytes, sum(chunk.size_bytes for chunk in chunks)) <= FOLDED_BYTES:
        return WHOLE_S
    seconds = _sample(chunks, spec, contract)
    fitting = (length for length in _CHOICES_S if seconds and _fullest(seconds, length) <= FOLDED_BYTES)
    return next(fitting, HOUR_S)


def _sample(chunks: Sequence[RawChunk], spec: SourceSpec, contract: Contract) -> Counter[int]:
    """Estimated bytes by second of window time, from the first block of some chunks."""
    decoder = RecordDecoder(contract, spec, "sample")
    found: Counter[int] = Counter()
    every = -(-len(chunks) // _SAMPLES)
    total, seen = sum(chunk.size_bytes for chunk in chunks), sum(chunk.size_bytes for chunk in chunks[::every])
    for chunk in chunks[::every]:
        for block in islice(chunk.blocks(spec), 1):
            times: list[int] = (decoder.decode_block(block).window_times_us // SECOND_US).tolist()
            for second in times:
                found[second] += max(chunk.size_bytes * total // (seen * len(times)), 1)
    return found


def _fullest(seconds: Counter[int], length_s: int) -> int:
    windows: Counter[int] = Counter()
    for second, size_bytes in seconds.items():
        windows[second // length_s] += size_bytes
    return max(windows.values())
