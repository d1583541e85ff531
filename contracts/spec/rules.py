"""Rules over several columns, each in two forms: for one row (the verdict) and for columns (the fast suspicion).

``violations(row, paths)`` is the judge. ``suspects(columns)`` gives the indexes of rows that *may* break the rule: it must name
every row that the judge would reject, and may name more; a property test holds the two together.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.codes import Violation

Row = Mapping[str, Any]
Columns = Mapping[str, Sequence[Any]]
Paths = Mapping[str, str]


class Rule(Protocol):
    """A check over several columns of one row."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the rule reads."""
        ...

    def violations(self, row: Row, paths: Paths) -> list[Violation]:
        """What this row breaks. ``paths`` maps columns to their place in the payload."""
        ...

    def suspects(self, columns: Columns) -> Iterable[int]:
        """Indexes of the rows that may break the rule."""
        ...


@dataclass(frozen=True)
class RequireAny:
    """At least one of these columns has a value."""

    any_of: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """See Rule."""
        return self.any_of

    def violations(self, row: Row, paths: Paths) -> list[Violation]:
        """See Rule."""
        if any(row[name] is not None for name in self.any_of):
            return []
        return [Violation("|".join(paths[name] for name in self.any_of), "require_any", "at least one has a value")]

    def suspects(self, columns: Columns) -> Iterable[int]:
        """See Rule."""
        nothing = (None,) * len(self.any_of)
        return [i for i, values in enumerate(zip(*(columns[n] for n in self.any_of), strict=True)) if values == nothing]


@dataclass(frozen=True)
class RequireWhen:
    """Where ``when`` holds one of ``among``: all (or, with ``any_is_enough``, one) of the required columns have a value."""

    when: str
    among: frozenset[str]
    required: tuple[str, ...]
    any_is_enough: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """See Rule."""
        return (self.when, *self.required)

    def violations(self, row: Row, paths: Paths) -> list[Violation]:
        """See Rule."""
        if row[self.when] not in self.among:
            return []
        missing = [name for name in self.required if row[name] is None]
        expected = f"required where {paths[self.when]} is {' or '.join(sorted(map(str, self.among)))}"
        if not self.any_is_enough:
            return [Violation(paths[name], "require_when", expected) for name in missing]
        if len(missing) < len(self.required):
            return []
        return [Violation("|".join(paths[name] for name in self.required), "require_when", f"one is {expected}")]

    def suspects(self, columns: Columns) -> Iterable[int]:
        """See Rule."""
        kinds = columns[self.when]
        if self.among.isdisjoint(kinds):
            return ()
        found: list[int] = []
        for name in self.required:
            values = columns[name]
            if None in values:
                pairs = enumerate(zip(values, kinds, strict=True))
                found += [i for i, (value, kind) in pairs if value is None and kind in self.among]
        return found


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class Compare:
    """``left`` and ``right`` stand in this relation, where both have a value."""

    left: str
    relation: str
    right: str

    @property
    def columns(self) -> tuple[str, ...]:
        """See Rule."""
        return (self.left, self.right)

    def violations(self, row: Row, paths: Paths) -> list[Violation]:
        """See Rule."""
        left, right = row[self.left], row[self.right]
        if left is None or right is None or _OPERATORS[self.relation](left, right):
            return []
        return [Violation(f"{paths[self.left]}|{paths[self.right]}", "compare", f"{self.left} {self.relation} {self.right}")]

    def suspects(self, columns: Columns) -> Iterable[int]:
        """See Rule."""
        holds = _OPERATORS[self.relation]
        pairs = enumerate(zip(columns[self.left], columns[self.right], strict=True))
        return [i for i, (a, b) in pairs if a is not None and b is not None and not holds(a, b)]


def parse_rule(definition: Mapping[str, Any]) -> Rule:
    """Read one entry of the contract's ``rules``.

    Raises:
        ValueError: the entry is none of the known forms.
    """
    if not isinstance(definition, Mapping):
        raise ValueError(f"{definition!r} is not a mapping such as require_any: [user_id, anonymous_id]")
    keys = set(definition)
    for key, value in definition.items():
        if key in ("require", "require_any", "compare") and not (isinstance(value, list) and value):
            raise ValueError(f"{key}: expected a list of columns, not {value!r}")
    if keys == {"require_any"}:
        return RequireAny(tuple(definition["require_any"]))
    if keys == {"compare"} and len(definition["compare"]) == 3 and definition["compare"][1] in _OPERATORS:
        return Compare(*definition["compare"])
    if keys in ({"when", "require"}, {"when", "require_any"}):
        when = definition["when"]
        if not (isinstance(when, Mapping) and len(when) == 1 and all(isinstance(v, list) and v for v in when.values())):
            raise ValueError(f"when: expected one column and a list of its values, {{event_type: [track]}}, not {when!r}")
        ((column, among),) = when.items()
        required = tuple(definition.get("require") or definition["require_any"])
        return RequireWhen(column, frozenset(among), required, any_is_enough="require_any" in keys)
    raise ValueError(
        f"unknown rule with the keys {sorted(map(str, keys))}; known: require_any, when + require, when + require_any, "
        f"compare: [column, one of {' '.join(_OPERATORS)}, column]"
    )
