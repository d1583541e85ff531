"""Source specs and destinations as JSON, for a lake to keep: by what a run read or delivered, and what changed between two runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from contracts.spec.destination import Destination
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec

_WORDS = {"name", "description", "examples", "whole"}  # decide nothing of a record
_PLACES = {"endpoint", "export"}  # URLs, which may hold a secret
_LONGEST = 120


def stored_source(spec: SourceSpec) -> bytes:
    """A source spec as JSON, without words and examples: the same text for specs that read alike."""
    return _encoded(_document(spec))


def stored_destination(destination: Destination, hidden: Callable[[str], str]) -> bytes:
    """A destination as JSON, without words. hidden: what a URL is shown as, since the environment may put a secret into it."""
    document = _document(destination)
    for name in _PLACES & document.keys():
        if document[name] is not None:
            document[name] = f"(hidden {hidden(document[name])})"
    return _encoded(document)


def state_name(text: bytes, revision: int | None = None) -> str:
    """What a stored spec is called: a hash of it, behind its revision where it has one."""
    digest = hashlib.sha256(text).hexdigest()[:12]
    return digest if revision is None else f"r{revision}-{digest}"


def spec_differences(before: bytes, after: bytes) -> list[str]:
    """What differs between two stored specs, one sentence each without a full stop.

    Raises:
        ValueError: one of them is none.
    """
    old, new = (dict(_leaves(json.loads(text))) for text in (before, after))
    found = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            was, now = (_shown(side[key]) if key in side else "" for side in (old, new))
            found.append(
                f"{key} is gone, was {was}" if key not in new else f"{key} is {now}" + (f", was {was}" if was else ", is new")
            )
    return found


def _document(spec: SourceSpec | Destination) -> dict[str, Any]:
    return {f.name: _plain(getattr(spec, f.name)) for f in fields(spec) if f.name not in _WORDS}


def _plain(value: Any) -> Any:
    """A value as JSON has it, the same for equal values."""
    if isinstance(value, PayloadPath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, default=str).encode("utf-8", "backslashreplace")


def _leaves(document: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(document, Mapping) and document:
        for key, value in document.items():
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, document


def _shown(value: Any) -> str:
    if value is None or value in ([], {}):
        return "nothing"
    plain = all(isinstance(each, str) for each in value) if isinstance(value, list) else isinstance(value, str)
    text = (", ".join(value) if isinstance(value, list) else value) if plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
