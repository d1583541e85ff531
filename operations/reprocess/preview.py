"""Side by side, before anything is written: what a record was rejected for, and the row that would come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from contracts.spec.model import Contract
from contracts.spec.source import SourceSpec
from lake.raw.batch import RawBlock
from operations.cells import MASKED, Masked
from operations.deadletters.hiding import Hiding
from operations.reprocess.judge import Verdicts
from transforms.decode.kernel import DecodedRecords

_LONGEST = 80


class Preview:
    """Collects a few examples of each code.

    Values of columns that the contract classifies are masked, and so are event ids. Keys of payloads are hidden as lists of letters
    hide them.
    """

    def __init__(self, contract: Contract, spec: SourceSpec, samples: int, hiding: Hiding) -> None:
        self._contract, self._spec, self._samples, self._hiding = contract, spec, samples, hiding
        self._masked = Masked.of(contract)
        self._counts: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []

    def see(self, block: RawBlock, decoded: DecodedRecords, verdicts: Verdicts) -> None:
        """A block that was judged; of a repaired record it comes twice, the repaired reading first."""
        raw_file = block.raw_files[0]
        if not self._samples:
            return
        rows = decoded.rows
        places = {position: place for place, position in enumerate(rows.column("_position").to_pylist())}
        repaired, passing = set(verdicts.repaired.tolist()), set(verdicts.passing.tolist())
        letters = {letter["_position"]: letter for letter in _few(verdicts.rejected, self._samples)}
        for index, position in enumerate(block.positions.tolist()):
            if position in letters:
                code = letters[position]["code"]
                self._add(raw_file, position, f"still_failing {code}", self._told(letters[position]), None, False)
            elif position in places and position in passing and self._counts["recovered"] < self._samples:
                before, after = self._found(block, index), self._row(rows, places[position])
                self._add(raw_file, position, "recovered", before, after, position in repaired)

    def _told(self, letter: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a record is rejected for, as it may be shown."""
        violations = [one | {"path": self._hiding.path(self._spec.name, one)} for one in letter["violations"]]
        return {"code": letter["code"], "violations": violations}

    def _add(self, raw_file: str, position: int, kind: str, before: Any, after: Any, repaired: bool) -> None:
        if self._counts[kind] >= self._samples:
            return
        self._counts[kind] += 1
        self.examples.append(
            {
                "source": self._spec.name, "position": f"{raw_file}:{position}", "outcome": kind.partition(" ")[0],
                "repaired": repaired, "before": before, "after": after,
            }
        )  # fmt: skip

    def _found(self, block: RawBlock, index: int) -> Mapping[str, Any]:
        """What the record holds for each column, as it was received."""
        record = block.parsed.records[index]
        found = {}
        for name, paths in self._spec.columns.items():
            values = (_at(record, path.steps) for path in paths if not path.envelope)
            value = next((value for value in values if value is not None), None)
            if value is not None:
                found[name] = self._shown(name, value)
        return found

    def _row(self, rows: Any, place: int) -> Mapping[str, Any]:
        columns = [name for name in rows.column_names if not name.startswith("_")]
        values = {name: rows.column(name)[place].as_py() for name in columns}
        return {name: self._shown(name, value) for name, value in values.items() if value is not None}

    def _shown(self, name: str, value: Any) -> Any:
        shown = self._masked.shown(name, value) if name != self._contract.event_id else MASKED
        return shown if not isinstance(shown, str) or len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _few(rejected: pa.Table, samples: int) -> list[dict[str, Any]]:
    """The first letters of each code."""
    codes = np.asarray(rejected.column("code").to_pylist(), dtype=object)
    chosen = [place for code in dict.fromkeys(codes.tolist()) for place in np.flatnonzero(codes == code)[:samples].tolist()]
    letters: list[dict[str, Any]] = rejected.take(chosen).to_pylist() if chosen else []
    return letters


def _at(record: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        record = record.get(step) if isinstance(record, dict) else None
    return record
