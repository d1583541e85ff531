"""What contacts and orders have in common: versions that are spoiled and copied as dicts of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from examples.webshop.defects import Copy
from examples.webshop.truth import DEAD_LETTER, OUT_OR_CONFLICT, OUT_OR_DUPLICATE, Row

Columns = dict[str, Any]


@dataclass(frozen=True)
class EntityDefect:
    """How a sound version becomes a defective or odd one."""

    name: str
    make: Callable[[Columns, Random], Columns]
    code: str | None
    rate: float = 2e-3
    count: int = 0
    expected: str = DEAD_LETTER
    sources: tuple[str, ...] = ("crm", "orders")


def put(columns: Columns) -> Callable[[Columns, Random], Columns]:
    """A maker that overwrites columns."""
    return lambda row, _: row | columns


def spoil_versions(rows: list[Row], entries: list[EntityDefect], rng: Random) -> None:
    """Give versions of a file their defects, in place."""
    for defect, index in zip(entries, rng.sample(range(len(rows)), min(len(entries), len(rows))), strict=False):
        row = rows[index]
        rows[index] = row._replace(body=defect.make(row.body, rng), expected=defect.expected, code=defect.code, defect=defect.name)


def copy_versions(
    rows: list[Row], entries: list[Copy], end_ms: int, conflict: Callable[[Columns, Random], Columns], rng: Random
) -> list[Row]:
    """Copies of sound versions; `at_ms` says where they belong, `kind` of a row names its version.

    Entities have no transport columns and no time of receipt of their own: nobody outside can tell which of two
    different rows of one version wins.
    """
    sound = [index for index, row in enumerate(rows) if not row.defect]
    copies: list[Row] = []
    for entry, index in zip(entries, rng.sample(sound, min(len(entries), len(sound))), strict=False):
        delay_ms = rng.randrange(4_000, 900_000)
        original = rows[index]
        expected = OUT_OR_DUPLICATE if entry.identical else OUT_OR_CONFLICT
        rows[index] = original._replace(expected=expected, group=original.kind)
        copies.append(
            rows[index]._replace(
                at_ms=end_ms + delay_ms if entry.next_file else min(original.at_ms + delay_ms, end_ms),
                body=original.body if entry.identical else conflict(original.body, rng),
                defect=entry.name,
            )
        )
    return copies
