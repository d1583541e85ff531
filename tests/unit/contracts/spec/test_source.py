"""Reading source specs: paths, defaults, and every problem of a file in one message that says what and where."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from contracts.spec.files.source import load_source
from contracts.spec.model import Column, ColumnType, Contract, EventTimeRule
from contracts.spec.project import Project
from contracts.spec.source import (
    CsvDialect,
    DropRule,
    PayloadPath,
    SchemaVersionRule,
    SourceSpec,
    check_source,
    warnings_of,
)
from contracts.spec.text import plain_text
from tests.support.documents import everything_contract, everything_spec
from tests.support.processes import PROJECT

DOCUMENT: dict[str, Any] = {"source": "web", "dataset": "events", "format": "jsonl", "columns": {"id": "messageId"}}


def spec_of(folder: Path, **change: Any) -> SourceSpec:
    """A small spec with changes, loaded from a file; None takes a key away."""
    path = folder / "web.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (DOCUMENT | change).items() if value is not None}), "utf-8")
    return load_source(path)


def test_what_a_spec_does_not_say_has_a_default(tmp_path: Path) -> None:
    columns = {"id": (PayloadPath(("messageId",)),)}
    assert spec_of(tmp_path) == SourceSpec(name="web", dataset="events", version=1, format="jsonl", columns=columns)


def test_everything_that_a_spec_says_is_read(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        format="csv", records="data.batch", missing_event_id="derive", timezone="Europe/Berlin", record_bytes=10, max_depth=3,
        schema_version={"path": "v", "accepted": [1, "b"], "default": 1}, filter=[{"path": "a.b", "in": ["bot", 7, True]}],
        ignore=["x"], csv={"delimiter": ";", "decimal": ",", "encoding": "cp1252", "null_values": ["", "NULL"]},
        columns={"id": ["a", "^.b", "c\\.d.e"]},
    )  # fmt: skip
    assert spec.columns == {"id": (PayloadPath(("a",)), PayloadPath(("b",), envelope=True), PayloadPath(("c.d", "e")))}
    assert spec.records == PayloadPath(("data", "batch"))
    assert spec.schema_version == SchemaVersionRule(path=PayloadPath(("v",)), accepted=frozenset({"1", "b"}), default="1")
    assert spec.filters == (DropRule(PayloadPath(("a", "b")), frozenset({"bot", "7", "true"})),)
    assert spec.csv == CsvDialect(";", '"', "cp1252", ",", frozenset({"", "NULL"}))
    assert (spec.missing_event_id, spec.timezone, spec.record_bytes, spec.max_depth) == ("derive", "Europe/Berlin", 10, 3)
    assert spec.known_fields == {"a", "c.d", "v", "x"}
    assert spec.text


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"clock": {"max_behind": "30d"}}, "clock: expected {max_behind: 30d, max_ahead: 1h}"),
    ({"clock": {"max_behind": "any", "max_ahead": "soon"}}, "clock.max_ahead: 'soon' is no duration such as 30d or 1h, nor any"),
    ({"sauce": "web"}, "no key 'sauce'; known: clock, columns, csv"),
    ({"source": None}, "source: missing"),
    ({"columns": {}}, "columns: missing"),
    ({"source": "Web Shop"}, "source: 'Web Shop' is not lower case letters, digits, _ and -"),
    ({"format": "xml"}, "format: 'xml'; known: jsonl, json_array, csv, avro, parquet"),
    ({"missing_event_id": "invent"}, "missing_event_id: 'invent'; expected derive or reject"),
    ({"timezone": "Mars/Base"}, "timezone: 'Mars/Base' is not an IANA name such as Europe/Berlin"),
    ({"timezone": "Europe"}, "timezone: 'Europe' is not an IANA name"),
    ({"record_bytes": 0}, "record_bytes: 0 is not a positive number"),
    ({"max_depth": "deep"}, "max_depth: 'deep' is not a positive number"),
    ({"max_depth": True}, "max_depth: True is not a positive number"),
    ({"version": "one"}, "version: 'one' is not a major version such as 1"),
    ({"columns": ["id"]}, "columns: expected a mapping of contract columns to payload paths"),
    ({"columns": {"id": "a..b"}}, "columns.id: 'a..b' is not a path such as context.page.url"),
    ({"columns": {"id": 5}}, "columns.id: expected a path such as context.page.url"),
    ({"columns": {"id": yaml.safe_load("no")}}, "columns.id: expected a path such as context.page.url; YAML reads yes, no,"),
    ({"records": ".batch"}, "records: '.batch' is not a path"),
    ({"schema_version": {"path": "v"}}, "schema_version: expected {path: …, accepted: [1, 2], default: 1}"),
    ({"schema_version": {"path": "", "accepted": [1]}}, "schema_version.path: '' is not a path"),
    ({"filter": {"path": "a", "in": ["b"]}}, "filter: expected a list"),
    ({"filter": [{"path": "a"}]}, "filter[0]: expected {path: context.traffic, in: [bot]}"),
    ({"filter": [{"path": "a", "in": ["b"]}, {"path": "a.", "in": ["b"]}]}, "filter[1].path: 'a.' is not a path"),
    ({"ignore": "writeKey"}, "ignore: expected a list"),
    ({"tombstones": "drop"}, "tombstones: 'drop'; expected filter or reject"),
    ({"csv": {"separator": ";"}}, "csv: expected a mapping with some of decimal, delimiter, encoding, null_values, quote"),
    ({"csv": {"delimiter": ";;"}}, "csv.delimiter: ';;' is not one ASCII character"),
    ({"csv": {"quote": "“"}}, "csv.quote: '“' is not one ASCII character"),
    ({"csv": {"encoding": "ebcdic-9"}}, "csv.encoding: 'ebcdic-9' is not a text encoding that Python knows"),
]


@pytest.mark.parametrize(("change", "message"), PROBLEMS, ids=[message[:50] for _, message in PROBLEMS])
def test_a_problem_is_told_with_its_place(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        spec_of(tmp_path, **change)
    assert str(caught.value).startswith(f"source spec {tmp_path / 'web.yaml'}:")
    assert re.search(rf"\n  - web\.yaml:\d+: {re.escape(message)}", str(caught.value)), str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        spec_of(tmp_path, source="W", format="xml", timezone="x", record_bytes=-1, columns={"id": ""}, csv={"decimal": ""})
    places = [line.split(":")[1:3] for line in str(caught.value).splitlines()[1:]]
    assert places == [
        ["2", " columns.id"], ["4", " csv.decimal"], ["6", " format"], ["7", " record_bytes"], ["8", " source"], ["9", " timezone"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: [\nb", "not valid YAML at line 2"),
        (b"\xff\xfe", "not valid YAML"),
        (b"- 1", "expected a mapping with source"),
        (b"", "expected a mapping"),
    ],
)
def test_a_file_that_is_no_spec_is_told(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=message):
        load_source(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load_source(tmp_path / "none.yaml")


def test_a_spec_that_fits_its_contract_has_no_problems() -> None:
    assert check_source(everything_spec(), everything_contract()) == []


def test_what_does_not_fit_the_contract_is_told_at_once() -> None:
    columns = {"colour": (PayloadPath(("c",)),), "estimate": (PayloadPath(("e",)),), "kind": (PayloadPath(("k",), envelope=True),)}
    spec = SourceSpec(name="web", dataset="everything", version=2, format="jsonl", columns=columns)
    assert check_source(spec, everything_contract()) == [
        "columns: everything has no column 'colour'",
        "columns: estimate is computed, no source maps it",
        "columns: id is required by everything and not mapped",
        "columns: at_local is required by everything and not mapped",
        "columns: kind: ^.k needs an envelope, but there is no records:",
        "version: 2, but the contract found is 1.0.0",
    ]


def test_an_event_id_that_is_derived_need_not_be_mapped() -> None:
    columns = {name: paths for name, paths in everything_spec().columns.items() if name != "id"}
    spec = SourceSpec(name="x", dataset="everything", version=1, format="jsonl", columns=columns, missing_event_id="derive")
    assert check_source(spec, everything_contract()) == []


@given(st.lists(st.text(st.characters(exclude_characters="\\"), min_size=1), min_size=1), st.booleans())
def test_a_path_with_dots_escaped_is_read_back(steps: list[str], envelope: bool) -> None:
    if not envelope and steps[0] == "^" and len(steps) > 1:
        return
    text = ("^." if envelope else "") + ".".join(step.replace(".", "\\.") for step in steps)
    assert PayloadPath.parse(text) == PayloadPath(tuple(steps), envelope)


@pytest.mark.parametrize(
    ("value", "text"),
    [("bot", "bot"), ("", ""), (True, "true"), (False, "false"), (7, "7"), (7.0, "7"), (-1, "-1"), (7.5, None), (None, None),
    ([], None),
     ({}, None), pytest.param(10**5000, None, id="huge"), (float("inf"), None), (float("nan"), None)],
)  # fmt: skip
def test_plain_text_is_what_filters_and_versions_compare(value: Any, text: str | None) -> None:
    assert plain_text(value) == text


# What may be meant otherwise


SENT = ("estimate", "received", "sent")
CLOCKED = Contract(
    name="events", version="1.0.0", kind="event", event_id="id", received_at="received",
    event_time=EventTimeRule("estimate", "at", "sent"),
    columns=(
        Column(name="id", type=ColumnType.STRING),
        *(Column(name=n, type=ColumnType.TIMESTAMP, accept=frozenset({"epoch"})) for n in (*SENT, "at", "tried")),
    ),
)  # fmt: skip
COLUMNS = {"id": "messageId", "at": "timestamp", "sent": ["a", "^.b"]}


def marked(*names: str) -> Contract:
    """The contract, with these columns marked as transport."""
    return replace(CLOCKED, columns=tuple(replace(c, transport=c.name in names) for c in CLOCKED.columns))


@pytest.mark.parametrize(
    ("contract", "change", "told"),
    [
        (CLOCKED, {"missing_event_id": "reject"}, None),
        (CLOCKED, {}, "another estimate, received, sent, so it gets another id"),
        (marked(*SENT), {}, None),
        (marked("estimate", "sent"), {}, "another received, so it gets another id and is there twice; give it transport: true"),
        (marked(*SENT), {"columns": COLUMNS | {"tried": "meta.server_received_time"}}, "another tried, so"),
        (marked(*SENT), {"columns": COLUMNS | {"tried": ["x", "context.sentAt"]}}, "another tried, so"),
        (marked(*SENT), {"columns": COLUMNS | {"tried": "attempted"}}, None),
        (replace(CLOCKED, event_id_from=("at",)), {}, None),
        (replace(CLOCKED, event_time=None, received_at=None), {}, None),
    ],
)  # fmt: skip
def test_an_id_that_each_attempt_to_send_changes_is_told(
    contract: Contract, change: dict[str, Any], told: str | None, tmp_path: Path
) -> None:
    spec = spec_of(tmp_path, **{"missing_event_id": "derive", "epoch": "ms", "columns": COLUMNS, **change})
    found = warnings_of(spec, contract)
    assert (told is None and found == []) or (told is not None and len(found) == 1 and told in found[0])


@pytest.mark.parametrize(
    ("epoch", "guessed"),
    [(None, "at, sent"), ("mixed", None), ("ms", None), ({"at": "mixed"}, "sent"), ({"at": "s", "sent": "mixed"}, None)],
)
def test_only_a_unit_that_nobody_stated_is_a_guess(epoch: Any, guessed: str | None, tmp_path: Path) -> None:
    found = warnings_of(spec_of(tmp_path, columns=COLUMNS, epoch=epoch), CLOCKED)
    assert [text.partition(" is guessed")[0] for text in found] == ([f"epoch: the unit of numbers in {guessed}"] if guessed else [])


def test_mixed_units_are_no_unit_in_particular(tmp_path: Path) -> None:
    assert spec_of(tmp_path, epoch={"id": "mixed"}).epoch_units == {"id": None}
    assert spec_of(tmp_path, epoch="mixed").epoch_units == {None: None}


@pytest.mark.parametrize("name", ["web", "mobile"])
def test_the_sample_has_no_warnings(name: str) -> None:
    assert warnings_of(*Project.load(PROJECT).source(name)) == []


UPCAST = {"from": 1, "to": 2, "steps": [{"remove": {"path": "a"}}]}


def versions(*upcasts: Any, **more: Any) -> dict[str, Any]:
    return {"schema_version": {"path": "v", "accepted": [1, 2, "3.*"], "upcasts": list(upcasts), **more}}


def step(**steps: Any) -> dict[str, Any]:
    return versions({**UPCAST, "steps": [steps]})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (versions(UPCAST, {**UPCAST, "to": "3.0"}), "upcasts: two begin at version 1"),
        (
            versions({**UPCAST, "from": 9}),
            "schema_version.upcasts[0].from: version 9 is not among accepted, so no record comes here",
        ),
        (versions({**UPCAST, "to": 9}), "schema_version.upcasts[0].to: version 9 is not among accepted"),
        (versions({**UPCAST, "to": "3.*"}), "schema_version.upcasts[0].to: 3.* stands for several versions; name one"),
        (versions(UPCAST, {**UPCAST, "from": 2, "to": 1}), "schema_version.upcasts[0]: leads from 1 back to itself"),
        (versions({**UPCAST, "from": "3.*", "to": "3.1"}), "schema_version.upcasts[0]: leads from 3.* back to itself"),
        (versions(header="h"), "schema_version: expected one of path, header, registry and constant"),
        (step(rename={"path": "a", "to": "b"}, remove={"path": "a"}), "steps[0]: expected one of rename, default, split"),
        (step(rename={"path": "^.a", "to": "b"}), "rename.path: ^.a: a step changes the record, not what is around it"),
        (step(split={"path": "a", "at": "", "into": ["b", "c"]}), "split.at:"),
        (step(split={"path": "a", "at": " ", "into": ["b"]}), "split.into: expected two paths or more"),
        (step(join={"paths": ["a"], "with": "", "into": "b"}), "join.paths: expected two paths or more"),
        (step(unit={"path": "a", "factor": 0}), "unit.factor: 0 loses every value"),
        (step(unit={"path": "a", "factor": "1e-99"}), "unit.factor: '1e-99' is not a decimal number"),
        (step(unit={"path": "a", "factor": "ten"}), "unit.factor: 'ten' is not a decimal number"),
        (step(widen={"path": "a", "type": "date"}), "widen.type:"),
        (step(map={"path": "a", "values": {}}), "map.values:"),
        (step(map={"path": "a", "values": {"x": 1}, "otherwise": "drop"}), "map.otherwise:"),
        ({"revision": 0}, "revision: 0 is not a number from 1 to 999,999"),
        ({"revision": "2"}, "revision: '2' is not a number from 1 to 999,999"),
        (
            {"examples": [{"payload": {}}]},
            "examples[0]: expected one of row: {column: value}, rejected: [rules] and filtered: true",
        ),
        ({"examples": [{"payload": {}, "rejected": []}]}, "examples[0].rejected:"),
        ({"raw": "No Name"}, "raw: 'No Name' is not lower case letters"),
        ({"wire_format": "glue"}, "wire_format: 'glue'; expected confluent"),
    ],
)
def test_versions_examples_and_revisions_that_are_wrong_are_told(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({"source": "x", "dataset": "c", "format": "jsonl", "columns": {"id": "id"}, **keys}))
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_source(path)


def test_factors_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for written, factor in ((1000, "1000"), (0.001, "0.001"), ("1e3", "1000"), ("-0.10", "-0.10")):
        keys = step(unit={"path": "a", "factor": written})
        path.write_text(yaml.safe_dump({"source": "x", "dataset": "c", "format": "jsonl", "columns": {"id": "id"}, **keys}))
        rule = load_source(path).schema_version
        assert rule is not None
        assert rule.upcasts[0].steps[0].factor == factor
