"""What a comparison of deployed and repository comes to: differences, what was looked at, and what could not be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from contracts.text import printable

_LONGEST = 160
# As far as the last @: a password may hold @, : and / (ariga/terraform-provider-atlas#86).
_USER = re.compile(r"(?<=://)[^\s'\"<>]*@")
_SECRET = re.compile(
    r"(?i)\b([\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credential|signature|api[_-]?key|access[_-]?key|write[_-]?key)[\w.-]*"
    r"['\"]?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s&,;'\"})\]]+)"
)


class Kind(StrEnum):
    """What is compared."""

    DAGS = "dags"
    JOBS = "jobs"
    TOPICS = "topics"
    TABLES = "tables"
    REGISTRY = "registry"
    TEMPLATES = "templates"


_ORDER = {kind: number for number, kind in enumerate(Kind)}


class _Told:
    """Texts steer no terminal, and hold no user or password of a URL."""

    def __post_init__(self) -> None:
        """Hide and escape."""
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, str) and not isinstance(value, Kind):
                object.__setattr__(self, field.name, without_secrets(printable(value)))


@dataclass(frozen=True, kw_only=True)
class Difference(_Told):
    """One thing that is deployed otherwise than the repository says.

    what: the thing. where: the component or folder. deployed, repository: how it is on either side. remedy: what to do, with the
    command. file: of the repository, which says so. pending: the next run that is scheduled does away with it by itself.
    """

    kind: Kind
    what: str
    where: str
    deployed: str
    repository: str
    remedy: str
    file: str = ""
    pending: bool = False

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """Where it stands among others."""
        return _ORDER[self.kind], self.what, self.where, self.deployed, self.repository


@dataclass(frozen=True, kw_only=True)
class Looked(_Told):
    """What was compared: how many things of a kind, and where."""

    kind: Kind
    where: str
    things: int


@dataclass(frozen=True, kw_only=True)
class NotCompared(_Told):
    """What was not compared, and why. down: it was asked for, and does not answer."""

    kind: Kind
    where: str
    why: str
    down: bool = False


@dataclass(frozen=True)
class Drift:
    """All of it, in an order that depends on nothing but what was found."""

    differences: Sequence[Difference] = ()
    looked: Sequence[Looked] = ()
    not_compared: Sequence[NotCompared] = ()

    @classmethod
    def of(cls, found: Iterable[Difference | Looked | NotCompared]) -> Drift:
        """Sorted; the same difference is told once."""
        every = list(dict.fromkeys(found))
        return cls(
            sorted((one for one in every if isinstance(one, Difference)), key=lambda one: one.order),
            sorted((one for one in every if isinstance(one, Looked)), key=lambda one: (_ORDER[one.kind], one.where)),
            sorted((one for one in every if isinstance(one, NotCompared)), key=lambda one: (_ORDER[one.kind], one.where, one.why)),
        )

    @property
    def down(self) -> list[NotCompared]:
        """What was asked for and does not answer."""
        return [one for one in self.not_compared if one.down]

    def counted(self, *, strict: bool) -> list[Difference]:
        """The differences that count. strict: pending ones too."""
        return [one for one in self.differences if strict or not one.pending]

    def exit_code(self, *, strict: bool) -> int:
        """3 where not all could be looked at, else 1 where something differs, else 0."""
        if self.down:
            return 3
        return 1 if self.counted(strict=strict) else 0

    def document(self, *, strict: bool) -> dict[str, Any]:
        """As JSON. ``verdict`` has the shape that manifests have, so that whoever reads those reads this."""
        reasons = [
            f"{one.kind}: {one.what}: {one.deployed}; the repository: {one.repository}" for one in self.counted(strict=strict)
        ]
        return {
            "verdict": {
                "exit_code": self.exit_code(strict=strict),
                "reasons": [*(f"{one.kind}: {one.where}: {one.why}" for one in self.down), *reasons],
            },
            "differences": [asdict(one) for one in self.differences],
            "compared": [asdict(one) for one in self.looked],
            "not_compared": [asdict(one) for one in self.not_compared],
        }


def without_secrets(text: str) -> str:
    """A text without user and password of URLs, and without values of what is named like a secret."""
    return _SECRET.sub(lambda found: f"{found[1]}***", _USER.sub("***@", text))


def shortened(value: Any) -> str:
    """A value as a cell shows it."""
    text = value if isinstance(value, str) else str(value)
    hidden = without_secrets(text)  # before it is cut: half a secret is one too
    return hidden if len(hidden) <= _LONGEST else f"{hidden[: _LONGEST - 1]}…"


def listed(told: Iterable[str], most: int = 3) -> str:
    """Some of several texts, and how many more there are."""
    every = list(told)
    more = f"; and {len(every) - most} more" if len(every) > most else ""
    return shortened("; ".join(every[:most])) + more
