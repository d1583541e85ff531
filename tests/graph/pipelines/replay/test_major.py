"""Another major of a contract: a table beside the old one, written by a second source on the same raw, backfilled by a replay."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.tables.publish import table_totals
from tests.support.runs import ingest

DAY_S = 1_793_577_600  # 2026-11-02
OLD, NEW = "validated.sale", "validated.sale_v2"


def contract(version: str, *columns: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "t:sale", "name": "sale", "version": version, "status": "active",
        "customProperties": [
            {"property": "eventId", "value": {"column": "event_id"}}, {"property": "windowTime", "value": ["at"]},
        ],
        "schema": [{"name": "sale", "logicalType": "object", "physicalType": "table", "properties": [
            {"name": "event_id", "logicalType": "string", "required": True},
            {"name": "at", "logicalType": "timestamp", "required": True}, *columns,
        ]}],
    }  # fmt: skip


V1 = contract("1.0.0", {"name": "amount", "logicalType": "number"})
V2 = contract("2.0.0", {"name": "amount", "logicalType": "number", "physicalType": "decimal(12,2)", "required": True})
COLUMNS = {"event_id": "id", "at": "at", "amount": "amount"}
SALES = {"source": "sales", "dataset": "sale", "format": "jsonl", "columns": COLUMNS}
SALES_2 = {**SALES, "source": "sales_v2", "version": 2, "raw": "sales"}


def lines(numbers: range) -> str:
    events = [
        {"id": f"s-{n}", "at": f"2026-11-02T{8 + n % 4:02d}:{n % 60:02d}:00Z", "amount": None if n % 10 == 0 else n / 4}
        for n in numbers
    ]
    return "".join(json.dumps(event) + "\n" for event in events)


class Sales:
    """A project with both majors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("datasets", "sources", "drop"):
            (folder / name).mkdir()
        (folder / "headrace.yaml").write_text("lake: lake\ndatasets: [datasets]\nreplay: {maxAge: 36500d}\n")
        self.write("datasets/sale.v1.yaml", V1)
        self.write("sources/sales.yaml", SALES)

    def write(self, name: str, document: dict[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(document))

    def drop(self, name: str, numbers: range) -> Path:
        path = self.folder / "drop" / name
        path.write_text(lines(numbers))
        os.utime(path, (DAY_S + 50_000, DAY_S + 50_000))
        return path

    def ingest(self, source: str, path: Path, lake: str = "lake") -> None:
        report = ingest(self.lake(lake), [path], project=self.project, source=source, max_rejected=1.0, window=3_600)
        assert report.ledger.balanced

    def headrace(self, *arguments: str) -> str:
        result = CliRunner().invoke(main, [*arguments, "--project", str(self.folder)])
        assert result.exit_code == 0, result.output
        return result.output

    @property
    def project(self) -> Project:
        return Project.load(self.folder)

    def lake(self, name: str = "lake") -> Lake:
        return Lake.at(str(self.folder / name))

    def state(self, table: str, lake: str = "lake") -> tuple[int, int]:
        return table_totals(self.lake(lake).load(table))

    def ledger(self, source: str, table: str) -> LedgerEntry:
        return sum(source_ledger(self.lake(), self.project.source(source)[0], table).values(), LedgerEntry())


def test_a_new_major_is_written_beside_the_old_one_and_backfilled_from_its_raw(tmp_path: Path) -> None:
    sales = Sales(tmp_path)
    history, now = sales.drop("a.jsonl", range(40)), sales.drop("b.jsonl", range(40, 80))
    sales.ingest("sales", history)
    before = sales.state(OLD)

    sales.write("datasets/sale.v2.yaml", V2)
    sales.write("sources/sales_v2.yaml", SALES_2)
    for source in ("sales", "sales_v2"):  # both are written from here on
        sales.ingest(source, now)
    assert sales.state(NEW)[0] == 36
    assert sales.ledger("sales_v2", NEW).pending == 40, "what is not backfilled yet is told"

    sales.headrace(
        "replay", "run", "backfill", "--dataset", "sale_v2", "--start", "2026-11-02T00:00:00Z", "--end", "2026-11-03T00:00:00Z"
    )
    sales.headrace("replay", "promote", "backfill")
    ingest_all = sales.folder / "drop"
    report = ingest(sales.lake("fresh"), [ingest_all], project=sales.project, source="sales_v2", max_rejected=1.0, window=3_600)
    assert report.ledger.balanced
    assert sales.state(NEW) == sales.state(NEW, "fresh")
    ledger = sales.ledger("sales_v2", NEW)
    assert (ledger.records_in, ledger.out, ledger.dead_letter, ledger.pending) == (80, 72, 8, 0)
    letters = sales.lake().load("ops.dead_letter").scan().to_arrow()
    assert letters.column("dataset").to_pylist() == ["sale_v2"] * 8
    assert sales.ledger("sales", OLD).out == 80
    assert sales.state(OLD) != before
    raw = list((tmp_path / "lake" / "raw").glob("source=*"))
    assert [folder.name for folder in raw] == ["source=sales"], "raw is landed once"
    assert "sound: nothing is missing or changed" in sales.headrace("lake", "check", "--verify")


def test_the_playbook_leads_from_one_major_to_the_next_and_its_commands_run(tmp_path: Path) -> None:
    sales = Sales(tmp_path)
    sales.ingest("sales", sales.drop("a.jsonl", range(1, 10)))
    sales.write("datasets/sale.v2.yaml", V2)
    destination = {
        "destination": "crm", "dataset": "sale", "type": "segment", "endpoint": "https://cdp.example/v1", "consent": [],
        "credentials": {"write_key": "env:KEY"}, "columns": {"event_id": "messageId"},
    }  # fmt: skip
    (tmp_path / "destinations").mkdir()
    sales.write("destinations/crm.yaml", destination)
    book = sales.headrace("contract", "migrate", "sale", "--to", "2")
    assert "raw: sales" in book
    assert "Destination `crm`: set `version: 2`" in book
    sales.write("sources/sales_v2.yaml", SALES_2)
    commands = [line for block in re.findall(r"```bash\n(.*?)```", book, re.DOTALL) for line in block.splitlines()]
    verbs = ("contract compare", "replay plan", "replay run", "replay diff", "replay promote", "deadletter list")
    chosen = [line for line in commands if line.startswith(tuple(f"headrace {verb}" for verb in verbs))]
    assert len(chosen) == len(verbs)
    for command in chosen:
        result = CliRunner().invoke(main, shlex.split(command, comments=True)[1:])
        assert result.exit_code == 0, (command, result.output)
    assert sales.state(NEW)[0] == 9


def test_majors_are_compared_by_id_and_value(tmp_path: Path) -> None:
    sales = Sales(tmp_path)
    sales.write("datasets/sale.v2.yaml", V2)
    other = {**SALES_2, "columns": {**COLUMNS, "amount": ["discount", "amount"]}}
    sales.write("sources/sales_v2.yaml", other)
    path = sales.drop("a.jsonl", range(20))
    path.write_text(path.read_text() + json.dumps({"id": "d", "at": "2026-11-02T09:00:00Z", "amount": 4, "discount": 3}) + "\n")
    for source in ("sales", "sales_v2"):
        sales.ingest(source, path)
    result = CliRunner().invoke(main, ["contract", "compare", "sale", "--from", "1", "--to", "2", "--project", str(tmp_path)])
    assert result.exit_code == 1
    assert "amount: differs in 1 rows" in result.output
    assert "2 ids are missing, 1 columns differ" in result.output
    assert {"s-0", "s-10"} <= set(re.findall(r"s-\d+", result.output))


def test_a_source_whose_version_changes_is_another_source(tmp_path: Path) -> None:
    sales = Sales(tmp_path)
    path = sales.drop("a.jsonl", range(10))
    sales.ingest("sales", path)
    sales.write("datasets/sale.v2.yaml", V2)
    sales.write("sources/sales.yaml", {**SALES, "version": 2})
    with pytest.raises(ConfigurationError, match="dataset and version"):
        sales.ingest("sales", path)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"raw": "sale"}, "no source 'sale'"),
        ({"raw": "sales", "format": "json_array"}, "sales numbers its records otherwise"),
        ({"raw": "sales_v2"}, "sales_v2 shares the raw layer of sales; name that one"),
        ({"raw": "web", "format": "jsonl"}, "web feeds customer_event"),
    ],
)
def test_raw_can_only_be_shared_by_another_major_that_numbers_its_records_alike(
    tmp_path: Path, keys: dict[str, Any], told: str
) -> None:
    sales = Sales(tmp_path)
    sales.write("datasets/sale.v2.yaml", V2)
    sales.write("sources/sales_v2.yaml", SALES_2)
    web = {"source": "web", "dataset": "customer_event", "format": "jsonl", "missing_event_id": "derive",
           "columns": {"event_type": "type", "original_timestamp": "at"}}  # fmt: skip
    sales.write("sources/web.yaml", web)
    sales.write("sources/other.yaml", {**SALES_2, "source": "other", **keys})
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        sales.project.source("other")
    linted = CliRunner().invoke(main, ["contract", "lint", "other", "--project", str(tmp_path)])
    assert linted.exit_code == 1
    assert "raw: " in linted.output


