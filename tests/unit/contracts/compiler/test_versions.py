"""Older versions of a payload read as the newest: each step, what breaks, and what stays as it was."""

from __future__ import annotations

import copy
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codes import Code, Violation
from contracts.compiler.checker import RecordChecker
from contracts.compiler.exact import CANONICAL_JSON, decode_json
from contracts.compiler.versions import VersionReader
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.source import DropRule, SourceSpec
from contracts.spec.versions import SchemaVersionRule, Step, Upcast, steps_from


def p(text: str) -> PayloadPath:
    return PayloadPath.parse(text)


def rename(path: str, to: str) -> Step:
    return Step(kind="rename", paths=(p(path),), into=(p(to),))


def default(path: str, value: Any) -> Step:
    return Step(kind="default", paths=(p(path),), value=value)


def split(path: str, at: str, *into: str) -> Step:
    return Step(kind="split", paths=(p(path),), into=tuple(map(p, into)), separator=at)


def join(*paths: str, at: str, into: str) -> Step:
    return Step(kind="join", paths=tuple(map(p, paths)), into=(p(into),), separator=at)


def unit(path: str, factor: str, offset: str = "0", to: str | None = None) -> Step:
    return Step(kind="unit", paths=(p(path),), into=(p(to),) if to else (), factor=factor, offset=offset)


def widen(path: str, kind: Any) -> Step:
    return Step(kind="widen", paths=(p(path),), type=kind)


def cast(path: str, kind: Any) -> Step:
    return Step(kind="cast", paths=(PayloadPath.parse(path),), type=kind)


def replaced(path: str, value: Any, pattern: str | None = None) -> Step:
    return Step(kind="replace", paths=(PayloadPath.parse(path),), value=value, pattern=pattern)


def mapped(path: str, values: dict[str, Any], otherwise: Any = "reject", to: str | None = None) -> Step:
    return Step(
        kind="map", paths=(p(path),), into=(p(to),) if to else (), values=tuple(values.items()), otherwise=otherwise
    )  # fmt: skip


def remove(path: str) -> Step:
    return Step(kind="remove", paths=(p(path),))


def upcast(record: Any, *steps: Step) -> Any:
    """The record after these steps, or the violation."""
    rule = SchemaVersionRule(constant="1", accepted=frozenset({"1"}), upcasts=(Upcast("1", "2", steps),))
    before = copy.deepcopy(record)
    read = VersionReader(rule).read([record], [None])
    assert record == before
    return read.broken.get(0) or read.records[0]


