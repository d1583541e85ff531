"""Quality rules as JSON, for a lake to keep with the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Any

from contracts.spec.quality import (
    DeclaredDays,
    Expected,
    Operator,
    QualityCalendar,
    QualityRule,
    QualitySpec,
    Reference,
    RuleKind,
    Severity,
)

_PLAIN = QualityRule(name="", kind=RuleKind.ROW_COUNT)


def stored_quality(spec: QualitySpec) -> dict[str, Any]:
    """All rules, without fields that have their default."""
    rules = [
        {
            f.name: getattr(rule, f.name)
            for f in fields(rule)
            if getattr(rule, f.name) != getattr(_PLAIN, f.name) or f.name == "kind"
        }
        for rule in spec.rules
    ]
    return {"rules": rules, "partition_s": spec.partition_s, "calendar": spec.calendar}


def restored_quality(document: Mapping[str, Any] | None) -> QualitySpec:
    """Rules that were stored. What a later version of Headrace has added is left out, rules of kinds that are not known too."""
    if not document:
        return QualitySpec()
    calendar = document["calendar"]
    days = tuple(
        DeclaredDays(
            **{**_known(DeclaredDays, each), "first": date.fromisoformat(each["first"]), "last": date.fromisoformat(each["last"])}
        )
        for each in calendar["days"]
    )
    return QualitySpec(tuple(_rules(document["rules"])), document["partition_s"], QualityCalendar(calendar["zone"], days))


def _rules(documents: Sequence[Mapping[str, Any]]) -> Iterator[QualityRule]:
    for document in documents:
        if document["kind"] not in set(RuleKind):
            continue
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in _known(QualityRule, document).items()
        }
        given["kind"] = RuleKind(document["kind"])
        if "severity" in given:
            given["severity"] = Severity(given["severity"])
        if given.get("expected"):
            given["expected"] = Expected(Operator(given["expected"]["operator"]), tuple(given["expected"]["values"]))
        if given.get("reference"):
            given["reference"] = Reference(**{**given["reference"], "columns": tuple(given["reference"]["columns"])})
        yield QualityRule(**given)


def _known(model: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(model)}
    return {key: value for key, value in document.items() if key in names}
