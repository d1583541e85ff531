"""Acts of people on a lake, on record: who was shown what is hidden, who exported, closed, accepted or released what, when and why.

``_private/acts/`` has a document for each, put there before the act and never changed: who acts is named by the operating system,
and where it cannot be written nothing is done. Reveals of versions before lie in ``_private/revealed/``, and are read too.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contracts.errors import ConfigurationError
from contracts.text import json_text
from contracts.units import utc_text
from lake.location import Lake

_ACTS = "_private/acts"
_REVEALED = "_private/revealed"  # of versions before
_TIME = "%Y%m%dT%H%M%S%fZ"
MOST_REASON_CHARACTERS = 1_000


@dataclass(frozen=True, kw_only=True)
class Act:
    """What somebody did.

    id: the document's name. at: when. user, host: who, as the operating system knows them. command: the verb, such as ``deadletter
    close``. what: its arguments, and how much it was about. by: the name that the person gave, where the verb asks for one; reason:
    why, in the person's words.
    """

    id: str
    at: datetime
    user: str
    host: str
    command: str
    what: Mapping[str, Any] = field(default_factory=dict)
    by: str | None = None
    reason: str | None = None


def note_act(lake: Lake, command: str, what: Mapping[str, Any], *, by: str | None = None, reason: str | None = None) -> Act:
    """Record what somebody is about to do; called before it is done.

    Args:
        lake: of the data.
        command: the verb.
        what: its arguments, and what it is about; entries that are None are left out.
        by: the name that the person gave.
        reason: why.

    Raises:
        ConfigurationError: a name or reason that is blank, or too long.
        OSError: it cannot be recorded, and so must not be done.
    """
    at = datetime.now(UTC)
    given = {name: value for name, value in what.items() if value is not None}
    act = Act(
        id=f"{at.strftime(_TIME)}-{secrets.token_hex(3)}",
        at=at,
        user=_user(),
        host=socket.gethostname(),
        command=command,
        what=given,
        by=checked(by, "name"),
        reason=checked(reason, "reason"),
    )
    document = {"at": utc_text(at, "milliseconds"), "user": act.user, "host": act.host, "command": command, "what": given}
    document |= {name: value for name, value in (("by", act.by), ("reason", act.reason)) if value is not None}
    lake.storage.put_if_absent(lake.at_key(f"{_ACTS}/{act.id}.json"), (json_text(document) + "\n").encode())
    return act


def acts(lake: Lake, since: datetime | None = None) -> list[Act]:
    """The acts on record, the first one first.

    Args:
        lake: of the data.
        since: none that is older.
    """
    found = []
    for folder in (_REVEALED, _ACTS):
        for location in lake.storage.names(lake.at_key(folder)):
            if since is None or location.rpartition("/")[2] >= since.astimezone(UTC).strftime(_TIME):
                found.append(_read(lake, location))
    return sorted(found, key=lambda act: (act.at, act.id))


def _read(lake: Lake, location: str) -> Act:
    document = json.loads(lake.storage.read(location))
    told = {key: document.get(key) for key in ("user", "host", "command", "by", "reason")}
    return Act(
        id=location.rpartition("/")[2].removesuffix(".json"),
        at=datetime.fromisoformat(document["at"]),
        what=document.get("what", {}),
        **told,
    )


def checked(text: str | None, what: str) -> str | None:
    """A name or reason as a person gave it, without blanks around it.

    Raises:
        ConfigurationError: it is blank, or longer than MOST_REASON_CHARACTERS.
    """
    if text is None:
        return None
    if not text.strip():
        raise ConfigurationError(f"the {what} is blank: say who or why in words that help whoever reads it later")
    if len(text) > MOST_REASON_CHARACTERS:
        raise ConfigurationError(f"the {what} has {len(text):,} characters; at most {MOST_REASON_CHARACTERS:,}")
    return text.strip()


def _user() -> str:
    """Login name, as the operating system knows it and not as the environment says; the number where it has none."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    by = os.environ.get("SUDO_USER")
    return f"{name} (sudo: {by})" if by else name
