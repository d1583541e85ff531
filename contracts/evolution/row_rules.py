"""What differs between the rules over several columns of two contracts: by what follows from what, not by their text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from contracts.evolution.changes import BACKWARD, FORWARD, Change
from contracts.spec.model import Contract
from contracts.spec.rules import Compare, RequireAny, RequireWhen, Rule

_IMPLIES = {"<": {"<", "<="}, "<=": {"<="}, "==": {"==", "<=", ">="}, ">=": {">="}, ">": {">", ">="}}
_TURNED = {"<": ">", "<=": ">=", "==": "==", ">=": "<=", ">": "<"}


def rule_changes(before: Contract, after: Contract) -> Iterator[Change]:
    """Rules that old data may break, and rules that new data may."""
    for rule in after.rules:
        if not _holds(rule, before):
            yield Change(
                code="rule_tightened",
                what=f"a rule is new or stricter: {rule_text(rule)}",
                breaks=BACKWARD,
                migration="have every producer keep it first; what does not is a dead letter, also in a replay",
            )
    for rule in before.rules:
        if not _holds(rule, after):
            yield Change(
                code="rule_loosened",
                what=f"a rule is gone or looser: {rule_text(rule)}",
                breaks=FORWARD,
                migration="tell consumers before producers send what was not allowed",
            )


def rule_text(rule: Rule) -> str:
    """A rule in words."""
    if isinstance(rule, RequireAny):
        return f"one of {', '.join(rule.any_of)} has a value"
    if isinstance(rule, RequireWhen):
        among = " or ".join(sorted(map(str, rule.among)))
        need = f"one of {', '.join(rule.required)}" if rule.any_is_enough else " and ".join(rule.required)
        return f"where {rule.when} is {among}, {need} {'has' if rule.any_is_enough or len(rule.required) == 1 else 'have'} a value"
    assert isinstance(rule, Compare)
    return f"{rule.left} {rule.relation} {rule.right}"


def _holds(rule: Rule, data: Contract) -> bool:
    """Whether every row that is valid by ``data`` keeps a rule; columns that it lacks are null."""
    if isinstance(rule, Compare):
        lacking = not set(rule.columns) <= data.by_name.keys()  # it holds where one of them has no value
        return lacking or any(_follows(rule, other) for other in data.rules if isinstance(other, Compare))
    given = [_Clause(None, frozenset({column.name})) for column in data.columns if column.required]
    given += [clause for other in data.rules for clause in _clauses(other)]
    return all(_never(clause, data) or any(clause.follows(other) for other in given) for clause in _clauses(rule))


@dataclass(frozen=True)
class _Clause:
    """One of these columns has a value: always, or where a column (the condition's first) holds a value (its second)."""

    condition: tuple[str, Any] | None
    any_of: frozenset[str]

    def follows(self, other: _Clause) -> bool:
        """Whether a row that keeps the other keeps this."""
        return other.condition in (None, self.condition) and other.any_of <= self.any_of


def _clauses(rule: Rule) -> list[_Clause]:
    """Rules over presence, taken apart until each says one thing."""
    if isinstance(rule, RequireAny):
        return [_Clause(None, frozenset(rule.any_of))]
    if not isinstance(rule, RequireWhen):
        return []
    groups = [frozenset(rule.required)] if rule.any_is_enough else [frozenset({name}) for name in rule.required]
    return [_Clause((rule.when, value), group) for value in rule.among for group in groups]


def _never(clause: _Clause, data: Contract) -> bool:
    """Whether a clause's condition can hold in no row: the column is not there, or cannot have the value."""
    if clause.condition is None:
        return False
    name, value = clause.condition
    column = data.by_name.get(name)
    return column is None or (bool(column.enum) and value not in column.enum)


def _follows(rule: Compare, other: Compare) -> bool:
    """Whether a row that keeps the other comparison keeps this one."""
    if (other.left, other.right) == (rule.right, rule.left):
        other = Compare(other.right, _TURNED[other.relation], other.left)
    return (other.left, other.right) == (rule.left, rule.right) and rule.relation in _IMPLIES[other.relation]
