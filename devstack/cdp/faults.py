"""Faults on demand: which request meets which, by a seeded share or a script, and a limit of requests per second."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

Kind = Literal["429_seconds", "429_date", "503", "500", "slow", "reset_before", "reset_after", "wrong_body", "partial"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Step = Literal["ok", "429_seconds", "429_date", "503", "500", "slow", "reset_before", "reset_after", "wrong_body", "partial"]
PoisonStatus = Literal[400, 401, 403, 404, 413, 500, 502, 503]
EventStatus = Literal[400, 413, 429, 503]
WINDOW_S = 1.0
_AGAIN = (429, 503)


class FaultPlan(Struct, forbid_unknown_fields=True, kw_only=True):
    """What ``PUT /_control/faults`` takes.

    share: of the requests meet a fault, chosen among ``kinds`` with ``seed``. script: one step per request, before the share
    counts. retry_after_s: of the 429s. slow_s: until a slow answer. down: true answers every request with 503 and no body,
    ``refuse`` resets its connection. rate_limit_per_s: requests in any second; above it 429. partial_share: of a request's events
    that a 207 names, at least one; partial_statuses: what it says of them, chosen with ``seed``.
    poison: a request whose JSON has this text anywhere, as JSON writes it (a NUL: backslash and u0000), is answered with
    poison_status and not kept, where no other fault comes first; empty: none is.
    """

    share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: int = 0
    kinds: Annotated[Sequence[Kind], Meta(min_length=1)] = KINDS
    retry_after_s: Annotated[int, Meta(ge=0)] = 1
    slow_s: Annotated[float, Meta(ge=0)] = 0.5
    script: Sequence[Step] = ()
    down: bool | Literal["refuse"] = False
    rate_limit_per_s: Annotated[int, Meta(ge=1)] | None = None
    partial_share: Annotated[float, Meta(ge=0, le=1)] = 0.1
    partial_statuses: Annotated[Sequence[EventStatus], Meta(min_length=1)] = (400, 413, 429, 503)
    poison: str = ""
    poison_status: PoisonStatus = 500


class Faults:
    """The plan in force, and how far it is."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self.plan = plan or FaultPlan()
        self._rng = Random(self.plan.seed)
        self._script = deque(self.plan.script)
        self._served: deque[float] = deque()

    @property
    def script_left(self) -> int:
        """Steps of the script that no request has met yet."""
        return len(self._script)

    @property
    def in_force(self) -> bool:
        """Whether any request may still meet a fault."""
        plan = self.plan
        return bool(self._script or plan.share or plan.down or plan.rate_limit_per_s or plan.poison)

    def next(self) -> Kind | None:
        """What this request meets."""
        if self._script:
            step = self._script.popleft()
            return None if step == "ok" else step
        if self._rng.random() < self.plan.share:
            return self._rng.choice(self.plan.kinds)
        return None

    def over_limit(self, now_s: float) -> int | None:
        """Seconds to wait if this request is above the rate limit; None if it may pass, and then it counts.

        Args:
            now_s: of a clock that only goes forward.
        """
        if self.plan.rate_limit_per_s is None:
            return None
        while self._served and self._served[0] <= now_s - WINDOW_S:
            self._served.popleft()
        if len(self._served) >= self.plan.rate_limit_per_s:
            return max(1, math.ceil(self._served[0] + WINDOW_S - now_s))
        self._served.append(now_s)
        return None

    def rejected(self, users: Sequence[str | None]) -> dict[int, EventStatus]:
        """Of a request with a partial failure: the events that fail, by index, and the status of each.

        An event that may come again (429, 503) fails with all later ones of its user, as products do that throttle by user: a
        destination that took them before it could not promise any order.

        Args:
            users: whose each event is.
        """
        plan, rng = self.plan, self._rng
        chosen = {index for index in range(len(users)) if rng.random() < plan.partial_share} or {rng.randrange(len(users))}
        found: dict[int, EventStatus] = {}
        throttled: dict[str, EventStatus] = {}
        for index, user in enumerate(users):
            if user in throttled:
                found[index] = throttled[user]
            elif index in chosen:
                found[index] = status = rng.choice(plan.partial_statuses)
                if user is not None and status in _AGAIN:
                    throttled[user] = status
        return found
