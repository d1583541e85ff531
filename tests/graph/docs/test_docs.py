"""The documentation says what the code does: links lead somewhere, tables list what there is, commands and scripts run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.codes import RULE_CODES, Code
from contracts.errors import ConfigurationError
from contracts.spec.destination import DIALECTS, Limits
from contracts.spec.files.destination import load_destination
from contracts.spec.files.source import load_source
from contracts.spec.model import ColumnType
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from contracts.spec.source import FORMAT_NAMES
from lake.receipts.state import DOWN, ENDED, OK, THROTTLED
from operations.deliveries import SILENT, STARTING
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from tests.support import cli_reference, table_reference
from tests.support.pages import FENCE, ROOT, blocks_of
from tests.support.readers import Clone
from transforms.deliver.http.client import Fate, fate_of
from transforms.deliver.http.dialects import dialect_of

REFERENCE = ROOT / "docs" / "reference"
GUIDES = ROOT / "docs" / "guides"
WEBSHOP = ROOT / "examples" / "webshop"

_CODE_SPAN = re.compile(r"`([^`]*)`")


def table_of(page: Path, heading: str, number: int = 0) -> list[list[str]]:
    """Cells of a table below a heading, without its header."""
    text = re.split(rf"^#+ {re.escape(heading)}$", page.read_text("utf-8"), maxsplit=1, flags=re.MULTILINE)[1]
    body = re.split(r"^#+ ", FENCE.sub("", text), maxsplit=1, flags=re.MULTILINE)[0]
    tables = re.findall(r"(?:^\|.*\|\n)+", body, re.MULTILINE)
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in tables[number].splitlines()]
    return rows[2:]


def spans(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return _CODE_SPAN.findall(cell)


def keys_of(page: Path, heading: str, number: int = 0) -> set[str]:
    return {key for row in table_of(page, heading, number) for key in spans(row[0])}


def known_keys(message: str) -> set[str]:
    """The keys that an error message lists as known."""
    listed = re.search(r"(?:known: |some of )([\w, ]+)", message)
    assert listed, message
    return set(listed[1].split(", "))


# --- pages


def test_the_command_line_page_is_what_the_commands_say() -> None:
    page = (REFERENCE / "cli.md").read_text("utf-8")
    assert page == cli_reference.reference(), "run: python -m tests.support.cli_reference > docs/reference/cli.md"


def test_the_page_of_columns_is_what_contracts_and_schemas_say() -> None:
    page = (REFERENCE / "tables.md").read_text("utf-8")
    assert page == table_reference.reference(), "run: python -m tests.support.table_reference > docs/reference/tables.md"


def test_dead_letter_codes_and_their_rules_are_those_of_the_code() -> None:
    rows = table_of(REFERENCE / "dead-letters.md", "Codes")
    documented = {spans(row[0])[0]: set(spans(row[1])) for row in rows}
    assert list(documented) == [str(code) for code in Code]
    assert documented == {str(code): {rule for rule, given in RULE_CODES.items() if given is code} for code in Code}


def test_rules_of_contract_constraints_are_known_rules() -> None:
    page = REFERENCE / "contracts.md"
    column_rules = {rule for row in table_of(page, "Constraints of a column") for rule in spans(row[2])}
    rules = {row[2].strip("`") for row in table_of(page, "Rules")}
    unread = {
        "syntax",
        "encoding",
        "record_bytes",
        "depth",
        "fields",
        "header",
        "damage",
        "schema_version",
        "upcast",
        "fingerprint",
    }
    unread |= {"delivery"}
    assert column_rules | rules == set(RULE_CODES) - unread - {"unknown_field"}


# --- keys of YAML files


def problems_of_source(tmp_path: Path, document: dict[str, Any]) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError) as raised:
        load_source(path)
    return str(raised.value)


MINIMAL = {"source": "x", "dataset": "contact", "format": "csv", "columns": {"email": "Email"}}


def test_source_keys_on_the_page_are_those_of_the_loader(tmp_path: Path) -> None:
    page = REFERENCE / "sources.md"
    assert keys_of(page, "Keys") == known_keys(problems_of_source(tmp_path, {**MINIMAL, "nonsense": 1}))
    assert keys_of(page, "CSV") == known_keys(problems_of_source(tmp_path, {**MINIMAL, "csv": {"nonsense": 1}}))
    assert {row[0].strip("`") for row in table_of(page, "Formats")} == set(FORMAT_NAMES)


def test_keys_of_schema_version_and_filter_on_the_page_are_those_of_the_loader(tmp_path: Path) -> None:
    page, path = REFERENCE / "sources.md", tmp_path / "full.yaml"
    version = {"path": "v", "accepted": [1], "default": 1, "upcasts": [], "header": "h", "registry": True, "constant": 1}
    for key, full in (("schema_version", version), ("filter", {"path": "a", "in": ["b"]})):
        assert keys_of(page, key) == set(full)
        right = [full] if key == "filter" else {k: v for k, v in full.items() if k not in ("header", "registry", "constant")}
        path.write_text(yaml.safe_dump({**MINIMAL, key: right}))
        load_source(path)
        more = {**full, "nonsense": 1}
        assert f"{key}" in problems_of_source(tmp_path, {**MINIMAL, key: [more] if key == "filter" else more})


def test_defaults_of_source_keys_on_the_page_are_those_of_the_loader(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    spec = load_source(path)
    defaults = {row[0].strip("`"): row[1] for row in table_of(REFERENCE / "sources.md", "Keys")}
    given = {"version": spec.version, "missing_event_id": spec.missing_event_id, "timezone": spec.timezone}
    given |= {"record_bytes": spec.record_bytes, "max_depth": spec.max_depth}
    assert {key: defaults[key] for key in given} == {key: f"`{value}`" for key, value in given.items()}
    assert [key for key, default in defaults.items() if default == "required"] == list(MINIMAL)
    dialect = {row[0].strip("`"): row[1] for row in table_of(REFERENCE / "sources.md", "CSV")}
    csv = {key: getattr(spec.csv, key) for key in ("delimiter", "quote", "encoding", "decimal")}
    assert dialect == {**{key: f"`{value}`" for key, value in csv.items()}, "null_values": '`[""]`'}


def problems_of_destination(tmp_path: Path, document: dict[str, Any]) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError) as raised:
        load_destination(path)
    return str(raised.value)


def test_the_destination_on_the_page_loads_and_its_keys_are_those_of_the_loader(tmp_path: Path) -> None:
    page = REFERENCE / "destinations.md"
    (example, *_) = blocks(page, "yaml")
    (tmp_path / "headrace.yaml").write_text("lake: lake\n")
    (tmp_path / "destinations").mkdir()
    (tmp_path / "destinations" / "cdp.yaml").write_text(example)
    destination, _ = Project.load(tmp_path).destination("cdp")
    document = yaml.safe_load(example)
    assert keys_of(page, "Keys") == known_keys(problems_of_destination(tmp_path, {**document, "nonsense": 1}))
    assert keys_of(page, "limits") == known_keys(problems_of_destination(tmp_path, {**document, "limits": {"nonsense": 1}}))
    assert keys_of(page, "filter") == {"column", "in", "not_in"}
    keys = {row[0].strip("`"): row[1] for row in table_of(page, "Keys")}
    for key in document:
        missing = {name: value for name, value in document.items() if name != key}
        assert (keys[key] == "required") == (key not in ("constants", "filter", "limits")), key
        if keys[key] == "required":
            assert f"{key}: missing" in problems_of_destination(tmp_path, missing)
    defaults = {row[0].strip("`"): row[1] for row in table_of(page, "limits")}
    told = {
        "requests_per_s": "no limit",
        "batch_events": "the dialect's",
        "batch_bytes": "the dialect's",
        "event_bytes": "the dialect's",
    }
    plain = {name: getattr(Limits(), name) for name in defaults}
    assert defaults == {name: told[name] if value is None else f"`{value}`" for name, value in plain.items()}
    assert destination.limits.queue_age_s == 300


def test_limits_of_the_dialects_on_the_page_are_those_of_the_code() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table_of(REFERENCE / "destinations.md", "Dialects")}
    assert list(rows) == list(DIALECTS)
    for name in DIALECTS:
        dialect = dialect_of(name)
        events, size_bytes, event_bytes, raised = rows[name]
        assert [events, size_bytes, event_bytes] == [
            f"{number:,}" for number in (dialect.limits.events, dialect.limits.size_bytes, dialect.limits.event_bytes)
        ]
        assert raised.startswith("no") == bool(dialect.ceilings)


def test_what_answers_mean_on_the_page_is_what_the_code_does() -> None:
    """Every status from 200 to 599 is in the row of what becomes of it."""
    words = {
        Fate.DELIVERED: "delivered", Fate.REFUSED: "of several events", Fate.THROTTLED: "asked for less", Fate.RETRY: "tried again",
        Fate.UNUSABLE: "no event is to blame",
    }  # fmt: skip
    rows = {row[0]: row[1] for row in table_of(REFERENCE / "destinations.md", "Dialects", 1)}
    ranges = {"2xx": range(200, 300), "3xx": range(300, 400), "other 4xx": range(400, 500), "5xx": range(500, 600)}
    for status in (*range(200, 600),):
        (named,) = [cell for cell in rows if re.search(rf"\b{status}\b", cell.partition(" but ")[0])] or [
            cell for cell in rows for word, statuses in ranges.items() if re.search(rf"\b{word}\b", cell) and status in statuses
        ]
        assert rows[named].startswith(words[fate_of(status)]), status


def test_states_of_a_delivery_on_the_page_are_those_of_status() -> None:
    assert keys_of(REFERENCE / "destinations.md", "When somebody is woken") == {OK, THROTTLED, DOWN, ENDED, SILENT, STARTING}


def test_project_keys_on_the_page_are_those_of_the_loader(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("nonsense: 1\n")
    with pytest.raises(ConfigurationError) as raised:
        Project.load(tmp_path)
    assert keys_of(REFERENCE / "sources.md", "headrace.yaml") == known_keys(str(raised.value))


def test_custom_properties_on_the_page_are_those_of_the_loader(tmp_path: Path) -> None:
    contract = yaml.safe_load((ROOT / "contracts/datasets/order.v1.yaml").read_text("utf-8"))
    contract["customProperties"].append({"property": "nonsense", "value": 1})
    contract["schema"][0]["properties"][0]["customProperties"] = [{"property": "nonsense", "value": 1}]
    path = tmp_path / "order.v1.yaml"
    path.write_text(yaml.safe_dump(contract))
    with pytest.raises(ConfigurationError) as raised:
        load_contract(path)
    of_contract, of_column = (line for line in str(raised.value).splitlines() if "nonsense" in line)
    page = REFERENCE / "contracts.md"
    assert keys_of(page, "Custom properties of the contract") == known_keys(of_contract)
    assert keys_of(page, "Custom properties of a column") == known_keys(of_column)


def test_every_column_type_on_the_page_loads_and_none_is_missing(tmp_path: Path) -> None:
    contract = yaml.safe_load((ROOT / "contracts/datasets/order.v1.yaml").read_text("utf-8"))
    columns = contract["schema"][0]["properties"]
    for number, row in enumerate(table_of(REFERENCE / "contracts.md", "Column types")):
        physical = [text.replace("decimal(p,s)", "decimal(12,2)") for text in spans(row[1])]
        column = {"name": f"documented_{number}", "logicalType": spans(row[0])[0]}
        columns.append(column | ({"physicalType": physical[0]} if physical else {}))
    path = tmp_path / "order.v1.yaml"
    path.write_text(yaml.safe_dump(contract))
    types = [column.type for column in load_contract(path).columns if column.name.startswith("documented_")]
    assert set(types) == set(ColumnType)


# --- what runs


def blocks(page: Path, language: str) -> list[str]:
    return [block.text for block in blocks_of(page) if block.language == language]


def content_hashes(tmp_path: Path, lake: Path, tables: Iterable[str]) -> list[str]:
    """What the script on the page about the lake prints."""
    script = tmp_path / "content_hash.py"
    script.write_text(blocks(REFERENCE / "lake.md", "python")[0], "utf-8")
    return [
        subprocess.run([sys.executable, str(script), str(lake), table], check=True, capture_output=True, text=True).stdout.strip()
        for table in tables
    ]


def test_the_hash_script_of_the_page_gives_the_content_hash_of_the_manifests(clone: Clone, tmp_path: Path) -> None:
    clone.renew()
    claimed: dict[str, str] = {}
    for path in sorted((clone.lake / "_runs").glob("*/manifest.json")):  # by time: the last one of a dataset counts
        for dataset in json.loads(path.read_text("utf-8"))["datasets"].values():
            claimed[dataset["table"]] = dataset["content_hash"]
    assert set(claimed) == {"validated.customer_event", "validated.contact", "validated.order"}
    assert content_hashes(tmp_path, clone.lake, claimed) == list(claimed.values())


def test_the_hash_script_of_the_page_holds_for_every_column_type(tmp_path: Path) -> None:
    properties = [{"name": "id", "logicalType": "string", "required": True}]
    for number, row in enumerate(table_of(REFERENCE / "contracts.md", "Column types")):
        physical = [text.replace("decimal(p,s)", "decimal(24,9)") for text in spans(row[1])]
        properties.append(
            {"name": f"c{number}", "logicalType": spans(row[0])[0]} | ({"physicalType": physical[0]} if physical else {})
        )
    head = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "name": "thing", "version": "1.0.0", "status": "active"}
    custom = [{"property": "eventId", "value": {"column": "id"}}]
    table = {"name": "thing", "logicalType": "object", "properties": properties}
    (tmp_path / "headrace.yaml").write_text("lake: lake\ndatasets: ['.']\nsources: ['.']\n")
    (tmp_path / "thing.v1.yaml").write_text(yaml.safe_dump({**head, "customProperties": custom, "schema": [table]}))
    columns = {p["name"]: p["name"] for p in properties}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"source": "s", "dataset": "thing", "format": "jsonl", "columns": columns}))
    values: dict[str, list[Any]] = {
        "string": ["", 'a"\\/\u0001\u007f\u2028\n', "😀é\ufb01"],
        "integer": [0, -(2**63), 2**63 - 1, 4.0],
        "number": [1e-5, 1.5212603486793025e-05, 9.9e-5, 1e-4, 1e-6, 5e-324, 1e15, 1e16, 1.5e22, 7, -0.0, 0.1],
        "decimal(p,s)": [0, 1e-9, 12.5, -1e3],
        "boolean": [True, False],
        "timestamp": ["2026-11-02T09:15:00.123456789+01:00", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"],
        "date": ["0099-02-03", "2026-12-31"],
        "object": [{}, {"z": [1e22, 1e-5, {"b": None, "a": "é"}], "a": 1}],
        "array": [[], [{"b": 1, "a": 2}]],
        "map<string,boolean>": [{}, {"b": True, "a": False, "é": True}],
    }
    lines = []
    for number, row in enumerate(table_of(REFERENCE / "contracts.md", "Column types")):
        names = spans(row[1]) + spans(row[0])
        chosen = values[next(name for name in names if name in values)]
        lines += [json.dumps({"id": f"{number}-{i}", f"c{number}": value}) for i, value in enumerate(chosen)]
    (tmp_path / "things.jsonl").write_text("\n".join(lines))
    options = IngestOptions(source="s", input=(str(tmp_path / "things.jsonl"),))
    report = ingest_files(options, Project.load(tmp_path), lambda _progress: None)
    assert (report.ledger.out, report.ledger.records_in) == (len(lines), len(lines))
    claimed = report.manifest["datasets"]["thing"]["content_hash"]
    assert content_hashes(tmp_path, tmp_path / "lake", ["validated.thing"]) == [claimed]
