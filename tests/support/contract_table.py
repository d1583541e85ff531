"""The table of contract changes (tests/unit/contracts/evolution/changes.yaml) as contracts; and the page that is made of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, get_args

import yaml

from contracts.evolution.changes import MODES
from contracts.spec.model import (
    Column,
    ColumnType,
    Compatibility,
    Consumer,
    Contract,
    Deduplication,
    Deprecation,
    EventTimeRule,
    ServiceLevel,
)
from contracts.spec.quality import Expected, Operator, QualityRule, QualitySpec, RuleKind, Severity
from contracts.spec.rules import parse_rule

TABLE = Path(__file__).parents[1] / "unit" / "contracts" / "evolution" / "changes.yaml"
ON = date(2026, 6, 15)  # the day on which deprecations of the table count
BASE = Contract(
    name="thing",
    version="1.0.0",
    kind="event",
    columns=(
        Column(name="event_id", type=ColumnType.STRING, required=True),
        Column(name="at", type=ColumnType.TIMESTAMP),
        Column(name="received_at", type=ColumnType.TIMESTAMP, transport=True),
        Column(name="user_id", type=ColumnType.STRING),
    ),
    event_id="event_id",
    window_time=("at",),
    received_at="received_at",
    order=("received_at",),
)
_GROUPS = {
    "all": ("NONE", "BACKWARD", "FORWARD", "FULL"),
    "backward": ("NONE", "BACKWARD"),
    "forward": ("NONE", "FORWARD"),
    "none": ("NONE",),
}


@dataclass(frozen=True)
class Row:
    """One change. avro: the modes that Avro's own rules allow."""

    section: str
    change: str
    earlier: tuple[Contract, ...]
    after: Contract
    allows: frozenset[Compatibility]
    step: str
    avro: frozenset[Compatibility]
    why: str
    case: str


def rows() -> list[Row]:
    """Every row of the table."""
    section, found = "", []
    for entry in yaml.safe_load(TABLE.read_text("utf-8")):
        if "section" in entry:
            section = entry["section"]
            continue
        states = [*entry.get("earlier", ()), entry["before"], entry["after"]]
        contracts = [replace(contract_of(state), version=f"1.{n}.0") for n, state in enumerate(states)]
        allows = _modes(entry["allows"])
        found.append(
            Row(
                section=section,
                change=entry["change"],
                earlier=tuple(contracts[:-1]),
                after=contracts[-1],
                allows=allows,
                step=entry["step"],
                avro=_modes(entry["avro"]) if "avro" in entry else allows,
                why=entry.get("why", ""),
                case=entry.get("case", ""),
            )
        )
    return found


def _modes(given: Any) -> frozenset[Compatibility]:
    if isinstance(given, list):
        assert set(given) <= set(get_args(Compatibility)), given
        return frozenset(given)
    return frozenset(mode for mode in MODES if mode.removesuffix("_TRANSITIVE") in _GROUPS[given])


def contract_of(state: Mapping[str, Any]) -> Contract:
    """A contract with these columns and fields on top of BASE."""
    columns = tuple(_column(name, fields) for name, fields in state.items() if name != "contract")
    return replace(BASE, columns=(*BASE.columns, *columns), **_fields(state.get("contract", {})))


def _column(name: str, fields: Mapping[str, Any]) -> Column:
    given = {**fields, "type": ColumnType(fields["type"])}
    for key in ("enum", "purpose"):
        given[key] = tuple(fields.get(key, ()))
    for key in ("accept", "null_tokens"):
        given[key] = frozenset(fields.get(key, ()))
    if given["type"] is ColumnType.DATE:
        given |= {key: date.fromisoformat(str(fields[key])) for key in ("minimum", "maximum") if key in fields}
    if "deprecated" in fields:
        given["deprecated"] = _deprecation(fields["deprecated"])
    return Column(name=name, **given)


def _deprecation(given: Mapping[str, Any]) -> Deprecation:
    return Deprecation(date.fromisoformat(str(given["until"])), given.get("use", ""))


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    readers = {
        "rules": lambda value: tuple(map(parse_rule, value)),
        "event_time": lambda value: EventTimeRule(*value),
        "deduplication": lambda value: Deduplication(*value),
        "deprecated": _deprecation,
        "service_levels": lambda value: tuple(ServiceLevel(*each) for each in value),
        "quality": lambda value: QualitySpec(tuple(map(_quality_rule, value))),
        "consumers": lambda value: tuple(Consumer(name, tuple(columns)) for name, columns in value),
    }
    return fields | {key: read(given[key]) for key, read in readers.items() if key in given}


def _quality_rule(given: Mapping[str, Any]) -> QualityRule:
    operator, value = given["expected"]
    kind, severity = RuleKind(given["kind"]), Severity(given.get("severity", "warn"))
    return QualityRule(
        name=given["name"], kind=kind, severity=severity, unit="rows", expected=Expected(Operator(operator), (value,))
    )


def page() -> str:
    """docs/reference/compatibility.md below its introduction: the table as it is."""
    lines: list[str] = []
    section = None
    for row in rows():
        if row.section != section:
            section = row.section
            title, _, said = section.partition(". ") if ". " in section else section.partition(": ")
            lines += ["", f"### {title.rstrip('.')}", ""] + ([f"{said[0].upper()}{said[1:].rstrip('.')}.", ""] if said else [])
            lines += ["| Change | Backward | Forward | Full | Step | Where Avro differs |", "| --- | --- | --- | --- | --- | --- |"]
        verdicts = " | ".join(_verdict(row, mode) for mode in ("BACKWARD", "FORWARD", "FULL"))
        avro = f"Allows {_avro_words(row)}: {row.why}." if row.avro != row.allows else ""
        lines.append(f"| {row.change[0].upper()}{row.change[1:]} | {verdicts} | {row.step} | {avro} |")
    return "\n".join(lines).strip() + "\n"


def _verdict(row: Row, mode: str) -> str:
    last, all_of_them = mode in row.allows, f"{mode}_TRANSITIVE" in row.allows
    return "yes" if last and all_of_them else "not transitive" if last else "no"


def _avro_words(row: Row) -> str:
    words = [mode for mode in ("BACKWARD", "FORWARD", "FULL") if mode in row.avro]
    return "it in every mode" if "FULL" in words else " and ".join(words) or "none"


if __name__ == "__main__":
    path = Path("docs/reference/compatibility.md")
    text = path.read_text("utf-8")
    head = text[: text.index("<!-- table -->")]
    sys.stdout.write(f"{head}<!-- table -->\n\n{page()}")
