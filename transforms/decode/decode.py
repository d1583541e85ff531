"""Decode raw records into rows of the contract: batches by window and shard, dead letters, late rows and filtered positions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam import coders
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MAX_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from contracts.codes import Violation
from contracts.compiler.checker import Checked, RecordChecker
from contracts.compiler.rows import RowFinisher
from contracts.compiler.schemas import row_schema, to_arrow
from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from contracts.spec.suppressions import NOTHING, Suppressions
from lake.formats import Bookmark, ParsedRecords, format_for
from lake.ledger.outcomes import Outcome, PositionOutcomes, runs_of
from lake.raw.files import RawChunk, open_raw
from lake.tables.iceberg import DEAD_LETTER_SCHEMA
from transforms.batch import RowBatch
from transforms.collector import collector_paused
from transforms.cut import Cut, cut_batches, cut_shards
from transforms.late import NEVER_LATE_US, is_late
from transforms.letters import dead_letter_rows
from transforms.read.messages import MessageBatch

coders.registry.register_coder(RawChunk, coders.FastPrimitivesCoder)

STAGE = "decode"
_REJECTED, _LATE, _FILTERED, _IN_ORDER = "rejected", "late", "filtered", "in_order"
_MICROS = 1_000_000
_HELD_ROWS = 50_000
_GLOBAL = (GlobalWindow(),)


RawRecords = RawChunk | MessageBatch


class Decoded(NamedTuple):
    """What came of raw records. Batches are keyed by shard.

    rows: accepted rows, one batch per window and shard, stamped with the end of its window. rejected: dead letters; late: rows too
    late for their window; both one batch per shard with rows of any time, stamped as their input was, so that no watermark takes
    them for late. filtered: positions that a filter took out. in_order: accepted rows before they were cut, if asked for.
    """

    rows: beam.PCollection[tuple[int, RowBatch]]
    rejected: beam.PCollection[tuple[int, RowBatch]]
    late: beam.PCollection[tuple[int, RowBatch]]
    filtered: beam.PCollection[PositionOutcomes]
    in_order: beam.PCollection[RowBatch]


@dataclass
class DecodeRecords(beam.PTransform):
    """Decode and check raw records against a contract.

    Input: RawChunk or MessageBatch. Output: Decoded.
    Windowing: the global window; outputs carry timestamps for the pipeline's own windows of ``cut.window_s``.
    Guarantees: every record comes out exactly once, in one of the first four outputs. Deterministic. Memory: one chunk's columns,
        and at most _HELD_ROWS rows of a bundle.
    Fails with: every code of the contract's rules and of the formats, ``codes.Code``.
    """

    contract: Contract
    spec: SourceSpec
    cut: Cut
    run_id: str
    in_order: bool = False
    suppressions: Suppressions = field(default_factory=Suppressions)

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, raw: beam.PCollection[RawRecords]) -> Decoded:
        """See the class."""
        decoder = _DecodeFn(self.contract, self.spec, self.cut, self.run_id, self.in_order, self.suppressions)
        out = raw | "Decode" >> beam.ParDo(decoder).with_outputs(_REJECTED, _LATE, _FILTERED, _IN_ORDER, main="rows")
        return Decoded(out.rows, out[_REJECTED], out[_LATE], out[_FILTERED], out[_IN_ORDER])


@beam.typehints.with_output_types(tuple[int, RowBatch])
class _DecodeFn(beam.DoFn):
    def __init__(
        self, contract: Contract, spec: SourceSpec, cut: Cut, run_id: str, in_order: bool, suppressions: Suppressions
    ) -> None:
        self._contract, self._spec, self._cut, self._run_id, self._in_order = contract, spec, cut, run_id, in_order
        self._suppressions = suppressions
        names = ("records_in", "records_out", "records_failed", "records_filtered", "records_late")
        self._counters = {name: Metrics.counter(f"decode/{spec.name}", name) for name in names}

    def setup(self) -> None:
        self._decoder = RecordDecoder(self._contract, self._spec, self._run_id, self._suppressions)

    def start_bundle(self) -> None:
        self._held = _Held()

    def process(self, raw: RawRecords, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        decoded = self._decoder.decode(raw)
        cut = self._cut
        if cut.ranges is not None:
            outside = cut.outside(decoded.rows.column("_window_time").cast(pa.int64()).to_numpy())
            self._held.set_aside(Outcome.OUTSIDE, positions_by_file(decoded.rows.filter(outside)))
            decoded.keep(~outside)
        times = decoded.rows.column("_window_time").cast(pa.int64()).to_numpy()
        window_us, lateness_us = cut.window_s * _MICROS, cut.allowed_lateness_s * _MICROS
        late = is_late(times, decoded.watermarks_us, window_us=window_us, allowed_lateness_us=lateness_us)
        on_time, too_late = (decoded.rows, None) if not late.any() else (decoded.rows.filter(~late), decoded.rows.filter(late))
        counts = (decoded.records, len(on_time), len(decoded.dead_letters), len(decoded.filtered), int(late.sum()))
        for counter, count in zip(self._counters.values(), counts, strict=True):
            counter.inc(count)
        if self._in_order and len(on_time):
            yield beam.pvalue.TaggedOutput(_IN_ORDER, RowBatch(on_time))
        self._held.add(on_time, too_late, decoded, timestamp)
        if self._held.rows >= _HELD_ROWS:
            yield from self._let_go()

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._let_go()

    def _let_go(self) -> Iterator[Any]:
        """What is held, in as few batches as there can be: each costs a millisecond to write and one to read, however small."""
        held, self._held = self._held, _Held()
        cut, event_id = self._cut, self._contract.event_id
        if held.on_time:
            for stamped in cut_batches(pa.concat_tables(held.on_time), event_id, cut):
                yield WindowedValue(stamped.value, stamped.timestamp, _GLOBAL)
        for tag, tables, key in ((_LATE, held.late, event_id), (_REJECTED, held.dead_letters, "dead_letter_id")):
            if tables:
                for batch in cut_shards(pa.concat_tables(tables), key, cut):
                    yield beam.pvalue.TaggedOutput(tag, WindowedValue(batch, held.timestamp, _GLOBAL))
        for (kind, raw_file), positions in held.aside.items():
            runs = runs_of(np.concatenate(positions))
            outcome = PositionOutcomes(self._spec.name, raw_file, kind, runs, None, None)
            yield beam.pvalue.TaggedOutput(_FILTERED, WindowedValue(outcome, held.timestamp, _GLOBAL))


@dataclass
class _Held:
    """What a bundle has decoded and not let go of yet. timestamp: the smallest of its input."""

    on_time: list[pa.Table] = field(default_factory=list)
    late: list[pa.Table] = field(default_factory=list)
    dead_letters: list[pa.Table] = field(default_factory=list)
    aside: dict[tuple[Outcome, str], list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    rows: int = 0
    timestamp: Any = MAX_TIMESTAMP

    def add(self, on_time: pa.Table, late: pa.Table | None, decoded: DecodedRecords, timestamp: Any) -> None:
        """Hold this too."""
        for rows, held in ((on_time, self.on_time), (late, self.late), (decoded.dead_letters, self.dead_letters)):
            if rows is not None and len(rows):
                held.append(rows)
                self.rows += len(rows)
        self.set_aside(Outcome.FILTERED, decoded.filtered)
        self.timestamp = min(self.timestamp, timestamp)

    def set_aside(self, outcome: Outcome, positions: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Hold positions that end here, by raw file."""
        for raw_file, own in positions.items():
            self.aside.setdefault((outcome, raw_file), []).append(own)


