"""Makes docs/reference/tables.md from the contracts that ship and the schemas of the lake.

python -m tests.support.table_reference > docs/reference/tables.md
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from contracts.compiler.schemas import arrow_type
from contracts.spec.model import Column, Contract
from contracts.spec.odcs import load_contract
from lake.receipts.receipts import SCHEMA as RECEIPT_SCHEMA
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, LEDGER_SCHEMA
from lake.tables.letter_history import HISTORY_SCHEMA
from quality.store import QUALITY_SCHEMA

DATASETS = Path(__file__).parents[2] / "contracts" / "datasets"
_WIDTH = 132
_HEAD = """\
# Columns of tables

Made from the contracts and schemas by `python -m tests.support.table_reference > docs/reference/tables.md`.
A test holds it up to date.

Every table of `validated.*` and `late.*` has the contract's columns first. Then come the columns of
[provenance and range](lake.md#columns-of-a-table), whose names begin with `_`.
A column without *required* may be null. What a type takes is told in [contracts](contracts.md#column-types).
"""
_LAKE = (
    (
        "ops.dead_letter",
        DEAD_LETTER_SCHEMA,
        "A row for each rejected record. What the columns mean: [dead letters](dead-letters.md).",
    ),
    (
        "ops.dead_letter_history",
        HISTORY_SCHEMA,
        "A line for each act about a dead letter: [reprocessed](../guides/reprocess.md), closed, exported.",
    ),
    ("ops.ledger", LEDGER_SCHEMA, "Outcomes of positions. What the columns mean: [the ledger](lake.md#ledger)."),
    ("ops.quality", QUALITY_SCHEMA, "A row for each verdict of a rule about a partition: [quality rules](quality.md)."),
    ("Receipts", RECEIPT_SCHEMA, "Parquet files below `deliveries/`. What the columns mean: [deliveries](lake.md#deliveries)."),
)


def reference() -> str:
    """The page."""
    contracts = [load_contract(path) for path in sorted(DATASETS.glob("*.yaml"))]
    return "\n".join([_HEAD, *(line for contract in contracts for line in _dataset(contract)), *_tables()])


def _dataset(contract: Contract) -> Iterator[str]:
    yield f"## validated.{contract.name}\n"
    yield _item(f"{contract.description} {contract.kind.capitalize()}, contract {contract.version}.", indent="") + "\n"
    yield "| column | type | required |\n|---|---|---|"
    yield from (f"| `{column.name}` | {_type(column)} | {'yes' if column.required else ''} |" for column in contract.columns)
    yield ""
    said = [column for column in contract.columns if column.description]
    yield from (_item(f"- `{column.name}`: {' '.join(column.description.split())}") for column in said)
    yield ""


def _type(column: Column) -> str:
    return _shown(arrow_type(column))


def _item(text: str, indent: str = "  ") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _tables() -> Iterator[str]:
    for name, schema, about in _LAKE:
        yield f"## {name}\n\n{about}\n\n| column | type | required |\n|---|---|---|"
        yield from (f"| `{field.name}` | {_shown(field.type)} | {'' if field.nullable else 'yes'} |" for field in schema)
        yield ""


def _shown(kind: pa.DataType) -> str:
    named = str(kind).replace("timestamp[us, tz=UTC]", "timestamp (UTC)")
    return f"`{named}`" if "<" in named else named


if __name__ == "__main__":
    sys.stdout.write(reference())
