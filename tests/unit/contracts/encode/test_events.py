"""Events of a destination: the same from a topic's row as from a table's, who may leave, and what goes where."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.compiler.rows import canonical_rows
from contracts.encode.events import EventEncoder
from contracts.encode.shape import Columns, timestamp_texts
from contracts.spec.destination import Condition, Destination, Placement, Secret, check_destination
from contracts.spec.model import Column, ColumnType
from contracts.spec.paths import PayloadPath
from contracts.spec.suppressions import NOTHING, Suppressions
from contracts.spec.text import plain_text
from tests.support.documents import documents, everything_contract, everything_spec
from transforms.decode.kernel import RecordDecoder
from transforms.read.messages import MessageBatch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONTRACT = replace(
    everything_contract("drop"),
    columns=(*everything_contract("drop").columns, Column(name="consent", type=ColumnType.BOOLEAN_MAP)),
    partition_key=("code", "email"),
)
SPEC = replace(everything_spec(), columns={**everything_spec().columns, "consent": (PayloadPath(("consent",)),)})
DECODE = RecordDecoder(CONTRACT, SPEC, "run-1").decode


def path(text: str) -> PayloadPath:
    return PayloadPath.parse(text)


def destination(*placements: Placement, **changes: Any) -> Destination:
    """One of the everything contract that at least sends the id."""
    plain = Destination(
        name="cdp", dataset="everything", version=1, type="segment", endpoint="https://h/x", write_key=Secret("env", "K"),
        consent=(), placements=(Placement("id", path("messageId")), *placements),
    )  # fmt: skip
    made = replace(plain, **changes)
    assert check_destination(made, CONTRACT) == []
    return made


def finished(payloads: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows of payloads that fit."""
    values = [json.dumps(payload).encode() for payload in payloads]
    times = np.full(len(values), 1_793_613_600_000_000)
    return DECODE(MessageBatch(["log"] * len(values), np.arange(len(values)), times, np.zeros_like(times), values)).rows


def row(**columns: Any) -> bytes:
    """A canonical row."""
    return json.dumps({"id": "e-1", **columns}, sort_keys=True).encode()


