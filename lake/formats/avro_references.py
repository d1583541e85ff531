"""An Avro schema that names types of others, as one schema that holds them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "error", "enum", "fixed"})
_LEVELS = 100
_MOST_TYPES = 10_000  # that are put in: a type is put where it is first named, and only there


def with_referenced(document: Any, referenced: Sequence[Any]) -> Any:
    """The schema with each type of the others where it is first named.

    Args:
        document: the schema, decoded from JSON.
        referenced: those that it names, directly or not, decoded from JSON.

    Raises:
        ValueError: nested too deep, or too much.
    """
    if not referenced:
        return document
    known: dict[str, Any] = {}
    for other in referenced:
        _collect(other, "", known, 0)
    return _Joining(known).walk(document, "", 0)


class _Joining:
    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known, self._defined, self._left = known, set[str](), _MOST_TYPES

    def walk(self, kind: Any, namespace: str, level: int) -> Any:
        """A type, with full names."""
        self._left -= 1
        if level > _LEVELS or self._left < 0:
            raise ValueError("a schema of too many types")
        if isinstance(kind, str):
            return self._named(kind, namespace, level)
        if isinstance(kind, list):
            return [self.walk(branch, namespace, level + 1) for branch in kind]
        base = kind["type"]
        if isinstance(base, (dict, list)):
            return self.walk(base, namespace, level + 1)
        made = dict(kind)
        if base in _NAMED:
            full, namespace = _full_name(kind, namespace)
            self._defined.add(full)
            made |= {"name": full, "namespace": namespace}
        elif base not in _PRIMITIVES and base not in ("array", "map"):
            return self._named(base, namespace, level)
        for key in ("items", "values"):
            if key in kind:
                made[key] = self.walk(kind[key], namespace, level + 1)
        if "fields" in kind:
            made["fields"] = [{**field, "type": self.walk(field["type"], namespace, level + 1)} for field in kind["fields"]]
        return made

    def _named(self, name: str, namespace: str, level: int) -> Any:
        if name in _PRIMITIVES:
            return name
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        if full not in self._defined and full not in self._known and name in self._known:
            full = name  # of no namespace
        if full in self._defined or full not in self._known:
            return full
        return self.walk(self._known[full], full.rpartition(".")[0], level + 1)


def _collect(kind: Any, namespace: str, known: dict[str, Any], level: int) -> None:
    """The named types that a schema defines, by their full names."""
    if level > _LEVELS:
        raise ValueError("a schema of too many levels")
    for branch in kind if isinstance(kind, list) else [kind]:
        if not isinstance(branch, dict):
            continue
        inner = namespace
        if branch.get("type") in _NAMED:
            full, inner = _full_name(branch, namespace)
            known.setdefault(full, {**branch, "name": full, "namespace": inner})
        parts = [field["type"] for field in branch.get("fields", ())]
        for part in (*parts, branch.get("items"), branch.get("values"), branch.get("type")):
            if isinstance(part, (dict, list)):
                _collect(part, inner, known, level + 1)


def _full_name(kind: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    """(full name, namespace) of a named type where it stands."""
    name = str(kind["name"])
    if "." in name:
        return name, name.rpartition(".")[0]
    own = str(kind.get("namespace", namespace) or "")
    return (f"{own}.{name}" if own else name), own
