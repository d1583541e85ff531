"""Reading contracts: what is compiled from ODCS, and every problem of a file in one message that says what and where."""

from __future__ import annotations

import copy
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigurationError
from contracts.spec.documents import ProblemsError
from contracts.spec.model import ColumnType, Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import BUILT_IN_DATASETS

COLUMN: dict[str, Any] = {"name": "id", "logicalType": "string", "required": True}
DOCUMENT: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "x:thing",
    "name": "thing",
    "version": "1.0.0",
    "status": "active",
    "customProperties": [{"property": "eventId", "value": {"column": "id"}}],
    "schema": [{"name": "thing", "logicalType": "object", "properties": [COLUMN]}],
}


def contract_of(
    folder: Path, *, custom: dict[str, Any] | None = None, columns: list[dict[str, Any]] | None = None, **top: Any
) -> Contract:
    """A small contract with changes, loaded from a file."""
    document = copy.deepcopy(DOCUMENT) | top
    values = {"eventId": {"column": "id"}} | (custom or {})
    document["customProperties"] = [{"property": key, "value": value} for key, value in values.items()]
    document["schema"][0]["properties"] += columns or []
    path = folder / "thing.v1.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return load_contract(path)


def column(
    name: str, logical: str = "string", physical: str | None = None, custom: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    out: dict[str, Any] = {"name": name, "logicalType": logical, **more}
    if physical:
        out["physicalType"] = physical
    if custom:
        out["customProperties"] = [{"property": key, "value": value} for key, value in custom.items()]
    return out


@pytest.mark.parametrize("path", sorted(BUILT_IN_DATASETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_built_in_contracts_are_valid(path: Path) -> None:
    contract = load_contract(path)
    assert path.stem == f"{contract.name}.v{contract.major}"


def test_the_event_contract_has_the_columns_and_rules_of_its_file() -> None:
    contract = load_contract(BUILT_IN_DATASETS / "customer_event.v1.yaml")
    assert contract.by_name["consent"].type is ColumnType.BOOLEAN_MAP
    assert contract.by_name["event_type"].enum == ("track", "identify", "page", "screen", "group", "alias")
    assert contract.by_name["user_id"].null_tokens >= {"", "undefined", "null"}
    assert [c.name for c in contract.columns if c.transport] == ["sent_at", "received_at", "event_time"]
    assert contract.computed == {"event_time", "unknown_fields"}
    assert len(contract.rules) == 5


@pytest.mark.parametrize(
    ("logical", "physical", "expected"),
    [
        ("string", None, ColumnType.STRING), ("integer", None, ColumnType.INTEGER), ("number", None, ColumnType.NUMBER),
        ("number", "decimal(12, 2)", ColumnType.DECIMAL), ("boolean", None, ColumnType.BOOLEAN), ("timestamp", None,
        ColumnType.TIMESTAMP),
        ("date", None, ColumnType.DATE), ("object", None, ColumnType.JSON), ("array", None, ColumnType.JSON),
        ("object", "map<string, boolean>", ColumnType.BOOLEAN_MAP),
    ],
)  # fmt: skip
def test_every_type_is_read(logical: str, physical: str | None, expected: ColumnType, tmp_path: Path) -> None:
    found = contract_of(tmp_path, columns=[column("c", logical, physical)]).by_name["c"]
    assert found.type is expected
    assert found.json_container == ("array" if logical == "array" else "object")


def test_bounds_are_of_the_columns_own_type(tmp_path: Path) -> None:
    contract = contract_of(
        tmp_path,
        columns=[
            column("d", "date", logicalTypeOptions={"minimum": "1900-01-01"}),
            column("m", "number", "decimal(38,2)", logicalTypeOptions={"minimum": 0.1, "maximum": 5}),
            column("i", "integer", logicalTypeOptions={"maximum": 7}),
        ],
    )
    assert contract.by_name["d"].minimum == date(1900, 1, 1)
    assert (contract.by_name["m"].minimum, contract.by_name["m"].maximum) == (Decimal("0.1"), Decimal(5))
    assert contract.by_name["i"].maximum == 7


TIME = column("at", "timestamp")
PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"name": "Thing"}, "name: 'Thing' is not lower snake_case"),
    ({"version": "0.1.0"}, "version: '0.1.0' is not MAJOR.MINOR.PATCH with a major of at least 1"),
    ({"version": "one"}, "version: 'one' is not MAJOR.MINOR.PATCH"),
    ({"custom": {"kind": "fact"}}, "kind: 'fact'; expected event or entity"),
    ({"custom": {"unknownFields": {"policy": "ask"}}}, "unknownFields.policy: 'ask'; expected keep, drop or reject"),
    ({"custom": {"unknownFields": {"policy": "keep"}}}, "unknownFields: the policy keep needs a column"),
    ({"custom": {"unknownFields": {"policy": "drop", "column": "id"}}},
    "unknownFields: the policy keep needs a column, the others have none"),
    ({"custom": {"unknownFields": {"policy": "keep", "column": "id"}}}, "unknownFields.column: column id must be of type json"),
    ({"custom": {"unknownFields": "keep"}}, "unknownFields: expected a mapping with policy and perhaps column"),
    ({"custom": {"eventId": "id"}}, "eventId: expected a mapping with column and perhaps from"),
    ({"custom": {"eventId": {"column": "key"}}}, "eventId.column: no column 'key'"),
    ({"custom": {"eventId": {"column": "id", "from": "id"}}}, "eventId.from: expected a list, not 'id'"),
    ({"custom": {"eventId": {"column": "id", "from": ["key"]}}}, "eventId.from: no column 'key'"),
    ({"custom": {"windowTime": "at"}, "columns": [TIME]}, "windowTime: expected a list, not 'at'"),
    ({"custom": {"windowTime": ["id"]}}, "windowTime: column id must be of type timestamp"),
    ({"custom": {"receivedAt": "id"}}, "receivedAt: column id must be of type timestamp"),
    ({"custom": {"receivedAt": "then"}}, "receivedAt: no column 'then'"),
    ({"custom": {"order": ["id"]}}, "order: column id must be of type integer or timestamp"),
    ({"custom": {"eventTime": {"column": "at"}}, "columns": [TIME]}, "eventTime: expected a mapping with column, original, sent"),
    ({"custom": {"eventTime": {"column": "at", "original": "at", "sent": "id"}}, "columns": [TIME]},
    "eventTime: column id must be of type timestamp"),
    ({"custom": {"color": 1}}, "contract: no custom property 'color'; known: compatibility, consumers, deduplication"),
    ({"custom": {"deduplication": {"horizon": "7"}}}, "deduplication.horizon: '7' is no duration such as 7d"),
    ({"custom": {"deduplication": {"horizon": "30s"}}}, "deduplication.horizon: '30s' is no duration such as 7d"),
    ({"custom": {"deduplication": {"derived": "day"}}}, "deduplication.derived: 'day'; expected minute or horizon"),
    ({"custom": {"deduplication": {"window": "7d"}}}, "deduplication: expected a mapping with"),
    ({"custom": {"rules": [{"require": ["id"]}]}}, "rules[0]: unknown rule with the keys ['require']; known: require_any"),
    ({"custom": {"rules": [{"require_any": ["id", "key"]}]}}, "rules: no column 'key'"),
    ({"custom": {"rules": [{"require_any": "id"}]}}, "rules[0]: require_any: expected a list of columns, not 'id'"),
    ({"custom": {"rules": [{"when": {"id": ["a"]}, "require": []}]}}, "rules[0]: require: expected a list of columns, not []"),
    ({"custom": {"rules": [{"when": {"id": "a"}, "require": ["id"]}]}},
    "rules[0]: when: expected one column and a list of its values"),
    ({"custom": {"rules": [{"when": "id", "require": ["id"]}]}}, "rules[0]: when: expected one column and a list of its values"),
    ({"custom": {"rules": ["id"]}}, "rules[0]: 'id' is not a mapping"),
    ({"custom": {"rules": [{"compare": ["id", "~", "id"]}]}}, "rules[0]: unknown rule with the keys ['compare']"),
    ({"custom": {"rules": [{"compare": ["id", "<", "at"]}]}, "columns": [TIME]}, "rules: compare: id and at cannot be compared"),
    ({"custom": {"rules": [{"when": {"c": ["a"]}, "require": ["id"]}]}, "columns": [column("c", "object")]},
    "rules: when: column c must be of type"),
    ({"columns": [column("id")]}, "column id: defined twice"),
    ({"columns": [column("_id")]}, "column _id: names with a leading _ are Headrace's own"),
    ({"columns": [column("c", "string", "uuid")]}, "column c: no type string as uuid; known: string as string"),
    ({"columns": [column("c", "number", "decimal(39,2)")]}, "column c: decimal(39,2): at most 38 digits"),
    ({"columns": [column("c", "number", "decimal(2,3)")]},
    "column c: decimal(2,3): at most 38 digits, and no more after the point"),
    ({"columns": [column("c", logicalTypeOptions={"multipleOf": 2})]}, "column c: logicalTypeOptions.multipleOf is not supported"),
    ({"columns": [column("c", logicalTypeOptions={"format": "iban"})]}, "column c: no format 'iban'; known: email, uuid, uri"),
    ({"columns": [column("c", logicalTypeOptions={"pattern": "("})]}, "column c: minimum, maximum or pattern cannot be read"),
    ({"columns": [column("c", logicalTypeOptions={"pattern": "a", "format": "uri"})]},
    "column c: pattern and format: give one of them"),
    ({"columns": [column("c", logicalTypeOptions={"minimum": 1})]}, "column c: minimum, maximum or pattern cannot be read"),
    ({"columns": [column("c", "integer", logicalTypeOptions={"minimum": "1"})]},
    "column c: minimum, maximum or pattern cannot be read"),
    ({"columns": [column("c", "date", logicalTypeOptions={"minimum": "1900"})]},
    "column c: minimum, maximum or pattern cannot be read"),
    ({"columns": [column("c", "integer", logicalTypeOptions={"maxLength": 3})]},
    "column c: maxLength is for strings, not for integer"),
    ({"columns": [column("c", "integer", enum=[{"value": "1"}])]}, "column c: enum is for strings, not for integer"),
    ({"columns": [column("c", logicalTypeOptions={"maxLength": "3"})]}, "column c: maxLength: '3' is not a length"),
    ({"columns": [column("c", logicalTypeOptions={"minLength": -1})]}, "column c: minLength: -1 is not a length"),
    ({"columns": [column("c", custom={"accept": ["words"]})]}, "column c: accept 'words'; known: epoch, no_zone, text"),
    ({"columns": [column("c", custom={"accept": "text"})]}, "column c: accept: expected a list, not 'text'"),
    ({"columns": [column("c", custom={"nullTokens": "null"})]}, "column c: nullTokens: expected a list, not 'null'"),
    ({"columns": [column("c", custom={"nullTokens": [0]})]}, "column c: nullTokens: 0 is not a text"),
    ({"columns": [column("c", custom={"nullToken": [""]})]},
    "column c: no custom property 'nullToken'; known: accept, deprecated, handling, identifier, nullTokens"),
    ({"schema": []}, "schema: exactly one table with properties is expected"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), PROBLEMS, ids=[message[:60] for _, message in PROBLEMS])
