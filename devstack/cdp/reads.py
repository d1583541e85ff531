"""Reading the ledger: under ``/_control`` for anyone on this machine; by write key at ``/v1/export``, as a destination's export."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response

from devstack.cdp.dialects import micros
from devstack.cdp.ledger import Request, Row, iso
from devstack.cdp.state import State

T = TypeVar("T")
_PAGE, _PAGE_MOST = 1_000, 10_000
_DIGITS = 18  # what SQLite holds
_NDJSON = "application/x-ndjson"


class BadQueryError(Exception):
    """A parameter that cannot be; the message says which."""


@dataclass(frozen=True)
class Reads:
    """The reading paths."""

    state: State

    async def counters(self, request: HttpRequest) -> Response:
        """``GET /_control/counters``."""
        return json_response(self.state.counters.document())

    async def ledger(self, request: HttpRequest) -> Response:
        """``GET /_control/ledger?after=SEQ&limit=N[&write_key=][&start=ISO&end=ISO]``: NDJSON."""
        try:
            write_key = self._write_key(request)
            rows = self.state.ledger.rows(
                after=_number(request, "after", 0),
                limit=min(_number(request, "limit", _PAGE), _PAGE_MOST),
                write_key=write_key,
                start_us=_time(request, "start"),
                end_us=_time(request, "end"),
            )
        except BadQueryError as bad:
            return PlainTextResponse(f"{bad}\n", 400)
        return _ndjson(rows, document)

    async def requests(self, request: HttpRequest) -> Response:
        """``GET /_control/requests?after=SEQ&limit=N``: NDJSON, with what each was answered."""
        try:
            after, limit = _number(request, "after", 0), min(_number(request, "limit", _PAGE), _PAGE_MOST)
        except BadQueryError as bad:
            return PlainTextResponse(f"{bad}\n", 400)
        return _ndjson(self.state.ledger.requests(after=after, limit=limit), _request_document)

    async def order(self, request: HttpRequest) -> Response:
        """``GET /_control/order?user=``: a list of that user's events in the order of their first arrival."""
        user = request.query_params.get("user")
        if not user:
            return PlainTextResponse("user: expected a user id or an anonymous id\n", 400)
        return json_response(
            [{"seq": row.seq, "messageId": row.message_id, "times": row.times} for row in self.state.ledger.order(user)]
        )

    async def export(self, request: HttpRequest) -> Response:
        """``GET /v1/export?start=ISO&end=ISO&cursor=N``: a page of NDJSON; ``X-Next-Cursor`` while there are more."""
        plan = self.state.faults.plan
        if plan.down:
            return Response(status_code=503)
        name = self.state.authorised(request.headers.get("authorization"))
        if name is None:
            return PlainTextResponse("Invalid Write Key\n", 401)
        try:
            limit = min(_number(request, "limit", _PAGE), _PAGE_MOST)
            start_us, end_us, after = _time(request, "start"), _time(request, "end"), _number(request, "cursor", 0)
        except BadQueryError as bad:
            return PlainTextResponse(f"{bad}\n", 400)
        rows = self.state.ledger.rows(after=after, limit=limit + 1, write_key=name, start_us=start_us, end_us=end_us)
        page = rows[:limit]
        response = _ndjson(page, lambda row: {"messageId": row.message_id, "event": msgspec.Raw(row.payload)})
        if len(rows) > limit:
            response.headers["X-Next-Cursor"] = str(page[-1].seq)
        return response

    def _write_key(self, request: HttpRequest) -> str | None:
        given = request.query_params.get("write_key")
        if given is None:
            return None
        if given in self.state.write_keys.values():
            return given
        if given not in self.state.write_keys:
            raise BadQueryError("write_key: no such key; give a write key or the name of one")
        return self.state.write_keys[given]


def document(row: Row) -> dict[str, object]:
    """A ledger row as it is read."""
    return {
        "seq": row.seq,
        "messageId": row.message_id,
        "user": row.user,
        "type": row.type,
        "timestamp": row.timestamp,
        "receivedAt": iso(row.received_us),
        "times": row.times,
        "writeKey": row.write_key,
        "event": msgspec.Raw(row.payload),
    }


def _request_document(numbered: tuple[int, Request]) -> dict[str, object]:
    seq, request = numbered
    found = msgspec.structs.asdict(request)
    return {"seq": seq, "time": iso(found.pop("time_us")), "write_key": found.pop("source"), **found}


def json_response(content: object, status: int = 200) -> Response:
    """Any JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _ndjson(rows: Iterable[T], form: Callable[[T], object]) -> Response:
    return Response(b"".join(msgspec.json.encode(form(row)) + b"\n" for row in rows), media_type=_NDJSON)


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > _DIGITS:
        raise BadQueryError(f"{name}: expected a number of at most {_DIGITS} digits")
    return int(text)


def _time(request: HttpRequest, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if (found := micros(text.replace(" ", "+"))) is None:  # a plus sign that was not escaped
        raise BadQueryError(f"{name}: expected an RFC 3339 time")
    return found