@dataclass
class DecodedRecords:
    """What came of some records.

    rows: accepted rows (row_schema); watermarks_us: W of each, or of all. dead_letters: DEAD_LETTER_SCHEMA. filtered: positions by
    raw file or log.
    """

    records: int
    rows: pa.Table
    dead_letters: pa.Table
    filtered: dict[str, npt.NDArray[np.int64]]
    watermarks_us: npt.NDArray[np.int64] | int = NEVER_LATE_US

    def keep(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Keep only these rows."""
        self.rows = self.rows.filter(chosen)
        if isinstance(self.watermarks_us, np.ndarray):
            self.watermarks_us = self.watermarks_us[chosen]


def positions_by_file(rows: pa.Table) -> dict[str, npt.NDArray[np.int64]]:
    """Positions of rows, by raw file or log."""
    names, positions = rows.column("_raw_file").to_numpy(), rows.column("_position").to_numpy()
    return {str(name): positions[names == name] for name in dict.fromkeys(names.tolist())}


class RecordDecoder:
    """The kernel of the hot path: records to columns, a block at a time. No Beam in here."""

    def __init__(self, contract: Contract, spec: SourceSpec, run_id: str, suppressions: Suppressions = NOTHING) -> None:
        self._contract, self._spec, self._run_id, self._suppressions = contract, spec, run_id, suppressions
        self._checker = RecordChecker(contract, spec)
        self._finisher = RowFinisher(contract)
        self._schema = row_schema(contract)

    def decode(self, raw: RawRecords) -> DecodedRecords:
        """Decode and check raw records, wherever they come from."""
        return self._decode_messages(raw) if isinstance(raw, MessageBatch) else self._decode_chunk(raw)

    def _decode_messages(self, batch: MessageBatch) -> DecodedRecords:
        parsed, message = batch.parse(self._spec), batch.message_of_record(self._spec)
        received = batch.times_us[message].tolist()
        with collector_paused():
            logs = batch.logs if self._spec.records is None else [batch.logs[i] for i in message.tolist()]
            return self.decode_block(parsed, batch.positions(self._spec), logs, received, batch.watermarks_us[message])

    def _decode_chunk(self, chunk: RawChunk) -> DecodedRecords:
        """Read and decode one chunk of a raw file."""
        parts: list[DecodedRecords] = []
        end = chunk.ordinal + chunk.records
        with open_raw(chunk) as file, collector_paused():
            for block in format_for(self._spec).blocks(file, Bookmark(chunk.ordinal, chunk.offset)):
                if block.start.ordinal >= end:
                    break
                parsed = block.parse().first(end - block.start.ordinal)
                first, count = block.start.ordinal, len(parsed.records)
                positions = np.arange(first, first + count)
                parts.append(self.decode_block(parsed, positions, [chunk.raw_file] * count, [chunk.received_at_us] * count))
        filtered = [part.filtered[chunk.raw_file] for part in parts if part.filtered]
        return DecodedRecords(
            sum(part.records for part in parts),
            pa.concat_tables([self._schema.empty_table(), *(part.rows for part in parts)]),
            pa.concat_tables([DEAD_LETTER_SCHEMA.empty_table(), *(part.dead_letters for part in parts)]),
            {chunk.raw_file: np.concatenate(filtered)} if filtered else {},
        )

    def decode_block(
        self,
        parsed: ParsedRecords,
        positions: npt.NDArray[np.int64],
        raw_files: Sequence[str],
        received_at_us: list[int],
        watermarks_us: npt.NDArray[np.int64] | None = None,
    ) -> DecodedRecords:
        """Decode records that were read already.

        Args:
            parsed: the records.
            positions: of each.
            raw_files: where each comes from.
            received_at_us: when each was received, where the payload does not say.
            watermarks_us: W of each; None where none can be late.
        """
        records = parsed.records
        checked = self._checker.check(records, parsed.envelopes, failed=parsed.failed)
        if self._suppressions:
            self._suppress(checked, parsed, self._suppressions.matching(checked.columns))
        accepted = np.asarray(checked.accepted, dtype=np.int64)
        all_accepted = len(accepted) == len(records)
        count = len(accepted)
        columns = self._finisher.finish(
            checked.columns, received_at_us if all_accepted else [received_at_us[i] for i in checked.accepted]
        )
        columns["_source"] = [self._spec.name] * count
        columns["_raw_file"] = list(raw_files) if all_accepted else [raw_files[i] for i in checked.accepted]
        columns["_position"] = positions[accepted].tolist()
        rows = pa.Table.from_arrays([to_arrow(f.type, columns[f.name]) for f in self._schema], schema=self._schema)
        rejected = dict(sorted(checked.rejected.items()))
        dead = self._dead_letters(rejected, parsed, positions, raw_files, received_at_us) if rejected else None
        filtered: dict[str, list[int]] = {}
        for index in checked.filtered:
            filtered.setdefault(raw_files[index], []).append(int(positions[index]))
        return DecodedRecords(
            len(records),
            rows,
            dead or DEAD_LETTER_SCHEMA.empty_table(),
            {raw_file: np.array(found, dtype=np.int64) for raw_file, found in filtered.items()},
            NEVER_LATE_US if watermarks_us is None else watermarks_us[accepted],
        )

    def _suppress(self, checked: Checked, parsed: ParsedRecords, suppressed: Collection[int]) -> None:
        """Take records of suppressed ids out, be they accepted or rejected; their positions count as filtered."""
        gone = {checked.accepted[i] for i in suppressed}
        for index in checked.rejected:
            for column, paths in self._spec.columns.items():
                texts = (_text_at(parsed.records[index], path.steps) for path in paths if not path.envelope)
                if any(self._suppressions.holds(column, text) for text in texts if text is not None):
                    gone.add(index)
        if not gone:
            return
        keep = [index not in gone for index in checked.accepted]
        checked.columns = {name: list(compress(values, keep)) for name, values in checked.columns.items()}
        checked.accepted = list(compress(checked.accepted, keep))
        for index in gone & checked.rejected.keys():
            del checked.rejected[index]
        checked.filtered = sorted({*checked.filtered, *gone})

    def _dead_letters(
        self,
        rejected: Mapping[int, list[Violation]],
        parsed: ParsedRecords,
        positions: npt.NDArray[np.int64],
        raw_files: Sequence[str],
        received_at_us: Sequence[int],
    ) -> pa.Table:
        ids = self._spec.columns.get(self._contract.event_id, ())
        id_step = ids[0].steps if ids and not ids[0].envelope else ()
        letters = [
            {
                "code": violations[0].code,
                "stage": STAGE,
                "dataset": self._contract.name,
                "contract_version": self._contract.version,
                "event_id": _text_at(parsed.records[index], id_step),
                "raw": parsed.raw(index),
                "_source": self._spec.name,
                "_raw_file": raw_files[index],
                "_position": int(positions[index]),
                "_received_at": received_at_us[index],
            }
            for index, violations in rejected.items()
        ]
        return dead_letter_rows(letters, list(rejected.values()), self._run_id)


def _text_at(record: Any, steps: Sequence[str]) -> str | None:
    for step in steps:
        record = record.get(step) if isinstance(record, dict) else None
    return record[:256] if steps and isinstance(record, str) else None
