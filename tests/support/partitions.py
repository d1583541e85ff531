"""Rows of a partition, rules, and what the judge says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from contracts.compiler.schemas import row_schema
from contracts.spec.files.quality import read_items
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.quality import QualityCalendar, QualitySpec, Reference
from contracts.units import HOUR_S, HOUR_US
from lake.tables.iceberg import DEAD_LETTER_SCHEMA
from quality.judge import judge_partitions
from quality.past import History, KnownHistory
from quality.sql_process import Queries
from quality.verdicts import Partition, RuleVerdict
from quality.view import RowsView, TableView

AT_US = 500_000 * HOUR_US  # 2027-01-14T08:00:00Z
CONTRACT = Contract(
    name="order",
    version="1.0.0",
    kind="event",
    columns=(
        Column(name="event_id", type=ColumnType.STRING, required=True),
        Column(name="customer_id", type=ColumnType.STRING),
        Column(name="email", type=ColumnType.STRING, classification="personal"),
        Column(name="status", type=ColumnType.STRING, classification="internal"),
        Column(name="amount", type=ColumnType.DECIMAL, precision=12, scale=2, classification="internal"),
        Column(name="score", type=ColumnType.NUMBER, classification="internal"),
        Column(name="points", type=ColumnType.INTEGER, classification="internal"),
        Column(name="day", type=ColumnType.DATE),
        Column(name="paid", type=ColumnType.BOOLEAN),
        Column(name="at", type=ColumnType.TIMESTAMP),
        Column(name="consent", type=ColumnType.BOOLEAN_MAP),
    ),
    event_id="event_id",
    window_time=("at",),
)


def contract_with(*items: Mapping[str, Any], partition_s: int = HOUR_S, calendar: QualityCalendar | None = None) -> Contract:
    """The contract with quality rules as a file has them; ``below`` is the column that one stands at."""
    problems: list[str] = []
    rules = []
    for item in items:
        below = item.get("below")
        rules += [rule for _, rule in read_items([{k: v for k, v in item.items() if k != "below"}], below, problems)]
    assert not problems, problems
    return replace(CONTRACT, quality=QualitySpec(tuple(rules), partition_s, calendar or QualityCalendar()))


def ours(**implementation: Any) -> dict[str, Any]:
    """An item of the engine headrace."""
    item = {key: implementation.pop(key) for key in ("name", "severity", "below") if key in implementation}
    return {"type": "custom", "engine": "headrace", **item, "implementation": implementation}


def rows_of(given: Sequence[Mapping[str, Any]], contract: Contract = CONTRACT) -> pa.Table:
    """Rows with provenance. after_s: window time, seconds from AT_US on; source; delay_s: until it was received."""
    filled = []
    for number, row in enumerate(given):
        us = row.get("at_us", AT_US + round(row.get("after_s", number) * 1_000_000))
        known = {name: row[name] for name in row if name in contract.by_name}
        provenance = {
            "event_id": f"e{number}", "at": us, "_window_time": us, "_received_at": us + round(row.get("delay_s", 0) * 1_000_000),
            "_source": row.get("source", "shop"), "_raw_file": row.get("file", "f"), "_position": row.get("position", number),
            "_time_corrected": False, "_fingerprint": bytes(16), "_row_hash": row.get("hash", number).to_bytes(16, "big"),
            "_rank": b"", "_revision": 1,
        }  # fmt: skip
        filled.append({**provenance, **known})
    return pa.Table.from_pylist(filled, schema=row_schema(contract))


def letters_of(given: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Dead letters. after_s: window time, seconds from AT_US on."""
    rows = [
        {
            "dead_letter_id": str(number), "code": row.get("code", "malformed"), "stage": "decode",
            "dataset": row.get("dataset", "order"), "contract_version": "1.0.0",
            "source": row.get("source", "shop"), "position": f"f:{number}", "received_at": AT_US,
            "run_id": "r", "attempt": 1, "_window_time": AT_US + row.get("after_s", 0) * 1_000_000, "_received_at": AT_US,
            "_source": row.get("source", "shop"), "_raw_file": "f", "_position": number, "_time_corrected": False,
            "_fingerprint": bytes(16), "_row_hash": bytes(16), "_rank": b"",
        }
        for number, row in enumerate(given)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DEAD_LETTER_SCHEMA)


@dataclass(frozen=True)
class Tables:
    """Other tables, by dataset."""

    by_dataset: Mapping[str, TableView] = field(default_factory=dict)
    dead_letters: TableView | None = None
    keys: dict[Reference, pa.StringArray | None] = field(default_factory=dict)

    def view(self, dataset: str) -> TableView | None:
        """See References."""
        return self.by_dataset.get(dataset)

    def letters(self) -> TableView | None:
        """See References."""
        return self.dead_letters


def judged(
    contract: Contract,
    rows: pa.Table | TableView,
    *,
    tables: Tables | None = None,
    history: History | None = None,
    hour: int = 0,
    queries: Queries | None = None,
) -> list[RuleVerdict]:
    """What the judge says of the hour that begins ``hour`` hours after AT_US."""
    view = RowsView(rows) if isinstance(rows, pa.Table) else rows
    length_us = contract.quality.partition_s * 1_000_000
    partition = Partition(contract.dataset, AT_US + hour * length_us, AT_US + (hour + 1) * length_us)
    return list(judge_partitions(view, contract, [partition], history or KnownHistory({}), tables or Tables(), queries))
