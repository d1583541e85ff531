"""What lint looks for in quality rules, beyond what cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contracts.lint.findings import Severity, Told
from contracts.spec.files.quality import CARRIED, carried
from contracts.spec.model import Contract
from contracts.spec.yaml_files import Place


def quality_notes(given: Mapping[str, Any]) -> Iterator[Told]:
    """Items that are for others, and keys without effect."""
    for place, shown, item in _items(given):
        if why := carried(item):
            yield Told(place, f"{shown} {why}; it is carried for other readers of the file", "no-effect", Severity.NOTE)
            continue
        for key in CARRIED:
            if item.get(key) is not None:
                told = f"{shown}.{key} has no effect; it is carried for other readers of the file"
                yield Told((*place, key), told, "no-effect", Severity.NOTE)


def reference_problems(contract: Contract, given: Mapping[str, Any], find: Callable[[str], Contract | None]) -> Iterator[Told]:
    """Rules that look at a dataset or a column of it that is not there. find: a contract by its dataset."""
    places = {(item.get("implementation") or {}).get("dataset"): place for place, _, item in _items(given) if not carried(item)}
    for rule in contract.quality.rules:
        if rule.reference is None:
            continue
        place = (*places.get(rule.reference.dataset, ()), "implementation", "dataset")
        other = find(rule.reference.dataset)
        if other is None:
            named = f"there is no contract of a dataset {rule.reference.dataset!r}"
            told = f"quality rule {rule.name}: {named}; correct its name, or add one"
            yield Told(place, told, "fit", Severity.ERROR)
            continue
        for name in rule.reference.columns:
            if name not in other.by_name:
                told = f"quality rule {rule.name}: {other.dataset} has no column {name!r}; correct it in to"
                yield Told(place, told, "fit", Severity.ERROR)


def _items(given: Mapping[str, Any]) -> Iterator[tuple[Place, str, Mapping[str, Any]]]:
    table = given["schema"][0]
    for number, item in enumerate(table.get("quality") or ()):
        yield ("schema", 0, "quality", number), f"quality[{number}]", item
    for at, column in enumerate(table["properties"]):
        for number, item in enumerate(column.get("quality") or ()):
            place: Place = ("schema", 0, "properties", at, "quality", number)
            yield place, f"column {column.get('name')}: quality[{number}]", item
