"""What of letters may not be shown without being asked for: event ids, and keys of payloads that a violation names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from contracts.compiler.judge import payload_paths
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.location import Lake
from lake.privacy import hidden_ids

HIDDEN = "(hidden; show it with --reveal)"  # ids are made by clients, some of mail addresses


class Hiding:
    """Hides keys of payloads, which are the sender's, like values. The lake's key is read, or made, when it is needed first."""

    def __init__(self, lake: Lake, project: Project) -> None:
        self._lake, self._project = lake, project
        self._known: dict[str, frozenset[str]] = {}

    @cached_property
    def _hidden(self) -> Callable[[str], str]:
        return hidden_ids(self._lake)

    def path(self, source: str, violation: Mapping[str, Any]) -> str:
        """The path of a violation, as it may be shown."""
        if violation["rule"] not in ("unknown_field", "type"):
            return str(violation["path"])  # of the spec, which need not be read for it
        if violation["rule"] == "type" and violation["expected"] != "boolean":
            return str(violation["path"])
        if source not in self._known:
            self._known[source] = _paths_of(self._project, source)
        own, key = _split(violation, self._known[source])
        return own + (f"(key {self._hidden(key)})" if key else "")

    def letters(self, letters: Iterable[dict[str, Any]]) -> None:
        """Hide it in letters, in place."""
        for letter in letters:
            letter["event_id"] = letter["event_id"] and HIDDEN
            for violation in letter["violations"] or ():
                violation["path"] = self.path(letter["source"], violation)


def _paths_of(project: Project, source: str) -> frozenset[str]:
    """Paths that a source spec names; none of a source that the project does not know."""
    with contextlib.suppress(ConfigurationError):
        spec, contract = project.source(source)
        return frozenset(payload_paths(contract, spec).values())
    return frozenset()


def _split(violation: Mapping[str, Any], known: frozenset[str]) -> tuple[str, str]:
    """What of a path the spec names, and what is a key of the payload: an unknown field, or one of a map of booleans."""
    path = str(violation["path"])
    if violation["rule"] == "unknown_field":
        return "", path
    if (violation["rule"], violation["expected"]) != ("type", "boolean") or path in known:
        return path, ""
    own = max((name for name in known if path.startswith(f"{name}.")), key=len, default=path.partition(".")[0])
    return (f"{own}.", path[len(own) + 1 :]) if own != path else (path, "")