STEPS: list[tuple[str, str, Step, str]] = [
    ("rename", '{"a":1}', rename("a", "b.c"), '{"b":{"c":1}}'),
    ("rename of nothing", '{"x":1}', rename("a", "b"), '{"x":1}'),
    ("rename of null", '{"a":null}', rename("a", "b"), "{}"),
    ("rename out of an object", '{"a":{"b":1,"c":2}}', rename("a.b", "b"), '{"a":{"c":2},"b":1}'),
    ("rename where both are alike", '{"a":1,"b":1}', rename("a", "b"), '{"b":1}'),
    ("rename of a whole object", '{"a":{"x":[1]}}', rename("a", "b.a"), '{"b":{"a":{"x":[1]}}}'),
    ("rename below a text", '{"a":"t"}', rename("a.b", "c"), '{"a":"t"}'),
    ("rename of false", '{"a":false}', rename("a", "b"), '{"b":false}'),
    ("default", "{}", default("a.b", "web"), '{"a":{"b":"web"}}'),
    ("default of null", '{"a":null}', default("a", 0), '{"a":0}'),
    ("default beside a value", '{"a":false}', default("a", True), '{"a":false}'),
    ("split", '{"n":"Ada King Lovelace"}', split("n", " ", "f", "l"), '{"f":"Ada","l":"King Lovelace"}'),
    ("split of one part", '{"n":"Ada"}', split("n", " ", "f", "l"), '{"f":"Ada"}'),
    ("split into itself", '{"n":"a|b"}', split("n", "|", "n", "m"), '{"m":"b","n":"a"}'),
    ("join", '{"f":"Ada","l":"King"}', join("f", "l", at=" ", into="n"), '{"n":"Ada King"}'),
    ("join of one part", '{"l":"King"}', join("f", "l", at=" ", into="n"), '{"n":"King"}'),
    ("join of none", "{}", join("f", "l", at=" ", into="n"), "{}"),
    ("unit", '{"s":1.1}', unit("s", "1000"), '{"s":1100}'),
    ("unit keeps digits", '{"s":0.1}', unit("s", "3"), '{"s":0.3}'),
    ("unit of many digits", '{"s":12345678901234567.25}', unit("s", "2"), '{"s":24691357802469134.5}'),
    ("unit with an offset", '{"f":212}', unit("f", "0.5", "-6", to="c"), '{"c":100}'),
    ("unit of text", '{"s":"1.50"}', unit("s", "100"), '{"s":"150"}'),
    ("unit of zero", '{"s":-0.0}', unit("s", "100"), '{"s":0}'),
    ("widen text", '{"n":"012.50"}', widen("n", "number"), '{"n":12.5}'),
    ("widen a number", '{"n":1e2}', widen("n", "text"), '{"n":"100"}'),
    ("widen a large number", '{"n":9007199254740993}', widen("n", "text"), '{"n":"9007199254740993"}'),
    ("widen a boolean", '{"n":true}', widen("n", "text"), '{"n":"true"}'),
    ("cast to an integer", '{"n":"012"}', cast("n", "integer"), '{"n":12}'),
    ("cast of a whole number", '{"n":12.0}', cast("n", "integer"), '{"n":12}'),
    ("cast to a boolean", '{"n":" True"}', cast("n", "boolean"), '{"n":true}'),
    ("cast of 0", '{"n":0}', cast("n", "boolean"), '{"n":false}'),
    ("cast to a text", '{"n":7}', cast("n", "text"), '{"n":"7"}'),
    ("cast to a number", '{"n":"1.50"}', cast("n", "number"), '{"n":1.5}'),
    ("cast of nothing", "{}", cast("n", "integer"), "{}"),
    ("replace", '{"n":1}', replaced("n", "x"), '{"n":"x"}'),
    ("replace of nothing", '{"n":null}', replaced("n", "x"), '{"n":null}'),
    ("replace in a text", '{"n":"1.234,5"}', replaced("n", "", r"\."), '{"n":"1234,5"}'),
    ("replace by what looks like a group", '{"n":"ab"}', replaced("n", r"\1", "a"), '{"n":"\\\\1b"}'),
    ("map", '{"s":"paid"}', mapped("s", {"paid": "PAID"}), '{"s":"PAID"}'),
    ("map of a number", '{"s":1.0}', mapped("s", {"1": "one"}), '{"s":"one"}'),
    ("map keeps", '{"s":"new"}', mapped("s", {"paid": "PAID"}, "keep", to="t"), '{"t":"new"}'),
    ("map to null", '{"s":"n/a"}', mapped("s", {"n/a": None}), '{"s":null}'),
    ("remove", '{"a":{"b":1,"c":2}}', remove("a.b"), '{"a":{"c":2}}'),
    ("remove of nothing", "{}", remove("a.b"), "{}"),
]


