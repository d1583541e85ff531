"""A proxy before an emulator of an object store that breaks a share of the requests."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
STATUSES = (429, 500, 503)
RESETS = ("reset before", "reset after", "reset within")
FAULTS = (*STATUSES, *RESETS)
Scripted = tuple[int, list[tuple[str, str]], bytes]  # an answer: status, headers, body


@dataclass
class FaultyProxy:
    """Passes requests on; of some share it answers with an error, or breaks the connection before or after they were carried out.

    share: how many, by a seeded choice. only: faults to choose from. matching: breaks only requests whose line contains this.
    broken: what was done, by kind. script: given a request's method, path and headers, what to answer instead of passing it on.
    ignored: headers that are not passed on, as if the store did not know them. seen: the headers of each request.
    """

    target: str
    seed: int = 0
    share: float = 0.1
    only: tuple[int | str, ...] = FAULTS
    matching: str = ""
    broken: dict[int | str, int] = field(default_factory=dict)
    requests: int = 0
    address: str = ""
    script: Callable[[str, str, Message], Scripted | None] = lambda _method, _path, _headers: None
    ignored: tuple[str, ...] = ()
    seen: list[Message] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)

    def choose(self, line: str) -> int | str | None:
        with self._lock:
            self.requests += 1
            if self.matching not in line or self._rng.random() >= self.share:
                return None
            fault = self._rng.choice(self.only)
            self.broken[fault] = self.broken.get(fault, 0) + 1
            return fault


@contextmanager
def faulty(proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    """The proxy, at its own ``address``."""

    class Handler(_Handler):
        faults = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    faults: FaultyProxy

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()  # S3's client waits a second for it
        return going_on

    def _pass_on(self) -> None:
        body = self._body()
        self.faults.seen.append(self.headers)
        if scripted := self.faults.script(self.command, self.path, self.headers):
            self._answer(*scripted)
            return
        fault = self.faults.choose(self.requestline)
        if isinstance(fault, int):
            self._answer(fault, [("Content-Type", "application/json")], b'{"error": {"message": "injected"}}')
            return
        if fault == "reset before":
            self._reset()
            return
        place = urlsplit(self.faults.target)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=30)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP and k not in self.faults.ignored}
        connection.request(self.command, self.path, body, kept)
        response = connection.getresponse()
        content = response.read()
        headers = [
            (name, value.replace(self.faults.target, self.faults.address))
            for name, value in response.getheaders()
            if name.lower() not in _HOP_BY_HOP or (self.command == "HEAD" and name.lower() == "content-length")
        ]
        connection.close()
        if fault == "reset after":
            self._reset()
        else:
            self._answer(response.status, headers, content, cut=fault == "reset within")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204 and self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        """Break the connection with RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the connection was broken, on purpose
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _pass_on
