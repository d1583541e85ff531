"""For random chains of compatible changes: what any version wrote, any later one reads."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.evolution.avro import avro_schema
from contracts.evolution.changes import Step, next_version
from contracts.evolution.verdicts import judge
from contracts.spec.model import Column, ColumnType, Compatibility, Contract
from tests.support.contract_table import BASE

_DAY = date(2026, 6, 15)
_BOUND = 2**53
_TYPES = st.sampled_from(list(ColumnType))
_NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta"])
_VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.STRING: st.text(max_size=8),
    ColumnType.INTEGER: st.integers(-_BOUND, _BOUND),
    ColumnType.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    ColumnType.DECIMAL: st.integers(-(10**9), 10**9).map(lambda digits: Decimal(digits).scaleb(-2)),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.TIMESTAMP: st.integers(0, 4 * 10**9).map(lambda s: datetime.fromtimestamp(s, UTC)),
    ColumnType.DATE: st.dates(date(1971, 1, 1), date(2100, 1, 1)),
    ColumnType.JSON: st.sampled_from(["{}", '{"a":1}']),
    ColumnType.BOOLEAN_MAP: st.dictionaries(st.sampled_from(["ads", "analytics"]), st.booleans()),
}


@st.composite
def _columns(draw: st.DrawFn, name: str) -> Column:
    kind = draw(_TYPES)
    precision = draw(st.sampled_from([12, 14])) if kind is ColumnType.DECIMAL else 0
    bounds = {"minimum": -_BOUND, "maximum": _BOUND} if kind in (ColumnType.INTEGER, ColumnType.NUMBER) else {}
    return Column(name=name, type=kind, required=draw(st.booleans()), precision=precision, scale=2 if precision else 0, **bounds)


@st.composite
def _chains(draw: st.DrawFn, mode: Compatibility) -> list[Contract]:
    """Versions, each of which the verdict allows after those before it, however often the major version goes up."""
    newest = replace(BASE, compatibility=mode)
    chain = [newest]
    for _ in range(draw(st.integers(1, 6))):
        name = draw(_NAMES)
        others = tuple(column for column in newest.columns if column.name != name)
        changed = draw(st.one_of(st.none(), _columns(name)))
        proposal = replace(newest, columns=others if changed is None else (*others, changed))
        verdict = judge(proposal, chain, _DAY)
        if verdict.forbidden or verdict.needed is Step.NONE:
            continue
        newest = replace(proposal, version=next_version(newest.version, Step.MINOR))
        chain.append(newest)
    return chain


def _row(draw: st.DrawFn, contract: Contract) -> dict[str, Any]:
    row = {}
    for column in contract.columns:
        value = _VALUES[column.type]
        row[column.name] = draw(value if column.required else st.one_of(st.none(), value))
    return row


def _written(contract: Contract, row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(avro_schema(contract)), row)
    return out.getvalue()


def _read(payload: bytes, writer: Contract, reader: Contract) -> Any:
    schemas = [fastavro.parse_schema(avro_schema(contract)) for contract in (writer, reader)]
    return fastavro.schemaless_reader(io.BytesIO(payload), *schemas)


def _expect_same(row: dict[str, Any], writer: Contract, reader: Contract) -> None:
    found = _read(_written(writer, row), writer, reader)
    assert found.keys() == reader.by_name.keys()
    for column in reader.columns:
        known = writer.by_name.get(column.name)
        assert found[column.name] == (row[column.name] if known else None), column.name
        assert found[column.name] is not None or not column.required


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_later_version_reads_what_an_earlier_one_wrote(data: st.DataObject) -> None:
    chain = data.draw(_chains("BACKWARD_TRANSITIVE"))
    for number, writer in enumerate(chain):
        row = _row(data.draw, writer)  # type: ignore[arg-type]
        for reader in chain[number:]:
            _expect_same(row, writer, reader)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_with_full_compatibility_every_earlier_version_reads_later_data_too(data: st.DataObject) -> None:
    chain = data.draw(_chains("FULL_TRANSITIVE"))
    for writer in chain:
        row = _row(data.draw, writer)  # type: ignore[arg-type]
        for reader in chain:
            _expect_same(row, writer, reader)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_with_forward_compatibility_every_earlier_version_reads_later_data(data: st.DataObject) -> None:
    chain = data.draw(_chains("FORWARD_TRANSITIVE"))
    for number, writer in enumerate(chain):
        row = _row(data.draw, writer)  # type: ignore[arg-type]
        for reader in chain[: number + 1]:
            _expect_same(row, writer, reader)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_chains_are_long_enough_to_say_something(data: st.DataObject) -> None:
    """Not a law: that the strategy above makes changes that are allowed at all."""
    chain = data.draw(_chains("BACKWARD_TRANSITIVE").filter(lambda found: len(found) > 2))
    assert len({contract.columns for contract in chain}) > 1
