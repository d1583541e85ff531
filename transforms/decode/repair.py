"""Rejected records as the repairs of the lake have them. A record that is accepted as it was received gets none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from contracts.codes import Violation
from contracts.compiler.checker import Checked, RecordChecker
from contracts.compiler.repairs import Repairer
from contracts.spec.files.recipe import kept_recipe
from contracts.spec.source import SourceSpec
from lake.formats.jsonl import parse_payloads
from lake.raw.batch import RawBlock
from lake.repairs import Repair, Repairs

_CUT = {"record_bytes"}  # of what is too large only the beginning is kept
Failed = dict[int, list[Violation]]


class RepairRecords:
    """Applies the repairs of one source."""

    def __init__(self, spec: SourceSpec, repairs: Repairs) -> None:
        self._repairs, self._read = repairs, text_reader(spec)
        self._repairers: dict[str, Repairer] = {}

    def checked(self, block: RawBlock, first: Checked, checker: RecordChecker) -> Checked:
        """What became of the records of a block once those that are rejected are repaired.

        A record with several repairs has the first by which it is accepted. Of one that none helps the first verdict stands.

        Args:
            block: as it was read.
            first: what became of its records as they were received.
            checker: of the source.
        """
        parsed, now = block.parsed, first
        listed = {i: r for i, r in self._listed(block).items() if i in first.rejected or r[0].always}
        changed: dict[int, Any] = {}
        if not listed:
            return first
        for number in range(max(map(len, listed.values()), default=0)):
            for index, repairs in listed.items():
                if number < len(repairs) and (index in now.rejected or (number == 0 and repairs[0].always)):
                    record = repaired_record(self._repairer(repairs[number]), block, index, self._read)
                    if record is not None:
                        changed[index] = record
            records, failed = with_repaired(block, changed)
            now = checker.check(records, parsed.envelopes, versions=parsed.versions, failed=failed)
        now.rejected = {index: first.rejected.get(index, why) for index, why in now.rejected.items()}
        return now

    def _listed(self, block: RawBlock) -> dict[int, list[Repair]]:
        """Repairs by index, the first ones first; only of records that have one."""
        found: dict[int, list[Repair]] = {}
        names = np.asarray(block.raw_files, dtype=object)
        for raw_file in dict.fromkeys(block.raw_files):
            here = np.flatnonzero(names == raw_file)
            for repair, mask in self._repairs.at(raw_file, block.positions[here]):
                for index in here[mask].tolist():
                    found.setdefault(index, []).append(repair)
        return {
            index: sorted(repairs, key=lambda r: not r.always) for index, repairs in found.items() if index not in block.tombstones
        }

    def _repairer(self, repair: Repair) -> Repairer:
        if repair.digest not in self._repairers:
            self._repairers[repair.digest] = Repairer(kept_recipe(repair.recipe, repair.does))
        return self._repairers[repair.digest]


def repaired_record(
    repairer: Repairer, block: RawBlock, index: int, read: Callable[[bytes], Any] | None
) -> Mapping[str, Any] | None:
    """One record of a block as a recipe makes it; None where it makes nothing of it. read: see ``text_reader``."""
    failed = block.parsed.failed.get(index)
    if failed is None:
        return repairer.repaired(block.parsed.records[index], None)
    if read is None or failed[0].rule in _CUT:
        return None
    return repairer.repaired(None, block.parsed.raw(index), read)


def with_repaired(block: RawBlock, changed: Mapping[int, Any]) -> tuple[list[Any], Failed]:
    """The records of a block with some of them changed, and which cannot be read."""
    records = list(block.parsed.records)
    for index, record in changed.items():
        records[index] = record
    return records, {index: why for index, why in block.parsed.failed.items() if index not in changed}


def text_reader(spec: SourceSpec) -> Callable[[bytes], Any] | None:
    """Reads the one record that a mended text holds, None where it holds none; None for sources whose records are no texts."""
    if spec.format not in ("jsonl", "json_array") or spec.records is not None or spec.wire_format is not None:
        return None

    def read(text: bytes) -> Any:
        parsed = parse_payloads(spec, [text])
        return None if parsed.failed else parsed.records[0]

    return read
