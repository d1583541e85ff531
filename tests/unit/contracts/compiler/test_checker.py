"""The law of the fast path: whole columns at once and the judge one by one say the same, whoever stands beside a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.codes import Violation
from contracts.compiler.checker import Checked, RecordChecker
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from examples.webshop.generate import generate
from lake.formats import Bookmark, format_for
from tests.support.documents import (
    EPOCH_TOKEN,
    JSON_VALUES,
    TEXT_VALUES,
    TYPED_VALUES,
    as_text,
    documents,
    everything_contract,
    everything_spec,
    exactly,
)  # fmt: skip
from tests.support.mutate import STRINGS, TIMESTAMPS, mutate_record

WEBSHOP = Path(__file__).parents[4] / "examples" / "webshop"
SOURCES = ("web", "mobile", "crm", "orders")
MUTANTS = 3_000
COMMON = {"deadline": None, "suppress_health_check": (HealthCheck.too_slow, HealthCheck.data_too_large), "derandomize": True}


@dataclass
class Sample:
    """Records of one source as its reader gives them."""

    checker: RecordChecker
    records: list[Any]
    envelopes: list[Mapping[str, Any]] | None
    failed: dict[int, list[Violation]]


@cache
def project_source(name: str) -> tuple[SourceSpec, Contract]:
    return Project.load(WEBSHOP).source(name)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    """Some thousand records of all four sources, read from the generator's files."""
    folder = tmp_path_factory.mktemp("webshop")
    generate(folder, records=4_000)
    return {name: read_sample(name, folder) for name in SOURCES}


def read_sample(name: str, folder: Path) -> Sample:
    spec, contract = project_source(name)
    sample = Sample(RecordChecker(contract, spec), [], [] if spec.records else None, {})
    for path in sorted(folder.glob(f"{name}/*-0*")):
        with path.open("rb") as file:
            for block in format_for(spec).blocks(file, Bookmark()):
                parsed = block.parse()
                sample.failed |= {len(sample.records) + i: why for i, why in parsed.failed.items()}
                sample.records += parsed.records
                if sample.envelopes is not None:
                    sample.envelopes += parsed.envelopes or []
    return sample


def assert_same(fast: Checked, slow: Checked) -> None:
    assert fast.accepted == slow.accepted
    assert fast.rejected == slow.rejected
    assert sorted(fast.filtered) == sorted(slow.filtered)
    assert exactly(fast.columns) == exactly(slow.columns)


def assert_law(checker: RecordChecker, records: Sequence[Any], envelopes: Sequence[Mapping[str, Any]] | None = None) -> Checked:
    """The fast path and the judge agree, every record has one outcome, and the input is as it was."""
    before = repr(records)
    fast = checker.check(records, envelopes)
    assert repr(records) == before
    assert_same(fast, checker.check(records, envelopes, suspect_all=True))
    assert sorted([*fast.accepted, *fast.rejected, *fast.filtered]) == list(range(len(records)))
    return fast


def assert_no_neighbours(
    checker: RecordChecker,
    together: Checked,
    records: Sequence[Any],
    envelopes: Sequence[Mapping[str, Any]] | None,
    among: Sequence[int],
) -> None:
    """Each record alone has the outcome that it has among the others."""
    row_of = {index: row for row, index in enumerate(together.accepted)}
    for index in among:
        alone = checker.check([records[index]], [envelopes[index]] if envelopes else None)
        assert alone.rejected.get(0) == together.rejected.get(index)
        assert alone.filtered == ([0] if index in together.filtered else [])
        row = row_of.get(index)
        assert alone.accepted == ([] if row is None else [0])
        mine = {name: [] if row is None else [values[row]] for name, values in together.columns.items()}
        assert exactly(alone.columns) == exactly(mine)