def test_a_problem_is_told_with_its_place(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        if "schema" in change:
            path = tmp_path / "thing.v1.yaml"
            path.write_text(yaml.safe_dump(DOCUMENT | change), "utf-8")
            load_contract(path)
        contract_of(tmp_path, **change)
    assert str(tmp_path / "thing.v1.yaml") in str(caught.value)
    assert re.search(rf"\n  - thing\.v1\.yaml:\d+: {re.escape(message)}", str(caught.value)), str(caught.value)


def path_of(caught: pytest.ExceptionInfo[ConfigurationError]) -> Path:
    assert isinstance(caught.value, ProblemsError)
    return caught.value.path


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        contract_of(
            tmp_path, name="Thing", version="x", custom={"kind": "fact", "order": ["no"]}, columns=[column("c", "string", "uuid")]
        )
    lines = path_of(caught).read_text("utf-8").splitlines()
    told = [line.split(":")[1:3] for line in str(caught.value).splitlines()[1:]]
    assert [(key, lines[int(line) - 1].strip()) for line, key in told] == [
        (" kind", "value: fact"), (" order", "value:"), (" name", "name: Thing"), (" column c", "- logicalType: string"),
        (" version", "version: x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML at line 1"),
        ("apiVersion: v3.1.0\nschema: 5\n", "not valid ODCS: schema"),
        ("- 1\n", "expected a mapping with apiVersion, kind, name, version and schema"),
    ],
)
def test_a_file_that_is_no_contract_is_told(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=message):
        load_contract(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load_contract(tmp_path / "none.yaml")


def test_an_event_id_that_may_be_missing_is_refused(tmp_path: Path) -> None:
    optional = {**DOCUMENT["schema"][0], "properties": [{"name": "id", "logicalType": "string"}]}
    with pytest.raises(ConfigurationError, match=r"eventId\.column: id must be required"):
        contract_of(tmp_path, schema=[optional])


def test_rules_cannot_read_what_is_computed_after_them(tmp_path: Path) -> None:
    times = [column(name, "timestamp") for name in ("received", "sent", "made", "estimate")]
    event_time = {"column": "estimate", "original": "made", "sent": "sent"}
    custom = {"eventTime": event_time, "receivedAt": "received", "rules": [{"compare": ["estimate", "<=", "received"]}]}
    with pytest.raises(ConfigurationError, match="rules: estimate is computed"):
        contract_of(tmp_path, columns=times, custom=custom)
