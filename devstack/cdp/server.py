"""The server: what is served where, on 127.0.0.1, by one process and one thread.

/v1, /segment/v1       Segment: batch, track, identify, page, screen, group, alias (POST)
/rudderstack/v1        RudderStack: the same
…/v1/export            what arrived, by write key
/_control              counters, requests, ledger, order, faults
/                      a page to look at
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from devstack.cdp.control import Control
from devstack.cdp.counters import Counters
from devstack.cdp.dialects import RUDDERSTACK, SEGMENT, TYPES, Dialect
from devstack.cdp.ingest import Ingest
from devstack.cdp.ledger import Ledger
from devstack.cdp.page import Page
from devstack.cdp.reads import Reads
from devstack.cdp.state import State

HOST = "127.0.0.1"
_KEEP_ALIVE_S = 75  # longer than clients keep an idle connection, so that it is they who close it
_SHUTDOWN_S = 3
_BACKLOG = 1024


def app(state: State) -> Starlette:
    """The ASGI application. It answers only to names of this machine, so that no web page elsewhere can read it."""
    control, reads = Control(state), Reads(state)
    return Starlette(
        routes=[
            Route("/", Page(state).get),
            Route("/_control/counters", reads.counters),
            Route("/_control/order", reads.order),
            Route("/_control/requests", reads.requests),
            Route("/_control/ledger", reads.ledger),
            Route("/_control/ledger", control.clear, methods=["DELETE"]),
            Route("/_control/ledger", control.change, methods=["POST", "PATCH"]),
            Route("/_control/faults", control.faults, methods=["GET", "PUT", "DELETE"]),
            Mount("/v1", routes=list(_api(state, SEGMENT))),
            Mount("/segment/v1", routes=list(_api(state, SEGMENT))),
            Mount("/rudderstack/v1", routes=list(_api(state, RUDDERSTACK))),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]), Middleware(_OwnPagesOnly)],
    )


class _OwnPagesOnly:
    """Refuses what a web page of another origin has a browser send: it cannot read answers, but could clear the ledger."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{headers.get('host')}":
            await PlainTextResponse("requests of other web pages are refused\n", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _api(state: State, dialect: Dialect) -> Iterator[BaseRoute]:
    yield Route("/export", Reads(state).export)
    for call in ("batch", *TYPES):
        yield Route(f"/{call}", Ingest(state, dialect, call), methods=["POST"])


class _Protocol(H11Protocol):
    """Gives a request its transport, so that a fault can reset the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def serve(port: int, data: Path, write_keys: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. The address is printed when it listens.

    Args:
        port: 0 takes a free one.
        data: folder of the ledger.
        write_keys: key by name.

    Raises:
        OSError: the port is taken.
    """
    # Only with the protocol named does asyncio set TCP_NODELAY, without which answers wait 40 ms for a delayed acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(_BACKLOG)
        ledger = Ledger(data, write_keys)
        state = State(
            ledger, {key: name for name, key in write_keys.items()}, Counters(request for _, request in ledger.requests())
        )
        config = Config(
            app(state),
            http=_Protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
        print(f"http://{HOST}:{listening.getsockname()[1]}", flush=True)
        try:
            Server(config).run(sockets=[listening])
        finally:
            ledger.close()
