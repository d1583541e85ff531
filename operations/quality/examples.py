"""Rows that broke a rule, for people to look at: where they come from, and the shape of their values. Never a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow.compute as pc

from contracts.spec.model import Contract
from contracts.spec.rules import Rule
from quality.measure import PLACE
from quality.verdicts import RuleVerdict
from quality.view import TableView

MOST_PARTITIONS = 12  # whose rows are looked up
_Place = tuple[str, str, int]


@dataclass(frozen=True)
class Example:
    """One row. place: source, raw file and position. shapes: column and shape of its value; empty where the row is gone."""

    verdict: RuleVerdict
    place: _Place
    shapes: tuple[tuple[str, str], ...]


def examples_of(view: TableView, contract: Contract, verdicts: Iterable[RuleVerdict]) -> Iterator[Example]:
    """Of each verdict with samples, its rows; of at most MOST_PARTITIONS partitions."""
    told = [each for each in verdicts if each.samples]
    for partition in sorted({each.partition for each in told})[:MOST_PARTITIONS]:
        own = [each for each in told if each.partition == partition]
        columns = {each.rule: columns_of(contract, each) for each in own}
        wanted = list(dict.fromkeys([*PLACE, *(name for names in columns.values() for name in names)]))
        rows = _rows(view, wanted, {place for each in own for place in each.samples}, partition.from_us, partition.to_us)
        for each in own:
            for place in each.samples:
                row = rows.get(place)
                yield Example(each, place, tuple((name, shape(row[name])) for name in columns[each.rule]) if row else ())


def columns_of(contract: Contract, verdict: RuleVerdict) -> Sequence[str]:
    """The contract's columns that a rule is about."""
    named = [rule.columns for rule in contract.quality.rules if rule.name == verdict.rule]
    found = list(named[0]) if named else []
    kind, _, number = verdict.rule.partition(".")
    if not found and number.split(".")[0].isdigit() and kind == verdict.kind:  # over several columns of a record
        rules: Sequence[Rule] = contract.rules
        index = int(number.split(".")[0]) - 1
        found = list(rules[index].columns) if index < len(rules) else []
    if not found and verdict.column:
        found = [verdict.column]
    return [name for name in found if name in contract.by_name]


def _rows(view: TableView, columns: Sequence[str], places: set[_Place], from_us: int, to_us: int) -> dict[_Place, dict[str, Any]]:
    files = sorted({file for _, file, _ in places})
    found = {}
    for batch in view.batches(columns, from_us, to_us):
        rows = batch.filter(pc.is_in(batch.column("_raw_file"), value_set=pc.cast(files, batch.column("_raw_file").type)))
        for row in rows.to_pylist():
            place = tuple(row[name] for name in PLACE)
            if place in places:
                found[place] = row
    return found


def shape(value: Any) -> str:
    """What a value looks like, without saying it."""
    if value is None:
        return "no value"
    if isinstance(value, str):
        kinds = {"digits": str.isdigit, "letters": str.isalpha, "blanks": str.isspace}
        met = [name for name, test in kinds.items() if any(map(test, value))]
        met += ["signs"] if any(not c.isalnum() and not c.isspace() for c in value) else []
        return f"text of {len(value):,} characters: {', '.join(met) or 'nothing'}" if value else "empty text"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float | Decimal):
        size = len(str(abs(int(value))))
        return f"{'negative ' if value < 0 else ''}number of {size} digits" + ("" if value == int(value) else " and a fraction")
    if isinstance(value, datetime | date):
        return "time" if isinstance(value, datetime) else "day"
    return f"{len(value):,} entries"