def columns_of(encoder: EventEncoder, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Rows, by way of a topic."""
    return encoder.of_rows([encoder.row(row(**columns)) for columns in rows])


def event_of(made: Destination, **columns: Any) -> Any:
    """The event of a row, by way of a topic."""
    encoder = EventEncoder(made, CONTRACT, NOTHING)
    return json.loads(encoder.events(columns_of(encoder, [columns]))[0])


def verdict_of(made: Destination, suppressions: Suppressions = NOTHING, **columns: Any) -> str:
    encoder = EventEncoder(made, CONTRACT, suppressions)
    return encoder.reasons(columns_of(encoder, [columns]))[0]


# --- one event, whatever way the row came

PATHS = ("a", "b", "o", "o.x", "o.x.y", "o.z", "p.q", "p.q.r", "p.s")
SHIPPED = [c.name for c in CONTRACT.columns if c.name != "id"]
HOLDS_OBJECTS = {
    c.name
    for c in CONTRACT.columns
    if c.type is ColumnType.BOOLEAN_MAP or (c.type is ColumnType.JSON and c.json_container == "object")
}


@st.composite
def destinations(draw: Any) -> Destination:
    """Any columns at any places, several at one and some below others; conditions over any column."""

    def condition() -> Condition:
        column = draw(st.sampled_from(["kind", "count", "flag", "day", "price", "at", "size", "code", "details"]))
        values = {
            "kind": "a", "count": "5", "flag": "true", "day": "2024-02-29", "price": "1.00", "size": "1", "code": "A1",
            "details": '{"a":1}', "at": "1793613600000000",
        }  # fmt: skip
        return Condition(column, frozenset({values[column]}), negated=draw(st.booleans()))

    chosen = draw(st.lists(st.tuples(st.sampled_from(SHIPPED), st.sampled_from(PATHS), st.booleans()), max_size=12))
    placements = [Placement(column, path(at), condition() if when else None) for column, at, when in chosen]
    constants = draw(st.dictionaries(st.sampled_from(("o.x.c", "c", "p.q.r.k")), st.sampled_from(("x", 1, 2.5, True)), max_size=2))
    every = [*(p.path.steps for p in placements), *(path(at).steps for at in constants)]

    def opened(steps: tuple[str, ...]) -> bool:
        return any(len(other) > len(steps) and other[: len(steps)] == steps for other in every)

    kept = [p for p in placements if p.column in HOLDS_OBJECTS or not opened(p.path.steps)]
    return destination(
        *kept,
        constants={path(at): value for at, value in constants.items()},
        only=tuple(condition() for _ in range(draw(st.integers(0, 1)))),
        consent=draw(st.sampled_from(((), ("ads",), ("ads", "b")))),
    )


PAYLOADS = st.tuples(
    documents(CONTRACT, SPEC), st.sampled_from([None, {}, {"ads": True}, {"ads": False, "b": True}, {"ads": True, "b": True}])
).map(lambda parts: {**parts[0], **({"consent": parts[1]} if parts[1] is not None else {})})


def sent_value(column: Column, value: Any) -> Any:
    """A value of canonical JSON as an event holds it, written with the standard library."""
    if column.type is ColumnType.TIMESTAMP:
        moment = EPOCH + timedelta(microseconds=value)
        return moment.isoformat(timespec="microseconds" if value % 1000 else "milliseconds").replace("+00:00", "Z")
    if column.type is ColumnType.JSON:
        return json.loads(value)
    return float(value) if column.type is ColumnType.DECIMAL else value


def over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{name: over(below[name], value) if name in below else value for name, value in above.items()}}


def expected(made: Destination, canonical: dict[str, Any]) -> dict[str, Any]:
    """The documented shape, place by place."""
    event: dict[str, Any] = {}

    def holds(condition: Condition | None) -> bool:
        return condition is None or (plain_text(canonical.get(condition.column)) in condition.among) != condition.negated

    def put(steps: tuple[str, ...], value: Any) -> None:
        opened = any(len(other.steps) > len(steps) and other.steps[: len(steps)] == steps for other in made.paths)
        if opened and not value:
            return  # an empty object that others may fill
        target = event
        for step in steps[:-1]:
            if not isinstance(target.get(step), dict):
                target[step] = {}
            target = target[step]
        target[steps[-1]] = over(target.get(steps[-1]), value) if opened else value

    for at in sorted({p.path for p in made.placements}, key=lambda at: len(at.steps)):
        fitting = (p for p in made.placements if p.path == at and canonical.get(p.column) is not None and holds(p.when))
        first = next(fitting, None)
        if first:
            put(at.steps, copy.deepcopy(sent_value(CONTRACT.by_name[first.column], canonical[first.column])))
    for at, value in made.constants.items():
        put(at.steps, value)
    return event


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])
@given(made=destinations(), payloads=st.lists(PAYLOADS, min_size=3, max_size=8))
def test_a_row_of_a_topic_and_of_a_table_is_one_event_of_the_documented_shape(
    made: Destination, payloads: list[dict[str, Any]]
) -> None:
    rows = finished(payloads)
    encoder = EventEncoder(made, CONTRACT, NOTHING)
    canonical = canonical_rows(CONTRACT)(rows)
    topic, table = encoder.of_rows([encoder.row(text) for text in canonical]), encoder.of_table(rows)
    events = encoder.events(table)
    assert encoder.events(topic) == events
    assert encoder.reasons(topic) == encoder.reasons(table)
    assert encoder.event_ids(topic) == encoder.event_ids(table)
    assert encoder.keys(topic) == encoder.keys(table)
    for text, event in zip(canonical, events, strict=True):
        assert json.loads(event) == expected(made, json.loads(text))
        assert msgspec.json.Encoder(order="sorted").encode(json.loads(event)) == event or b"." in event or b"e" in event


def test_every_column_type_is_sent_in_its_form() -> None:
    made = destination(*(Placement(c.name, path(f"x.{c.name}")) for c in CONTRACT.columns if c.name != "id"))
    payload = {
        "id": "e-1", "kind": "a", "code": "A1", "count": 5, "meta": {"size": 8.0, "b": [1, {"c": "ü"}]}, "price": 12.5,
        "price_text": "7.10", "flag": False, "at": "2026-11-02T10:00:00Z", "at_epoch": 1762077600.000001, "v": "1",
        "at_local": "2026-10-25T02:30:00",
        "day": "2024-02-29", "choices": {"z": True, "a": False}, "list": [1, "x"], "count_text": "-7", "size_text": "1e2",
    }  # fmt: skip
    rows = finished([payload])
    assert len(rows) == 1
    encoder = EventEncoder(made, CONTRACT, NOTHING)
    (event,) = encoder.events(encoder.of_table(rows))
    sent = json.loads(event)["x"]
    assert {name: sent[name] for name in ("kind", "count", "count_text", "size", "flag", "day", "list", "size_text")} == {
        "kind": "a", "count": 5, "count_text": -7, "size": 8.0, "flag": False, "day": "2024-02-29", "list": [1, "x"],
        "size_text": 100.0,
    }  # fmt: skip
    assert sent["at"] == "2026-11-02T10:00:00.000Z" and sent["at_epoch"] == "2025-11-02T10:00:00.000001Z"
    assert b'"price":12.5,' in event and b'"price_text":7.1,' in event  # numbers, as a reader of JSON would write them again
    assert b'"choices":{"a":false,"z":true}' in event and '"details":{"b":[1,{"c":"ü"}],"size":8.0}'.encode() in event
    assert "code" in sent and "email" not in sent  # what has no value is left out


@given(st.lists(st.none() | st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999), max_size=5))
def test_timestamps_have_milliseconds_or_all_six_digits(times: list[int | None]) -> None:
    column = CONTRACT.by_name["at"]
    assert list(timestamp_texts(times)) == [None if us is None else sent_value(column, us) for us in times]


# --- what goes where


def test_of_several_for_one_place_the_first_with_a_value_counts() -> None:
    made = destination(*(Placement(name, path("t")) for name in ("code", "email", "kind")))
    assert event_of(made, code="A1", email="a@b.co", kind="a") == {"messageId": "e-1", "t": "A1"}
    assert event_of(made, email="a@b.co", kind="a")["t"] == "a@b.co"
    assert event_of(made, kind="a")["t"] == "a"
    assert event_of(made) == {"messageId": "e-1"}


def test_a_place_with_a_condition_is_filled_where_it_holds() -> None:
    track, page = (Condition("kind", frozenset(kind)) for kind in ("a", "bc"))
    made = destination(Placement("code", path("event"), track), Placement("code", path("name"), page))
    assert event_of(made, kind="a", code="A1") == {"messageId": "e-1", "event": "A1"}
    assert event_of(made, kind="c", code="A1") == {"messageId": "e-1", "name": "A1"}
    assert event_of(made, code="A1") == {"messageId": "e-1"}
    other = destination(Placement("code", path("x"), replace(track, negated=True)))
    assert event_of(other, code="A1")["x"] == "A1" and "x" not in event_of(other, kind="a", code="A1")


def test_a_deeper_place_goes_into_the_object_of_a_json_column() -> None:
    made = destination(
        Placement("details", path("context")), Placement("code", path("context.page.url")), Placement("count", path("context.n")),
        constants={path("context.library.name"): "headrace"},
    )  # fmt: skip
    library = {"library": {"name": "headrace"}}
    details = json.dumps({"page": {"url": "old", "title": "t"}, "n": {"m": 1}, "library": {"name": "their own", "v": 3}})
    assert event_of(made, details=details, code="A1", count=7)["context"] == {
        "page": {"url": "A1", "title": "t"}, "n": 7, "library": {"name": "headrace", "v": 3},
    }  # fmt: skip
    assert event_of(made, details=details)["context"]["page"] == {"url": "old", "title": "t"}  # no value takes no place
    assert event_of(made, code="A1")["context"] == {"page": {"url": "A1"}, **library}
    assert event_of(made, details='{"page":5}', code="A1")["context"] == {"page": {"url": "A1"}, **library}


def test_numbers_beyond_64_bits_survive_what_goes_into_their_object() -> None:
    made = destination(Placement("details", path("context")), Placement("code", path("context.code")))
    details = '{"big":18446744073709551616,"deep":{"bigger":' + "9" * 40 + "}}"
    assert event_of(made, details=details, code="A1")["context"] == {**json.loads(details), "code": "A1"}


def test_constants_are_in_every_event_with_their_type() -> None:
    made = destination(constants={path("context.library.name"): "headrace", path("n"): 2, path("live"): True, path("r"): 0.5})
    wanted = {"messageId": "e-1", "context": {"library": {"name": "headrace"}}, "n": 2, "live": True, "r": 0.5}
    assert event_of(made) == wanted


def test_only_what_is_named_leaves() -> None:
    event = event_of(destination(Placement("kind", path("type"))), kind="a", email="a@b.co", code="A1", consent={"ads": True})
    assert event == {"messageId": "e-1", "type": "a"}


def test_rows_belong_to_the_first_key_with_a_value() -> None:
    encoder = EventEncoder(destination(), CONTRACT, NOTHING)
    keys = encoder.keys(columns_of(encoder, [{"code": "A1", "email": "m"}, {"email": "m"}, {"kind": "a"}]))
    assert keys == ["A1", "m", "e-1"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"id":7}', b'{"id":"e","count":"5"}', b'{"id":"e","at":"soon"}', b'{"id":null}']
)
def test_what_is_no_row_is_refused(text: bytes) -> None:
    encoder = EventEncoder(destination(Placement("count", path("c")), Placement("at", path("t"))), CONTRACT, NOTHING)
    with pytest.raises(msgspec.MsgspecError):
        encoder.row(text)


# --- who may leave

CONSENTS: list[tuple[Any, str, str]] = [  # consent of the row; the reason with [ads]; with [ads, mail]
    (None, "consent_unknown:ads", "consent_unknown:ads"),
    ({}, "consent_unknown:ads", "consent_unknown:ads"),
    ({"other": True}, "consent_unknown:ads", "consent_unknown:ads"),
    ({"ads": None, "mail": True}, "consent_unknown:ads", "consent_unknown:ads"),
    ({"ads": True}, "", "consent_unknown:mail"),
    ({"ads": True, "mail": None}, "", "consent_unknown:mail"),
    ({"mail": True}, "consent_unknown:ads", "consent_unknown:ads"),
    ({"ads": False}, "consent_denied:ads", "consent_denied:ads"),
    ({"ads": False, "mail": True}, "consent_denied:ads", "consent_denied:ads"),
    ({"ads": True, "mail": False}, "", "consent_denied:mail"),
    ({"ads": False, "mail": False}, "consent_denied:ads", "consent_denied:ads"),
    ({"mail": False}, "consent_unknown:ads", "consent_unknown:ads"),
    ({"ads": True, "mail": True}, "", ""),
]


@pytest.mark.parametrize(("consent", "one", "two"), CONSENTS)
def test_all_categories_must_be_true_and_the_first_that_is_not_is_the_reason(consent: Any, one: str, two: str) -> None:
    given = {} if consent is None else {"consent": consent}
    assert verdict_of(destination(consent=("ads",)), **given) == one
    assert verdict_of(destination(consent=("ads", "mail")), **given) == two
    assert verdict_of(destination(consent=()), **given) == ""
    assert verdict_of(destination(consent=("ads",)), consent=consent) == one  # null, written out


def test_suppressed_ids_stay_whatever_their_consent_and_are_told_apart() -> None:
    hashed = frozenset({hashlib.sha256(b"A1").digest()})
    suppressions = Suppressions({"code": hashed, "not_of_this_dataset": hashed})
    made = destination(consent=("ads",))
    assert verdict_of(made, suppressions, code="A1", consent={"ads": True}) == "suppressed"
    assert verdict_of(made, suppressions, code="A1", consent={"ads": False}) == "suppressed"
    assert verdict_of(made, suppressions, email="A1", consent={"ads": True}) == ""  # by another column
    assert verdict_of(made, suppressions, code="A1\n", consent={"ads": True}) == ""
    numbers = Suppressions({"count": frozenset({hashlib.sha256(b"7").digest()})})
    assert verdict_of(destination(), numbers, count=7) == "suppressed" and verdict_of(destination(), numbers, count=8) == ""


def test_what_is_not_wanted_is_filtered_before_anything_else_is_asked() -> None:
    made = destination(
        consent=("ads",), only=(Condition("kind", frozenset({"a"})), Condition("flag", frozenset({"true"}), negated=True))
    )
    suppressions = Suppressions({"code": frozenset({hashlib.sha256(b"A1").digest()})})
    assert verdict_of(made, suppressions, kind="b", code="A1") == "filtered"
    assert verdict_of(made, suppressions, kind="a", flag=True, code="A1") == "filtered"
    assert verdict_of(made, suppressions, code="A1") == "filtered"  # without a value it is in no list
    assert verdict_of(made, suppressions, kind="a", code="A1") == "suppressed"  # and not in the list of those that are left out
    assert verdict_of(made, kind="a", flag=False) == "consent_unknown:ads"
    assert verdict_of(made, kind="a", consent={"ads": True}) == ""


@pytest.mark.parametrize(
    ("column", "payload", "among"),
    [("day", {"day": "2024-02-29"}, "2024-02-29"), ("price", {"price": 12.5}, "12.50"), ("count", {"count": 5}, "5"),
     ("flag", {"flag": True}, "true"), ("size", {"meta": {"size": 7.0}}, "7"), ("kind", {"kind": "a"}, "a")],
)  # fmt: skip
def test_conditions_hold_for_rows_of_a_table_as_for_those_of_a_topic(column: str, payload: dict[str, Any], among: str) -> None:
    made = destination(only=(Condition(column, frozenset({among})),))
    encoder = EventEncoder(made, CONTRACT, NOTHING)
    base = {"id": "e-1", "kind": "a", "at_local": "2026-11-02T10:00:00Z", "count": 1, "meta": {"size": 9.0}, "flag": False}
    rows = finished([{**base, **payload}])
    assert len(rows) == 1
    assert encoder.reasons(encoder.of_table(rows)) == [""]
    assert encoder.reasons(encoder.of_rows([encoder.row(text) for text in canonical_rows(CONTRACT)(rows)])) == [""]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([None, {}, {"ads": True}, {"ads": False}])), max_size=9)
)
def test_each_row_is_judged_by_itself(rows: list[tuple[str | None, Any]]) -> None:
    made = destination(consent=("ads",), only=(Condition("kind", frozenset({"a"})),))
    encoder = EventEncoder(made, CONTRACT, NOTHING)
    columns = encoder.of_rows([encoder.row(row(kind=kind, consent=consent)) for kind, consent in rows])
    assert encoder.reasons(columns) == list(
        itertools.starmap(lambda kind, consent: verdict_of(made, kind=kind, consent=consent), rows)
    )
