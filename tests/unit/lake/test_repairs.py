"""Repairs by position: the first holds, whoever comes at the same time, and whatever is merged meanwhile."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ConfigurationError
from contracts.spec.files.recipe import kept_recipe
from lake import repairs as module
from lake.location import Lake
from lake.repairs import effective_documents, keep_repairs, read_repairs, repair_faults, repaired_sources

ONE, TWO = (kept_recipe(name, {"steps": [{"remove": {"path": name}}]}) for name in ("one", "two"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path / "lake"))
    made.create()
    return made


def holders(lake: Lake, positions: list[int], raw_file: str = "file") -> list[list[str]]:
    """By position the recipes that repair it, the first one first."""
    found: list[list[str]] = [[] for _ in positions]
    for repair, mask in read_repairs(lake, "web").at(raw_file, np.array(positions)):
        for place in np.flatnonzero(mask).tolist():
            found[place].append(repair.recipe)
    return found


def test_a_lake_without_repairs_has_none(lake: Lake) -> None:
    assert not read_repairs(lake, "web") and holders(lake, [1]) == [[]]


def test_what_is_there_is_not_put_again_and_others_are_told(lake: Lake) -> None:
    assert keep_repairs(lake, "web", ONE, {"file": np.array([1, 2, 7])}, by="ada").added == 3
    assert keep_repairs(lake, "web", ONE, {"file": np.array([1, 2, 7])}, by="bob").added == 0
    kept = keep_repairs(lake, "web", TWO, {"file": np.array([2, 3]), "other": np.array([1])}, by="bob")
    assert kept.added == 3
    assert {name: {f: p.tolist() for f, p in files.items()} for name, files in kept.others.items()} == {"one": {"file": [2]}}
    assert holders(lake, [1, 2, 3, 4]) == [["one"], ["one", "two"], ["two"], []]
    assert holders(lake, [1], "other") == [["two"]]


def test_rivals_and_merges_lose_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MERGE_AT", 6)

    def keep(number: int) -> None:
        for n in range(8):
            keep_repairs(lake, "web", (ONE, TWO)[number % 2], {"file": np.array([n, 100 * number + n])}, by=str(number))

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(repair_faults(lake, "web")) == []
    assert all(holders(lake, [100 * number + n for number in range(1, 5) for n in range(8)]))
    assert {frozenset(names) for names in holders(lake, list(range(8)))} == {frozenset({"one", "two"})}
    numbers = [repair.number for repair in read_repairs(lake, "web").listed]
    assert numbers == list(range(1, len(numbers) + 1)), "each once, without gaps"
    assert len(lake.storage.names(lake.at_key("repairs/source=web"))) < len(numbers)


def test_of_documents_that_overlap_the_longest_is_read() -> None:
    names = ["00000001-00000001.json", "00000001-00000003.json", "00000002-00000002.json", "00000004-00000004.json", "x.tmp"]
    assert effective_documents(names) == ["00000001-00000003.json", "00000004-00000004.json"]


def test_documents_that_are_gone_or_damaged_are_told(lake: Lake) -> None:
    assert repaired_sources(lake) == []
    for n in range(4):
        keep_repairs(lake, "web", ONE, {"file": np.array([n])}, by="ada")
    assert repaired_sources(lake) == ["web"] and list(repair_faults(lake, "web")) == []
    folder = Path(lake.root.removeprefix("file://")) / "repairs" / "source=web"
    (folder / "00000002-00000002.json").unlink()
    (folder / "00000003-00000003.json").write_bytes(b'{"repairs": [{"number": 3, "ru')
    faults = {name.rpartition("/")[2]: is_gone for name, is_gone in repair_faults(lake, "web")}
    assert faults == {"00000002-00000002.json": True, "00000003-00000003.json": False}
    with pytest.raises(ConfigurationError, match=r"00000003-00000003.json: is damaged"):
        read_repairs(lake, "web")


def test_a_merged_document_that_lacks_one_of_its_numbers_is_told(lake: Lake) -> None:
    for n in range(3):
        keep_repairs(lake, "web", ONE, {"file": np.array([n])}, by="ada")
    folder = Path(lake.root.removeprefix("file://")) / "repairs" / "source=web"
    parts = [json.loads((folder / f"0000000{n}-0000000{n}.json").read_bytes())["repairs"][0] for n in (1, 3)]
    merged = folder / "00000001-00000003.json"
    merged.write_text(json.dumps({"repairs": parts}))
    assert [name.rpartition("/")[2] for name, _ in repair_faults(lake, "web")] == [merged.name]
    merged.write_text(json.dumps({"repairs": [{**parts[0], "number": "1"}]}))
    assert [name.rpartition("/")[2] for name, _ in repair_faults(lake, "web")] == [merged.name]
