"""What a lake keeps of a contract is all of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from contracts.evolution.stored import restored, stored, stored_name
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import BUILT_IN_DATASETS
from tests.support.contract_table import contract_of, rows


@pytest.mark.parametrize("path", sorted(BUILT_IN_DATASETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_contract_comes_back_as_it_was(path: Path) -> None:
    contract = load_contract(path)
    assert restored(stored(contract)) == contract


def test_every_contract_of_the_table_comes_back_as_it_was() -> None:
    contracts: list[Contract] = [contract for row in rows() for contract in (*row.earlier, row.after)]
    assert all(restored(stored(contract)) == contract for contract in contracts)
    assert all(stored(restored(stored(contract))) == stored(contract) for contract in contracts)


def test_bounds_keep_their_types() -> None:
    column = Column(name="x", type=ColumnType.DECIMAL, precision=10, scale=2, minimum=Decimal("0.10"))
    day = Column(name="y", type=ColumnType.DATE, maximum=date(2026, 2, 28))
    contract = contract_of({})
    contract = Contract(**{**vars(contract), "columns": (column, day)})
    assert restored(stored(contract)).columns == (column, day)


def test_two_states_of_one_version_have_two_names() -> None:
    names = {stored_name(contract_of(state)) for state in ({}, {"x": {"type": "string"}})}
    assert len(names) == 2 and all(name.startswith("1.0.0-") for name in names)


@pytest.mark.parametrize("text", [b"[]", b"{}", b"\x00", b'{"columns": 1}', b"null", b'{"columns": [{"type": "x"}]}'])
def test_what_is_no_contract_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        restored(text)


def test_what_a_later_version_has_added_is_left_out() -> None:
    text = stored(contract_of({})).replace(b'{"columns"', b'{"added_later": 1, "columns"')
    assert restored(text) == contract_of({})
