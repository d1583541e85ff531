"""A contract that uses every feature, and hypothesis strategies for payloads that fit, nearly fit, or do not fit a contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from hypothesis import strategies as st

from contracts.compiler.judge import text_form
from contracts.compiler.values import convert
from contracts.spec.model import Column, ColumnType, Contract, EventTimeRule
from contracts.spec.paths import PayloadPath
from contracts.spec.rules import Compare, RequireAny, RequireWhen
from contracts.spec.source import DropRule, SourceSpec
from contracts.spec.versions import SchemaVersionRule

UnknownPolicy = Literal["keep", "drop", "reject"]
EPOCH_TOKEN = "0001-01-01T00:00:00Z"  # what .NET writes for "no time": a timestamp in the common form that means nothing


def everything_contract(unknown: UnknownPolicy = "reject") -> Contract:
    """Every column type with every rule and coercion, every rule over columns."""
    text = frozenset({"text"})
    columns = [
        Column(name="id", type=ColumnType.STRING, required=True, min_length=1, max_length=8, null_tokens=frozenset({"null", ""})),
        Column(name="kind", type=ColumnType.STRING, required=True, enum=("a", "b", "c"), null_tokens=frozenset({"-"})),
        Column(name="code", type=ColumnType.STRING, pattern=r"^[A-Z]\d+$", null_tokens=frozenset({"NONE"})),
        Column(name="email", type=ColumnType.STRING, format="email", max_length=20),
        Column(name="count", type=ColumnType.INTEGER, minimum=0, maximum=10),
        Column(name="count_text", type=ColumnType.INTEGER, accept=text, null_tokens=frozenset({"n/a", "0"})),
        Column(name="size", type=ColumnType.NUMBER, minimum=-1.5, maximum=1e6),
        Column(name="size_text", type=ColumnType.NUMBER, accept=text),
        Column(name="price", type=ColumnType.DECIMAL, precision=6, scale=2, minimum=Decimal(0)),
        Column(name="price_text", type=ColumnType.DECIMAL, precision=6, scale=2, accept=text),
        Column(name="flag", type=ColumnType.BOOLEAN),
        Column(name="flag_text", type=ColumnType.BOOLEAN, accept=text, null_tokens=frozenset({"unknown", "0"})),
        Column(name="at", type=ColumnType.TIMESTAMP, null_tokens=frozenset({EPOCH_TOKEN})),
        Column(name="at_epoch", type=ColumnType.TIMESTAMP, accept=frozenset({"epoch"})),
        Column(name="at_local", type=ColumnType.TIMESTAMP, required=True, accept=frozenset({"epoch", "no_zone"})),
        Column(name="received", type=ColumnType.TIMESTAMP, transport=True),
        Column(name="estimate", type=ColumnType.TIMESTAMP, transport=True),
        Column(name="day", type=ColumnType.DATE, null_tokens=frozenset({"0000-00-00"})),
        Column(name="details", type=ColumnType.JSON),
        Column(name="details_text", type=ColumnType.JSON, accept=text),
        Column(name="list", type=ColumnType.JSON, json_container="array"),
        Column(name="choices", type=ColumnType.BOOLEAN_MAP),
    ]
    if unknown == "keep":
        columns.append(Column(name="rest", type=ColumnType.JSON))
    return Contract(
        name="everything",
        version="1.0.0",
        kind="event",
        columns=tuple(columns),
        event_id="id",
        window_time=("at", "at_epoch"),
        received_at="received",
        event_time=EventTimeRule("estimate", "at", "at_epoch"),
        order=("received", "count"),
        unknown_policy=unknown,
        unknown_column="rest" if unknown == "keep" else None,
        rules=(
            RequireAny(("code", "email", "flag")),
            RequireWhen("kind", frozenset({"a"}), ("count", "size")),
            RequireWhen("kind", frozenset({"b", "c"}), ("price", "details", "choices"), any_is_enough=True),
            Compare("count", "<=", "size"),
        ),
    )


def everything_spec(missing_event_id: Literal["derive", "reject"] = "reject", default_version: str | None = "1") -> SourceSpec:
    """A JSON source of ``everything_contract`` with nested and fallback paths, a filter and a schema version."""
    contract = everything_contract()
    columns = {c.name: (PayloadPath((c.name,)),) for c in contract.columns if c.name not in contract.computed}
    columns |= {
        "kind": (PayloadPath(("kind",)), PayloadPath(("meta", "kind"))),
        "code": (PayloadPath(("code",)), PayloadPath(("meta", "code")), PayloadPath(("meta", "deep", "code"))),
        "size": (PayloadPath(("meta", "size")),),
        "details": (PayloadPath(("meta",)),),
    }
    return SourceSpec(
        name="everything",
        dataset="everything",
        version=1,
        format="jsonl",
        columns=columns,
        missing_event_id=missing_event_id,
        schema_version=SchemaVersionRule(
            path=PayloadPath(("v",)), accepted=frozenset({"1", "02", "beta"}), default=default_version
        ),
        filters=(DropRule(PayloadPath(("meta", "traffic")), frozenset({"bot", "7", "true"})),),
        ignore=frozenset({"ignored"}),
        timezone="Europe/Berlin",
    )


JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 5, 10, 11, 1.0, -0.0, 0.1, 2.5, 1e6, 1e300, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    -(2**63) - 1, 1e19,
    10**400, 1234.56, 9999.99, 10000, 0.001, 0.07, -0.01, 1e-7, "", "-", "null", "a", "b", "c", "d", "A1", "A1\n", "A", "x" * 9,
    "NONE", "n/a", "0", "1", "5", "+5", "-7", "1.0", "1e2", "2.50", "9999.99", "10000", "1,5", " 1", "١", "NaN", "Infinity",
    "1e400",
    "true", "TRUE", "Yes", "no", "unknown", "on", "a@b.co", "a@b", "a@b.co\n", "x" * 15 + "@b.co", EPOCH_TOKEN,
    "2026-11-02T10:00:00Z", "2026-11-02T10:00:00.123Z", "2026-11-02T10:00:00.123456Z", "2026-11-02T10:00:00.1234567+05:30",
    "2026-11-02 10:00:00", "2026-10-25T02:30:00", "2026-02-30T10:00:00Z", "2026-11-02T10:00:00Z\n", "0001-01-01T00:00:00+01:00",
    "2026-11-02", "2026-02-29", "2024-02-29", "0000-00-00", "٢٠٢٦-11-02", 1762077600, 1762077600123, 1762077600123456, 99999999999,
    100000000000, 10**17, 253402300800, -62135596800, 1762077600.5, [], {}, [1], {"a": 1}, {"a": True}, {"a": True, "b": None},
    {"": False}, '{"a": 1}', '{"b":{"z":1,"a":2}}', "[1]", "{", '"x"', {"z": [2**64, 10**400], "a": "ü\x00🧡"},
    "O-000000001", "C-00000001", "EUR", "placed", "u-1", "track", "2026-11-02T10:00:00.000Z", 3.0, 100,
    {"kind": "a"}, {"kind": None}, {"kind": "-"}, {"code": "Z9", "size": 3}, {"traffic": "bot"}, {"traffic": 7}, {"traffic": 7.0},
    {"traffic": True}, {"traffic": ["bot"]}, {"traffic": 10**400}, {"deep": {"code": "B2"}}, {"deep": 5}, {"code": "NONE",
    "deep": {"code": "B2"}},
)  # fmt: skip

# What Avro and Parquet decoders give besides.
TYPED_VALUES: tuple[Any, ...] = (
    Decimal("1.00"), Decimal("1.0"), Decimal("1"), Decimal("1.005"), Decimal("-0.00"), Decimal("0.00"), Decimal("0E+20"),
    Decimal("9999.99"),
    Decimal("10000.00"), Decimal("9999999999.99"), Decimal("10000000000.00"), Decimal("1E+5"), Decimal("-0.01"), Decimal("NaN"),
    Decimal("Infinity"), Decimal("-Infinity"), Decimal("7"), Decimal("7.5"), date(2026, 11, 2), date(1, 1, 1), date(1899, 12, 31),
    datetime(2026, 11, 2, 10, 0, 0, 123456, tzinfo=UTC), datetime(2026, 11, 2, 10), datetime(2026, 10, 25, 2, 30),  # noqa: DTZ001
    datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(1, 1, 1),  # noqa: DTZ001
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-1))), datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    UUID(int=0), UUID(int=7), b"", b"bytes", float("nan"), float("inf"), [{"sku": "x", "at": datetime(2026, 1, 1, tzinfo=UTC)}],
    {"d": Decimal("1.50"), "day": date(2026, 1, 1), "raw": b"\x00\xff", "id": UUID(int=1)},
)  # fmt: skip
TEXT_VALUES: tuple[Any, ...] = tuple(  # noqa: RUF005
    value for value in JSON_VALUES if value is None or isinstance(value, str)) + (
    "1762077600", "1762077600,5", "1762077600.5", "1,5", "1.234,5", "-1,0E3", "-0,00", "31.02.1990", "4.47E+11", "9" * 30,
    "9" * 31, "9" * 400,
    "0" * 30 + "1", "C-00000001", "+491512345678", "DE", "de", "ja",
)  # fmt: skip

_MORE: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.INTEGER: st.integers(-2, 12),
    ColumnType.NUMBER: st.floats(-2, 2e6, allow_nan=False) | st.integers(-2, 12),
    ColumnType.DECIMAL: st.integers(-100, 1_100_000).map(lambda cents: cents / 100),
    ColumnType.TIMESTAMP: st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z"),
    ColumnType.DATE: st.dates().map(date.isoformat),
}


def documents(
    contract: Contract, spec: SourceSpec, values: tuple[Any, ...] = JSON_VALUES, fitting: Callable[[Any], Any] = lambda value: value
) -> st.SearchStrategy[dict[str, Any]]:
    """Payload records, most of them accepted or nearly so: per mapped place nothing, a value that fits, or any of ``values``.

    Args:
        contract: whose columns.
        spec: whose paths.
        values: what may stand anywhere.
        fitting: applied to values of the right type, for sources where numbers are text, for example.
    """
    anything = st.sampled_from(values)
    form = text_form(spec)
    places: dict[tuple[str, ...], st.SearchStrategy[Any]] = {}
    optional: list[tuple[str, ...]] = []
    for name, paths in spec.columns.items():
        column = contract.by_name[name]
        pool = [value for value in (*values, *column.enum) if value is not None and not convert(column, value, form)[1]]
        more = _MORE.get(column.type)
        good = st.sampled_from(pool or [None])
        if more is not None and not column.enum:
            good |= more.map(fitting)
        for path in (path for path in paths if not path.envelope):
            places[path.steps] = good
            if not column.required:
                optional.append(path.steps)
    for rule in spec.filters:
        places[rule.path.steps] = st.sampled_from(("human",) * 5 + ("bot", 7, None))
        optional.append(rule.path.steps)
    if spec.schema_version:
        known = sorted(spec.schema_version.accepted)
        places[spec.schema_version.path.steps] = st.sampled_from(known * 6 + [1, 2, 1.0, 3, True, None, "9"])
    keys = sorted(places)
    ruled = {paths[0].steps for rule in contract.rules for name in rule.columns if (paths := spec.columns.get(name))}

    @st.composite
    def draw_document(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
        filled = draw(st.sets(st.sampled_from(optional), max_size=draw(st.sampled_from((2, 6, len(optional))))))
        filled |= draw(st.sampled_from((ruled, ruled, ruled, set())))
        left_out = set(optional) - filled | draw(st.sets(st.sampled_from(keys), max_size=draw(st.sampled_from((0, 0, 0, 1)))))
        odd = draw(st.sets(st.sampled_from(keys), max_size=draw(st.sampled_from((0, 0, 1, 1, 3)))))
        document: dict[str, Any] = {}
        for steps in keys:  # parents first, so that a value that is an object can still take its nested ones
            if steps in odd:
                _put(document, steps, draw(anything))
            elif steps not in left_out:
                _put(document, steps, draw(places[steps]))
        if draw(st.integers(0, 9)) == 0:
            document[draw(st.sampled_from(("extra", "ignored", "")))] = draw(anything)
        return document

    return draw_document()


def _put(document: dict[str, Any], steps: tuple[str, ...], value: Any) -> None:
    for step in steps[:-1]:
        if step not in document:
            document[step] = {}
        elif not isinstance(document[step], dict):
            return
        document[step] = dict(document[step])
        document = document[step]
    document[steps[-1]] = value


def as_text(value: Any) -> Any:
    """A value as a CSV cell writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace(".", ",") if isinstance(value, float) else str(value)


def exactly(columns: Mapping[str, Any]) -> dict[str, list[str]]:
    """Columns for comparison where 1, 1.0 and True, and 1.0 and 1.00, are different."""
    return {name: [repr(value) for value in values] for name, values in sorted(columns.items())}
