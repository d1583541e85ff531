"""The verdict on one record: its row, or every violation. The slow path, exact and complete."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from contracts.codes import Violation
from contracts.compiler.exact import CANONICAL_JSON, find_misfit
from contracts.compiler.values import TextForm, convert
from contracts.spec.model import Column, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec
from contracts.spec.text import plain_text

EMPTY: Mapping[str, Any] = {}
Row = dict[str, Any]


class RecordJudge:
    """Judges records of one source against one contract.

    ``judge`` takes a decoded record as the newest version has it (versions.py; a dict with string keys; anything else is malformed)
    and its envelope (the SDK batch around it, or EMPTY), and gives either the row of canonical values of the mapped columns or a
    non-empty list of violations, in the order of the contract: columns, then rules.
    """

    def __init__(self, contract: Contract, spec: SourceSpec) -> None:
        self._contract = contract
        self._spec = spec
        self._form = text_form(spec)
        self._columns = [c for c in contract.columns if c.name not in contract.computed]
        self._paths = payload_paths(contract, spec)
        self._exempt = contract.event_id if spec.missing_event_id == "derive" else None

    def is_filtered(self, record: Mapping[str, Any], envelope: Mapping[str, Any] = EMPTY) -> bool:
        """Whether a filter of the source takes this record out."""
        return any(plain_text(lookup(record, envelope, rule.path)) in rule.among for rule in self._spec.filters)

    def judge(
        self,
        record: Mapping[str, Any],
        envelope: Mapping[str, Any] = EMPTY,
        *,
        only: Collection[str] | None = None,
        known: Mapping[str, Any] = EMPTY,
    ) -> Row | list[Violation]:
        """See the class.

        Args:
            record: decoded.
            envelope: the SDK batch around it.
            only: names of the columns that are in doubt; the row then has these alone. None: all.
            known: canonical values of the others, at least of those that a rule reads.
        """
        row: Row = {}
        violations: list[Violation] = []
        unfit: set[str] = set()
        for column in self._columns:
            if only is not None and column.name not in only:
                continue
            value, at = self._first(record, envelope, column)
            row[column.name], broken = convert(column, value, self._form)
            for item in broken:
                if item.rule == "required" and column.name == self._exempt:
                    continue
                path = (str(at) if at else self._paths[column.name]) + (f".{item.step}" if item.step else "")
                violations.append(Violation(path, item.rule, item.expected))
                unfit.add(column.name)
        violations += self._unknown(record, row)
        whole = {**known, **row} if known else row
        for rule in self._contract.rules:
            if unfit.isdisjoint(rule.columns):
                violations += rule.violations(whole, self._paths)
        return violations or row

    def _first(self, record: Mapping[str, Any], envelope: Mapping[str, Any], column: Column) -> tuple[Any, PayloadPath | None]:
        """The first value that is no null token, and where it stands."""
        for path in self._spec.columns.get(column.name, ()):
            value = lookup(record, envelope, path)
            if value is not None and not (type(value) is str and value in column.null_tokens):
                return value, path
        return None, None

    def _unknown(self, record: Mapping[str, Any], row: Row) -> list[Violation]:
        if self._contract.unknown_policy == "drop":
            return []
        unknown = {key: value for key, value in record.items() if key not in self._spec.known_fields}
        if self._contract.unknown_policy == "reject":
            return [Violation(key, "unknown_field", "no such field in the contract") for key in sorted(unknown)]
        assert self._contract.unknown_column
        if self._form.typed and (misfit := find_misfit(unknown)):
            return [Violation(misfit.step, misfit.rule, misfit.expected)]
        row[self._contract.unknown_column] = CANONICAL_JSON.encode(unknown).decode() if unknown else None
        return []


def lookup(record: Mapping[str, Any], envelope: Mapping[str, Any], path: PayloadPath) -> Any:
    """The value at a path; None where a step is missing or not inside an object."""
    value: Any = envelope if path.envelope else record
    for step in path.steps:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def text_form(spec: SourceSpec) -> TextForm:
    """How this source writes numbers and times."""
    return TextForm(
        text=spec.text,
        decimal=spec.csv.decimal if spec.text else ".",
        timezone=ZoneInfo(spec.timezone),
        typed=spec.format in ("avro", "parquet"),
        epoch=spec.epoch_units,
    )


def payload_paths(contract: Contract, spec: SourceSpec) -> dict[str, str]:
    """For messages: where each column stands in the payload (its first path), or its own name."""
    return {c.name: str(spec.columns[c.name][0]) if spec.columns.get(c.name) else c.name for c in contract.columns}