def test_a_third_major_shares_the_raw_layer_of_whoever_owns_it(tmp_path: Path) -> None:
    """Also where the owner is of the second: it was made anew."""
    sales = Sales(tmp_path)
    (tmp_path / "sources/sales.yaml").unlink()
    sales.write("datasets/sale.v2.yaml", V2)
    sales.write("datasets/sale.v3.yaml", {**V2, "version": "3.0.0"})
    sales.write("sources/sales_v2.yaml", {key: value for key, value in SALES_2.items() if key != "raw"})
    path = sales.drop("a.jsonl", range(1, 10))
    sales.ingest("sales_v2", path)
    book = sales.headrace("contract", "migrate", "sale", "--to", "3")
    assert "`sources/sales_v3.yaml` is a copy of `sources/sales_v2.yaml`" in book
    assert "raw: sales_v2" in book
    sales.write("sources/sales_v3.yaml", {**SALES_2, "source": "sales_v3", "version": 3, "raw": "sales_v2"})
    sales.ingest("sales_v3", path)
    assert sales.state("validated.sale_v3") == sales.state(NEW)


def test_letters_of_rows_that_only_the_old_table_has_more_of_are_told(tmp_path: Path) -> None:
    """An id with several rows in different minutes is compared by how many there are."""
    sales = Sales(tmp_path)
    once = {"property": "deduplication", "value": {"horizon": "none"}}
    for name, document in (("sale.v1", V1), ("sale.v2", V2)):
        sales.write(f"datasets/{name}.yaml", {**document, "customProperties": [*document["customProperties"], once]})
    sales.write("sources/sales_v2.yaml", SALES_2)
    path = sales.drop("a.jsonl", range(1, 3))
    path.write_text(path.read_text() + path.read_text().replace(":01:", ":31:").replace(":02:", ":32:"))
    sales.ingest("sales", path)
    sales.ingest("sales_v2", path)
    assert json.loads(sales.headrace("contract", "compare", "sale", "--from", "1", "--to", "2", "--json"))["both"] == 4
    more = sales.drop("b.jsonl", range(1, 2))
    more.write_text(more.read_text().replace(":01:", ":41:"))
    sales.ingest("sales", more)
    result = CliRunner().invoke(main, ["contract", "compare", "sale", "--from", "1", "--to", "2", "--project", str(tmp_path)])
    assert (result.exit_code, "1 ids are missing" in result.output) == (1, True)


def test_both_majors_make_a_sound_lake_and_the_owner_of_raw_stays(tmp_path: Path) -> None:
    sales = Sales(tmp_path)
    sales.write("datasets/sale.v2.yaml", V2)
    sales.write("sources/sales_v2.yaml", SALES_2)
    path = sales.drop("a.jsonl", range(1, 10))
    for source in ("sales", "sales_v2"):
        sales.ingest(source, path)
    assert "sound: nothing is missing or changed" in sales.headrace("lake", "check")
    (tmp_path / "sources/sales.yaml").unlink()
    with pytest.raises(ConfigurationError, match="no source 'sales'"):
        sales.project.source("sales_v2")
