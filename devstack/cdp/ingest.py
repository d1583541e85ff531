"""The ingestion paths: from a request's bytes to a committed ledger and an answer, or to the fault that is due."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
import zlib
from dataclasses import dataclass
from email.utils import formatdate

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devstack.cdp.dialects import Dialect, Judged, RefusedError, judge
from devstack.cdp.ledger import Request, now_us
from devstack.cdp.state import State

_GZIP = 16 + zlib.MAX_WBITS
_WRONG_BODY = "<html><body><h1>Welcome</h1>A proxy answered instead of the endpoint.</body></html>"
_NO_LINGER = struct.pack("ii", 1, 0)  # closing discards what is not sent and sends RST
_MESSAGES = {400: "Bad Request", 413: "Payload Too Large", 429: "Too Many Requests", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Answer:
    """What is sent back; where there is None instead of one, the connection is reset."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    retry_after: str | None = None


@dataclass(frozen=True)
class Ingest:
    """An ASGI application: one ingestion path. call: ``batch`` or an event type."""

    state: State
    dialect: Dialect
    call: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope)
        plan = self.state.faults.plan
        idempotency_key = headers.get("idempotency-key")
        request = Request(time_us=now_us(), source=None, path=scope["path"], idempotency_key=idempotency_key)
        if plan.down == "refuse":
            request.fault = "down"
            self._record(request)
            await reset(scope, receive)
            return
        body = await _body(receive, self.dialect.batch_bytes)
        if body is None:  # the client went away
            return
        request.wire_bytes = body.size
        answer = self._answer(request, headers, body)
        if request.fault == "slow":
            await asyncio.sleep(plan.slow_s)
        if answer is None:
            await reset(scope, receive)
            return
        extra = {"Retry-After": answer.retry_after} if answer.retry_after is not None else {}
        await Response(answer.body, answer.status, extra, media_type=answer.content_type)(scope, receive, send)

    def _answer(self, request: Request, headers: Headers, body: _Body) -> Answer | None:
        """Decide, commit, answer; the request's row is committed in every case."""
        faults = self.state.faults
        judged = None
        if faults.plan.down:
            request.fault = "down"
            answer: Answer | None = Answer(503)
        elif (source := self.state.authorised(headers.get("authorization"))) is None:
            answer = Answer(401, *self.dialect.error("Invalid Write Key"))
        else:
            request.source = source
            wait_s = faults.over_limit(time.monotonic())
            request.fault = "rate_limit" if wait_s is not None else faults.next()
            answer = self._injected(request.fault, wait_s)
            if answer is None and request.fault != "reset_before":
                answer, judged = self._judged(request, headers.get("content-encoding"), body)
        if request.fault in ("reset_before", "reset_after"):
            answer = None
        request.status = answer.status if answer else None
        request.retry_after = answer.retry_after if answer else None
        self._record(request, judged)
        return answer

    def _record(self, request: Request, judged: Judged | None = None) -> None:
        self.state.ledger.record(request, judged.events if judged else ())
        self.state.counters.add(request)

    def _injected(self, fault: str | None, wait_s: int | None) -> Answer | None:
        """The answer of a fault that keeps the events out; None for others."""
        retry_after_s = self.state.faults.plan.retry_after_s
        match fault:
            case "rate_limit":
                return Answer(429, *self.dialect.error("Max Requests Limit reached"), retry_after=str(wait_s))
            case "429_seconds":
                return Answer(429, *self.dialect.error("Max Requests Limit reached"), retry_after=str(retry_after_s))
            case "429_date":  # whole seconds, so rounded up: never earlier than promised
                date = formatdate(math.ceil(time.time() + retry_after_s), usegmt=True)
                return Answer(429, *self.dialect.error("Max Requests Limit reached"), retry_after=date)
            case "503" | "500":
                return Answer(int(fault), *self.dialect.error("injected"))
            case _:
                return None

    def _judged(self, request: Request, encoding: str | None, body: _Body) -> tuple[Answer, Judged | None]:
        """By the dialect's rules."""
        try:
            content = _decoded(body, encoding, self.dialect.request_bytes(self.call))
            request.json_bytes = len(content)
            plan = self.state.faults.plan
            if plan.poison and plan.poison.encode() in content:
                request.fault = "poison"
                return Answer(plan.poison_status, *self.dialect.error("injected")), None
            judged = judge(self.dialect, self.call, content)
        except RefusedError as refused:
            return Answer(refused.status, *self.dialect.error(refused.message)), None
        request.events = judged.total
        request.dropped = sum(judged.dropped.values())
        if request.fault == "partial" and judged.events:
            return self._partial(request, judged), judged
        if request.fault == "wrong_body":
            return Answer(200, _WRONG_BODY.encode(), "text/html; charset=utf-8"), judged
        return Answer(200, self.dialect.success, self.dialect.success_type), judged

    def _partial(self, request: Request, judged: Judged) -> Answer:
        """207, with the events that it names taken out of what is committed."""
        rejected = self.state.faults.rejected([event.user for event in judged.events])
        errors = [
            {
                "messageId": judged.events[place].message_id,
                "index": judged.indexes[place],
                "status": status,
                "message": _MESSAGES[status],
            }
            for place, status in rejected.items()
        ]
        judged.events = [event for place, event in enumerate(judged.events) if place not in rejected]
        request.rejected = len(errors)
        return Answer(207, msgspec.json.encode({"success": False, "errors": errors}))


@dataclass(frozen=True)
class _Body:
    """size: of all of it; content: empty if that is above what is kept."""

    content: bytes
    size: int


async def _body(receive: Receive, limit: int) -> _Body | None:
    """A request's body as it came; what goes beyond the limit is read and not kept. None if the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= limit + 1:
            parts.append(part)
        if not message.get("more_body"):
            return _Body(b"".join(parts), size)


def _decoded(body: _Body, encoding: str | None, limit: int) -> bytes:
    """A body's JSON.

    Raises:
        RefusedError: above the limit, not gzip though it says so, or another encoding.
    """
    content = body.content
    if body.size == len(content):
        if encoding == "gzip":
            content = _gunzip(content, limit)
        elif encoding not in (None, "", "identity"):
            raise RefusedError(400, f"Content-Encoding {encoding} is not supported; send gzip or none")
    if body.size > len(body.content) or len(content) > limit:
        raise RefusedError(413, f"Request size exceeds max limit of {limit} bytes")
    return content


def _gunzip(content: bytes, limit: int) -> bytes:
    """All members of a gzip stream, but not much more than the limit."""
    out = bytearray()
    while content and len(out) <= limit:
        inflate = zlib.decompressobj(_GZIP)
        try:
            out += inflate.decompress(content, limit + 1 - len(out))
        except zlib.error:
            raise RefusedError(400, "Invalid gzip") from None
        if not inflate.eof and len(out) <= limit:
            raise RefusedError(400, "Invalid gzip: it ends early")
        content = inflate.unused_data
    return bytes(out)


async def reset(scope: Scope, receive: Receive) -> None:
    """Reset the TCP connection of a request, and wait until the server has seen it go."""
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