@pytest.mark.parametrize("name", SOURCES)
def test_fast_path_and_judge_agree_on_the_webshop(name: str, samples: dict[str, Sample]) -> None:
    sample = samples[name]
    fast = sample.checker.check(sample.records, sample.envelopes, failed=sample.failed)
    slow = sample.checker.check(sample.records, sample.envelopes, failed=sample.failed, suspect_all=True)
    assert_same(fast, slow)
    assert len(fast.accepted) > len(sample.records) * 0.9
    assert fast.rejected


@pytest.mark.parametrize("name", SOURCES)
def test_fast_path_and_judge_agree_on_mutated_records(name: str, samples: dict[str, Sample]) -> None:
    sample = samples[name]
    rng = Random(f"mutants:{name}")
    good = [i for i, record in enumerate(sample.records) if type(record) is dict and len(repr(record)) < 10_000]
    values = {"crm": TEXT_VALUES, "orders": JSON_VALUES + TYPED_VALUES}.get(name, JSON_VALUES + STRINGS + TIMESTAMPS)
    picked = rng.choices(good, k=MUTANTS)
    records = [mutate_record(sample.records[i], rng, values) for i in picked]
    envelopes = None
    if sample.envelopes is not None:
        slim = [{key: value for key, value in sample.envelopes[i].items() if key != "batch"} for i in picked]
        envelopes = [mutate_record(envelope, rng, JSON_VALUES) if rng.random() < 0.3 else envelope for envelope in slim]
    together = assert_law(sample.checker, records, envelopes)
    assert together.rejected and together.accepted
    assert_no_neighbours(sample.checker, together, records, envelopes, range(0, MUTANTS, 7))


@pytest.mark.parametrize("unknown", ["keep", "drop", "reject"])
@pytest.mark.parametrize("missing_event_id", ["derive", "reject"])
def test_fast_path_and_judge_agree_on_a_contract_with_every_feature(unknown: Any, missing_event_id: Any) -> None:
    contract, spec = everything_contract(unknown), everything_spec(missing_event_id)
    if unknown == "drop":
        contract = replace(contract, rules=())  # their suspicion would hide what a column's fast form gets wrong
    checker = RecordChecker(contract, spec)

    @settings(max_examples=20, **COMMON)
    @given(st.lists(documents(contract, spec, JSON_VALUES + TYPED_VALUES), max_size=6))
    def law(records: list[dict[str, Any]]) -> None:
        assert_no_neighbours(checker, assert_law(checker, records), records, None, range(len(records)))

    law()


@pytest.mark.parametrize("decimal", [".", ","])
def test_fast_path_and_judge_agree_where_all_values_are_text(decimal: str) -> None:
    contract, spec = everything_contract(), everything_spec()
    spec = replace(spec, format="csv", csv=replace(spec.csv, decimal=decimal))
    checker = RecordChecker(contract, spec)

    @settings(max_examples=25, **COMMON)
    @given(st.lists(documents(contract, spec, TEXT_VALUES, as_text), max_size=6))
    def law(records: list[dict[str, Any]]) -> None:
        assert_no_neighbours(checker, assert_law(checker, records), records, None, range(len(records)))

    law()


@pytest.mark.parametrize("name", SOURCES)
def test_fast_path_and_judge_agree_on_documents_of_any_shape(name: str) -> None:
    spec, contract = project_source(name)
    checker = RecordChecker(contract, spec)
    values = {"crm": TEXT_VALUES, "orders": JSON_VALUES + TYPED_VALUES}.get(name, JSON_VALUES)
    fitting = as_text if name == "crm" else lambda value: value
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    )
    record = documents(contract, spec, values, fitting)
    odd = st.one_of(record, record, record, anything) if name != "crm" else record
    envelope = st.dictionaries(st.sampled_from(("sentAt", "receivedAt", "x")), st.sampled_from(JSON_VALUES), max_size=3)

    @settings(max_examples=20, **COMMON)
    @given(st.lists(st.tuples(odd, envelope), max_size=5))
    def law(pairs: list[tuple[Any, dict[str, Any]]]) -> None:
        records = [pair[0] for pair in pairs]
        envelopes = [pair[1] for pair in pairs] if spec.records else None
        assert_no_neighbours(checker, assert_law(checker, records, envelopes), records, envelopes, range(len(records)))

    law()


