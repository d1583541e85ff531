"""What a component of the stack is: how it is started and how one sees that it is ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a component: the command, and the id by which it tells itself from its earlier starts."""

    command: list[str]
    start_id: str


@dataclass(frozen=True, kw_only=True)
class Component:
    """One process of the stack.

    name: as users write it. ports: all that it listens on, by their names in ``Ports``. url: where it is used.
    log: its output. prepare: writes its configuration, returns how to start it; is called for every start.
    ready: whether the given start (by its id) serves.
    """

    name: str
    ports: Mapping[str, int]
    url: str
    log: Path
    prepare: Callable[[], Start]
    ready: Callable[[str], bool]
    env: Mapping[str, str] = field(default_factory=dict)
