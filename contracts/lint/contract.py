"""What lint looks for in one contract."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from contracts.lint.findings import Severity, Told
from contracts.lint.odcs_keys import without_effect
from contracts.lint.quality import quality_notes
from contracts.spec.files.contract import IDENTIFIERS
from contracts.spec.model import Column, ColumnType, Consumer, Contract, Deprecation
from contracts.spec.yaml_files import Document, Place

_PERSONAL = re.compile(
    r"(^|_)(e_?mail|phone|mobile|msisdn|fax|birth_?(date|day)|date_of_birth|dob|(first|last|full|given|family|sur|middle)_?name|ip|ip_?addr"
    r"(ess)?|street|address|zip|postal_?code|postcode|ssn|passport|iban|gender|latitude|longitude|lat|lon|lng|device_id|user_id|customer_id|"
    r"anonymous_id|cookie_id|traits)(_|$)"
)
_IDENTITIES = (
    ("email", re.compile(r"(^|_)e_?mail$")),
    ("phone", re.compile(r"(^|_)(phone|mobile|msisdn)(_number)?$")),
    ("user", re.compile(r"(^|_)(user|customer|contact|member)_id$")),
    ("device", re.compile(r"(^|_)(device|advertising|idfa|gaid|idfv)(_id)?$")),
    ("cookie", re.compile(r"(^|_)(anonymous|cookie|visitor)_id$")),
    ("account", re.compile(r"(^|_)(account|group|company)_id$")),
)
_OPEN = {"public", "internal", "none", "non-personal"}
_FRESH = {"freshness", "latency"}


def look(contract: Contract, document: Document, today: date, elsewhere: Sequence[Consumer] = ()) -> Iterator[Told]:
    """All that lint has to say of a contract that can be used. elsewhere: consumers that the project file names."""
    given = document.value
    yield from _people(contract, given, elsewhere)
    yield from _service_levels(contract)
    yield from _keys(contract, given)
    yield from _deprecated("deprecated", contract.deprecated, _custom(given, "deprecated", ()), today)
    for number, column in enumerate(contract.columns):
        place: Place = ("schema", 0, "properties", number)
        yield from _personal(column, place)
        yield from _identifier(column, place)
        raw = given["schema"][0]["properties"][number]
        of_column = _deprecated(f"column {column.name}", column.deprecated, _custom(raw, "deprecated", place), today)
        yield from of_column
    yield from _case(contract.columns)
    yield from _twice(given)
    yield from quality_notes(given)
    for where, shown, known in without_effect(given):
        if known:
            yield Told(where, f"{shown} has no effect; it is carried for other readers of the file", "no-effect", Severity.NOTE)
        else:
            yield Told(where, f"{shown} is no key of ODCS; mend or remove it", "unknown-key")


def _people(contract: Contract, given: dict[str, Any], elsewhere: Sequence[Consumer]) -> Iterator[Told]:
    if not contract.owner:
        yield Told((), "team: missing; name who owns the dataset, team: {name: …, members: [{username: …, role: owner}]}", "owner")
    if not contract.description:
        yield Told(("description",), "description: purpose: missing; say in one sentence what a row is", "description")
    if not (contract.consumers or elsewhere):
        yield Told(
            ("customProperties",),
            "consumers: nobody is named; add the custom property consumers: [{name: …, columns: [...], contact: …}], or "
            "consumers: in "
            "headrace.yaml",
            "consumers",
        )
    place = _custom(given, "consumers", ())
    yield from (Told(place, told, "consumers", Severity.ERROR) for told in strange_columns(contract, contract.consumers))


def strange_columns(contract: Contract, consumers: Iterable[Consumer]) -> Iterator[str]:
    """Columns that somebody is said to read and that are not there."""
    for consumer in consumers:
        for column in consumer.columns:
            if column not in contract.by_name:
                yield f"consumers: {consumer.name} reads {column!r}, which {contract.name} does not have; correct its columns"


def _service_levels(contract: Contract) -> Iterator[Told]:
    named = {level.name.lower() for level in contract.service_levels}
    missing = [name for name in ("freshness", "completeness", "retention") if name not in named]
    if named & _FRESH and "freshness" in missing:
        missing.remove("freshness")
    if missing:
        told = f"slaProperties: no {', '.join(missing)}; add such as {{property: {missing[0]}, value: {_LEVELS[missing[0]]}}}"
        yield Told(("slaProperties",), told, "service-level")


_LEVELS = {"freshness": "15, unit: minutes", "completeness": "99.9, unit: percent", "retention": "13, unit: months"}


def _keys(contract: Contract, given: dict[str, Any]) -> Iterator[Told]:
    identity = {contract.event_id, *contract.event_id_from}
    columns = given["schema"][0]["properties"]
    marked = [(number, column["name"]) for number, column in enumerate(columns) if column.get("primaryKey")]
    for number, name in marked:
        if name not in identity:
            ids = ", ".join(sorted(identity))
            told = f"column {name}: primaryKey, but eventId is {ids}; identity is eventId, so say the same in both"
            yield Told(("schema", 0, "properties", number, "primaryKey"), told, "key")
    if contract.kind == "entity" and not contract.event_id_from:
        told = "eventId: an entity has versions; compute its id from key and version, {column: event_id, from: [key, updated_at]}"
        yield Told((*_custom(given, "eventId", ()),), told, "key")
    if not contract.partition_key:
        told = (
            "partitionKey: missing; name the column that says whose row it is, else rows of one user may change places in a topic"
        )
        yield Told(("customProperties",), told, "key")


def _deprecated(where: str, what: Deprecation | None, place: Place, today: date) -> Iterator[Told]:
    if what and what.until < today:
        more = f"; use {what.use} and remove it" if what.use else "; remove it"
        prefix = where if where == "deprecated" else f"{where}: deprecated"
        yield Told(place, f"{prefix}: its last day was {what.until}{more}, or give it another day", "deprecation")


def _personal(column: Column, place: Place) -> Iterator[Told]:
    looks = _PERSONAL.search(_snake(column.name)) or column.format == "email" or column.identifier
    if not column.classification:
        if looks:
            told = (
                f"column {column.name}: looks like personal data and has no classification; say personal, or public where it is not"
            )
            yield Told(place, told, "classification")
        return
    if column.classification.lower() in _OPEN:
        return
    missing = [name for name in ("purpose", "retention", "handling") if not getattr(column, name)]
    if missing:
        told = f"column {column.name}: {column.classification}, but no {', '.join(missing)}; add the custom properties"
        yield Told((*place, "classification"), told, "privacy")


def _identifier(column: Column, place: Place) -> Iterator[Told]:
    if column.identifier and column.identifier not in IDENTIFIERS:
        told = f"column {column.name}: identifier {column.identifier!r} is not known; known: {', '.join(IDENTIFIERS)}"
        yield Told(place, told, "identifier", Severity.ERROR)
    if column.identifier or column.type not in (ColumnType.STRING, ColumnType.INTEGER):
        return
    kind = next((kind for kind, pattern in _IDENTITIES if pattern.search(_snake(column.name))), None)
    kind = kind or ("email" if column.format == "email" else None)
    if kind:
        told = f"column {column.name}: looks like an identity and has no identifier; add the custom property identifier: {kind}"
        yield Told(place, told, "identifier")


def _case(columns: Iterable[Column]) -> Iterator[Told]:
    met: dict[str, str] = {}
    for number, column in enumerate(columns):
        other = met.setdefault(column.name.lower(), column.name)
        if other != column.name:
            told = f"column {column.name}: differs from {other} only by case, which SQL does not see; rename one"
            yield Told(("schema", 0, "properties", number), told, "case")


def _twice(given: dict[str, Any]) -> Iterator[Told]:
    columns = given["schema"][0]["properties"]
    for where, place, owner in [
        ("", (), given),
        *((f"column {c['name']}: ", ("schema", 0, "properties", n), c) for n, c in enumerate(columns)),
    ]:
        met: dict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(owner.get("customProperties") or ()):
            met[str(entry.get("property"))].append(number)
        for name, numbers in met.items():
            if len(numbers) > 1:
                told = f"{where}custom property {name}: there {len(numbers)} times, and only the last counts; keep one"
                yield Told((*place, "customProperties", numbers[0]), told, "twice")


def _custom(given: dict[str, Any], name: str, place: Place) -> tuple[str | int, ...]:
    numbers = [n for n, entry in enumerate(given.get("customProperties") or ()) if entry.get("property") == name]
    return (*place, "customProperties", numbers[-1]) if numbers else tuple(place)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
