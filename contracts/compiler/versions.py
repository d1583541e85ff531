"""Reading older versions of a payload as the newest: the version that each record tells, and the steps from there on.

A step reads and writes places of one record, and looks at nothing else, so the result is a function of the record and the spec. An
absent value and null are one thing. A step never overwrites another value: that a record has both is told, not decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, Overflow
from typing import Any

from contracts.codes import Violation
from contracts.compiler.exact import ExactNumber, exact_float
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text
from contracts.spec.versions import SchemaVersionRule, Step, Upcast, matches, steps_from

Record = dict[str, Any]
_DIGITS = Context(prec=500, Emax=999_999, Emin=-999_999, traps=[InvalidOperation, Overflow])
_LONGEST_NUMBER = 400
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class _StepError(Exception):
    """A record does not have what a step takes. The text says what would have been right."""


@dataclass(frozen=True)
class Versioned:
    """Records as the newest version has them, and why some could not be read so, by index.

    records: the very list that was given, where none of them is older.
    """

    records: Sequence[Any]
    broken: Mapping[int, Violation]


class VersionReader:
    """Reads records of every accepted version of one source as its newest. Pure: what it keeps is worked out from the rule."""

    def __init__(self, rule: SchemaVersionRule) -> None:
        self._rule = rule
        self._where = str(rule.path or (f"header {rule.header}" if rule.header else "$"))
        self._unknown = Violation(self._where, "schema_version", "one of " + ", ".join(sorted(rule.accepted)))
        self._chains: dict[int, StepChain] = {}

    @property
    def path(self) -> PayloadPath | None:
        """Where the version stands in the payload; None where it stands beside it."""
        return self._rule.path

    def read(self, records: Sequence[Any], found: Sequence[Any]) -> Versioned:
        """Read a block of records.

        Args:
            records: decoded records, dicts.
            found: what each tells of its version, None for nothing; ignored where the source has a constant one.
        """
        rule = self._rule
        if rule.constant is not None:
            texts: Sequence[str | None] = [rule.constant] * len(records)
        else:
            texts = [rule.default if v is None else v if type(v) is str else plain_text(v) for v in found]
        chains = {text: self._chain(text) for text in set(texts)}
        if all(chain is not None and not chain.steps for chain in chains.values()):
            return Versioned(records, {})
        broken: dict[int, Violation] = {}
        newest: list[Any] = list(records)
        for i, text in enumerate(texts):
            chain = chains[text]
            if chain is None:
                broken[i] = self._unknown
            elif chain.steps:
                try:
                    newest[i] = chain.applied(records[i])
                except BrokenStepError as error:
                    broken[i] = error.violation
        return Versioned(newest, broken)

    def _chain(self, text: str | None) -> StepChain | None:
        """What leads from a version to the newest; None where the version is not accepted."""
        if text is None or not any(matches(text, accepted) for accepted in self._rule.accepted):
            return None
        upcasts = steps_from(text, self._rule.upcasts)
        first = self._rule.upcasts.index(upcasts[0]) if upcasts else -1  # few, however many versions a pattern stands for
        if first not in self._chains:
            self._chains[first] = StepChain.of_upcasts(upcasts)
        return self._chains[first]


class BrokenStepError(Exception):
    """A step cannot be taken with a record. violation: which, and what it expected; never a value."""

    def __init__(self, violation: Violation) -> None:
        super().__init__()
        self.violation = violation


class StepChain:
    """Steps that change records, one after the other."""

    def __init__(self, named: Iterable[tuple[str, Step]]) -> None:
        """named: each with the name that is told where it fails."""
        self.steps = [(_STEPS[step.kind], step, name) for name, step in named]

    @classmethod
    def of_upcasts(cls, upcasts: Sequence[Upcast]) -> StepChain:
        """All steps from one version to the newest."""
        return cls(
            (f"{u.from_version} to {u.to_version}, step {number}, {step.kind}", step)
            for u in upcasts
            for number, step in enumerate(u.steps, 1)
        )

    def applied(self, record: Mapping[str, Any]) -> Record:
        """A changed record; the given one stays as it is.

        Raises:
            BrokenStepError: says which step, and what it expected.
        """
        changed: Record = _own(record)
        for apply, step, name in self.steps:
            try:
                apply(changed, step)
            except _StepError as error:
                raise BrokenStepError(Violation(str(step.paths[0]), "upcast", f"{name}: {error}")) from None
        return changed


def _own(value: Any) -> Any:
    """A value that shares no object or list with the one that is given: steps write into what they are handed."""
    if isinstance(value, dict):
        return {key: _own(inner) if isinstance(inner, (dict, list)) else inner for key, inner in value.items()}
    return [_own(inner) for inner in value] if isinstance(value, list) else value


def _get(record: Record, path: PayloadPath) -> Any:
    value: Any = record
    for step in path.steps:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _pop(record: Record, path: PayloadPath) -> Any:
    """The value at a path, which is then no longer there."""
    holder: Any = record
    for step in path.steps[:-1]:
        holder = holder.get(step) if isinstance(holder, dict) else None
    return holder.pop(path.steps[-1], None) if isinstance(holder, dict) else None


def _put(record: Record, path: PayloadPath, value: Any) -> None:
    holder = record
    for step in path.steps[:-1]:
        inner = holder.get(step)
        if inner is None:
            inner = holder[step] = {}
        if not isinstance(inner, dict):
            raise _StepError(f"an object at {step} in {path}")
        holder = inner
    there = holder.get(path.steps[-1])
    if there is not None and not _same(there, value):
        raise _StepError(f"no other value at {path}")
    holder[path.steps[-1]] = value


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _rename(record: Record, step: Step) -> None:
    if (value := _pop(record, step.paths[0])) is not None:
        _put(record, step.into[0], value)


def _default(record: Record, step: Step) -> None:
    if _get(record, step.paths[0]) is None:
        _put(record, step.paths[0], _own(step.value))


def _split(record: Record, step: Step) -> None:
    value = _pop(record, step.paths[0])
    if value is None:
        return
    if not isinstance(value, str):
        raise _StepError("a text")
    for path, part in zip(step.into, value.split(step.separator, len(step.into) - 1), strict=False):
        _put(record, path, part)


def _join(record: Record, step: Step) -> None:
    values = [value for path in step.paths if (value := _pop(record, path)) is not None]
    if not all(isinstance(value, str) for value in values):
        raise _StepError("texts")
    if values:
        _put(record, step.into[0], step.separator.join(values))


def _unit(record: Record, step: Step) -> None:
    value = _pop(record, step.paths[0])
    if value is None:
        return
    number = _DIGITS.add(_DIGITS.multiply(_number(value), Decimal(step.factor)), Decimal(step.offset))
    plain = _plain(number)
    _put(record, (step.into or step.paths)[0], plain if isinstance(value, str) else _as_json(plain))


def _widen(record: Record, step: Step) -> None:
    value = _pop(record, step.paths[0])
    if value is None:
        return
    widened: Any
    if step.type == "number":
        widened = _as_json(_plain(_number(value)))
    elif isinstance(value, str):
        widened = value
    elif isinstance(value, bool):
        widened = "true" if value else "false"
    else:
        widened = _plain(_number(value))
    _put(record, step.paths[0], widened)


def _cast(record: Record, step: Step) -> None:
    if step.type in ("number", "text"):
        _widen(record, step)
        return
    value = _pop(record, step.paths[0])
    if value is None:
        return
    _put(record, step.paths[0], _whole(value) if step.type == "integer" else _boolean(value))


def _whole(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise _StepError("a whole number")
    return int(_plain(number))


def _boolean(value: Any) -> bool:
    found = value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise _StepError("true or false, or 1 or 0")
    return found


def _replace(record: Record, step: Step) -> None:
    value = _get(record, step.paths[0])
    if value is None:
        return
    if step.pattern is None:
        changed = _own(step.value)
    elif isinstance(value, str):
        text = step.value
        changed = re.sub(step.pattern, lambda _: text, value)
    else:
        raise _StepError("a text")
    _pop(record, step.paths[0])
    _put(record, step.paths[0], changed)


def _map(record: Record, step: Step) -> None:
    value = _pop(record, step.paths[0])
    if value is None:
        return
    text = plain_text(value)
    found = [new for old, new in step.values if old == text]
    if not found and step.otherwise == "reject":
        raise _StepError("one of " + ", ".join(old for old, _ in step.values))
    _put(record, (step.into or step.paths)[0], _own(found[0]) if found else value)


def _remove(record: Record, step: Step) -> None:
    _pop(record, step.paths[0])


def _number(value: Any) -> Decimal:
    """The number that a value is written as."""
    try:
        if isinstance(value, bool) or (isinstance(value, str) and (len(value) > _LONGEST_NUMBER or not value.isascii())):
            raise _StepError("a number")
        if isinstance(value, (int, Decimal, str, float)):
            number = _DIGITS.create_decimal(repr(value) if isinstance(value, float) else value)
            if number.is_finite():
                return number
    except (InvalidOperation, Overflow, ValueError):
        pass
    raise _StepError("a number")


def _plain(number: Decimal) -> str:
    """A number without exponent and needless zeros."""
    if not number:
        return "0"
    if abs(number.adjusted()) > _LONGEST_NUMBER:
        raise _StepError("a number that a double can hold")
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_json(text: str) -> int | float | ExactNumber:
    """As the JSON reader gives this number."""
    if "." not in text:
        return int(text)
    try:
        return exact_float(text)
    except ValueError:
        raise _StepError("a number that a double can hold") from None


_STEPS: dict[str, Callable[[Record, Step], None]] = {
    "rename": _rename, "default": _default, "split": _split, "join": _join, "unit": _unit, "widen": _widen, "cast": _cast,
    "replace": _replace, "map": _map, "remove": _remove,
}  # fmt: skip
