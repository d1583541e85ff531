"""The kernel of the hot path: raw records to columns, a block at a time. No Beam in here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.compiler.checker import Checked, RecordChecker
from contracts.compiler.revisions import revision_number
from contracts.compiler.rows import RowFinisher
from contracts.compiler.schemas import ROW_JSON, row_schema, to_arrow
from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from contracts.spec.suppressions import NOTHING, Suppressions
from contracts.spec.text import plain_text
from lake.raw.batch import RawBatch, RawBlock
from lake.repairs import NO_REPAIRS, Repairs
from lake.tables.iceberg import DEAD_LETTER_SCHEMA
from transforms.collector import collector_paused
from transforms.decode.repair import RepairRecords
from transforms.late import NEVER_LATE_US
from transforms.letters import STAGE, dead_letter_rows

Ints = npt.NDArray[np.int64]


@dataclass
class DecodedRecords:
    """What came of some records.

    rows: accepted rows (row_schema, and ROW_JSON where it is kept); watermarks_us: W of each. dead_letters: DEAD_LETTER_SCHEMA.
    filtered: positions by raw file or log.
    """

    records: int
    rows: pa.Table
    dead_letters: pa.Table
    filtered: dict[str, Ints]
    watermarks_us: Ints

    @property
    def window_times_us(self) -> Ints:
        """What decides the window of each row."""
        times: Ints = self.rows.column("_window_time").cast(pa.int64()).to_numpy()
        return times

    def take_out(self, chosen: npt.NDArray[np.bool_]) -> pa.Table:
        """Rows that are accepted no longer."""
        taken = self.rows.filter(chosen)
        self.rows, self.watermarks_us = self.rows.filter(~chosen), self.watermarks_us[~chosen]
        return taken


def positions_by_file(raw_files: Sequence[str], positions: Ints) -> dict[str, Ints]:
    """Positions by the raw file or log of each."""
    names = np.asarray(raw_files, dtype=object)
    return {name: positions[names == name] for name in dict.fromkeys(raw_files)}


class RecordDecoder:
    """Decodes and checks the records of one source. Deterministic."""

    def __init__(
        self,
        contract: Contract,
        spec: SourceSpec,
        run_id: str,
        suppressions: Suppressions = NOTHING,
        *,
        keep_json: bool = False,
        repairs: Repairs = NO_REPAIRS,
    ) -> None:
        """keep_json: rows bring their canonical JSON along, which is made for their hash anyway. repairs: of rejected records."""
        spec = replace(spec, whole=contract.unknown_policy != "drop" or bool(repairs))  # a step may read any field
        self._repairing = RepairRecords(spec, repairs) if repairs else None
        self._contract, self._spec, self._run_id, self._suppressions = contract, spec, run_id, suppressions
        self._checker = RecordChecker(contract, spec)
        self._finisher = RowFinisher(contract, spec.clock, spec.revision)
        self._revision = revision_number(contract, spec.revision)
        self._schema, self._keeps_json = row_schema(contract), keep_json
        if keep_json:
            self._schema = self._schema.append(ROW_JSON)

    def decode(self, raw: RawBatch) -> DecodedRecords:
        """Decode and check raw records, wherever they come from."""
        with collector_paused():
            parts = [self.decode_block(block) for block in raw.blocks(self._spec)]
        return parts[0] if len(parts) == 1 else self._joined(parts)

    def _joined(self, parts: Sequence[DecodedRecords]) -> DecodedRecords:
        filtered: dict[str, list[Ints]] = {}
        for part in parts:
            for raw_file, positions in part.filtered.items():
                filtered.setdefault(raw_file, []).append(positions)
        return DecodedRecords(
            sum(part.records for part in parts),
            pa.concat_tables([self._schema.empty_table(), *(part.rows for part in parts)]),
            pa.concat_tables([DEAD_LETTER_SCHEMA.empty_table(), *(part.dead_letters for part in parts)]),
            {raw_file: np.concatenate(positions) for raw_file, positions in filtered.items()},
            np.concatenate([np.empty(0, np.int64), *(part.watermarks_us for part in parts)]),
        )

    def decode_block(self, block: RawBlock) -> DecodedRecords:
        """Decode and check parsed records."""
        parsed = block.parsed
        received = checked = self._checker.check(parsed.records, parsed.envelopes, versions=parsed.versions, failed=parsed.failed)
        if self._repairing:
            checked = self._repairing.checked(block, received, self._checker)
        if block.tombstones and self._spec.tombstones == "filter":
            for index in block.tombstones:
                del checked.rejected[index]
            checked.filtered = sorted({*checked.filtered, *block.tombstones})
        if self._suppressions:
            gone = self._suppressed(checked)
            if checked is not received:  # whoever is to be forgotten is known by the record as it came, too
                gone |= self._suppressed(received)
            _take_out(checked, gone)
        accepted = np.asarray(checked.accepted, dtype=np.int64)
        filtered = np.asarray(checked.filtered, dtype=np.int64)
        marks = block.watermarks_us
        return DecodedRecords(
            len(parsed.records),
            self._rows(checked, block, accepted),
            self._dead_letters(checked, block),
            positions_by_file([block.raw_files[i] for i in checked.filtered], block.positions[filtered]),
            np.full(len(accepted), NEVER_LATE_US) if marks is None else marks[accepted],
        )

    def _suppressed(self, checked: Checked) -> set[int]:
        """Indexes of records with a suppressed id, be they accepted or rejected."""
        gone = {checked.accepted[i] for i in self._suppressions.matching(checked.columns)}
        for index in checked.rejected:
            for column, paths in self._spec.columns.items():
                texts = (plain_text(_value_at(checked.records[index], path.steps)) for path in paths if not path.envelope)
                if any(self._suppressions.holds(column, text) for text in texts if text is not None):
                    gone.add(index)
        return gone

    def _rows(self, checked: Checked, block: RawBlock, accepted: Ints) -> pa.Table:
        raw_files, received_at_us = block.raw_files, block.received_at_us
        if len(accepted) < len(block.parsed.records):
            raw_files = [raw_files[i] for i in checked.accepted]
            received_at_us = [received_at_us[i] for i in checked.accepted]
        columns = self._finisher.finish(checked.columns, received_at_us, from_log=block.watermarks_us is not None)
        columns["_source"] = [self._spec.name] * len(accepted)
        columns["_raw_file"] = list(raw_files)
        columns["_position"] = block.positions[accepted].tolist()
        if self._keeps_json:
            columns[ROW_JSON.name] = columns.row_json
        return pa.Table.from_arrays([to_arrow(f.type, columns[f.name]) for f in self._schema], schema=self._schema)

    def _dead_letters(self, checked: Checked, block: RawBlock) -> pa.Table:
        if not checked.rejected:
            return DEAD_LETTER_SCHEMA.empty_table()
        ids = self._spec.columns.get(self._contract.event_id, ())
        id_steps = ids[0].steps if ids and not ids[0].envelope else ()
        in_order = sorted(checked.rejected.items())
        letters = [
            {
                "code": violations[0].code,
                "stage": STAGE,
                "dataset": self._contract.dataset,
                "contract_version": self._contract.version,
                "event_id": _text_at(checked.records[index], id_steps),
                "raw": block.parsed.raw(index),
                "_source": self._spec.name,
                "_raw_file": block.raw_files[index],
                "_position": int(block.positions[index]),
                "_received_at": block.received_at_us[index],
                "_revision": self._revision,
            }
            for index, violations in in_order
        ]
        return dead_letter_rows(letters, [violations for _, violations in in_order], self._run_id)


def _take_out(checked: Checked, gone: set[int]) -> None:
    """Take records out; their positions count as filtered."""
    if not gone:
        return
    keep = [index not in gone for index in checked.accepted]
    checked.columns = {name: list(compress(values, keep)) for name, values in checked.columns.items()}
    checked.accepted = list(compress(checked.accepted, keep))
    for index in gone & checked.rejected.keys():
        del checked.rejected[index]
    checked.filtered = sorted({*checked.filtered, *gone})


def _value_at(record: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        record = record.get(step) if isinstance(record, dict) else None
    return record if steps else None


def _text_at(record: Any, steps: Sequence[str]) -> str | None:
    value = _value_at(record, steps)
    return value[:256] if isinstance(value, str) else None
