"""The statements of ``contract export --format ddl-postgresql`` on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString, cast

import psycopg
import pytest

from contracts.evolution.ddl import ddl
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import BUILT_IN_DATASETS
from tests.support.hard_contract import HARD
from tests.support.postgres import missing, postgres

CONTRACTS = [*(load_contract(path) for path in sorted(BUILT_IN_DATASETS.glob("*.yaml"))), HARD]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if lacking := missing():
        pytest.skip(f"no {lacking}: install PostgreSQL's server")
    with postgres() as running:
        yield running.address


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_postgresql_makes_the_table(server: str, contract: Contract) -> None:
    with psycopg.connect(server) as connection:
        connection.execute(cast(LiteralString, ddl(contract, "postgresql")))
        found = connection.execute(
            "SELECT attname, attnotnull, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f'"{contract.dataset}"',),
        ).fetchall()
    assert [name for name, _, _ in found] == [column.name for column in contract.columns]
    assert {name for name, needed, _ in found if needed} == {c.name for c in contract.columns if c.required} | {contract.event_id}
    described = {column.name: column.description for column in contract.columns}
    assert all((comment or "").startswith(described[name]) for name, _, comment in found)
