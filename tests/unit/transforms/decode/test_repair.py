"""Repairs as decoding applies them, and ids that are suppressed: as records were received, and as they were repaired."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.spec.project import Project
from contracts.spec.suppressions import NOTHING, Suppressions
from lake.formats import ParsedRecords
from lake.raw.batch import RawBlock
from lake.repairs import Repair, Repairs
from transforms.decode.kernel import DecodedRecords, RecordDecoder

PROJECT = Project.load(Path(__file__).parents[4] / "examples" / "webshop")
TIME = "2026-11-02T08:00:00Z"
PAGE: list[dict[str, Any]] = [{"map": {"path": "type", "values": {"nothing": "page"}}}]
OTHER_USER: list[dict[str, Any]] = [{"replace": {"path": "userId", "with": "somebody"}}]


def _id(value: str) -> list[dict[str, Any]]:
    return [{"replace": {"path": "messageId", "with": value}}]


def _repair(number: int, steps: list[dict[str, Any]], *, always: bool = False, above: int = 0) -> Repair:
    return Repair(number, f"r{number}", f"d{number}", {"steps": steps}, {"f": (0, 10)}, "", "", always=always, above=above)


def _decoded(record: dict[str, Any], *repairs: Repair, forgotten: str | None = None) -> DecodedRecords:
    spec, contract = PROJECT.source("web")
    given = {"messageId": "m-1", "type": "page", "userId": "u-1", "originalTimestamp": TIME, "receivedAt": TIME, **record}
    hashes = frozenset({hashlib.sha256((forgotten or "").encode()).digest()})
    suppressions = Suppressions({"user_id": hashes}) if forgotten else NOTHING
    decoder = RecordDecoder(contract, spec, "run", suppressions, repairs=Repairs(repairs))
    return decoder.decode_block(RawBlock(ParsedRecords([given], lambda _: b"{}"), np.arange(1), ["f"], [0]))


def _id_of(decoded: DecodedRecords) -> list[str]:
    found: list[str] = decoded.rows.column("event_id").to_pylist()
    return found


@pytest.mark.parametrize(
    "repairs, expected",
    [
        ([_repair(1, PAGE)], ["m-1"]),
        ([_repair(1, PAGE), _repair(2, _id("m-2"), always=True, above=1)], ["m-2"]),
        ([_repair(1, _id("m-2"), always=True), _repair(2, PAGE)], ["m-2"]),  # the contract changed in between
        (
            [_repair(1, PAGE), _repair(2, [{"remove": {"path": "type"}}], always=True, above=1)],
            ["m-1"],
        ),  # it does harm
        ([_repair(1, _id("m-2"), always=True)], []),
    ],
)
def test_what_always_repairs_comes_on_top_of_what_makes_a_rejected_record_acceptable(
    repairs: list[Repair], expected: list[str]
) -> None:
    decoded = _decoded({"type": "nothing"}, *repairs)
    assert _id_of(decoded) == expected
    assert decoded.dead_letters.column("code").to_pylist() == ([] if expected else ["not_in_enum"])


def test_of_two_that_always_repair_the_later_comes_on_top_if_it_knew_the_earlier() -> None:
    first = _repair(1, _id("m-2"), always=True)
    assert _id_of(_decoded({}, first, _repair(2, _id("m-3"), always=True, above=1))) == ["m-3"]
    assert _id_of(_decoded({}, first, _repair(2, _id("m-3"), always=True))) == ["m-2"], "a rival was faster"
    assert _id_of(_decoded({}, _repair(1, _id("m-2")))) == ["m-1"], "one for rejected records leaves others alone"


@pytest.mark.parametrize(
    "record, repairs",
    [
        ({}, [_repair(1, OTHER_USER, always=True)]),
        ({"type": "nothing"}, [_repair(1, PAGE + OTHER_USER)]),
        ({"type": "nothing"}, [_repair(1, PAGE), _repair(2, OTHER_USER, always=True, above=1)]),
        ({"type": "nothing", "userId": "x" * 300}, [_repair(1, PAGE + OTHER_USER)]),
        ({"userId": 4711}, [_repair(1, OTHER_USER)]),  # rejected: it is no text
    ],
)
def test_no_repair_brings_back_whoever_is_suppressed(record: dict[str, Any], repairs: list[Repair]) -> None:
    user = str(record.get("userId", "u-1"))
    for forgotten in (user, "somebody"):
        decoded = _decoded(record, *repairs, forgotten=forgotten)
        assert (len(decoded.rows), len(decoded.dead_letters), [len(at) for at in decoded.filtered.values()]) == (0, 0, [1])
    assert len(_decoded(record, *repairs, forgotten="nobody").rows) == 1
