"""Suppressed ids: what a policy file may say, and what it matches."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from contracts.errors import ConfigurationError
from contracts.spec.files.suppressions import load_suppressions
from contracts.spec.project import Project
from contracts.spec.suppressions import Suppressions


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(folder: Path, name: str, **document: object) -> None:
    (folder / "suppressions").mkdir(parents=True, exist_ok=True)
    (folder / "suppressions" / name).write_text(yaml.safe_dump(document))


def test_files_of_a_dataset_add_up_by_column(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", dataset="customer_event", column="user_id", sha256=[digest("ada")])
    write(tmp_path, "b.yaml", dataset="customer_event", column="user_id", sha256=[digest("bob")])
    write(tmp_path, "c.yaml", dataset="contact", column="email", sha256=[digest("c@example.com")])
    contract = Project(root=tmp_path).contract("customer_event", 1)
    found = load_suppressions([tmp_path], contract)
    assert found.matching({"user_id": ["ada", None, "eve", "bob", "ada"], "event_id": ["ada"] * 5}) == {0, 3, 4}
    assert found.holds("user_id", "bob")
    assert not found.holds("email", "c@example.com")


def test_ids_are_suppressed_in_all_majors_by_the_name_or_in_one_by_its_dataset(tmp_path: Path) -> None:
    write(tmp_path, "all.yaml", dataset="customer_event", column="user_id", sha256=[digest("ada")])
    write(tmp_path, "second.yaml", dataset="customer_event_v2", column="user_id", sha256=[digest("bob")])
    first = Project(root=tmp_path).contract("customer_event", 1)
    second = replace(first, version="2.0.0")
    ids = {"user_id": ["ada", "bob"]}
    assert load_suppressions([tmp_path], first).matching(ids) == {0}
    assert load_suppressions([tmp_path], second).matching(ids) == {0, 1}


def test_numbers_are_matched_by_their_text() -> None:
    assert Suppressions({"n": frozenset({hashlib.sha256(b"17").digest()})}).matching({"n": [17, 18]}) == {0}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"dataset": "customer_event", "column": "no_such", "sha256": []}, "has no column no_such"),
        ({"dataset": "customer_event", "column": "user_id", "sha256": ["ada"]}, "64 hexadecimal digits"),
        ({"dataset": "customer_event", "column": "user_id", "values": ["ada"]}, "no key 'values'; known: column, dataset, sha256"),
    ],
)
def test_a_wrong_file_stops_everything_and_shows_no_id(tmp_path: Path, document: dict[str, object], told: str) -> None:
    write(tmp_path, "a.yaml", **document)
    with pytest.raises(ConfigurationError, match=told) as failure:
        load_suppressions([tmp_path], Project(root=tmp_path).contract("customer_event", 1))
    assert "ada" not in str(failure.value)
