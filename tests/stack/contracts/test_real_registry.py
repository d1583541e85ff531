"""The table of changes against a real registry.

It never forbids what a row allows, and a row that forbids what it takes says why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from contracts.evolution.avro import avro_schema
from contracts.evolution.changes import MODES, is_transitive
from contracts.registry.answers import IncompatibleError
from contracts.registry.client import RegistryClient
from contracts.spec.model import Compatibility
from contracts.spec.project import BUILT_IN_DATASETS
from tests.support.contract_table import Row, rows
from tests.support.wire import client

# Rows where the registry and Python's library avro differ: the modes that one of them alone allows, and why. There is none: the
# registry asks Avro's library for Java.
UNLIKE_THE_LIBRARY: dict[str, tuple[set[Compatibility], str]] = {}
# Rows where the registry, asked about all versions, forbids what it would register: in which modes, and why.
STRICTER_BEFOREHAND: dict[str, tuple[set[Compatibility], str]] = {
    "a column comes back with another type": (
        {"BACKWARD", "FORWARD", "FULL"},
        "the first version has the column as a string; these modes look at the last version alone, which does not have it",
    ),
}
BACK_WITH_ANOTHER_TYPE = next(row for row in rows() if row.change in STRICTER_BEFOREHAND)


class Asked(NamedTuple):
    """A row; the modes in which the registry would take its change; and those in which it would if asked about all versions."""

    row: Row
    takes: set[Compatibility]
    takes_beforehand: set[Compatibility]


@pytest.fixture
def registry(registry_url: str) -> RegistryClient:
    return client(registry_url)


@pytest.fixture(scope="module")
def answers(registry_url: str) -> list[Asked]:
    """Every row. Rows whose exported schemas are the same are one question."""
    registry = client(registry_url)
    known: dict[tuple[str, ...], tuple[set[Compatibility], set[Compatibility]]] = {}
    found = []
    for row in rows():
        schemas = _schemas(row)
        if schemas not in known:
            known[schemas] = _asked(registry, f"table-of-changes-{len(known)}-value", schemas)
        found.append(Asked(row, *known[schemas]))
    registry.close()
    return found


def _schemas(row: Row) -> tuple[str, ...]:
    return tuple(json.dumps(avro_schema(contract)) for contract in (*row.earlier, row.after))


def _register(registry: RegistryClient, subject: str, schemas: Sequence[str]) -> None:
    """As versions of a subject that has no mode yet: nothing is refused."""
    for schema in schemas:
        registry.register(subject, schema, "AVRO")
    if len(schemas) > 1:
        assert len(registry.versions(subject)) == len(schemas)


def _asked(registry: RegistryClient, subject: str, schemas: tuple[str, ...]) -> tuple[set[Compatibility], set[Compatibility]]:
    *earlier, after = schemas
    _register(registry, subject, earlier)
    takes: set[Compatibility] = {"NONE"}
    takes_beforehand: set[Compatibility] = {"NONE"}
    for mode in MODES:
        if mode == "NONE" or (is_transitive(mode) and len(earlier) == 1):
            continue
        registry.set_compatibility(subject, mode)
        if not registry.misfits(subject, after, "AVRO", mode):
            takes.add(mode)
        if len(earlier) > 1 and not registry.misfits(subject, after, "AVRO", None):
            takes_beforehand.add(mode)
    if len(earlier) > 1:
        return takes, takes_beforehand
    both = {mode for mode in MODES if mode.removesuffix("_TRANSITIVE") in takes}  # of one version the last is all
    return both, both


def test_the_registry_never_forbids_what_a_row_allows(answers: list[Asked]) -> None:
    assert {asked.row.change: asked.row.allows - asked.takes for asked in answers if asked.row.allows - asked.takes} == {}


def test_a_row_that_forbids_what_the_registry_takes_says_why(answers: list[Asked]) -> None:
    assert [asked.row.change for asked in answers if asked.takes - asked.row.allows and not asked.row.why] == []


def test_where_the_registry_and_the_library_differ_stands_here(answers: list[Asked]) -> None:
    differ = {asked.row.change: asked.takes ^ asked.row.avro for asked in answers if asked.takes != asked.row.avro}
    assert differ == {change: modes for change, (modes, _) in UNLIKE_THE_LIBRARY.items()}


def test_where_the_registry_is_stricter_beforehand_stands_here(answers: list[Asked]) -> None:
    stricter = {a.row.change: a.takes - a.takes_beforehand for a in answers if a.takes != a.takes_beforehand}
    assert stricter == {change: modes for change, (modes, _) in STRICTER_BEFOREHAND.items()}


@pytest.mark.parametrize("mode", MODES)
def test_the_registry_registers_what_it_said_that_it_takes(registry: RegistryClient, mode: Compatibility) -> None:
    *earlier, after = _schemas(BACK_WITH_ANOTHER_TYPE)
    subject = f"registered-{mode.lower()}-value"
    _register(registry, subject, earlier)
    registry.set_compatibility(subject, mode)
    assert registry.compatibility(subject) == mode
    taken = mode in BACK_WITH_ANOTHER_TYPE.allows
    assert (registry.misfits(subject, after, "AVRO", mode) == []) is taken
    if taken:
        registry.register(subject, after, "AVRO")
        assert len(registry.versions(subject)) == len(earlier) + 1
    else:
        with pytest.raises(IncompatibleError):
            registry.register(subject, after, "AVRO")


def test_a_contract_is_checked_against_what_the_registry_holds(registry_url: str, tmp_path: Path) -> None:
    path = tmp_path / "datasets" / "checked_order.v1.yaml"  # a subject that no other test has
    path.parent.mkdir()
    text = (BUILT_IN_DATASETS / "order.v1.yaml").read_text("utf-8").replace("name: order\n", "name: checked_order\n")
    path.write_text(text)
    (tmp_path / "headrace.yaml").write_text("datasets: [datasets]\n")
    there = ("checked_order", "--project", str(tmp_path))
    new = _contract("check", *there, "--against-registry", registry_url)
    assert (new.exit_code, new.stdout) == (0, "checked_order.v1: new, nothing to compare with\n")
    assert _contract("register", *there, "--registry", registry_url).exit_code == 0
    same = _contract("check", *there, "--against-registry", registry_url)
    assert (same.exit_code, same.stdout) == (0, "checked_order.v1: unchanged, 1.0.0 against registry version 1\n")

    added = "      - {name: gift_note, logicalType: string}\n      - {name: order_id,"
    path.write_text(text.replace("      - {name: order_id,", added, 1).replace("version: 1.0.0", "version: 1.1.0", 1))
    assert _contract("check", *there, "--against-registry", registry_url).exit_code == 0
    assert _contract("register", *there, "--registry", registry_url, "--dry-run").exit_code == 0

    assert "{name: items," in text
    path.write_text(text.replace("{name: items,", "{name: items, required: true,", 1))
    broken = _contract("check", *there, "--against-registry", registry_url)
    told = "data of the registered schema cannot be read by the contract's: items is string, and null or string in the data"
    assert broken.exit_code == 1 and f"  breaks  {told}" in broken.stdout.splitlines(), broken.output
    refused = _contract("register", *there, "--registry", registry_url, "--dry-run")
    assert refused.exit_code == 1 and "the registry does not take this" in refused.stderr, refused.output


def _contract(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["contract", *arguments], catch_exceptions=False)
