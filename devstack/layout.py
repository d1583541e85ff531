"""Where the stack keeps what, and on which ports it listens.

*home* has what one stack is: state, configuration, logs, data; *downloads* has the pieces, which several stacks share.

    downloads/<piece>-<version>/    unpacked, with manifest.json
    home/state/<component>.json     process id and time of its start; settings.json while it runs
    home/bin/flink-worker           the command of Beam's PROCESS environment
    home/conf, home/logs            made by ``up``
    home/data                       Kafka's log, Flink's checkpoints and savepoints, buckets, the CDP endpoint's ledger
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from runners.binaries import downloads_folder, stack_home

_PORT_MAX = 65_535


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports on 127.0.0.1, all below Linux's range of ephemeral ports. ``HEADRACE_STACK_PORT_<NAME>`` overrides one."""

    kafka: int = 29_092
    kafka_controller: int = 29_093
    flink_rest: int = 28_081
    jobmanager_rpc: int = 28_082
    jobmanager_blob: int = 28_083
    taskmanager_rpc: int = 28_084
    taskmanager_data: int = 28_085
    jobmanager_metrics: int = 29_249
    taskmanager_metrics: int = 29_250
    gcs: int = 24_443
    cdp: int = 24_480

    def __post_init__(self) -> None:
        """Raise ConfigurationError: a port that cannot be, or one given twice."""
        used: dict[int, str] = {}
        for name, port in asdict(self).items():
            if not 0 < port <= _PORT_MAX:
                raise ConfigurationError(f"port {name}={port}: expected 1 to {_PORT_MAX}")
            if port in used:
                raise ConfigurationError(f"port {port} is given to both {used[port]} and {name}; give each its own")
            used[port] = name

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The ports' names."""
        return tuple(f.name for f in fields(cls))

    def changed(self, environ: Mapping[str, str], given: Mapping[str, int]) -> Ports:
        """These ports, overridden by the environment, overridden by what is given.

        Raises:
            ConfigurationError: an unknown name, or not a port.
        """
        chosen: dict[str, int] = {}
        for name in self.names():
            text = environ.get(variable := f"HEADRACE_STACK_PORT_{name.upper()}")
            if text is not None:
                if not text.isdecimal():
                    raise ConfigurationError(f"{variable}={text!r}: expected a port number")
                chosen[name] = int(text)
        for name, port in given.items():
            if name not in self.names():
                raise ConfigurationError(f"no port is called {name!r}; there are: {', '.join(self.names())}")
            chosen[name] = port
        return replace(self, **chosen)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What may differ from stack to stack.

    slots: of the TaskManager, and Flink's default parallelism. taskmanager_memory: of its process, such as ``4g``, without workers.
    """

    ports: Ports = field(default_factory=Ports)
    slots: int = 2
    taskmanager_memory: str = "4g"

    def to_json(self) -> dict[str, Any]:
        """As stored in the state folder."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Settings:
        """The inverse of ``to_json``."""
        return cls(**{**document, "ports": Ports(**document["ports"])})

    def differences(self, other: Settings) -> list[str]:
        """What is otherwise in another, as ``slots 2, not 4``."""
        mine, theirs = _flat(self), _flat(other)
        return [f"{key} {mine[key]}, not {theirs[key]}" for key in mine if mine[key] != theirs[key]]


def _flat(settings: Settings) -> dict[str, Any]:
    document = settings.to_json()
    return {**{f"port {name}": port for name, port in document.pop("ports").items()}, **document}


@dataclass(frozen=True)
class Layout:
    """The folders of one stack; nothing here creates them."""

    home: Path
    downloads: Path

    @classmethod
    def default(cls, environ: Mapping[str, str] = os.environ) -> Layout:
        """``$HEADRACE_STACK_HOME``, else ``.cache/stack`` of the clone, else ``~/.cache/headrace/stack``.

        The pieces are in ``downloads`` of it, or ``$HEADRACE_STACK_DOWNLOADS``.
        """
        return cls(stack_home(environ), downloads_folder(environ))

    @property
    def bin(self) -> Path:
        """The launcher of Flink's workers."""
        return self.home / "bin"

    def with_home(self, home: Path) -> Layout:
        """Another stack that shares these downloads."""
        return replace(self, home=home.absolute())

    @property
    def state(self) -> Path:
        """Records of processes, settings, the lock."""
        return self.home / "state"

    @property
    def conf(self) -> Path:
        """Generated configuration; also what Beam's job server takes as Flink's."""
        return self.home / "conf"

    @property
    def logs(self) -> Path:
        """One file per component, and one for the workers."""
        return self.home / "logs"

    @property
    def data(self) -> Path:
        """All that ``down --purge-data`` deletes, together with the logs."""
        return self.home / "data"

    @property
    def checkpoints(self) -> Path:
        """Flink's ``state.checkpoints.dir``."""
        return self.data / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Flink's ``state.savepoints.dir``."""
        return self.data / "savepoints"
