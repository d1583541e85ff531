"""What differs between two versions of one column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from contracts.evolution.changes import BACKWARD, BOTH, FORWARD, NEITHER, Change, Direction
from contracts.spec.model import FORMATS, Column, ColumnType
from contracts.units import DURATION_UNITS

_EXACT_IN_DOUBLE = 2**53
# Each says more than those before it how a value is to be kept; what is not here is comparable with nothing.
_CLASSES = ("public", "internal", "confidential", "personal", "sensitive", "restricted")
_HANDLINGS = ("mask", "hash", "drop")
_DURATION = re.compile(r"(\d{1,6})([dhms])")


def column_changes(before: Column, after: Column) -> Iterator[Change]:
    """Every difference between two columns of one name."""
    if before.type is not after.type or before.json_container != after.json_container:
        yield _type_change(before, after)
    elif before.type is ColumnType.DECIMAL:
        yield from _decimal_changes(before, after)
    if before.type is after.type:
        yield from _tokens(before, after)
        yield from _rules(before, after)
    yield from _required(before, after)
    yield from _meaning(before, after)
    yield from _protection(before, after)
    yield from _lifecycle(before, after)


def type_text(column: Column) -> str:
    """A column's type in words."""
    if column.type is ColumnType.DECIMAL:
        return f"decimal({column.precision},{column.scale})"
    if column.type is ColumnType.JSON:
        return f"json {column.json_container}"
    return str(column.type)


def _type_change(before: Column, after: Column) -> Change:
    what = f"{after.name} is {type_text(after)}, was {type_text(before)}"
    bounds = (before.minimum, before.maximum)
    exact = all(isinstance(bound, int | float) and abs(bound) <= _EXACT_IN_DOUBLE for bound in bounds)
    if (before.type, after.type) == (ColumnType.INTEGER, ColumnType.NUMBER) and exact:
        return Change(
            code="type_widened",
            column=after.name,
            what=what,
            breaks=FORWARD,
            lost=True,
            migration=f"a table cannot change {after.name} in place: make a new major version, and fill it by replay",
            replay=True,
        )
    return Change(
        code="type_changed",
        column=after.name,
        what=what,
        breaks=BOTH,
        migration=f"add a column of another name, fill both for a while, deprecate {after.name}; or make a new major version",
        replay=True,
    )


def _decimal_changes(before: Column, after: Column) -> Iterator[Change]:
    if before.scale != after.scale:
        yield Change(
            code="scale_changed",
            column=after.name,
            what=f"{after.name} has {after.scale} digits after the point, had {before.scale}",
            breaks=BOTH,
            migration=f"add a column of another name and deprecate {after.name}: no table changes the scale of what it holds",
            replay=True,
        )
    elif before.precision != after.precision:
        wider = after.precision > before.precision
        yield Change(
            code="precision_widened" if wider else "precision_narrowed",
            column=after.name,
            what=f"{after.name} has {after.precision} digits, had {before.precision}",
            breaks=FORWARD if wider else BACKWARD,
            migration=_limits_migration(after.name, wider),
        )


def _limits_migration(name: str, loosened: bool) -> str:
    if loosened:
        return f"tell the consumers of {name} before producers send what was not allowed"
    return f"have every producer keep the new rule of {name} first; what does not is a dead letter, also in a replay"


def _required(before: Column, after: Column) -> Iterator[Change]:
    if before.required and not after.required:
        yield Change(
            code="made_optional",
            column=after.name,
            what=f"{after.name} is optional, was required",
            breaks=FORWARD,
            migration=f"have the consumers of {after.name} take nulls before producers leave it out",
        )
    elif after.required and not before.required:
        yield Change(
            code="made_required",
            column=after.name,
            what=f"{after.name} is required, was optional",
            breaks=BACKWARD,
            migration=f"have every producer send {after.name} first, or give it a default by an upcast in each source",
        )


def _rules(before: Column, after: Column) -> Iterator[Change]:
    name = after.name
    if set(before.enum) != set(after.enum):
        yield from _enum(before, after)
    if _pattern(before) != _pattern(after):
        kind = {(True, False): FORWARD, (False, True): BACKWARD}.get((bool(_pattern(before)), bool(_pattern(after))), BOTH)
        code = {FORWARD: "pattern_removed", BACKWARD: "pattern_added", BOTH: "pattern_changed"}[kind]
        said = {
            "pattern_removed": f"{name} needs no pattern or format any more, needed {_shown(before)}",
            "pattern_added": f"{name} needs {_shown(after)}",
            "pattern_changed": f"{name} needs {_shown(after)}, needed {_shown(before)}",
        }[code]
        yield Change(
            code=code, column=name, what=said, breaks=kind, migration=_limits_migration(name, Direction.BACKWARD not in kind)
        )
    yield from _limit(name, "min_length", "at least {} characters", before.min_length, after.min_length, lower=True)
    yield from _limit(name, "max_length", "at most {} characters", before.max_length, after.max_length, lower=False)
    yield from _limit(name, "minimum", "at least {}", before.minimum, after.minimum, lower=True)
    yield from _limit(name, "maximum", "at most {}", before.maximum, after.maximum, lower=False)
    yield from _accepted(before, after)


