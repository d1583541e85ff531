"""Reconciliation finds what was planted at a real endpoint, all of it and nothing else, and says why."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pipelines.reconcile import url_export
from tests.pipelines.reconcile.planted import Plant, found_in

QUIET = ("delivered", "withheld", "filtered")


def check(plant: Plant, document: dict[str, Any]) -> None:
    """All that was planted is found, and nothing else."""
    shown = {key: ids for key, ids in plant.expected.items() if key[0] not in QUIET}
    assert found_in(document) == shown
    classes = Counter[str]()
    for (kind, _), ids in plant.expected.items():
        classes[kind] += len(ids)
    assert document["classes"] == {kind: classes[kind] for kind in document["classes"]}
    withheld = {cause["cause"]: cause["ids"] for cause in document["causes"].get("withheld", [])}
    assert withheld == {cause: len(ids) for (kind, cause), ids in plant.expected.items() if kind == "withheld"}
    assert document["ids"] == len(plant.within)
    strangers = sum(len(ids - plant.within) for ids in plant.expected.values())
    assert sum(document["classes"].values()) == len(plant.within) + strangers
    export = document["export"]
    assert (export["events"], export["repeated"]) == (len(plant.ledger), plant.repeated)
    assert (export["of_other_ranges"], export["ahead_of_the_table"]) == (plant.elsewhere, plant.ahead)
    assert document["ids_at_destination"] == len(plant.ledger) - plant.elsewhere - plant.ahead
    assert document["adds_up"]
    alarms = sum(classes[kind] for kind in ("missing", "extra", "different"))
    assert document["verdict"]["exit_code"] == (1 if alarms else 0)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_planted_is_found_and_nothing_else(plant: Plant, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_export, "_PAGE_ROWS", 1 + 17 * seed)
    plant.sow(seed)
    plant.grow()
    check(plant, plant.reconcile())
