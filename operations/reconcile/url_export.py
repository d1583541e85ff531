"""The export URL of a destination, page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import httpx
import msgspec
import numpy as np

from contracts.bounded_http import BoundedTransport, TooLargeError, read_bounded
from contracts.errors import ComponentDownError, ConfigurationError
from contracts.spec.destination import Destination
from contracts.units import HOUR_US, us_text
from operations.reconcile.export import Exported, Fields
from operations.reconcile.rows import Ints
from transforms.deliver.http.client import Answer, Fate, asked_wait_s, failure_of, fate_of
from transforms.deliver.http.dialects import dialect_of
from transforms.deliver.http.pacing import backoff_s

_PAGE_ROWS = 5_000
_MOST_SPANS = 50  # requests for as many stretches of time; more are read in one with what lies between
_MOST_PAGE_BYTES = 256 << 20
_Span = tuple[int, int]


def spans_of(start_us: int, end_us: int, hours: Ints, margin_us: int) -> list[_Span]:
    """The stretches of time to be read: the range and these hours, with a margin around each; disjoint, in order."""
    edges = [(start_us, end_us), *((hour * HOUR_US, (hour + 1) * HOUR_US) for hour in hours.tolist())]
    spans: list[_Span] = []
    for low, high in sorted((low - margin_us, high + margin_us) for low, high in edges):
        if spans and low <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], high)
        else:
            spans.append((low, high))
    while len(spans) > _MOST_SPANS:
        at = int(np.argmin([after[0] - before[1] for before, after in pairwise(spans)]))
        spans[at : at + 2] = [(spans[at][0], spans[at + 1][1])]
    return spans


class UrlExport:
    """The export URL of a destination: ``GET URL?start&end&cursor``, JSON lines, ``X-Next-Cursor`` while there are more.

    start (included) and end (not included) are of the events' own time, RFC 3339. The write key is the user of HTTP's Basic scheme.

    Args:
        destination: whose.
        fields: of its records.
        spans: disjoint stretches of time; None for everything.
        transport: what carries the requests; None: sockets.
    """

    def __init__(
        self,
        destination: Destination,
        fields: Fields,
        spans: Sequence[_Span] | None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert destination.export is not None
        self._name, self._limits, self._fields, self._spans = destination.name, destination.limits, fields, spans
        self._url, self._sleep, self._transport = httpx.URL(destination.export), sleep, transport
        self._headers = dialect_of(destination.type).headers(destination.write_key.read())
        self.origin = destination.export_shown.partition("?")[0]
        self.as_of_us = time.time_ns() // 1_000

    def pages(self) -> Iterator[list[Exported]]:
        """See Export."""
        headers = {**self._headers, "Accept-Encoding": "gzip"}
        transport = self._transport or BoundedTransport(self._url, timeout_s=self._limits.timeout_s, connections=1)
        with httpx.Client(headers=headers, transport=transport) as http:
            for span in [None] if self._spans is None else self._spans:
                yield from self._span(http, span)

    def _span(self, http: httpx.Client, span: _Span | None) -> Iterator[list[Exported]]:
        asked: dict[str, str] = {"limit": str(_PAGE_ROWS)}
        if span is not None:
            asked |= {"start": us_text(span[0], "microseconds"), "end": us_text(span[1], "microseconds")}
        met: set[str] = set()
        while True:
            body, cursor = self._page(http, self._url.copy_merge_params(asked))
            yield self._records(body)
            if cursor is None:
                return
            if cursor in met:
                raise ComponentDownError(f"{self._where}: its cursor {cursor!r} comes again and again, so it has no end")
            met.add(cursor)
            asked["cursor"] = cursor

    @property
    def _where(self) -> str:
        return f"export of {self._name} ({self.origin})"

    def _records(self, body: bytes) -> list[Exported]:
        try:
            return [self._fields.exported(line) for line in body.split(b"\n") if line.strip()]
        except (ValueError, msgspec.MsgspecError):
            raise ConfigurationError(
                f"{self._where}: expected JSON lines with {self._fields.event_id}; is the URL right, or --id-field?"
            ) from None

    def _page(self, http: httpx.Client, url: httpx.URL) -> tuple[bytes, str | None]:
        """One page and the next cursor; asked for again while that may help, for ``patience_s``."""
        until_s, attempt = time.monotonic() + self._limits.patience_s, 0
        while True:
            attempt += 1
            answer, cursor, failure = self._get(http, url)
            if answer is not None and answer.status == 200:
                return answer.body, cursor
            if answer is not None:
                failure = failure_of(answer.status)
                self._refuse(answer)
            left_s = until_s - time.monotonic()
            asked_s = asked_wait_s(answer, time.time()) if answer else None
            wait_s = asked_s or min(backoff_s(attempt), max(left_s, 0.0))  # a last time when patience ends, whatever the backoff
            if left_s <= 0 or wait_s > left_s:
                raise ComponentDownError(
                    f"{self._where}: no answer for {self._limits.patience_s:g} s ({failure}); is it up, and export: right?"
                )
            self._sleep(wait_s)

    def _get(self, http: httpx.Client, url: httpx.URL) -> tuple[Answer | None, str | None, str]:
        try:
            with http.stream("GET", url) as response:
                body = read_bounded(response, _MOST_PAGE_BYTES)
                get = response.headers.get
                return Answer(response.status_code, body, get("Retry-After"), get("Date")), get("X-Next-Cursor"), ""
        except TooLargeError:
            raise ConfigurationError(f"{self._where}: a page has more than {_MOST_PAGE_BYTES >> 20} MiB") from None
        except httpx.RequestError as error:
            return None, None, type(error).__name__

    def _refuse(self, answer: Answer) -> None:
        """What no second attempt would change."""
        if answer.status in (401, 403):
            raise ConfigurationError(f"{self._where}: it does not take the write key (HTTP {answer.status}); check credentials:")
        if fate_of(answer.status) not in (Fate.RETRY, Fate.THROTTLED):
            raise ConfigurationError(f"{self._where}: HTTP {answer.status}; check export:, or give files with --export")