def _pattern(column: Column) -> str | None:
    """The pattern, written out: a format and its pattern are the same rule."""
    return column.pattern or (FORMATS[column.format] if column.format else None)


def _shown(column: Column) -> str:
    return f"the format {column.format}" if column.format else f"the pattern {column.pattern}"


def _enum(before: Column, after: Column) -> Iterator[Change]:
    name, old, new = after.name, set(before.enum), set(after.enum)
    if not old or not new:
        yield Change(
            code="enum_removed" if old else "enum_introduced",
            column=name,
            what=f"{name} may be anything, was one of {_among(old)}" if old else f"{name} is one of {_among(new)}",
            breaks=FORWARD if old else BACKWARD,
            migration=_limits_migration(name, bool(old)),
        )
        return
    if gone := old - new:
        yield Change(
            code="enum_values_removed",
            column=name,
            what=f"{name} may no longer be {_among(gone)}",
            breaks=BACKWARD,
            migration=f"map {_among(gone)} to another value by an upcast in each source, or have every producer stop first",
        )
    if added := new - old:
        yield Change(
            code="enum_values_added",
            column=name,
            what=f"{name} may be {_among(added)} too",
            breaks=FORWARD,
            migration=f"tell the consumers of {name} before producers send {_among(added)}",
        )


def _among(values: Iterable[str]) -> str:
    return " or ".join(sorted(values))


def _limit(name: str, code: str, said: str, before: Any, after: Any, *, lower: bool) -> Iterator[Change]:
    """One bound. lower: whether it bounds from below."""
    if before == after:
        return
    tighter = before is None if before is None or after is None else (after > before) is lower
    was = f", was {said.format(before)}" if before is not None else ""
    yield Change(
        code=f"{code}_{'tightened' if tighter else 'loosened'}",
        column=name,
        what=f"{name} is {said.format(after)}{was}" if after is not None else f"{name} need no longer be {said.format(before)}",
        breaks=BACKWARD if tighter else FORWARD,
        migration=_limits_migration(name, not tighter),
    )


_ACCEPTED_WORDS = {"text": "text for other types", "epoch": "numbers since 1970", "no_zone": "times without a zone"}


def _accepted(before: Column, after: Column) -> Iterator[Change]:
    for gone, code, kind in (
        (before.accept - after.accept, "coercion_removed", BACKWARD),
        (after.accept - before.accept, "coercion_added", FORWARD),
    ):
        for what in sorted(gone):
            told = f"{after.name} {'takes' if kind is FORWARD else 'no longer takes'} {_ACCEPTED_WORDS.get(what, what)}"
            yield Change(
                code=code, column=after.name, what=told, breaks=kind, migration=_limits_migration(after.name, kind is FORWARD)
            )


def _tokens(before: Column, after: Column) -> Iterator[Change]:
    """Texts that mean "no value": another list makes a value of what was none, or none of what was a value."""
    name = after.name
    if added := after.null_tokens - before.null_tokens:
        was_value = any(_may_be(before, token) for token in added)
        yield Change(
            code="null_tokens_added",
            column=name,
            what=f"{name} has no value where it is {_quoted(added)}",
            breaks=BOTH if was_value or after.required else FORWARD,
            replay=was_value,
            migration="replay what is landed, so that rows have no value there either"
            if was_value
            else _limits_migration(name, True),
        )
    if gone := before.null_tokens - after.null_tokens:
        yield Change(
            code="null_tokens_removed",
            column=name,
            what=f"{name} no longer has no value where it is {_quoted(gone)}",
            breaks=BOTH,
            replay=True,
            migration=f"have producers leave {name} out instead of sending {_quoted(gone)}, then replay",
        )


def _may_be(column: Column, text: str) -> bool:
    """Whether a text is a value of this column."""
    if column.type is not ColumnType.STRING:
        return "text" in column.accept
    short = column.min_length is not None and len(text) < column.min_length
    long = column.max_length is not None and len(text) > column.max_length
    unlisted = bool(column.enum) and text not in column.enum
    unlike = column.regex is not None and not column.regex.search(text)
    return not (short or long or unlisted or unlike)


def _quoted(values: Iterable[str]) -> str:
    return " or ".join(f'"{value}"' for value in sorted(values))


