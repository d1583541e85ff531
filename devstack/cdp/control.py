"""Changing what the endpoint does and holds: faults, and rows of the ledger. Under ``/_control``, for anyone on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response

from devstack.cdp.counters import Counters
from devstack.cdp.dialects import received, user_of
from devstack.cdp.faults import FaultPlan, Faults
from devstack.cdp.reads import json_response
from devstack.cdp.state import State

_BODY_BYTES = 1 << 20
_WRONG = (msgspec.DecodeError, RecursionError, ValueError)


class Change(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A row to add or to alter. event: None removes it. write_key: a key's name; None takes the first."""

    message_id: str = msgspec.field(name="messageId")
    event: dict[str, Any] | None = None
    write_key: str | None = None


async def _body(request: HttpRequest) -> bytes:
    """A request's body.

    Raises:
        ValueError: it is longer than any that is meant.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _BODY_BYTES:
            raise ValueError(f"more than {_BODY_BYTES:,} bytes")
    return bytes(body)


@dataclass(frozen=True)
class Control:
    """The changing paths."""

    state: State

    async def faults(self, request: HttpRequest) -> Response:
        """``GET``, ``PUT`` (replaces the plan as a whole) and ``DELETE /_control/faults``."""
        if request.method == "PUT":
            try:
                self.state.faults = Faults(msgspec.json.decode(await _body(request), type=FaultPlan))
            except _WRONG as wrong:
                return PlainTextResponse(f"faults: {wrong}\n", 400)
        elif request.method == "DELETE":
            self.state.faults = Faults()
        return json_response({**msgspec.to_builtins(self.state.faults.plan), "script_left": self.state.faults.script_left})

    async def clear(self, request: HttpRequest) -> Response:
        """``DELETE /_control/ledger``: events, requests and counters."""
        self.state.ledger.clear()
        self.state.counters = Counters()
        return Response(status_code=204)

    async def change(self, request: HttpRequest) -> Response:
        """``POST`` adds a row, ``PATCH /_control/ledger`` alters or removes one: no request, no counter."""
        try:
            change = msgspec.json.decode(await _body(request), type=Change)
        except _WRONG as wrong:
            return PlainTextResponse(f"ledger: {wrong}\n", 400)
        names = list(self.state.write_keys.values())
        write_key = names[0] if change.write_key is None else change.write_key
        if write_key not in names:
            return PlainTextResponse(f"write_key: there are {', '.join(names)}\n", 400)
        there = self.state.ledger.has(write_key, change.message_id)
        if there != (request.method == "PATCH"):
            return PlainTextResponse(f"{change.message_id} is {'there already' if there else 'not there'}\n", 409 if there else 404)
        if change.event is not None:
            event = {**change.event, "messageId": change.message_id}
            self.state.ledger.put(write_key, received(event, user_of(event)))
        elif there:
            self.state.ledger.remove(write_key, change.message_id)
        else:
            return PlainTextResponse("event: expected the event to add\n", 400)
        return Response(status_code=204)
