"""A contract with every type, and names and texts that try to leave their quotes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from contracts.spec.model import Column, ColumnType, Deduplication, Deprecation
from tests.support.contract_table import BASE

_HOSTILE = 'it\'s "quoted" `so` \\ and -- ; DROP TABLE x; /* \n new line'
_EVERY_TYPE = tuple(
    Column(name=f"c_{kind.name.lower()}", type=kind, precision=12, scale=2, description=f"{kind}: {_HOSTILE}")
    for kind in ColumnType
)
HARD = replace(
    BASE,
    description=_HOSTILE,
    deduplication=Deduplication(horizon_s=None),
    columns=(
        *BASE.columns,
        *_EVERY_TYPE,
        *(
            Column(name=name, type=ColumnType.STRING)
            for name in ("select", "order", "user", "table", "group", "Größe", "a b", 'a"b', "a`b")
        ),
        Column(name="big", type=ColumnType.DECIMAL, precision=38, scale=18, required=True, unit="EUR", classification="personal"),
        Column(name="old", type=ColumnType.DATE, deprecated=Deprecation(date(2026, 12, 31), use="c_date")),
    ),
)
