"""What is observed, compared by ODCS's ``mustBe…``; and other types that quality rules share."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from contracts.spec.files.base import FileModel, OneOrMore, Read, Worded, duration_s, wrong
from contracts.spec.quality import Expected, Operator

_OPERATORS = ", ".join(Operator)


def read_duration(given: Any) -> int:
    """Seconds of ``15m``."""
    if (seconds := duration_s(given)) is None:
        raise wrong(f"{given!r} is no duration such as 15m, 12h or 7d")
    return seconds


def _seconds(given: Any) -> int | float:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    return read_duration(given)


def _positive(given: Any) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 < given < math.inf:
        raise wrong(f"{given!r} is not a number above 0")
    return float(given)


Duration = Annotated[int, Read(read_duration, {"type": "string", "examples": ["15m", "12h", "7d"]})]
Names = Annotated[list[str], OneOrMore(), Field(min_length=1), Worded("expected a column, or a list of columns", whole=True)]
Plain = str | int | float | bool
Unit = Annotated[Literal["rows", "percent"], Worded("{value!r} is not rows or percent")]
SeverityName = Annotated[
    Literal["warn", "quarantine", "stop"], Worded("{value!r} is no severity; expected warn, quarantine or stop")
]
Sensitivity = Annotated[float, Read(_positive, {"type": "number", "exclusiveMinimum": 0})]
_Seconds = Annotated[int | float, Read(_seconds, {"type": ["number", "string"], "examples": ["15m", 900]})]
_Number = Annotated[int | float, Worded("{value!r} is not a number", whole=True)]
_Pair = Annotated[list[_Number], Field(min_length=2, max_length=2), Worded("expected two numbers, the smaller first", whole=True)]
_SecondsPair = Annotated[
    list[_Seconds], Field(min_length=2, max_length=2), Worded("expected two durations, the smaller first", whole=True)
]


class Compared(FileModel):
    """What is observed must stand in one relation to what is given."""

    must_be: _Number | None = Field(default=None, alias="mustBe", description="Equal to this.")
    must_not_be: _Number | None = Field(default=None, alias="mustNotBe", description="Not this.")
    must_be_greater: _Number | None = Field(default=None, alias="mustBeGreaterThan", description="Above this.")
    must_be_at_least: _Number | None = Field(default=None, alias="mustBeGreaterOrEqualTo", description="This or above.")
    must_be_less: _Number | None = Field(default=None, alias="mustBeLessThan", description="Below this.")
    must_be_at_most: _Number | None = Field(default=None, alias="mustBeLessOrEqualTo", description="This or below.")
    must_be_between: _Pair | None = Field(default=None, alias="mustBeBetween", description="Between two, both included.")
    must_not_be_between: _Pair | None = Field(default=None, alias="mustNotBeBetween", description="Outside of two.")

    @model_validator(mode="after")
    def _one_relation(self) -> Compared:
        given = self._given()
        if len(given) != 1:
            more = f", not {' and '.join(given)}" if given else ""
            raise wrong(f"expected one of {_OPERATORS}{more}")
        for operator, value in given.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, float) and not math.isfinite(one):
                    raise wrong(f"{operator}: {one} is no bound: nothing compares with it, or everything is on one side of it")
        for operator in (Operator.BETWEEN, Operator.NOT_BETWEEN):
            if operator in given and given[operator][0] > given[operator][1]:
                raise wrong(f"{operator}: the smaller number stands first")
        return self

    def _given(self) -> dict[Operator, Any]:
        names = {name: field.alias for name, field in type(self).model_fields.items()}
        found = {names[name]: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {operator: found[operator] for operator in Operator if operator in found}

    def expected(self) -> Expected:
        """What it means."""
        ((operator, value),) = self._given().items()
        return Expected(operator, tuple(value) if isinstance(value, list) else (value,))


class ComparedTimes(Compared):
    """The same for lengths of time: seconds, or durations such as 15m."""

    must_be: _Seconds | None = Field(default=None, alias="mustBe", description="Equal to this.")
    must_not_be: _Seconds | None = Field(default=None, alias="mustNotBe", description="Not this.")
    must_be_greater: _Seconds | None = Field(default=None, alias="mustBeGreaterThan", description="Above this.")
    must_be_at_least: _Seconds | None = Field(default=None, alias="mustBeGreaterOrEqualTo", description="This or above.")
    must_be_less: _Seconds | None = Field(default=None, alias="mustBeLessThan", description="Below this.")
    must_be_at_most: _Seconds | None = Field(default=None, alias="mustBeLessOrEqualTo", description="This or below.")
    must_be_between: _SecondsPair | None = Field(default=None, alias="mustBeBetween", description="Between two, both included.")
    must_not_be_between: _SecondsPair | None = Field(default=None, alias="mustNotBeBetween", description="Outside of two.")


class ComparedValues(Compared):
    """The same for what a query gives, which may be a text."""

    must_be: Plain | None = Field(default=None, alias="mustBe", description="Equal to this.")  # type: ignore[assignment]
    must_not_be: Plain | None = Field(default=None, alias="mustNotBe", description="Not this.")  # type: ignore[assignment]
