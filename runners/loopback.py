"""gRPC servers of this process listen on loopback, whatever address Beam gives them.

Beam's runners talk to their workers over gRPC without login or encryption, and open the servers on all interfaces (``[::]:0``),
while every client is told ``localhost``. Rows go through these ports, and one of them hands out any file that the process can read
(``ArtifactRetrievalService.GetArtifact``). No option of Beam binds them elsewhere, so ``grpc.server`` itself is replaced.
"""

from __future__ import annotations

import socket
from functools import wraps
from typing import Any

import grpc  # type: ignore[import-untyped]

_WILDCARDS = ("", "*", "[::]", "0.0.0.0")
_LOOPBACK = ((socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]"))
_TRIES = 16


def keep_grpc_on_loopback() -> None:
    """From now on, where a gRPC server of this process is to listen on all interfaces, it listens on loopback.

    Whoever runs a pipeline here calls this first: Beam makes its servers deep inside its runners. A second call changes nothing. An
    address that names one interface stays as it is: somebody has asked for it.
    """
    if not hasattr(grpc.server, "_keeps_to_loopback"):
        grpc.server = _keeping(grpc.server)


def _keeping(make_server: Any) -> Any:
    @wraps(make_server)
    def server(*arguments: Any, **options: Any) -> Any:
        made = make_server(*arguments, **options)
        add_insecure_port, add_secure_port = made.add_insecure_port, made.add_secure_port
        made.add_insecure_port = lambda address: _bind(add_insecure_port, address)
        made.add_secure_port = lambda address, credentials: _bind(lambda where: add_secure_port(where, credentials), address)
        return made

    server._keeps_to_loopback = True  # type: ignore[attr-defined]
    return server


def _bind(add_port: Any, address: str) -> int:
    """Bind an address, all interfaces meaning all loopback addresses; the port."""
    host, _, port = address.rpartition(":")
    if host not in _WILDCARDS:
        return int(add_port(address))
    return _bind_all(add_port, loopback_addresses(), int(port))


def _bind_all(add_port: Any, addresses: list[str], port: int) -> int:
    """One port on all these addresses: a client that tries another one first must not meet somebody else's server there."""
    first, *others = addresses
    for _ in range(_TRIES):
        bound = int(add_port(f"{first}:{port}"))
        try:
            for other in others:
                add_port(f"{other}:{bound}")
        except RuntimeError:  # taken there
            if port:
                raise
        else:
            return bound
    raise RuntimeError(f"no port is free on all of {', '.join(addresses)}")


def loopback_addresses() -> list[str]:
    """The loopback addresses of this machine, as gRPC writes them; at least one.

    Both families where there are both: for ``localhost`` some clients try IPv6 first, whatever ``/etc/hosts`` says, others only
    what it says. One that cannot be bound, as where IPv6 is switched off, cannot be reached either.
    """
    usable = [written for family, host, written in _LOOPBACK if _can_bind(family, host)]
    return usable or [_LOOPBACK[0][2]]


def _can_bind(family: int, host: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
