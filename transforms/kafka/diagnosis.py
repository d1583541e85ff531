"""Why a cluster does not answer: what is looked at when the client library only says that no broker is there.

Each sentence names the address and the setting that is meant, never what a setting holds.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError

_PROBE_S = 2.0
_MOST_BROKERS = 5  # that are looked at: each may cost a probe's time
_SASL_HANDSHAKE, _ILLEGAL_SASL_STATE = 17, 34
_AUTHENTICATION = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)


def wrong_settings(bootstrap: str, settings: Mapping[str, Any], said: Iterable[KafkaError]) -> str | None:
    """What no second attempt would change; None where nothing like it is found.

    Args:
        bootstrap: addresses, comma-separated.
        settings: of the client.
        said: what the client reported meanwhile.
    """
    protocol = str(settings.get("security.protocol", "plaintext")).lower()
    said = list(said)
    refused = _refused(said)
    if refused:
        return refused
    for address in bootstrap.split(","):
        secure = _speaks_tls(address)
        if secure is None:
            continue
        if secure and not protocol.endswith("ssl"):
            return f"{address} speaks TLS; security.protocol of --client-config must be SSL or SASL_SSL"
        if not secure and protocol.endswith("ssl"):
            return f"{address} speaks no TLS; security.protocol of --client-config must be PLAINTEXT or SASL_PLAINTEXT"
        if not protocol.startswith("sasl") and _asks_for_sasl(address, secure):
            expected = "SASL_SSL" if secure else "SASL_PLAINTEXT"
            return f"{address} wants a login; --client-config must have security.protocol={expected} and sasl.mechanism"
    if any(error.code() == KafkaError._SSL for error in said):
        return (
            f"the certificate of {bootstrap} cannot be verified: ssl.ca.location of --client-config must name its CA's, and it "
            "must be for that host"
        )
    return None


def _refused(said: Iterable[KafkaError]) -> str | None:
    for error in said:
        if error.code() in _AUTHENTICATION:
            text = error.str()
            if "current SASL state" in text:
                return "it takes no login; security.protocol of --client-config must be PLAINTEXT or SSL"
            if "Unsupported SASL mechanism" in text:
                return "it does not take the sasl.mechanism of --client-config"
            return "it refused the user or password of --client-config"
    return None


def unreachable(brokers: Iterable[tuple[str, int]]) -> str | None:
    """Brokers that the cluster names and nobody answers for; None where all are there.

    Args:
        brokers: as the cluster names them.
    """
    away = [f"{host}:{port}" for host, port in sorted(brokers)[:_MOST_BROKERS] if not _answers(host, port)]
    if not away:
        return None
    return (
        f"it answers, but names its brokers as {', '.join(away)} (advertised.listeners), where nobody answers from here; have that "
        "changed, or made reachable"
    )


def nobody_at(bootstrap: str) -> str | None:
    """Addresses that nobody answers at, or whose name is not known; None where somebody does at one of them."""
    told = []
    for address in bootstrap.split(","):
        host, port = _parts(address)
        try:
            socket.create_connection((host, port), _PROBE_S).close()
        except socket.gaierror:
            told.append(f"no host is called {host}")
        except OSError:
            told.append(f"nobody answers at {address}")
        else:
            return None
    return ", ".join(told)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _PROBE_S).close()
    except OSError:
        return False
    return True


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _speaks_tls(address: str) -> bool | None:
    """Whether a listener speaks TLS; None where nobody answers."""
    try:
        plain = socket.create_connection(_parts(address), _PROBE_S)
    except (OSError, OverflowError):
        return None
    with plain, contextlib.suppress(OSError):
        _unverified().wrap_socket(plain).close()
        return True
    return False


def _unverified() -> ssl.SSLContext:
    """Nothing is sent over it, and nothing that comes is believed: it only tells whether there is TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _asks_for_sasl(address: str, secure: bool) -> bool:
    """Whether a listener answers the beginning of a login. One without SASL says that this is not the time for it."""
    mechanism = b"PLAIN"
    request = struct.pack(f">hhihh{len(mechanism)}s", _SASL_HANDSHAKE, 1, 1, -1, len(mechanism), mechanism)
    with contextlib.suppress(OSError, struct.error), socket.create_connection(_parts(address), _PROBE_S) as plain:
        connection = _unverified().wrap_socket(plain) if secure else plain
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 10 and (part := connection.recv(10 - len(answer))):
            answer += part
        _, _, code = struct.unpack(">iih", answer)  # size, correlation id, error code
        return bool(code != _ILLEGAL_SASL_STATE)
    return False
