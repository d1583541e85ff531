"""Contracts as JSON, for a lake to keep: what a table was made by, without the file that said so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date
from decimal import Decimal
from typing import Any

from contracts.evolution.stored_quality import restored_quality, stored_quality
from contracts.spec.model import (
    Column,
    ColumnType,
    Consumer,
    Contract,
    Deduplication,
    Deprecation,
    EventTimeRule,
    ServiceLevel,
)
from contracts.spec.quality import QualitySpec
from contracts.spec.rules import Compare, RequireAny, RequireWhen, Rule, parse_rule

_COLUMN_DEFAULTS = Column(name="", type=ColumnType.STRING)


def stored(contract: Contract) -> bytes:
    """A contract as JSON: the same text for the same contract, without fields that have their default."""
    document = {f.name: getattr(contract, f.name) for f in fields(Contract)}
    document["rules"] = [_rule(rule) for rule in contract.rules]
    del document["quality"]
    if contract.quality != QualitySpec():
        document["quality"] = stored_quality(contract.quality)
    document["columns"] = [
        {
            f.name: getattr(column, f.name)
            for f in fields(Column)
            if f.name in ("name", "type") or getattr(column, f.name) != getattr(_COLUMN_DEFAULTS, f.name)
        }
        for column in contract.columns
    ]
    return json.dumps(document, default=_plain, ensure_ascii=False, sort_keys=True).encode()


def stored_name(contract: Contract) -> str:
    """The name of its file: the version, and what tells two states of one version apart."""
    return f"{contract.version}-{hashlib.sha256(stored(contract)).hexdigest()[:12]}.json"


def restored(text: bytes) -> Contract:
    """A contract that was stored. What a later version of Headrace has added is left out.

    Raises:
        ValueError: it is none.
    """
    try:
        return _restored(json.loads(text))
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"no stored contract: {type(error).__name__}") from None


def _restored(document: Mapping[str, Any]) -> Contract:
    known = {f.name for f in fields(Contract)}
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items() if key in known
    }
    given["columns"] = tuple(_column(column) for column in document["columns"])
    given["rules"] = tuple(parse_rule(rule) for rule in document.get("rules", ()))
    given["deduplication"] = Deduplication(**document["deduplication"])
    given["service_levels"] = tuple(ServiceLevel(**level) for level in document.get("service_levels", ()))
    given["consumers"] = tuple(
        Consumer(**{**consumer, "columns": tuple(consumer["columns"])}) for consumer in document.get("consumers", ())
    )
    given["event_time"] = EventTimeRule(**document["event_time"]) if document.get("event_time") else None
    given["deprecated"] = _deprecation(document.get("deprecated"))
    given["quality"] = restored_quality(document.get("quality"))
    return Contract(**given)


def _column(document: Mapping[str, Any]) -> Column:
    known = {f.name for f in fields(Column)}
    given = {key: value for key, value in document.items() if key in known}
    kind = given["type"] = ColumnType(document["type"])
    readers: dict[str, Callable[[Any], Any]] = {
        "enum": tuple, "purpose": tuple, "accept": frozenset, "null_tokens": frozenset, "deprecated": _deprecation,
    }  # fmt: skip
    if kind is ColumnType.DATE:
        readers |= {"minimum": date.fromisoformat, "maximum": date.fromisoformat}
    elif kind is ColumnType.DECIMAL:
        readers |= {"minimum": Decimal, "maximum": Decimal}
    return Column(**{key: readers[key](value) if key in readers and value is not None else value for key, value in given.items()})


def _deprecation(document: Mapping[str, Any] | None) -> Deprecation | None:
    return Deprecation(**{**document, "until": date.fromisoformat(document["until"])}) if document else None


def _rule(rule: Rule) -> dict[str, Any]:
    """As the contract writes it."""
    if isinstance(rule, RequireAny):
        return {"require_any": list(rule.any_of)}
    if isinstance(rule, RequireWhen):
        among = sorted(rule.among, key=str)
        return {"when": {rule.when: among}, "require_any" if rule.any_is_enough else "require": list(rule.required)}
    assert isinstance(rule, Compare)
    return {"compare": [rule.left, rule.relation, rule.right]}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return {f.name: getattr(value, f.name) for f in fields(value)}
