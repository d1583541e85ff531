"""Decode raw records into rows of the contract: batches by window and shard, dead letters, late rows and filtered positions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MAX_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from contracts.compiler.schemas import ROW_JSON
from contracts.logs import LogContext
from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from contracts.spec.suppressions import Suppressions
from contracts.units import SECOND_US
from lake.ledger.outcomes import Outcome, PositionOutcomes, runs_of
from lake.location import Lake
from lake.raw.batch import RawBatch
from lake.repairs import NO_REPAIRS, read_repairs
from lake.runs.tally import Counts, Tally
from transforms.batch import RowBatch
from transforms.cut import Cut, cut_batches, cut_shards
from transforms.decode.kernel import DecodedRecords, Ints, RecordDecoder, positions_by_file
from transforms.late import fold_times_us, is_late

_REJECTED, _LATE, _FILTERED, _IN_ORDER = "rejected", "late", "filtered", "in_order"
_HELD_ROWS = 50_000
_GLOBAL = (GlobalWindow(),)


class Decoded(NamedTuple):
    """What came of raw records. Batches are keyed by shard.

    rows: accepted rows, in batches per window (late.py) and shard, stamped with the end of the window. rejected: dead letters.
    late: rows too late for their window. Both in batches per shard with rows of any time, stamped as their input was, so that no
    watermark takes them for late. filtered: positions that a filter took out. in_order: accepted rows before they were cut, with
    ROW_JSON, if asked for.
    """

    rows: beam.PCollection[tuple[int, RowBatch]]
    rejected: beam.PCollection[tuple[int, RowBatch]]
    late: beam.PCollection[tuple[int, RowBatch]]
    filtered: beam.PCollection[PositionOutcomes]
    in_order: beam.PCollection[RowBatch]


@dataclass
class DecodeRecords(beam.PTransform):
    """Decode and check raw records against a contract.

    Input: RawBatch of any kind. Output: Decoded.
    Windowing: the global window; outputs carry timestamps for the pipeline's own windows of ``cut.window_s``.
    Guarantees: every record comes out exactly once, in one of the first four outputs. Deterministic. Memory: one chunk's columns,
        and at most _HELD_ROWS rows of a bundle. Rejected records are repaired as ``lake`` says, whose repairs are read when a
        worker begins.
    Fails with: every code of the contract's rules and of the formats, ``codes.Code``.
    """

    contract: Contract
    spec: SourceSpec
    cut: Cut
    run_id: str
    in_order: bool = False
    suppressions: Suppressions = field(default_factory=Suppressions)
    tally: Tally | None = None
    lake: Lake | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, raw: beam.PCollection[RawBatch]) -> Decoded:
        """See the class."""
        decoder = _DecodeFn(
            self.contract, self.spec, self.cut, self.run_id, self.in_order, self.suppressions, self.tally, self.lake
        )
        out = raw | "Decode" >> beam.ParDo(decoder).with_outputs(_REJECTED, _LATE, _FILTERED, _IN_ORDER, main="rows")
        return Decoded(out.rows, out[_REJECTED], out[_LATE], out[_FILTERED], out[_IN_ORDER])


# Any: the coder that shards had before these outputs were typed, so that the state in a savepoint is found again
@beam.typehints.with_output_types(
    tuple[int, RowBatch],
    **{_REJECTED: tuple[Any, RowBatch], _LATE: tuple[Any, RowBatch], _FILTERED: PositionOutcomes, _IN_ORDER: RowBatch},
)
class _DecodeFn(beam.DoFn):
    _tally: Tally | None = None  # these are of the class: jobs of the version before bring none
    _context: LogContext | None = None
    _lake: Lake | None = None
    _clock: Callable[[], float] = staticmethod(time.time)

    def __init__(
        self,
        contract: Contract,
        spec: SourceSpec,
        cut: Cut,
        run_id: str,
        in_order: bool,
        suppressions: Suppressions,
        tally: Tally | None,
        lake: Lake | None,
    ) -> None:
        self._contract, self._spec, self._cut, self._run_id, self._in_order = contract, spec, cut, run_id, in_order
        self._suppressions = suppressions
        self._lake = lake
        self._tally, self._context = tally, LogContext.here(run_id, spec.name)
        names = ("records_in", "records_out", "records_failed", "records_filtered", "records_late")
        self._counters = {name: Metrics.counter(f"decode/{spec.name}", name) for name in names}

    def setup(self) -> None:
        if self._context:
            self._context.apply()
        repairs = read_repairs(self._lake, self._spec.name) if self._lake else NO_REPAIRS
        self._decoder = RecordDecoder(
            self._contract, self._spec, self._run_id, self._suppressions, keep_json=self._in_order, repairs=repairs
        )

    def start_bundle(self) -> None:
        self._held = _Held()

    def process(self, raw: RawBatch, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        decoded = self._decoder.decode(raw)
        if self._cut.ranges is not None:
            outside = decoded.take_out(self._cut.outside(decoded.window_times_us))
            self._held.set_aside(Outcome.OUTSIDE, _positions_of(outside))
        late = self._take_out_late(decoded)
        counts = (
            decoded.records,
            len(decoded.rows),
            len(decoded.dead_letters),
            sum(map(len, decoded.filtered.values())),
            len(late),
        )
        if self._tally:
            self._tally.add(Counts(decoded.records, len(decoded.dead_letters)))
        for counter, count in zip(self._counters.values(), counts, strict=True):
            counter.inc(count)
        if self._in_order:
            if len(decoded.rows):
                yield beam.pvalue.TaggedOutput(_IN_ORDER, RowBatch(decoded.rows))
            decoded.rows, late = (rows.drop_columns(ROW_JSON.name) for rows in (decoded.rows, late))
        times_us = fold_times_us(decoded.window_times_us, decoded.watermarks_us, int(self._clock() * SECOND_US))
        self._held.add(decoded, times_us, late, timestamp)
        if self._held.rows >= _HELD_ROWS:
            yield from self._emit()

    def _take_out_late(self, decoded: DecodedRecords) -> pa.Table:
        window_us, lateness_us = self._cut.window_s * SECOND_US, self._cut.allowed_lateness_s * SECOND_US
        late = is_late(decoded.window_times_us, decoded.watermarks_us, window_us=window_us, allowed_lateness_us=lateness_us)
        return decoded.take_out(late) if late.any() else decoded.rows.slice(0, 0)

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._emit()

    def _emit(self) -> Iterator[Any]:
        """What is held, in as few batches as there can be: each costs a millisecond to write and one to read, however small."""
        held, self._held = self._held, _Held()
        cut, event_id = self._cut, self._contract.event_id
        if held.on_time:
            for stamped in cut_batches(_joined(held.on_time), event_id, cut, np.concatenate(held.times_us)):
                yield WindowedValue(stamped.value, stamped.timestamp, _GLOBAL)
        for tag, tables, key in ((_LATE, held.late, event_id), (_REJECTED, held.dead_letters, "dead_letter_id")):
            if tables:
                for batch in cut_shards(_joined(tables), key, cut):
                    yield beam.pvalue.TaggedOutput(tag, WindowedValue(batch, held.timestamp, _GLOBAL))
        for (kind, raw_file), positions in held.aside.items():
            runs = runs_of(np.concatenate(positions))
            outcome = PositionOutcomes(self._spec.name, raw_file, kind, runs, None, None, self._contract.dataset)
            yield beam.pvalue.TaggedOutput(_FILTERED, WindowedValue(outcome, held.timestamp, _GLOBAL))


@dataclass
class _Held:
    """What a bundle has decoded and not emitted yet. times_us: see ``cut_batches``. timestamp: the smallest of its input."""

    on_time: list[pa.Table] = field(default_factory=list)
    times_us: list[Ints] = field(default_factory=list)
    late: list[pa.Table] = field(default_factory=list)
    dead_letters: list[pa.Table] = field(default_factory=list)
    aside: dict[tuple[Outcome, str], list[Ints]] = field(default_factory=dict)
    rows: int = 0
    timestamp: Any = MAX_TIMESTAMP

    def add(self, decoded: DecodedRecords, times_us: Ints, late: pa.Table, timestamp: Any) -> None:
        """Hold this too."""
        self.times_us.append(times_us)
        for rows, held in ((decoded.rows, self.on_time), (late, self.late), (decoded.dead_letters, self.dead_letters)):
            if len(rows):
                held.append(rows)
                self.rows += len(rows)
        self.set_aside(Outcome.FILTERED, decoded.filtered)
        self.timestamp = min(self.timestamp, timestamp)

    def set_aside(self, outcome: Outcome, positions: Mapping[str, Ints]) -> None:
        """Hold positions that end here, by raw file."""
        for raw_file, own in positions.items():
            self.aside.setdefault((outcome, raw_file), []).append(own)


def _joined(tables: list[pa.Table]) -> pa.Table:
    """In one piece: rows that are picked from many chunks stay in many."""
    return pa.concat_tables(tables).combine_chunks()


def _positions_of(rows: pa.Table) -> dict[str, Ints]:
    return positions_by_file(rows.column("_raw_file").to_pylist(), rows.column("_position").to_numpy())