@pytest.mark.parametrize(("before", "step", "after"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
def test_a_step(before: str, step: Step, after: str) -> None:
    assert CANONICAL_JSON.encode(upcast(decode_json(before.encode()), step)).decode() == after


BREAKS: list[tuple[str, Any, Step, str, str]] = [
    ("rename onto another", {"a": 1, "b": 2}, rename("a", "b"), "a", "rename: no other value at b"),
    ("rename 1 onto true", {"a": 1, "b": True}, rename("a", "b"), "a", "rename: no other value at b"),
    ("rename into a text", {"a": 1, "b": "t"}, rename("a", "b.c"), "a", "rename: an object at b in b.c"),
    ("split of a number", {"n": 7}, split("n", " ", "f", "l"), "n", "split: a text"),
    ("split onto another", {"n": "a b", "l": "c"}, split("n", " ", "f", "l"), "n", "split: no other value at l"),
    ("join of a number", {"f": 1, "l": "x"}, join("f", "l", at=" ", into="n"), "f", "join: texts"),
    ("unit of a boolean", {"s": True}, unit("s", "2"), "s", "unit: a number"),
    ("unit of an object", {"s": {}}, unit("s", "2"), "s", "unit: a number"),
    ("unit of no number", {"s": "NaN"}, unit("s", "2"), "s", "unit: a number"),
    ("unit of other digits", {"s": "\u0661"}, unit("s", "2"), "s", "unit: a number"),
    ("unit of a monster", {"s": "1e999999"}, unit("s", "2"), "s", "unit: a number that a double can hold"),
    ("unit beyond all", {"s": "9" * 401}, unit("s", "2"), "s", "unit: a number"),
    ("widen of a word", {"n": "seven"}, widen("n", "number"), "n", "widen: a number"),
    ("widen of a list", {"n": [1]}, widen("n", "text"), "n", "widen: a number"),
    ("cast of a half", {"n": "1.5"}, cast("n", "integer"), "n", "cast: a whole number"),
    ("cast of a word", {"n": "yes"}, cast("n", "boolean"), "n", "cast: true or false, or 1 or 0"),
    ("cast of a list", {"n": [1]}, cast("n", "integer"), "n", "cast: a number"),
    ("replace in a number", {"n": 7}, replaced("n", "", "7"), "n", "replace: a text"),
    ("map of an unknown value", {"s": "x"}, mapped("s", {"a": 1, "b": 2}), "s", "map: one of a, b"),
    ("map of an object", {"s": {}}, mapped("s", {"a": 1}), "s", "map: one of a"),
]


@pytest.mark.parametrize(("record", "step", "path", "expected"), [case[1:] for case in BREAKS], ids=[case[0] for case in BREAKS])
def test_a_step_that_fails_names_the_step_and_no_value(record: Any, step: Step, path: str, expected: str) -> None:
    found = upcast(record, remove("other"), step)
    assert found == Violation(path, "upcast", f"1 to 2, step 2, {expected}")
    assert found.code is Code.UPCAST_FAILED


NEWEST = SchemaVersionRule(
    path=p("v"),
    accepted=frozenset({"1", "2", "3", "9-*"}),
    default="1",
    upcasts=(
        Upcast("1", "2", (rename("user", "user_id"),)),
        Upcast("2", "3", (unit("amount", "100", to="cents"),)),
        Upcast("9-*", "3", (remove("noise"),)),
    ),
)
CONTRACT = Contract(
    name="thing", version="1.2.0", kind="event", event_id="id", unknown_policy="reject",
    columns=(
        Column(name="id", type=ColumnType.STRING, required=True),
        Column(name="user_id", type=ColumnType.STRING, required=True),
        Column(name="cents", type=ColumnType.INTEGER),
    ),
)  # fmt: skip
SPEC = SourceSpec(
    name="s", dataset="thing", version=1, format="jsonl", schema_version=NEWEST, filters=(DropRule(p("bot"), frozenset({"true"})),),
    columns={name: (p(name),) for name in ("id", "user_id", "cents")},
)  # fmt: skip


def test_versions_lead_on_to_the_newest_and_are_judged_as_that() -> None:
    records = [
        {"id": "a", "user": "u", "amount": 1.25},  # no version: the default
        {"id": "b", "v": 1, "user": "u", "amount": 2},
        {"id": "c", "v": "2", "user_id": "u", "amount": 3},
        {"id": "d", "v": 3.0, "user_id": "u", "cents": 400},
        {"id": "e", "v": "9-1-7", "user_id": "u", "noise": []},
        {"id": "f", "v": 4, "user_id": "u"},
        {"id": "g", "v": 2, "user": "u"},  # not renamed from there on: an unknown field, and a missing one
        {"id": "h", "v": 2, "user_id": "u", "amount": "1,5"},
        {"id": "i", "v": 4, "bot": True},  # a filter needs no version
        {"id": "k", "v": 1, "bot": True, "amount": "x", "user": "u"},
    ]
    checked = RecordChecker(CONTRACT, SPEC).check(records)
    assert checked.columns["cents"] == [125, 200, 300, 400, None]
    assert checked.columns["user_id"] == ["u"] * 5
    assert {i: [v.rule for v in found] for i, found in checked.rejected.items()} == {
        5: ["schema_version"], 6: ["required", "unknown_field"], 7: ["upcast"],
    }  # fmt: skip
    assert checked.rejected[5][0].expected == "one of 1, 2, 3, 9-*"
    assert checked.filtered == [8, 9]


@pytest.mark.parametrize("version", [2, "3", 1.5, True, [1], {"a": 1}, 10**400, ""])
def test_an_unknown_version_is_all_that_is_told(version: Any) -> None:
    rule = SchemaVersionRule(path=p("v"), accepted=frozenset({"1", "02", "beta"}), default="1")
    checked = RecordChecker(CONTRACT, replace(SPEC, schema_version=rule)).check([{"v": version, "id": 5}])
    assert checked.rejected == {0: [Violation("v", "schema_version", "one of 02, 1, beta")]}


@pytest.mark.parametrize("version", [1, 1.0, "1", "02", "beta", None])
def test_a_known_version_is_accepted(version: Any) -> None:
    rule = SchemaVersionRule(path=p("v"), accepted=frozenset({"1", "02", "beta"}), default="1")
    assert not VersionReader(rule).read([{}], [version]).broken


def test_a_missing_version_without_a_default_is_unknown() -> None:
    rule = SchemaVersionRule(path=p("v"), accepted=frozenset({"1"}))
    assert VersionReader(rule).read([{}], [None]).broken == {0: Violation("v", "schema_version", "one of 1")}


def test_versions_beside_the_payload() -> None:
    rule = SchemaVersionRule(header="schema-version", accepted=frozenset({"1", "2"}), upcasts=(Upcast("1", "2", (remove("a"),)),))
    read = VersionReader(rule).read([{"a": 1}, {"a": 1}, {"a": 1}], ["1", "2", None])
    assert read.records[:2] == [{}, {"a": 1}]
    assert read.broken[2].path == "header schema-version"


def test_records_share_nothing_that_a_step_gives_them() -> None:
    """A default of an object is each record's own: a later step writes into it."""
    steps = (default("props", {}), rename("plan", "props.plan"), mapped("kind", {"x": {"a": []}}, "keep"), rename("n", "kind.n"))
    rule = SchemaVersionRule(constant="1", accepted=frozenset({"1"}), upcasts=(Upcast("1", "2", steps),))
    reader = VersionReader(rule)
    for _ in range(2):
        read = reader.read([{"plan": "gold", "kind": "x", "n": 1}, {}, {"plan": "silver", "kind": "x", "n": 2}], [None] * 3)
        assert not read.broken
        assert [r["props"] for r in read.records] == [{"plan": "gold"}, {}, {"plan": "silver"}]
        assert [r.get("kind") for r in read.records] == [{"a": [], "n": 1}, None, {"a": [], "n": 2}]


def test_an_object_that_is_moved_and_written_into_stays_as_it_was_received() -> None:
    assert upcast({"a": {"y": 2}}, rename("a", "b"), default("b.x", 1)) == {"b": {"y": 2, "x": 1}}
    assert upcast({"a": {"b": {"c": 1}}}, rename("a.b", "d"), remove("d.c")) == {"a": {}, "d": {}}


def test_versions_that_nobody_knows_are_not_remembered() -> None:
    reader = VersionReader(NEWEST)
    reader.read([{}] * 2_000, [f"9-{n}" for n in range(1_000)] + [f"junk {n}" for n in range(1_000)])
    assert len(reader._chains) <= len(NEWEST.accepted)


def test_a_loop_of_upcasts_ends() -> None:
    loop = (Upcast("1", "2", ()), Upcast("2", "1", ()))
    assert [u.to_version for u in steps_from("1", loop)] == ["2", "1"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
ALL_STEPS = [case[2] for case in STEPS] + [case[2] for case in BREAKS] + [unit("a.b", "0.001"), widen("a", "text")]


@given(st.dictionaries(st.sampled_from("abcdfnls"), JSON, max_size=5), st.lists(st.sampled_from(ALL_STEPS), max_size=4))
def test_any_record_comes_out_or_is_told_and_is_never_changed_itself(record: Any, steps: list[Step]) -> None:
    """``upcast`` holds the second half; values beside what the steps name stay as they are."""
    found = upcast(record, *steps)
    if not isinstance(found, Violation):
        touched = {path.steps[0] for step in steps for path in (*step.paths, *step.into)}
        assert {k: v for k, v in found.items() if k not in touched} == {k: v for k, v in record.items() if k not in touched}


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6))
def test_a_unit_there_and_back_loses_no_digit(number: Decimal) -> None:
    record = decode_json(b'{"n": %s}' % str(number).encode())
    assert CANONICAL_JSON.encode(upcast(record, unit("n", "1000"), unit("n", "0.001"))) == CANONICAL_JSON.encode(
        upcast(record, unit("n", "1"))
    )
