"""Quality rules of the engine headrace: what stands in ``implementation``. Reference: docs/reference/quality.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from contracts.codes import Code
from contracts.spec.files.base import FileModel, OneOrMore, Worded, wrong
from contracts.spec.files.compared import Compared, ComparedTimes, Duration, Names, Sensitivity, Unit
from contracts.spec.quality import Reference, RuleKind


class Implementation(FileModel):
    """An implementation for the engine headrace."""

    kind: ClassVar[RuleKind]
    source: str | None = Field(default=None, description="Only rows of this source count.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """Fields of the compiled rule."""
        return {"source": self.source or ""}


class _OfColumns(Implementation):
    columns: Names | None = Field(default=None, description="Which columns; of a rule below a column that one.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        columns = tuple(self.columns) if self.columns else (column,) if column else ()
        if not columns:
            raise wrong("columns: missing; name them, or write the rule below a column")
        return {**super().parts(column), "columns": columns}


class _OfColumn(Implementation):
    column: str | None = Field(default=None, description="Which column; of a rule below a column that one.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        name = self.column or column
        if not name:
            raise wrong("column: missing; name it, or write the rule below a column")
        return {**super().parts(column), "columns": (name,)}


class UniqueRule(Compared, _OfColumns):
    """Rows whose key another row has before them."""

    kind = RuleKind.UNIQUE
    rule: Literal["unique"]
    across: Duration | None = Field(default=None, description="How far before the partition a key may not be either.")
    unit: Unit = Field(default="rows", description="`rows` (default) or `percent`.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "across_s": self.across or 0, "unit": self.unit, "expected": self.expected()}


class CompletenessRule(Compared, _OfColumns):
    """Rows in which every one of the columns has a value."""

    kind = RuleKind.COMPLETENESS
    rule: Literal["completeness"]
    unit: Unit = Field(default="percent", description="`percent` (default) or `rows`.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "unit": self.unit, "expected": self.expected()}


class _Referring(Compared, _OfColumns):
    dataset: str = Field(description="Which dataset is looked at.")
    to: Names = Field(description="Its columns, one for each of this side.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        parts = super().parts(column)
        if len(self.to) != len(parts["columns"]):
            raise wrong(f"to: {len(self.to)} columns for {len(parts['columns'])} of this side; name one for each")
        return {**parts, "reference": Reference(self.dataset, tuple(self.to)), "expected": self.expected()}


class ReferencesRule(_Referring):
    """Rows whose key is not in another dataset."""

    kind = RuleKind.REFERENCES
    rule: Literal["references"]
    grace: Duration | None = Field(
        default=None,
        description="For how long after a row its other side may come; until that dataset is so far, the row is open.",
    )
    unit: Unit = Field(default="rows", description="`rows` (default) or `percent` of the rows that have a key.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "grace_s": self.grace or 0, "unit": self.unit}


class AgreementRule(_Referring):
    """The percentage of distinct keys that another dataset, or another source of it, has too."""

    kind = RuleKind.AGREEMENT
    rule: Literal["agreement"]
    with_source: str | None = Field(default=None, description="Only rows of this source count on the other side.")
    within: Duration | None = Field(
        default=None, description="How far before and after the partition the other side is looked at; without it everywhere."
    )

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        parts = super().parts(column)
        other = Reference(self.dataset, tuple(self.to), self.with_source or "")
        return {**parts, "reference": other, "within_s": self.within, "unit": "percent"}


class FreshnessRule(ComparedTimes, Implementation):
    """From the newest row to the end of the partition."""

    kind = RuleKind.FRESHNESS
    rule: Literal["freshness"]

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "unit": "seconds", "expected": self.expected()}


class DelayRule(ComparedTimes, Implementation):
    """From when it happened to when it was received."""

    kind = RuleKind.DELAY
    rule: Literal["delay"]
    quantile: Annotated[float, Field(gt=0, le=1), Worded("{value!r} is not above 0 and at most 1", whole=True)] = Field(
        default=0.95, description="Of the rows, by their delay; 1 is the slowest."
    )

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "unit": "seconds", "expected": self.expected(), "quantile": self.quantile}


class DeadLettersRule(Compared, Implementation):
    """Rejected records of the partition, against all that there were."""

    kind = RuleKind.DEAD_LETTERS
    rule: Literal["dead_letters"]
    codes: Annotated[list[Literal[tuple(map(str, Code))]], OneOrMore()] | None = Field(  # type: ignore[valid-type]
        default=None, description="Only letters with these codes count."
    )
    unit: Unit = Field(default="percent", description="`percent` (default) or `rows`.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "codes": tuple(self.codes or ()), "unit": self.unit, "expected": self.expected()}


class VolumeRule(Implementation):
    """How many rows there are, against history."""

    kind = RuleKind.VOLUME
    rule: Literal["volume"]
    sensitivity: Sensitivity | None = Field(default=None, description="Robust standard deviations; the lower, the stricter.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "unit": "rows", "sensitivity": self.sensitivity}


class NullShareRule(_OfColumn):
    """The percentage of rows without a value, against history."""

    kind = RuleKind.NULL_SHARE
    rule: Literal["null_share"]
    sensitivity: Sensitivity | None = Field(default=None, description="Robust standard deviations; the lower, the stricter.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "unit": "percent", "sensitivity": self.sensitivity}


class DistributionRule(_OfColumn):
    """How the values of a column are distributed, against history."""

    kind = RuleKind.DISTRIBUTION
    rule: Literal["distribution"]
    sensitivity: Sensitivity | None = Field(default=None, description="Robust standard deviations; the lower, the stricter.")

    def parts(self, column: str | None) -> dict[str, Any]:
        """See Implementation."""
        return {**super().parts(column), "sensitivity": self.sensitivity}


RULES: dict[str, type[Implementation]] = {
    str(model.kind): model
    for model in (
        UniqueRule, CompletenessRule, ReferencesRule, AgreementRule, FreshnessRule, DelayRule, DeadLettersRule, VolumeRule,
        NullShareRule, DistributionRule,
    )
}  # fmt: skip
