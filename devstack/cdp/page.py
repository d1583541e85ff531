"""The page at ``/``: what arrives, without a script or anything from elsewhere; it loads itself again every two seconds."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response

from contracts.text import printable
from devstack.cdp.faults import FaultPlan, Faults
from devstack.cdp.ledger import Request, Row, iso, now_us
from devstack.cdp.state import State

_REQUESTS, _EVENTS = 15, 15
_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d9dde3, #3a3f47); --soft: light-dark(#5b6470, #9aa4b1);
  --bad: light-dark(#b3261e, #ff8a80); }
body { font: 14px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 1.5rem auto; padding: 0 1rem;
  background: light-dark(#fff, #16181c); color: light-dark(#1b1f24, #e6e9ee); }
h1 { font-size: 1.15rem; } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
dl { display: flex; flex-wrap: wrap; gap: .8rem 2.2rem; margin: 0; } dt { color: var(--soft); font-size: .85em; }
dd { margin: 0; font-size: 1.3em; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; max-width: 22rem; } th { color: var(--soft); font-weight: 500; }
.n { text-align: right; } .bad { color: var(--bad); } .soft { color: var(--soft); } div { overflow-x: auto; } a { color: inherit; }
"""


@dataclass(frozen=True)
class Page:
    """The page."""

    state: State

    async def get(self, request: HttpRequest) -> Response:
        """``GET /``; users are shown with ``?users=show``."""
        state, users = self.state, request.query_params.get("users") == "show"
        body = "".join(
            (
                f"<h1>CDP endpoint <span class=soft>{escape(request.url.netloc)}</span></h1>",
                _totals(state),
                f"<h2>Faults</h2><p{' class=bad' if state.faults.in_force else ''}>{escape(_faults(state.faults))}</p>",
                _requests(request for _, request in state.ledger.newest_requests(_REQUESTS)),
                _events(state.ledger.newest(_EVENTS), users),
            )
        )
        head = "<meta charset=utf-8><meta http-equiv=refresh content=2><meta name=viewport content='width=device-width'>"
        page = f"<!doctype html><html lang=en><head>{head}<title>CDP endpoint</title><style>{_STYLE}</style></head><body>{body}"
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})


def escape(text: str) -> str:
    """Text of a stranger as HTML."""
    return html.escape(printable(text))


def _totals(state: State) -> str:
    requests_per_s, events_per_s = state.counters.rate(now_us())
    totals = state.counters.totals
    cells = {
        "requests/s": f"{requests_per_s:,.1f}",
        "events/s": f"{events_per_s:,.0f}",
        "events": f"{totals['events_accepted']:,}",
        **{name: f"{totals[name]:,}" for name in ("repeats", "rejected", "dropped", "requests", "unauthorised")},
        "most requests in 1 s": f"{state.counters.max_requests_per_s:,}",
        "by status": ", ".join(f"{status} × {count:,}" for status, count in sorted(state.counters.by_status.items())) or "–",
    }
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{escape(value)}</dd></div>' for name, value in cells.items())}</dl>"


def _faults(faults: Faults) -> str:
    if not faults.in_force:
        return "none"
    plan, usual = msgspec.to_builtins(faults.plan), msgspec.to_builtins(FaultPlan())
    given = [f"{name} {_plain(value)}" for name, value in plan.items() if value != usual[name] and name != "script"]
    return "; ".join(
        [*given, *([f"{faults.script_left} of {len(plan['script'])} steps of a script left"] if plan["script"] else [])]
    )


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _requests(requests: Iterable[Request]) -> str:
    names = ("time", "path", "key", "status", "fault", "events", "new", "repeats", "rejected", "dropped", "bytes", "JSON bytes")
    rows = [
        (
            f"<td>{iso(r.time_us)[11:]}<td>{escape(r.path)}<td>{escape(r.source or '–')}"
            f"<td{'' if r.status in (200, None) and r.status else ' class=bad'}>{r.status or 'reset'}<td>{escape(r.fault or '')}"
            + "".join(
                f"<td class=n>{n:,}" for n in (r.events, r.accepted, r.repeats, r.rejected, r.dropped, r.wire_bytes, r.json_bytes)
            )
        )
        for r in requests
    ]
    return _table("Last requests", names, rows, numbers_from=5)


def _events(events: Iterable[Row], users: bool) -> str:
    toggle = "<a href='/'>hide users</a>" if users else "<a href='/?users=show'>show users</a>"
    names = ("seq", "received", "type", "event", "user", "timestamp", "times")
    rows = []
    for row in events:
        name = msgspec.json.decode(row.payload).get("event")
        user = escape(row.user or "–") if users else "<span class=soft>hidden</span>"
        cells = (
            str(row.seq),
            iso(row.received_us)[11:],
            escape(row.type or "–"),
            escape(name if isinstance(name, str) else ""),
            user,
        )
        rows.append("".join(f"<td>{cell}" for cell in (*cells, escape(row.timestamp or "–"))) + f"<td class=n>{row.times:,}")
    return _table(f"Last events <small>{toggle}</small>", names, rows, numbers_from=6)


def _table(title: str, names: Iterable[str], rows: list[str], *, numbers_from: int) -> str:
    head = "".join(f"<th{' class=n' if place >= numbers_from else ''}>{name}" for place, name in enumerate(names))
    body = "".join(f"<tr>{row}" for row in rows) or "<tr><td class=soft>none yet"
    return f"<h2>{title}</h2><div><table><tr>{head}{body}</table></div>"
