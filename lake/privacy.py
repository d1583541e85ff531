"""What a lake keeps so that people's data stays hidden: the key of hidden ids, and who was shown what.

``_private/hidden-ids.key`` is 32 random bytes. A hidden id is the beginning of its HMAC-SHA-256 under this key: the same id looks
the same in all reports of a lake, and who has a report but not the lake cannot try out ids. ``_private/revealed/`` has a document
for each command that showed what is hidden.
"""

from __future__ import annotations

import hmac
import json
import os
import pwd
import secrets
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from contracts.text import json_text
from contracts.units import utc_text
from lake.location import Lake

_KEY = "_private/hidden-ids.key"
_REVEALED = "_private/revealed"
_SHOWN_DIGITS = 12


def hidden_ids(lake: Lake) -> Callable[[str], str]:
    """What an id is shown as to people who may not see it; the key is made where there is none.

    Raises:
        OSError: there is no key, and none can be written.
    """
    key = _key(lake)
    return lambda text: hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:_SHOWN_DIGITS]


def _key(lake: Lake) -> bytes:
    where = lake.at_key(_KEY)
    try:
        return lake.storage.read(where)
    except FileNotFoundError:
        lake.storage.put_if_absent(where, secrets.token_bytes(32))
        return lake.storage.read(where)  # whoever was first


def note_revealed(lake: Lake, command: str, what: Mapping[str, Any]) -> None:
    """Record that somebody is shown what is hidden; called before it is shown.

    Args:
        lake: of the data.
        command: the verb.
        what: its arguments.

    Raises:
        OSError: it cannot be recorded, and so must not be shown.
    """
    at = datetime.now(UTC)
    document = {
        "at": utc_text(at, "milliseconds"),
        "user": _user(),
        "host": socket.gethostname(),
        "command": command,
        "what": {name: value for name, value in what.items() if value is not None},
    }
    name = f"{at:%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}.json"
    lake.storage.put_if_absent(lake.at_key(f"{_REVEALED}/{name}"), (json_text(document) + "\n").encode())


def revealed(lake: Lake) -> list[dict[str, Any]]:
    """Every record that ``note_revealed`` wrote, the oldest first."""
    places = sorted(place for place in lake.storage.names(lake.at_key(_REVEALED)) if place.endswith(".json"))
    return [json.loads(content) for content in lake.storage.map(lake.storage.read, places)]


def _user() -> str:
    """Login name, as the operating system knows it and not as the environment says; the number where it has none."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    by = os.environ.get("SUDO_USER")
    return f"{name} (sudo: {by})" if by else name
