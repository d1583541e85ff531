"""Where the stack keeps what, and on which ports it listens.

*home* has what one stack is: state, configuration, logs, data; *downloads* has the pieces, which several stacks share.

    downloads/<piece>-<version>/    unpacked, with manifest.json
    home/state/<component>.json     process id and time of its start; settings.json while it runs
    home/bin/flink-worker           the command of Beam's PROCESS environment
    home/conf, home/logs            made by ``up``; a log of each process
    home/data                       Kafka's log, Flink's checkpoints and savepoints, buckets, the CDP endpoint's ledger,
                                    the registry's schemas
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from runners.binaries import downloads_folder, stack_home

_PORT_MAX = 65_535
TASKMANAGER = "taskmanager"
_OF_A_TASKMANAGER = ("rpc", "data", "metrics")
_BETWEEN_TASKMANAGERS = 10  # ports; none of another component lies on the way


def taskmanager_name(number: int) -> str:
    """What the TaskManager of this number is called, from 1: the first as the only one of a stack."""
    return TASKMANAGER if number == 1 else f"{TASKMANAGER}-{number}"


def taskmanager_number(name: str) -> int | None:
    """The inverse of ``taskmanager_name``; None for the name of another component."""
    if name == TASKMANAGER:
        return 1
    found = re.fullmatch(rf"{TASKMANAGER}-([2-9]|[1-9][0-9]+)", name)
    return int(found[1]) if found else None


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports on 127.0.0.1, all below Linux's range of ephemeral ports. ``HEADRACE_STACK_PORT_<NAME>`` overrides one.

    further: those of the second TaskManager and the following that are given, such as ``taskmanager_2_rpc``. The others follow from
    the first's: plus 10 for the second, plus 20 for the third.
    """

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
    registry: int = 24_490
    s3: int = 24_445
    airflow: int = 24_500
    further: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ConfigurationError: a port that cannot be, or one given twice."""
        self.check(1)

    def check(self, taskmanagers: int) -> None:
        """Whether a stack of so many TaskManagers can have these ports.

        Raises:
            ConfigurationError: a port that cannot be, or one given twice.
        """
        used: dict[int, str] = {}
        for name, port in self.numbers(taskmanagers).items():
            if not 0 < port <= _PORT_MAX:
                raise ConfigurationError(f"port {name}={port}: expected 1 to {_PORT_MAX}")
            if port in used:
                raise ConfigurationError(f"port {port} is given to both {used[port]} and {name}; give each its own")
            used[port] = name

    @classmethod
    def names(cls, taskmanagers: int = 1) -> tuple[str, ...]:
        """The ports' names."""
        own = (f.name for f in fields(cls) if f.name != "further")
        return (*own, *(_port_name(number, what) for number in range(2, taskmanagers + 1) for what in _OF_A_TASKMANAGER))

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Ports:
        """Ports by their names, those of further TaskManagers among them."""
        own = cls.names()
        further = {name: port for name, port in numbers.items() if name not in own}
        return cls(**{name: port for name, port in numbers.items() if name in own}, further=further)

    def numbers(self, taskmanagers: int = 1) -> dict[str, int]:
        """All ports of a stack of so many TaskManagers, by their names."""
        found = {name: getattr(self, name) for name in self.names()}
        for number in range(2, taskmanagers + 1):
            found |= self.of_taskmanager(number)
        return found

    def of_taskmanager(self, number: int) -> dict[str, int]:
        """The ports of one TaskManager by their names, in the order RPC, data, metrics."""
        found = {}
        for what in _OF_A_TASKMANAGER:
            name, follows = _port_name(number, what), getattr(self, _port_name(1, what)) + (number - 1) * _BETWEEN_TASKMANAGERS
            found[name] = self.further.get(name, follows)
        return found

    def changed(self, environ: Mapping[str, str], given: Mapping[str, int], taskmanagers: int = 1) -> Ports:
        """These ports, overridden by the environment, overridden by what is given.

        Raises:
            ConfigurationError: an unknown name, or not a port.
        """
        names = self.names(taskmanagers)
        chosen = {**self.numbers(), **self.further}
        for name in names:
            text = environ.get(variable := f"HEADRACE_STACK_PORT_{name.upper()}")
            if text is not None:
                if not text.isdecimal():
                    raise ConfigurationError(f"{variable}={text!r}: expected a port number")
                chosen[name] = int(text)
        for name, port in given.items():
            if name not in names:
                raise ConfigurationError(f"no port is called {name!r}; there are: {', '.join(names)}")
            chosen[name] = port
        return self.of(chosen)


def _port_name(taskmanager: int, what: str) -> str:
    return f"{taskmanager_name(taskmanager).replace('-', '_')}_{what}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What may differ from stack to stack.

    slots: of each TaskManager; those of all are Flink's default parallelism. taskmanager_memory: of the process of each, such as
    ``4g``, without workers. taskmanagers: how many.
    """

    ports: Ports = field(default_factory=Ports)
    slots: int = 2
    taskmanager_memory: str = "4g"
    taskmanagers: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigurationError: ports that cannot be."""
        self.ports.check(self.taskmanagers)

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
        return [f"{key} {mine[key]}, not {theirs[key]}" for key in mine if key in theirs and mine[key] != theirs[key]]


def _flat(settings: Settings) -> dict[str, Any]:
    ports = {f"port {name}": port for name, port in settings.ports.numbers(settings.taskmanagers).items()}
    return {**ports, **{name: value for name, value in settings.to_json().items() if name != "ports"}}


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
