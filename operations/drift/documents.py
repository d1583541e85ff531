"""Two JSON or YAML documents: what differs, by path. Order of keys, white space and comments are no difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_NAMES = ("task_id", "name", "mountPath", "containerPort", "key")  # by which entries of a list are told apart
NOTHING = "nothing"


class Apart(NamedTuple):
    """A place where two documents differ. path: keys joined by dots. before, after: in words."""

    path: str
    before: str
    after: str

    @property
    def told(self) -> str:
        """In a few words."""
        return f"{self.path} is {self.before}, should be {self.after}"


def apart(before: Any, after: Any, path: str = "") -> Iterator[Apart]:
    """Where two documents differ; the deepest places, in the order of their paths.

    Lists of mappings that have names are compared by name, since tools write them in any order; other lists as they stand.
    """
    if before == after and type(before) is type(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            yield from apart(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif (olds := _named(before)) is not None and (news := _named(after)) is not None:
        for name in sorted({*olds, *news}):
            yield from apart(olds.get(name), news.get(name), f"{path}[{name}]")
    elif not (_empty(before) and _empty(after)):
        yield Apart(path or "the document", _shown(before), _shown(after))


def _empty(value: Any) -> bool:
    """A default that is written out is none that differs (argoproj/argo-cd#15898)."""
    return value is None or value in ([], {}, "")


def _named(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, list) or not value or not all(isinstance(entry, Mapping) for entry in value):
        return None
    for key in _NAMES:
        names = [str(entry[key]) for entry in value if key in entry]
        if len(names) == len(value) == len(set(names)):
            return dict(zip(names, value, strict=True))
    return None


def _shown(value: Any) -> str:
    if _empty(value):
        return NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(entry, str) for entry in value):
        return " ".join(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
