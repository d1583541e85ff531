"""Scalars as specs write them."""

from __future__ import annotations

from typing import Any

_PLAIN_INTEGER_LIMIT = 10**18


def plain_text(value: Any) -> str | None:
    """A scalar as a filter or version list writes it: true, 7, beta; None for anything that is not one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON: 2.0 is 2
    return str(value) if isinstance(value, int) and abs(value) < _PLAIN_INTEGER_LIMIT else None