def _meaning(before: Column, after: Column) -> Iterator[Change]:
    name = after.name
    if before.unit != after.unit:
        if before.unit is None:
            yield Change(code="unit_stated", column=name, what=f"{name} is in {after.unit}")
        else:
            yield Change(
                code="unit_changed",
                column=name,
                what=f"{name} is in {after.unit or 'no unit that is stated'}, was in {before.unit}",
                breaks=BOTH,
                replay=True,
                migration="convert older payloads by an upcast in each source and replay, or add a column of another name",
            )
    if before.identifier != after.identifier:
        stated = before.identifier is None
        yield Change(
            code="identifier_stated" if stated else "identifier_changed",
            column=name,
            what=f"{name} names {after.identifier or 'nobody'}" + ("" if stated else f", named {before.identifier}"),
            breaks=NEITHER if stated else BOTH,
            replay=True,
            migration="resolve identities anew: what is merged by this column changes",
        )
    if before.transport != after.transport:
        yield Change(
            code="transport_changed",
            column=name,
            what=f"{name} {'differs' if after.transport else 'no longer differs'} between retries of one event",
            breaks=BOTH,
            replay=True,
            migration="replay: ids that are derived from content change with it, so a repeat would be an event of its own",
        )


def _rank(value: str | None, order: tuple[str, ...]) -> int | None:
    """How strict a word is; 0 for none at all, None where that is not known."""
    if value is None:
        return 0
    return order.index(value.lower()) + 1 if value.lower() in order else None


def _protection(before: Column, after: Column) -> Iterator[Change]:
    """Of personal data. Stricter: readers of the old contract take too little care of new data. Looser: those of the new of old."""
    name = after.name
    for code, old, new, order in (
        ("classification", before.classification, after.classification, _CLASSES),
        ("handling", before.handling, after.handling, _HANDLINGS),
    ):
        if old != new:
            yield _stricter_or_looser(name, code, old, new, _rank(old, order), _rank(new, order))
    if before.retention != after.retention:
        kept = [_seconds(value) for value in (before.retention, after.retention)]
        ranks = [None if seconds is None else -seconds for seconds in kept]
        yield _stricter_or_looser(name, "retention", before.retention, after.retention, *ranks)
    if before.region != after.region:
        ranks = [int(value is not None) for value in (before.region, after.region)]
        same = all(ranks)
        yield _stricter_or_looser(name, "region", before.region, after.region, *(None if same else rank for rank in ranks))
    if set(before.purpose) != set(after.purpose):
        yield _purpose(before, after)


def _stricter_or_looser(name: str, code: str, old: Any, new: Any, before: float | None, after: float | None) -> Change:
    if before is None or after is None or before == after:
        kind, word = BOTH, "changed"
    else:
        kind, word = (FORWARD, "stricter") if after > before else (BACKWARD, "looser")
    migration = {
        "stricter": f"have the consumers of {name} keep the new rule; rows and copies that are there are under it too",
        "looser": "do not apply it to values that were given under the old rule; a column of another name keeps them apart",
        "changed": f"say to the consumers of {name} what changes, and make a new major version",
    }[word]
    return Change(
        code=f"{code}_{word}",
        column=name,
        what=f"{name} has the {code} {new or 'none'}, had {old or 'none'}",
        breaks=kind,
        migration=migration,
    )


def _seconds(retention: str | None) -> float | None:
    """How long; without end where nothing is said, None where the text is not understood."""
    if retention is None:
        return float("inf")
    match = _DURATION.fullmatch(retention)
    return int(match[1]) * DURATION_UNITS[match[2]] if match else None


def _purpose(before: Column, after: Column) -> Change:
    """No purpose at all says nothing, so everything is allowed."""
    old, new = set(before.purpose), set(after.purpose)
    if not old or (new and new < old):
        kind, word = FORWARD, "stricter"
    elif not new or old < new:
        kind, word = BACKWARD, "looser"
    else:
        kind, word = BOTH, "changed"
    return Change(
        code=f"purpose_{word}",
        column=after.name,
        what=f"{after.name} is for {', '.join(sorted(new)) or 'any purpose'}, was for {', '.join(sorted(old)) or 'any'}",
        breaks=kind,
        migration="use values for what they were given for: those that are there were given under the old purposes",
    )


def _lifecycle(before: Column, after: Column) -> Iterator[Change]:
    name = after.name
    if before.deprecated != after.deprecated:
        ends = after.deprecated
        if ends is None:
            what, code = f"{name} stays: it is no longer deprecated", "deprecation_withdrawn"
        else:
            instead = f", use {ends.use}" if ends.use else ""
            what, code = f"{name} goes away after {ends.until}{instead}", "deprecated"
            if before.deprecated:
                code = "deprecation_shortened" if ends.until < before.deprecated.until else "deprecation_changed"
        yield Change(code=code, column=name, what=what, migration=f"tell the consumers of {name}" if ends else "")
    if before.description != after.description:
        yield Change(code="description_changed", column=name, what=f"{name} is described anew", documentation=True)
