"""A shop whose dataset has a gate, and what can be seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import AUDIT, Lake
from lake.tables.data_files import read_columns
from lake.tables.holds import Hold, holds_of
from lake.tables.swap import files_at
from pipelines.ingest.run import IngestReport
from tests.support.runs import ingest
from tests.support.shop import ANY_AGE, CONTRACT, HOUR_US, TABLE, Shop

Rules = dict[str, list[dict[str, Any]]]
NO_NULL_URL: Rules = {"page_url": [{"metric": "nullValues", "mustBe": 0, "severity": "quarantine"}]}


class GatedShop(Shop):
    """A shop with rules about partitions. rules: of columns, by name, and of the table under ``""``."""

    def __init__(self, folder: Path, rules: Rules | None = None, deduplication: str = "{horizon: 7d}") -> None:
        super().__init__(folder, f"{ANY_AGE}\ndatasets: [datasets]")
        (folder / "datasets").mkdir()
        self.deduplication = deduplication
        self.write_rules(NO_NULL_URL if rules is None else rules)

    def write_rules(self, rules: Rules) -> None:
        """Give the contract these rules, in place of what it has."""
        document = yaml.safe_load(CONTRACT.read_text())
        document.setdefault("customProperties", []).append(
            {"property": "deduplication", "value": yaml.safe_load(self.deduplication)}
        )
        schema = document["schema"][0]
        for column in schema["properties"]:
            if column["name"] in rules:
                column["quality"] = rules[column["name"]]
        if "" in rules:
            schema["quality"] = rules[""]
        (self.folder / "datasets" / CONTRACT.name).write_text(yaml.safe_dump(document, sort_keys=False))

    def take(self, name: str, lines: Sequence[str], lake: str = "lake", **options: Any) -> IngestReport:
        """Ingest a file of these lines."""
        return ingest(self.lake(lake), [self.write_lines(name, lines)], project=self.project, **options)


def ids_at(lake: Lake, ref: str) -> list[str]:
    """The event ids of a branch or tag, sorted."""
    table = lake.catalog().load_table(TABLE)
    return sorted(value for file in files_at(table, ref) for value in read_columns(file.path, ["event_id"])["event_id"].to_pylist())


def public_ids(lake: Lake) -> list[str]:
    """What readers see; and that those of the settled state see the same."""
    table = lake.catalog().load_table(TABLE)
    ids = ids_at(lake, "main")
    if "settled" in table.metadata.refs:
        assert ids_at(lake, "settled") == ids
    return ids


def audit_ids(lake: Lake) -> list[str]:
    """What jobs committed, and the horizon left."""
    return ids_at(lake, AUDIT)


def holds(lake: Lake) -> list[Hold]:
    """What is held."""
    return list(holds_of(lake.catalog().load_table(TABLE)).values())


def held_hours(lake: Lake) -> list[int]:
    """The hours of the day that are held."""
    return [hold.from_us % (24 * HOUR_US) // HOUR_US for hold in holds(lake)]


def whole_ledger(shop: Shop, lake: Lake) -> LedgerEntry:
    """Of everything that was landed; it adds up."""
    spec, contract = shop.project.source("web")
    entry = sum(source_ledger(lake, spec, contract.table).values(), LedgerEntry())
    assert entry.balanced, entry
    return entry


def numbers(ids: Iterable[str]) -> list[int]:
    """The numbers of events."""
    return sorted(int(each.split("-")[1]) for each in ids)
