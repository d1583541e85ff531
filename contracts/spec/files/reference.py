"""The tables of keys in docs/reference, made from the models."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def key_table(model: type[BaseModel]) -> str:
    """Key, default and meaning of each field, as Markdown."""
    rows = [f"| `{field.alias or name}` | {_default(field)} | {field.description} |" for name, field in model.model_fields.items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def property_table(model: type[BaseModel]) -> str:
    """Custom property, its values and meaning, as Markdown."""
    rows = [f"| `{field.alias or name}` | {_shown(field)} | {field.description} |" for name, field in model.model_fields.items()]
    return "\n".join(["| property | value | meaning |", "|---|---|---|", *rows])


def _shown(field: FieldInfo) -> Any:
    extra = field.json_schema_extra
    return extra.get("shown") if isinstance(extra, dict) else None


def _default(field: FieldInfo) -> str:
    if shown := _shown(field):
        return str(shown)
    if field.is_required():
        return "required"
    if field.default in (None, [], {}, ()):
        return "none"
    if field.default == "":
        return "empty"
    text = field.default if isinstance(field.default, str) else json.dumps(field.default)
    return f"`{text}`"
