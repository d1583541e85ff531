"""What all paths of the server share."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from devstack.cdp.counters import Counters
from devstack.cdp.faults import Faults
from devstack.cdp.ledger import Ledger


@dataclass
class State:
    """write_keys: name by key."""

    ledger: Ledger
    write_keys: Mapping[str, str]
    counters: Counters = field(default_factory=Counters)
    faults: Faults = field(default_factory=Faults)

    def authorised(self, header: str | None) -> str | None:
        """Name of the write key in a Basic Authorization header (key as user, no password); None if it is missing or wrong."""
        scheme, _, value = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8
            return None
        return None if password else self.write_keys.get(user)
