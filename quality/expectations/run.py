"""A suite run by Great Expectations over rows of a partition: off the hot path, without network, telemetry or values in results."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from operator import and_
from typing import TYPE_CHECKING, Any

from contracts.errors import ConfigurationError
from quality.expectations.docs import page_of_result
from quality.expectations.suite import Condition, Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

_EXTRA = "Great Expectations is not installed: pip install 'headrace[quality]'"
_KEPT = ("element_count", "unexpected_count", "unexpected_percent", "missing_count", "missing_percent", "observed_value")
_NOT_NULL = "ExpectColumnValuesToNotBeNull"
_RAISED = {
    "raised_exception": True,
    "exception_message": "the expectation could not be evaluated",
    "exception_traceback": "not kept, since it may quote a value",
}


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation. rows: that it is about. failing: their numbers, where it is about single ones.

    observed: what it is about as a whole, such as the number of rows. raised: an error of Great Expectations in place of an answer.
    """

    expectation: Expectation
    success: bool
    rows: int
    failing: tuple[int, ...] = ()
    observed: int | None = None
    raised: bool = False


@dataclass(frozen=True)
class Results:
    """Of a whole suite. document: the result as Great Expectations writes it, without values of rows; page: its Data Docs."""

    outcomes: Sequence[Outcome]
    document: Mapping[str, Any]
    page: str


def check_installed() -> None:
    """Import Great Expectations, which takes seconds.

    Raises:
        ConfigurationError: it is not installed.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    try:
        with _quiet():
            import great_expectations  # noqa: F401, PLC0415 - of the extra quality
    except ImportError:
        raise ConfigurationError(_EXTRA) from None


def evaluate(suite: Suite, frame: pd.DataFrame, name: str) -> Results:
    """Run a suite over rows.

    Args:
        suite: which.
        frame: the rows; see frame.py.
        name: what the result is called, such as the dataset and the partition.

    Raises:
        ConfigurationError: Great Expectations is not installed.
    """
    check_installed()
    import great_expectations as gx  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    with _quiet(), pd.option_context("mode.string_storage", "python"):  # by Arrow's, patterns would be RE2's
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("partition").get_batch({"dataframe": frame})
        made = [_made(each, number, frame) for number, each in enumerate(suite.expectations)]
        result = _validated(batch, made, name)
        found = {each.expectation_config.meta["number"]: each for each in result.results}
        outcomes = [_outcome(each, found[number], frame) for number, each in enumerate(suite.expectations)]
        for each in result.results:
            _strip(each)
        return Results(outcomes, result.to_json_dict(), page_of_result(result, name))


def _validated(batch: Any, made: Sequence[Any], name: str) -> Any:
    """The result of a suite. An error of an expectation that ends the whole validation is told by that expectation alone."""
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.core.expectation_validation_result import (  # noqa: PLC0415
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

    def validate(expectations: Sequence[Any]) -> Any:
        return batch.validate(gx.ExpectationSuite(name=name, expectations=list(expectations)), result_format=_FORMAT)

    try:
        return validate(made)
    except Exception:  # whatever it is of the library, the other expectations have their answers
        found = []
        for each in made:
            each.id = None  # it belongs to no suite yet
            try:
                found += validate([each]).results
            except Exception:  # as above: this one is an error, and the next has its answer
                found.append(
                    ExpectationValidationResult(
                        success=False, expectation_config=each.configuration, result={}, exception_info=dict(_RAISED)
                    )
                )
    good = sum(bool(each.success) for each in found)
    figures = {
        "evaluated_expectations": len(found), "successful_expectations": good, "unsuccessful_expectations": len(found) - good,
        "success_percent": 100 * good / len(found) if found else None,
    }  # fmt: skip
    meta = {"great_expectations_version": gx.__version__}
    return ExpectationSuiteValidationResult(
        success=good == len(found), results=found, suite_name=name, statistics=figures, meta=meta
    )


_FORMAT = {"result_format": "COMPLETE", "partial_unexpected_count": 0}


def _made(expectation: Expectation, number: int, frame: pd.DataFrame) -> Any:
    """An expectation as an object of Great Expectations. number: tells its result from others, which come in no order."""
    from great_expectations import expectations  # noqa: PLC0415

    arguments = {key: value for key, value in expectation.arguments.items() if value is not None}
    if expectation.when:
        arguments["row_condition"] = _row_condition(expectation.when)
    if expectation.most or expectation.below:
        arguments["mostly"] = _mostly(expectation, frame)
    return getattr(expectations, expectation.type)(**arguments, meta={"rule": expectation.rule, "number": number})


def _row_condition(when: Sequence[Condition]) -> Any:
    from great_expectations.expectations.row_conditions import Column  # noqa: PLC0415

    conditions = [
        Column(each.column).is_null() if each.among is None else Column(each.column).is_in(list(map(_listable, each.among)))
        for each in when
    ]
    return reduce(and_, conditions)


def _listable(value: Any) -> Any:
    """A value of a list in a condition, which takes no booleans; 1 equals true."""
    return int(value) if isinstance(value, bool) else value


def _domain(expectation: Expectation, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that an expectation is about."""
    for each in expectation.when:
        column = frame[each.column]
        frame = frame[column.isna() if each.among is None else column.isin(each.among)]
    return frame


def _mostly(expectation: Expectation, frame: pd.DataFrame) -> float:
    """The share of rows that must hold, so that exactly ``most`` may not."""
    rows = _domain(expectation, frame)
    most = Fraction(str(expectation.most))
    limit = most if expectation.unit == "rows" else most * len(rows) / 100
    may_fail = ceil(limit) - 1 if expectation.below else floor(limit)
    looked_at = len(rows) if expectation.type == _NOT_NULL else int(rows[expectation.arguments["column"]].notna().sum())
    return min(max(0.0, (looked_at - may_fail) / looked_at), 1.0) if looked_at else 1.0


def _outcome(expectation: Expectation, told: Any, frame: pd.DataFrame) -> Outcome:
    raised = bool(told.exception_info.get("raised_exception", True))
    observed = told.result.get("observed_value")
    return Outcome(
        expectation=expectation,
        success=bool(told.success) and not raised,
        rows=_looked_at(expectation, frame),
        failing=tuple(sorted(told.result.get("unexpected_index_list") or ())),
        observed=int(observed) if isinstance(observed, int) else None,
        raised=raised,
    )


def _looked_at(expectation: Expectation, frame: pd.DataFrame) -> int:
    """How many rows an expectation is about: of uniqueness those with a key."""
    rows, key = _domain(expectation, frame), expectation.arguments.get("column_list", [expectation.arguments.get("column")])
    return int(rows[key].notna().all(axis=1).sum()) if "Unique" in expectation.type else len(rows)


def _strip(told: Any) -> None:
    """Take values of rows out of a result: an error may quote one too."""
    told.result = {key: value for key, value in told.result.items() if key in _KEPT}
    if told.exception_info.get("raised_exception", True):
        told.exception_info = dict(_RAISED)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of its own on the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("great_expectations", "py.warnings"):
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
