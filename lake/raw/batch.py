"""What every source gives: batches of raw records, parsed block by block. Whoever decodes them knows nothing else of a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from contracts.spec.source import SourceSpec
from lake.formats import ParsedRecords


@dataclass(frozen=True, eq=False)
class RawBlock:
    """Records that are decoded at once. All but the first are per record.

    parsed: the records. positions, raw_files: where each lies. received_at_us: what stands in where the payload does not say when
    each was received. watermarks_us: W of each; None where they come from a file, and none can be late. tombstones: indexes of
    messages without a value.
    """

    parsed: ParsedRecords
    positions: npt.NDArray[np.int64]
    raw_files: Sequence[str]
    received_at_us: Sequence[int]
    watermarks_us: npt.NDArray[np.int64] | None = None
    tombstones: Sequence[int] = ()


@runtime_checkable
class RawBatch(Protocol):
    """Raw records of one source that lie in ``raw/``, or will when the bundle that gave them out ends."""

    def blocks(self, spec: SourceSpec) -> Iterator[RawBlock]:
        """The records, in order; each once."""
        ...
