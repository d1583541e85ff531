"""The schema registry of a project: where it is, as whom it is asked, and how long it is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from contracts.spec.destination import Secret


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