def test_an_event_id_of_any_type_is_a_wrong_type_where_missing_ids_are_derived() -> None:
    spec, contract = project_source("web")
    good = {"messageId": "m", "type": "page", "userId": "u"}
    records = [{**good, "messageId": value} for value in ({}, [], 7, {"a": []}, "x", None, "null")]
    checked = assert_law(RecordChecker(contract, spec), records)
    assert {i: why[0].rule for i, why in checked.rejected.items()} == {0: "type", 1: "type", 2: "type", 3: "type"}
    assert checked.columns["event_id"] == ["x", None, None]


def test_a_null_token_that_looks_like_a_timestamp_is_no_value() -> None:
    checker = RecordChecker(everything_contract(), everything_spec())
    good = {"id": "1", "kind": "a", "flag": True, "count": 1, "meta": {"size": 2.0}, "at_local": "2026-11-02T10:00:00Z"}
    checked = assert_law(checker, [{**good, "at": "2026-11-02T10:00:00Z"}, {**good, "at": EPOCH_TOKEN}])
    assert checked.columns["at"] == [1_793_613_600_000_000, None]


def test_a_filter_wins_over_whatever_else_is_wrong() -> None:
    spec, contract = project_source("web")
    checked = assert_law(RecordChecker(contract, spec), [{"context": {"traffic": "bot"}}, {"context": {"traffic": "human"}}, 5])
    assert checked.filtered == [0]
    assert sorted(checked.rejected) == [1, 2]


def test_a_record_lists_every_violation_in_the_order_of_the_contract() -> None:
    spec, contract = project_source("web")
    record = {"type": "pageview", "userId": 5, "originalTimestamp": "yesterday", "context": "web"}
    (found,) = assert_law(RecordChecker(contract, spec), [record]).rejected.values()
    assert [(v.path, v.rule) for v in found] == [
        ("type", "enum"), ("userId", "type"), ("originalTimestamp", "timestamp"), ("context", "type"),
    ]  # fmt: skip


def test_what_the_reader_rejected_keeps_its_reason_and_is_not_looked_at() -> None:
    spec, contract = project_source("web")
    why = [Violation("$", "depth", "at most 64 levels")]
    checked = RecordChecker(contract, spec).check([None, {"type": "page", "userId": "u"}, {}], failed={0: why, 2: why})
    assert checked.accepted == [1]
    assert checked.rejected == {0: why, 2: why}


@pytest.mark.parametrize("record", [None, [], [{}], "x", 5, 1.5, True])
def test_what_is_no_object_is_malformed(record: Any) -> None:
    spec, contract = project_source("web")
    (found,) = RecordChecker(contract, spec).check([record]).rejected[0]
    assert (found.path, found.code) == ("$", "malformed")


def test_no_records_at_all_give_empty_columns() -> None:
    spec, contract = project_source("web")
    checked = RecordChecker(contract, spec).check([])
    assert not checked.accepted and not checked.rejected
    assert set(checked.columns) == {c.name for c in contract.columns} - {"event_time"}
    assert all(values == [] for values in checked.columns.values())


def test_unknown_fields_are_kept_with_sorted_keys() -> None:
    spec, contract = project_source("web")
    record = {"type": "page", "userId": "u", "z": {"b": 1, "a": 2}, "y": None, "channel": "web"}
    checked = assert_law(RecordChecker(contract, spec), [record])
    assert json.loads(checked.columns["unknown_fields"][0]) == {"y": None, "z": {"a": 2, "b": 1}}
    assert checked.columns["unknown_fields"][0] == '{"y":null,"z":{"a":2,"b":1}}'
