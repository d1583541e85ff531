"""Reading a destination: the YAML that users write, as a ``Destination``. Reference: docs/reference/destinations.md."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.spec.destination import DIALECTS, Condition, Destination, Limits, Placement, Secret
from contracts.spec.documents import check_keys, major_version, name_of, read_mapping, refuse
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text

_KEYS = {
    "destination", "description", "dataset", "version", "type", "endpoint", "credentials", "consent", "columns", "constants",
    "filter", "limits", "export", "allow_http", "probe",
}  # fmt: skip
_USERS = {"userId", "anonymousId"}
_REQUIRED = ("destination", "dataset", "type", "endpoint", "credentials", "columns")
_URL = re.compile(r"(https?)://([\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?(?:[/?]\S*)?")
_LOOPBACK = re.compile(r"(.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def load_destination(path: Path) -> Destination:
    """Read one destination.

    Raises:
        ConfigurationError: lists every problem of the file.
    """
    document = read_mapping(path, "destination", "destination, dataset, type, endpoint and columns")
    problems: list[str] = []
    destination = _compile(document, problems)
    refuse(f"destination {path}", problems)
    assert destination is not None
    return destination


def _compile(document: dict[str, Any], problems: list[str]) -> Destination | None:
    check_keys(document, _KEYS, _REQUIRED, problems)
    if "consent" not in document:
        problems.append("consent: missing; name the categories that must be true, or [] where none is needed")
    if problems:
        return None
    if document.get("allow_http") not in (None, True, False):
        problems.append(f"allow_http: {document['allow_http']!r} is not true or false")
    name = name_of(document, "destination", problems)
    if document["type"] not in DIALECTS:
        problems.append(f"type: {document['type']!r}; known: {', '.join(DIALECTS)}")
    version = major_version(document, problems)
    consent = document["consent"]
    if not isinstance(consent, list) or not all(isinstance(c, str) and c for c in consent):
        problems.append("consent: expected a list of categories such as [analytics, marketing]")
        consent = []
    endpoint, export = _url(document, "endpoint", problems), _url(document, "export", problems)
    placements = _placements(document["columns"], problems)
    constants = _constants(document.get("constants") or {}, problems)
    _check_paths([p.path for p in placements], list(constants), problems)
    write_key = _write_key(document["credentials"], problems)
    limits = _limits(document.get("limits") or {}, problems)
    only = _conditions(document.get("filter") or [], problems)
    probe = _probe(document.get("probe"), problems)
    if problems or write_key is None or endpoint is None:
        return None
    return Destination(
        name=name, description=str(document.get("description", "")), dataset=str(document["dataset"]), version=version,
        type=document["type"], endpoint=endpoint, write_key=write_key, consent=tuple(consent), placements=placements,
        constants=constants, only=only, limits=limits, export=export, export_shown=str(document.get("export") or ""),
        probe=probe,
    )  # fmt: skip


def _url(document: Mapping[str, Any], key: str, problems: list[str]) -> str | None:
    """A URL; ``${NAME}`` and ``${NAME:-default}`` are of the environment, so that one file serves several stages."""
    text = document.get(key)
    if text is None:
        return None
    missing = [m[1] for m in _ENVIRONMENT.finditer(str(text)) if m[1] not in os.environ and m[2] is None]
    if missing:
        problems.append(f"{key}: the environment has no {', '.join(missing)}")
        return None
    url = _ENVIRONMENT.sub(lambda m: os.environ.get(m[1]) or m[2] or "", str(text))
    fits = _URL.fullmatch(url)
    if not fits and "@" in url:  # it may hold a password: not repeated
        problems.append(f"{key}: a URL holds no user or password; credentials: {{write_key: env:NAME}} refers to them")
    elif not fits:  # what the environment gave may be a secret: not repeated
        problems.append(f"{key}: {text!r} is not a URL such as https://api.segment.io/v1/batch")
    elif fits[1] == "http" and not _LOOPBACK.fullmatch(fits[2]) and document.get("allow_http") is not True:
        problems.append(
            f"{key}: {text!r} is http://, so whoever is on the way reads the write key and the events; use https://, or say "
            "allow_http: true"
        )
    else:
        return url
    return None


def _placements(definition: Any, problems: list[str]) -> tuple[Placement, ...]:
    if not isinstance(definition, dict):
        problems.append("columns: expected a mapping of contract columns to paths in the event")
        return ()
    found: list[Placement] = []
    for column, places in definition.items():
        where = f"columns.{column}"
        for place in places if isinstance(places, list) else [places]:
            conditional = isinstance(place, dict)
            if conditional and set(place) != {"when", "path"}:
                problems.append(f"{where}: expected a path, or {{when: {{event_type: [track]}}, path: event}}")
                continue
            path = _path(place["path"] if conditional else place, where, problems)
            when = _when(place["when"], where, problems) if conditional else None
            if path and (when or not conditional):
                found.append(Placement(str(column), path, when))
    return tuple(found)


def _path(text: Any, where: str, problems: list[str]) -> PayloadPath | None:
    try:
        path = PayloadPath.parse(text)
    except (ValueError, AttributeError, TypeError):
        problems.append(f"{where}: {text!r} is not a path such as context.page.url")
        return None
    if path.envelope:
        problems.append(f"{where}: {text!r}: an event that is sent has no envelope of its own")
        return None
    return path


def _when(definition: Any, where: str, problems: list[str]) -> Condition | None:
    if isinstance(definition, dict) and len(definition) == 1:
        ((column, among),) = definition.items()
        if isinstance(among, list) and (texts := _texts(among)):
            return Condition(str(column), texts)
    problems.append(f"{where}: when: expected one column and a list of its values, {{event_type: [track]}}")
    return None


def _texts(values: list[Any]) -> frozenset[str] | None:
    """Values of a list as texts; None where it is empty, or one of them is nothing that a value could be compared with."""
    texts = [plain_text(value) for value in values]
    return frozenset(text for text in texts if text is not None) if texts and None not in texts else None


def _constants(definition: Any, problems: list[str]) -> dict[PayloadPath, Any]:
    if not isinstance(definition, dict):
        problems.append("constants: expected a mapping of paths in the event to values")
        return {}
    found = {}
    for text, value in definition.items():
        if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
            problems.append(f"constants.{text}: expected a text, a number, true or false")
        elif path := _path(text, f"constants.{text}", problems):
            found[path] = value
    return found


def _check_paths(paths: list[PayloadPath], constants: list[PayloadPath], problems: list[str]) -> None:
    """What ends where something else goes on would lose one of the two; below a JSON column it is merged (see the encoder)."""
    for constant in constants:
        if any(path == constant or path.is_below(constant) for path in paths):
            problems.append(f"constants.{constant}: a column goes there too")
        if any(other.is_below(constant) for other in constants):
            problems.append(f"constants.{constant}: another constant goes below it")


def _conditions(definition: Any, problems: list[str]) -> tuple[Condition, ...]:
    found: list[Condition] = []
    if not isinstance(definition, list):
        problems.append("filter: expected a list such as [{column: event_type, in: [track]}]")
        return ()
    for number, entry in enumerate(definition):
        shaped = isinstance(entry, dict) and set(entry) in ({"column", "in"}, {"column", "not_in"})
        among = entry.get("in", entry.get("not_in")) if shaped else []
        values = _texts(among if isinstance(among, list) else [among])
        if values is None:
            problems.append(f"filter[{number}]: expected {{column: event_type, in: [track, identify]}} or not_in: […]")
        else:
            found.append(Condition(str(entry["column"]), values, negated="not_in" in entry))
    return tuple(found)


def _write_key(definition: Any, problems: list[str]) -> Secret | None:
    expected = "credentials: expected {write_key: env:NAME} or {write_key: file:/path}, a reference and never the key itself"
    if not isinstance(definition, dict) or set(definition) != {"write_key"}:
        problems.append(expected)
        return None
    kind, _, name = str(definition["write_key"]).partition(":")
    if kind not in ("env", "file") or not name:
        problems.append(expected)  # what was given may be the key: not repeated
        return None
    return Secret("env" if kind == "env" else "file", name)


def _probe(definition: Any, problems: list[str]) -> dict[str, Any] | None:
    if definition is None:
        return None
    if not isinstance(definition, dict) or not definition.get("type") or not _USERS & set(definition):
        problems.append("probe: expected an event such as {type: track, event: Headrace Probe, userId: headrace-probe}")
    elif "messageId" in definition:
        problems.append("probe: messageId is headrace-probe- and the destination's name")
    elif not all(isinstance(value, str | bool | int) for value in definition.values()):
        problems.append("probe: expected texts, whole numbers, true or false")
    else:
        return definition
    return None


def _limits(definition: Any, problems: list[str]) -> Limits:
    known = Limits.__dataclass_fields__
    if not isinstance(definition, dict) or not set(definition) <= set(known):
        problems.append(f"limits: expected a mapping with some of {', '.join(sorted(known))}")
        return Limits()
    whole = ("in_flight", "batch_events", "batch_bytes", "event_bytes")
    for key, value in definition.items():
        right = (int,) if key in whole else (int, float)
        if type(value) not in right or not 0 < value < 1e9:
            problems.append(f"limits.{key}: {value!r} is not a positive {'whole ' if key in whole else ''}number")
    return Limits(**definition)
