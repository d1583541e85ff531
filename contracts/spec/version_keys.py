"""The keys ``schema_version``, ``revision`` and ``examples`` of a source spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

from contracts.spec.documents import listed
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text
from contracts.spec.versions import Example, SchemaVersionRule, Step, StepKind, Upcast, is_pattern, matches, steps_from

_WHERE = ("path", "header", "registry", "constant")
_RULE_KEYS = {*_WHERE, "accepted", "default", "upcasts"}
_STEP_KEYS: dict[str, tuple[set[str], set[str]]] = {  # by kind: keys that are required, and those that may be there
    "rename": ({"path", "to"}, set()),
    "default": ({"path", "value"}, set()),
    "split": ({"path", "at", "into"}, set()),
    "join": ({"paths", "with", "into"}, set()),
    "unit": ({"path"}, {"to", "factor", "offset"}),
    "widen": ({"path", "type"}, set()),
    "map": ({"path", "values"}, {"to", "otherwise"}),
    "remove": ({"path"}, set()),
}
_FACTOR = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?")
_MOST_REVISION = 999_999
_LONGEST_CHAIN = 100


def schema_version(definition: Any, problems: list[str]) -> SchemaVersionRule | None:
    """The rule of a spec; None where it has none, or a wrong one."""
    if definition is None:
        return None
    expected = "schema_version: expected {path: …, accepted: [1, 2], default: 1}"
    if not isinstance(definition, dict) or "accepted" not in definition or not set(definition) <= _RULE_KEYS:
        problems.append(expected)
        return None
    where = [key for key in _WHERE if key in definition]
    if len(where) != 1:
        problems.append(f"{expected}; the version stands at one of {', '.join(_WHERE)}")
        return None
    path = _path(definition["path"], "schema_version.path", problems) if "path" in where else None
    if "header" in where and not (isinstance(definition["header"], str) and definition["header"]):
        problems.append("schema_version.header: expected the name of a header")
    if "registry" in where and definition["registry"] is not True:
        problems.append("schema_version.registry: expected true")
    accepted = frozenset(t for v in listed(definition["accepted"]) if (t := plain_text(v)))
    rule = SchemaVersionRule(
        accepted=accepted,
        path=path,
        header=definition.get("header"),
        registry="registry" in where,
        constant=plain_text(definition.get("constant")),
        default=plain_text(definition.get("default")),
        upcasts=tuple(_upcasts(definition.get("upcasts") or [], problems)),
    )
    problems += _chain_problems(rule)
    return rule if path or "path" not in where else None


def _chain_problems(rule: SchemaVersionRule) -> list[str]:
    problems = []
    for number, upcast in enumerate(rule.upcasts):
        where = f"schema_version.upcasts[{number}]"
        if not any(upcast.from_version == text or matches(upcast.from_version, text) for text in rule.accepted):
            problems.append(f"{where}: version {upcast.from_version} is not among accepted, so no record comes here")
        if is_pattern(upcast.to_version):
            problems.append(f"{where}: to: {upcast.to_version!r} is a pattern; name one version")
        elif not any(matches(upcast.to_version, text) for text in rule.accepted):
            problems.append(f"{where}: to: {upcast.to_version} is not among accepted")
        chain = steps_from(upcast.to_version, rule.upcasts)
        if upcast in chain or len(chain) > _LONGEST_CHAIN:
            problems.append(f"{where}: from {upcast.from_version} to {upcast.to_version} leads back to itself")
    froms = [upcast.from_version for upcast in rule.upcasts]
    problems += [f"schema_version.upcasts: two begin at {text}" for text in sorted({t for t in froms if froms.count(t) > 1})]
    return problems


def _upcasts(definitions: Any, problems: list[str]) -> list[Upcast]:
    found = []
    if not isinstance(definitions, list):
        problems.append("schema_version.upcasts: expected a list such as [{from: 1, to: 2, steps: [{remove: {path: a}}]}]")
        return []
    for number, definition in enumerate(definitions):
        where = f"schema_version.upcasts[{number}]"
        shaped = isinstance(definition, dict) and set(definition) == {"from", "to", "steps"}
        versions = [plain_text(definition[key]) for key in ("from", "to")] if shaped else [None]
        if None in versions or not isinstance(definition["steps"], list):
            problems.append(f"{where}: expected {{from: 1, to: 2, steps: […]}}")
            continue
        steps = [_step(step, f"{where}.steps[{i}]", problems) for i, step in enumerate(definition["steps"])]
        found.append(Upcast(str(versions[0]), str(versions[1]), tuple(step for step in steps if step)))
    return found


def _step(definition: Any, where: str, problems: list[str]) -> Step | None:
    kinds = get_args(StepKind)
    if not isinstance(definition, dict) or len(definition) != 1 or next(iter(definition)) not in kinds:
        problems.append(f"{where}: expected one of {', '.join(kinds)}, such as {{rename: {{path: a, to: b}}}}")
        return None
    ((kind, given),) = definition.items()
    required, optional = _STEP_KEYS[kind]
    if not isinstance(given, dict) or not required <= set(given) <= required | optional:
        more = f"; may have {', '.join(sorted(optional))}" if optional else ""
        problems.append(f"{where}.{kind}: expected {', '.join(sorted(required))}{more}")
        return None
    before = len(problems)
    paths = [_step_path(text, f"{where}.{kind}", problems) for text in listed(given.get("paths", given.get("path")))]
    into = [_step_path(text, f"{where}.{kind}", problems) for text in listed(given.get("into", given.get("to", [])))]
    separator: Any = given.get("at", given.get("with", ""))
    if kind in ("split", "join") and not isinstance(separator, str):
        problems.append(f"{where}.{kind}: the separator is a text")
    if kind == "split" and (not separator or len(into) < 2):
        problems.append(f"{where}.split: expected a separator, and into: two paths or more")
    if kind == "join" and (len(paths) < 2 or len(into) != 1):
        problems.append(f"{where}.join: expected paths: two or more, and into: one")
    factor, offset = (_number(given.get(key, default), f"{where}.{kind}.{key}", problems)
                      for key, default in (("factor", 1), ("offset", 0)))  # fmt: skip
    if kind == "unit" and factor == "0":
        problems.append(f"{where}.unit.factor: 0 loses every value")
    if kind == "widen" and given["type"] not in ("number", "text"):
        problems.append(f"{where}.widen.type: {given['type']!r}; expected number or text")
    if given.get("otherwise", "reject") not in ("reject", "keep"):
        problems.append(f"{where}.map.otherwise: {given['otherwise']!r}; expected reject or keep")
    values = given.get("values", {})
    if not isinstance(values, dict) or not all(plain_text(key) for key in values):
        problems.append(f"{where}.map.values: expected a mapping of old values to new ones")
    if len(problems) > before:
        return None
    return Step(
        kind=kind, paths=tuple(filter(None, paths)), into=tuple(filter(None, into)), value=given.get("value"), separator=separator,
        factor=factor, offset=offset, type=given.get("type", "number"), otherwise=given.get("otherwise", "reject"),
        values=tuple((str(plain_text(old)), new) for old, new in values.items()),
    )  # fmt: skip


def _number(value: Any, where: str, problems: list[str]) -> str:
    text = repr(value) if type(value) in (int, float) else value
    if not isinstance(text, str) or not _FACTOR.fullmatch(text):
        problems.append(f'{where}: {value!r} is no number such as 1000 or "0.001"')
        return "1"
    return "0" if not Decimal(text) else text


def _path(text: Any, where: str, problems: list[str]) -> PayloadPath | None:
    try:
        return PayloadPath.parse(text)
    except (ValueError, AttributeError, TypeError) as error:
        problems.append(f"{where}: {error if isinstance(error, ValueError) else 'expected a path such as context.page.url'}")
        return None


def _step_path(text: Any, where: str, problems: list[str]) -> PayloadPath | None:
    path = _path(text, where, problems)
    if path and path.envelope:
        problems.append(f"{where}: {text}: a step changes the record, not what is around it")
    return path


def revision(value: Any, problems: list[str]) -> int:
    """The revision of a spec; 1 where it names none."""
    if type(value) is not int or not 1 <= value <= _MOST_REVISION:
        problems.append(f"revision: {value!r} is not a number from 1 to {_MOST_REVISION:,}")
        return 1
    return value


def examples(definitions: Any, problems: list[str]) -> tuple[Example, ...]:
    """The examples of a spec."""
    if not isinstance(definitions, list):
        problems.append("examples: expected a list such as [{payload: {…}, row: {…}}]")
        return ()
    found = []
    for number, given in enumerate(definitions):
        where = f"examples[{number}]"
        outcomes = {"row", "rejected", "filtered"}
        if not isinstance(given, dict) or "payload" not in given or not set(given) <= {"name", "version", "payload", *outcomes}:
            problems.append(f"{where}: expected payload, one of row, rejected and filtered, and if need be name and version")
        elif len(outcomes & set(given)) != 1 or not _is_outcome(given):
            problems.append(f"{where}: expected one of row: {{column: value}}, rejected: [rule] and filtered: true")
        else:
            row = tuple((str(k), v) for k, v in given["row"].items()) if "row" in given else None
            rejected = tuple(map(str, listed(given["rejected"]))) if "rejected" in given else None
            version = plain_text(given.get("version"))
            name = str(given.get("name", ""))
            filtered = "filtered" in given
            found.append(
                Example(payload=given["payload"], name=name, version=version, row=row, rejected=rejected, filtered=filtered)
            )
    return tuple(found)


def _is_outcome(given: Mapping[str, Any]) -> bool:
    rejected = given.get("rejected", [""])
    return isinstance(given.get("row", {}), dict) and given.get("filtered", True) is True and rejected not in ([], None)
