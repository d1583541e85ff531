"""gRPC servers of this process listen on loopback, and their clients find them there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from lake.runs.process import ProcessIdentity
from runners import loopback
from runners.loopback import keep_grpc_on_loopback, loopback_addresses
from tests.support.listeners import listeners_of

_ANSWER_S = 10


@pytest.fixture
def server() -> Iterator[Any]:
    keep_grpc_on_loopback()
    with ThreadPoolExecutor(1) as pool:
        made = grpc.server(pool)
        yield made
        made.stop(None).wait()


def addresses_of(port: int) -> list[tuple[str, bool]]:
    """Of this process' sockets with this port, each with whether others may reach it."""
    us = ProcessIdentity.of(os.getpid())
    assert us is not None
    return [(each.address, each.beyond_loopback) for each in listeners_of([us]) if each.port == port]


@pytest.mark.parametrize("address", ["[::]:0", "0.0.0.0:0", ":0", "localhost:0"])
def test_a_server_on_all_interfaces_is_one_on_loopback(address: str, server: Any) -> None:
    port = server.add_insecure_port(address)
    server.start()
    found = addresses_of(port)
    assert len(found) == len(loopback_addresses())
    assert not any(beyond for _, beyond in found)
    for host in ("localhost", *loopback_addresses()):
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=_ANSWER_S)


def test_a_second_call_changes_nothing() -> None:
    keep_grpc_on_loopback()
    once = grpc.server
    keep_grpc_on_loopback()
    assert grpc.server is once


def test_a_port_that_is_taken_on_one_of_the_addresses_is_left_for_another_one() -> None:
    asked: list[str] = []

    def add_port(address: str) -> int:
        asked.append(address)
        if address == "[::1]:7001":
            raise RuntimeError("taken")
        host, _, port = address.rpartition(":")
        return int(port) or 7000 + sum(each.startswith(host) for each in asked)

    assert loopback._bind_all(add_port, ["127.0.0.1", "[::1]"], 0) == 7002
    assert asked == ["127.0.0.1:0", "[::1]:7001", "127.0.0.1:0", "[::1]:7002"]
    with pytest.raises(RuntimeError, match="taken"):
        loopback._bind_all(add_port, ["127.0.0.1", "[::1]"], 7001)


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ({socket.AF_INET, socket.AF_INET6}, ["127.0.0.1", "[::1]"]),
        ({socket.AF_INET}, ["127.0.0.1"]),
        ({socket.AF_INET6}, ["[::1]"]),
        (set(), ["127.0.0.1"]),  # and gRPC says what is wrong
    ],
)
def test_a_family_that_this_machine_lacks_is_left_out(
    families: set[int], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "_can_bind", lambda family, host: family in families)
    assert loopback_addresses() == expected
