"""The schema registry of a project: where it is, as whom it is asked, and how long it is waited for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.spec.destination import Secret
from contracts.units import DURATION_UNITS

_KEYS = ("url", "name", "credentials", "ca", "timeout", "patience")
_URL = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?(?:/[^\s?#]*)?")
_LOOPBACK = re.compile(r"http://((.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\])([:/].*)?", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SECRET = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One registry. Picklable, without secrets: they are read where it is asked, so workers need them too.

    url: base of the Confluent API. name: under which its ids are kept in a lake; another name is another registry, whatever the
    URL. user, password, or token: how it is asked; None for nobody. ca: a file with the certificates that it is trusted by.
    timeout_s: of a request. patience_s: how long a run with an end waits for a registry that is down; a stream waits on.
    """

    url: str
    name: str = "default"
    user: Secret | None = None
    password: Secret | None = field(default=None, repr=False)
    token: Secret | None = field(default=None, repr=False)
    ca: Path | None = None
    timeout_s: float = 5.0
    patience_s: float = 60.0


def registry_of(document: Any, root: Path, problems: list[str]) -> Registry | None:
    """The ``registry`` of ``headrace.yaml``; None where there is none, or problems, which are noted."""
    if document is None:
        return None
    if not isinstance(document, dict) or not {"url"} <= set(document) <= set(_KEYS):
        problems.append(f"registry: expected a mapping with url and some of {', '.join(_KEYS[1:])}")
        return None
    known = len(problems)
    url, name = _url(document["url"], problems), document.get("name", "default")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append("registry.name: expected lower case letters, digits, _ and -")
    times = {key: _seconds(document[key], f"registry.{key}", problems) for key in ("timeout", "patience") if key in document}
    secrets = _credentials(document.get("credentials"), url, problems)
    ca = document.get("ca")
    if ca is not None and not (root / str(ca)).is_file():
        problems.append(f"registry.ca: {ca}: no such file; name a PEM file with the certificates that the registry is trusted by")
    if len(problems) > known:
        return None
    given: dict[str, Any] = {f"{key}_s": value for key, value in times.items()}
    return Registry(url=url, name=name, ca=None if ca is None else root / str(ca), **secrets, **given)


def _url(text: Any, problems: list[str]) -> str:
    if not isinstance(text, str) or not _URL.fullmatch(text):
        shown = "" if "@" in str(text) else f"{text!r} is "  # it may hold a password: not repeated
        problems.append(
            f"registry.url: {shown}not a URL such as https://registry.example:8081; user and password go to credentials"
        )
        return ""
    return text.rstrip("/")


def _credentials(document: Any, url: str, problems: list[str]) -> Mapping[str, Any]:
    if document is None:
        return {}
    if not isinstance(document, dict) or set(document) not in ({"user", "password"}, {"token"}):
        problems.append("registry.credentials: expected {user: env:NAME, password: env:NAME} or {token: env:NAME}")
        return {}
    wrong = [key for key, text in document.items() if not isinstance(text, str) or not _SECRET.fullmatch(text)]
    problems += [f"registry.credentials.{key}: expected env:NAME or file:PATH, never the value itself" for key in wrong]
    if url.startswith("http://") and not _LOOPBACK.fullmatch(url):
        problems.append("registry.url: is http://, so whoever is on the way reads the credentials; use https://")
    if wrong:
        return {}
    return {key: Secret(*text.split(":", 1)) for key, text in document.items()}


def _seconds(given: Any, where: str, problems: list[str]) -> float:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([dhms])", str(given))
    if match is None:
        problems.append(f"{where}: {given!r} is no duration such as 10s or 5m")
        return 0.0
    return float(int(match[1]) * DURATION_UNITS[match[2]])
