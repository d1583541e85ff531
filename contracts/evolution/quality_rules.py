"""What differs between the quality rules of two contracts. Nobody's data breaks by it; a partition may be held that was not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from contracts.evolution.changes import Change
from contracts.spec.model import Contract
from contracts.spec.quality import Expected, Operator, QualityRule, Severity

_ORDER = tuple(Severity)
_Interval = tuple[float, bool, float, bool]  # low, whether it is left out, high, whether it is left out


def quality_changes(before: Contract, after: Contract) -> Iterator[Change]:
    """Rules that came, went, or ask for more or less; rules are known by their names."""
    old, new = ({rule.name: rule for rule in contract.quality.rules} for contract in (before, after))
    for name in [*old, *(n for n in new if n not in old)]:
        if name not in new:
            yield _change("removed", old[name], "is gone", "tell the consumers that rely on it", _holds(old[name]))
        elif name not in old:
            yield _change("added", new[name], f"is new: {rule_text(new[name])}", _held(new[name]), _holds(new[name]))
        elif replace(old[name], description="") != replace(new[name], description=""):
            how = _compared(old[name], new[name])
            migration = "tell the consumers that rely on it" if how == "loosened" else _held(new[name])
            what = f"is {rule_text(new[name])}, was {rule_text(old[name])}"
            yield _change(how, new[name], what, migration, _holds(old[name]) or _holds(new[name]))
    for code, what, was, now in (
        ("length", f"a partition is {after.quality.partition_s} s long", before.quality.partition_s, after.quality.partition_s),
        ("calendar", "other days or another zone are declared", before.quality.calendar, after.quality.calendar),
    ):
        if was != now:
            yield Change(
                code=f"quality_{code}_changed",
                what=f"quality rules: {what}",
                documentation=not (before.gated or after.gated),
                migration="baselines learn anew from partitions of the new length" if code == "length" else "",
            )


def _change(how: str, rule: QualityRule, what: str, migration: str, held: bool) -> Change:
    """A change; of a rule that holds nothing, neither before nor after, nobody's data depends on it."""
    return Change(
        code=f"quality_rule_{how}", what=f"the quality rule {rule.name} {what}", column=rule.column, migration=migration,
        documentation=not held,
    )  # fmt: skip


def _holds(rule: QualityRule) -> bool:
    return rule.severity is not Severity.WARN


def _held(rule: QualityRule) -> str:
    if not _holds(rule):
        return ""
    return "run headrace quality run on what is there first: a partition that breaks it is held from then on"


def rule_text(rule: QualityRule) -> str:
    """A rule in words: ``nullValues of email ≤ 1 percent, severity warn``."""
    about = f" of {', '.join(rule.columns)}" if rule.columns else ""
    asked = f" {rule.expected.words(rule.unit)}" if rule.expected else " as before"
    return f"{rule.kind}{about}{asked}, severity {rule.severity}"


def _compared(before: QualityRule, after: QualityRule) -> str:
    """Whether a rule asks for more or for less, where nothing else of it changed."""
    same = {"severity": Severity.WARN, "expected": None, "sensitivity": None, "description": ""}
    if replace(before, **same) == replace(after, **same):  # type: ignore[arg-type]
        severity = _ORDER.index(after.severity) - _ORDER.index(before.severity)
        sensitivity = (before.sensitivity or 0) - (after.sensitivity or 0)  # a lower one tells more
        alike = (before.sensitivity is None) == (after.sensitivity is None)
        if alike and severity >= 0 and sensitivity >= 0 and _follows(before.expected, after.expected):
            return "tightened"
        if alike and severity <= 0 and sensitivity <= 0 and _follows(after.expected, before.expected):
            return "loosened"
    return "changed"


def _follows(loose: Expected | None, strict: Expected | None) -> bool:
    """Whether what keeps the strict expectation keeps the loose one."""
    if loose == strict:
        return True
    wide, narrow = (each and _interval(each) for each in (loose, strict))
    if not wide or not narrow:
        return False
    (low, low_out, high, high_out), (own_low, own_low_out, own_high, own_high_out) = wide, narrow
    return (own_low > low or (own_low == low and (own_low_out or not low_out))) and (
        own_high < high or (own_high == high and (own_high_out or not high_out))
    )


def _interval(expected: Expected) -> _Interval | None:
    """The numbers that keep it; None where they are no interval."""
    numbers = [float(value) for value in expected.values if not isinstance(value, str)]
    if len(numbers) != len(expected.values):
        return None
    first, last = numbers[0], numbers[-1]
    return {
        Operator.BE: (first, False, first, False),
        Operator.GREATER: (first, True, math.inf, False),
        Operator.GREATER_EQUAL: (first, False, math.inf, False),
        Operator.LESS: (-math.inf, False, first, True),
        Operator.LESS_EQUAL: (-math.inf, False, first, False),
        Operator.BETWEEN: (first, False, last, False),
    }.get(expected.operator)
