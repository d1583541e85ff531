"""Every dead-letter code that a file can give lands with the right envelope, and none of its values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.codes import RULE_CODES, Code
from operations.deadletters.selection import SCHEMA, LetterSelection, select
from tests.support.letters import CASES, DATASETS, MARK, NOT_IN_STREAMS, SPECS, LetterCase, LetterShop

OF_OTHER_RUNS = {Code.REFUSED}  # of deliveries: tests/stack/pipelines/deliver


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All letters of a lake with every case, by code."""
    shop = LetterShop(tmp_path_factory.mktemp("letters"))
    for source in SPECS:
        report = shop.ingest(source, [shop.write(case) for case in CASES.values() if case.source == source])
        assert report.ledger.balanced
    found = [row for batch in select(shop.lake(), LetterSelection(), SCHEMA.names) for row in batch.to_pylist()]
    assert len(found) == len({row["code"] for row in found})
    return {row["code"]: row for row in found}


def test_every_code_has_a_case() -> None:
    assert set(Code) - OF_OTHER_RUNS == set(CASES)
    assert all(RULE_CODES[case.rule] == case.code for case in CASES.values())
    assert {case.code for case in CASES.values() if not case.streams} == set(NOT_IN_STREAMS) - OF_OTHER_RUNS


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: str(case.code))
def test_its_letter_says_what_where_and_why(case: LetterCase, letters: dict[str, dict[str, Any]]) -> None:
    letter = letters[case.code]
    first = letter["violations"][0]
    assert (first["path"], first["rule"]) == (case.path, case.rule) and first["expected"]
    assert (letter["stage"], letter["source"], letter["dataset"]) == (case.stage, case.source, DATASETS[case.source])
    assert (letter["contract_version"], letter["attempt"], letter["state"]) == ("1.0.0", 1, "open")
    assert letter["position"] == f"{letter['_raw_file']}:{letter['_position']}" and letter["_position"] == case.position
    assert letter["run_id"] and letter["received_at"] == letter["_received_at"]
    assert MARK not in json.dumps(letter["violations"])
    if case.stage == "converge":
        assert letter["raw"] is None
    elif case.code is not Code.DAMAGED_INPUT:
        bad = case.bad[-1]
        assert letter["raw"].strip() in (bad, bad[: SPECS[case.source].get("record_bytes", len(bad))])


def test_the_repaired_inputs_have_no_letters(tmp_path: Path) -> None:
    shop = LetterShop(tmp_path)
    for source in SPECS:
        cases = [case for case in CASES.values() if case.source == source]
        report = shop.ingest(source, [shop.write(case, repaired=True) for case in cases])
        assert report.ledger.balanced and report.ledger.dead_letter == 0, report.ledger
    assert list(select(shop.lake(), LetterSelection(), ["code"])) == []
