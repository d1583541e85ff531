"""Records as the repairs of the lake have them. One that is accepted as it was received gets only what always repairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


@dataclass
class _Forms:
    """What records are by now. accepted: as repaired, by index. tops, used: numbers of the newest on top, and of all repairs."""

    first: Checked
    accepted: dict[int, Any] = field(default_factory=dict)
    tops: dict[int, int] = field(default_factory=dict)
    used: dict[int, set[int]] = field(default_factory=dict)

    def wants(self, index: int, repair: Repair, on_top: bool) -> bool:
        """Whether a repair is to be tried on a record: on one that is rejected, or on top of what is accepted."""
        is_rejected = index in self.first.rejected and index not in self.accepted
        if not on_top:
            return is_rejected
        above_all = repair.always and self.tops.get(index, 0) <= repair.above
        return not is_rejected and above_all and repair.number not in self.used.get(index, ())

    def take(self, accepted: Mapping[int, Any], by: Mapping[int, Repair]) -> None:
        """These are accepted so, by these repairs."""
        self.accepted |= accepted
        for index in accepted:
            self.used.setdefault(index, set()).add(by[index].number)
            if by[index].always:
                self.tops[index] = by[index].number


class RepairRecords:
    """Applies the repairs of one source."""

    def __init__(self, spec: SourceSpec, repairs: Repairs) -> None:
        self._repairs, self._read = repairs, text_reader(spec)
        self._repairers: dict[str, Repairer] = {}

    def checked(self, block: RawBlock, first: Checked, checker: RecordChecker) -> Checked:
        """What became of the records of a block once they are repaired.

        A record that is rejected has the first repair by which it is accepted. What always repairs comes on top of that, or of a
        record that is accepted as it was received. Where none helps the record stays so, with its first verdict.

        Args:
            block: as it was read.
            first: what became of its records as they were received.
            checker: of the source.
        """
        parsed, listed, forms = block.parsed, self._listed(block, first), _Forms(first)

        def check(records: Mapping[int, Any]) -> Checked:
            repaired, failed = with_repaired(block, records)
            return checker.check(repaired, parsed.envelopes, versions=parsed.versions, failed=failed)

        now, is_clean = first, True
        for on_top in (False, True):
            for place in range(max(map(len, listed.values()), default=0)):
                due = {i: repairs[place] for i, repairs in listed.items() if place < len(repairs)}
                due = {i: repair for i, repair in due.items() if forms.wants(i, repair, on_top)}
                made = {i: self._repaired(repair, block, i, forms.accepted.get(i)) for i, repair in due.items()}
                tried = {i: record for i, record in made.items() if record is not None}
                if tried:
                    now = check(forms.accepted | tried)
                    taken = tried.keys() - now.rejected.keys()
                    is_clean = len(taken) == len(tried)
                    forms.take({i: tried[i] for i in taken}, due)
        return now if is_clean else check(forms.accepted)

    def _listed(self, block: RawBlock, first: Checked) -> dict[int, list[Repair]]:
        """Repairs by index, of records that they may change: those for rejected records come first, then by number."""
        found: dict[int, list[Repair]] = {}
        names = np.asarray(block.raw_files, dtype=object)
        for raw_file in dict.fromkeys(block.raw_files):
            here = np.flatnonzero(names == raw_file)
            for repair, mask in self._repairs.at(raw_file, block.positions[here]):
                for index in here[mask].tolist():
                    if index not in block.tombstones and (repair.always or index in first.rejected):
                        found.setdefault(index, []).append(repair)
        return {index: sorted(repairs, key=lambda r: r.always) for index, repairs in found.items()}

    def _repaired(self, repair: Repair, block: RawBlock, index: int, form: Any) -> Mapping[str, Any] | None:
        """A record as a repair makes it, of the form that it has by now; None where it makes nothing of it."""
        repairer = self._repairer(repair)
        return repairer.repaired(form, None) if form is not None else repaired_record(repairer, block, index, self._read)

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
