"""The table of changes, row by row; and the verdict of Avro's own rules on the schemas that are exported."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from contracts.evolution.avro import avro_schema, broken_directions
from contracts.evolution.changes import MODES, Direction, guarded, is_transitive
from contracts.evolution.verdicts import allowing_modes, judge
from tests.support.contract_table import ON, Row, page, rows

ROWS = rows()


def _name(row: Row) -> str:
    return row.change


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_every_mode_allows_what_the_table_says(row: Row) -> None:
    assert set(allowing_modes(row.after, row.earlier, ON)) == row.allows


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_the_version_step_is_that_of_the_table(row: Row) -> None:
    assert judge(row.after, row.earlier, ON).needed.name.lower() == row.step


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_avros_own_rules_agree_or_the_table_says_why_not(row: Row) -> None:
    after = avro_schema(row.after)
    broken = [set(broken_directions(avro_schema(before), after)) for before in row.earlier]
    allowed = {
        mode for mode in MODES if not set[Direction]().union(*(broken if is_transitive(mode) else broken[-1:])) & guarded(mode)
    }
    assert allowed == row.avro
    assert bool(row.why) == (row.avro != row.allows)


def test_what_avro_forbids_is_never_allowed_by_us() -> None:
    assert [row.change for row in ROWS if row.allows - row.avro] == []


def test_the_table_is_as_long_as_promised_and_names_public_cases() -> None:
    assert len(ROWS) >= 150
    assert len({row.case for row in ROWS if row.case}) >= 10
    assert len({(row.section, row.change) for row in ROWS}) == len(ROWS)


def test_what_breaks_somebody_says_whom_and_what_to_do() -> None:
    for row in ROWS:
        for change in judge(row.after, row.earlier, ON).changes:
            assert change.what and not change.what.endswith("."), change
            if change.breaks or change.lost:
                assert change.migration and change.affected, change


def test_deprecations_count_until_their_last_day() -> None:
    row = next(row for row in ROWS if row.change == "a column is removed on the last day of its deprecation")
    assert [judge(row.after, row.earlier, date(2026, 6, day)).needed.name for day in (15, 16)] == ["MAJOR", "MINOR"]


def test_the_page_of_the_reference_is_the_table() -> None:
    text = (Path(__file__).parents[4] / "docs" / "reference" / "compatibility.md").read_text("utf-8")
    assert text.partition("<!-- table -->\n\n")[2] == page(), "python -m tests.support.contract_table"
