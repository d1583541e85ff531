"""One lane: rows of some users in order, sent one request at a time, each answer followed by its receipts."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from contracts.encode.events import FILTERED, event_digest
from contracts.units import SECOND_US
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import BEFORE, DELIVERED, REFUSED, WITHHELD, Counts, DeliveredReceipts, LaneReceipts, Receipt
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.http.wire import BatchLimits, Outgoing, Result
from transforms.deliver.items import EVENT_OVERHEAD_BYTES, MALFORMED, Item

_AHEAD = 200  # events behind a batch that may tell whose fault a failure is


@dataclass
class Lane:
    """What waits in a lane. For one thread; ``send`` may run in another meanwhile, with items of its own.

    next: the first place without a receipt. read_to: the place to read on from. ended: nothing more will come. sending: what was
    taken and not given back yet.
    """

    id: LaneId
    next: int
    receipts: LaneReceipts
    read_to: int = -1
    ended: bool = False
    waiting: deque[Item] = field(default_factory=deque)
    sending: Sequence[Item] = ()
    waiting_bytes: int = 0
    since_s: float | None = None  # since when those that wait could have been sent, monotonic

    def __post_init__(self) -> None:
        self._taken_since_s: float | None = None
        self._waiting_events = self._waiting_json_bytes = 0  # of those that are to be sent
        self._covered = deque((a, b) for a, b in self.receipts.covered() if b > self.next)
        self.read_to = self.next
        self._pass_covered()

    def add(self, items: Iterable[Item], read_to: int, ended: bool) -> None:
        """Rows that were read, up to a place; those with a receipt are passed over."""
        fresh = list(self._uncovered(items) if self._covered else items)
        self.waiting.extend(fresh)
        self._weigh(fresh, 1)
        self.read_to, self.ended = read_to, ended
        self._pass_covered()
        if self.waiting and self.since_s is None:
            self.since_s = time.monotonic()

    def _uncovered(self, items: Iterable[Item]) -> Iterator[Item]:
        ranges = iter(self._covered)
        covered = next(ranges, None)
        for item in items:
            while covered and covered[1] <= item.offset:
                covered = next(ranges, None)
            if not covered or item.offset < covered[0]:
                yield item

    def take(self) -> tuple[list[Item], int]:
        """All that waits up to the next place with a receipt, and the place behind it, to be given to ``send``."""
        read_to = self.read_to
        if self._covered and self._covered[0][0] < read_to:  # a receipt says nothing of places that have another
            read_to = self._covered[0][0]
        items = []
        if self.waiting and self.waiting[-1].offset < read_to:
            items = list(self.waiting)
            self.waiting.clear()
            self.waiting_bytes = self._waiting_events = self._waiting_json_bytes = 0
        elif self.waiting:
            while self.waiting[0].offset < read_to:
                items.append(self.waiting.popleft())
            self._weigh(items, -1)
        self.sending, self._taken_since_s = items, self.since_s
        if not self.waiting:
            self.since_s = None
        return items, read_to

    def give_back(self, rest: Sequence[Item], sent_to: int) -> None:
        """What ``send`` left, and up to where it came."""
        if rest:
            self.waiting.extendleft(reversed(rest))
            self._weigh(rest, 1)
            self.since_s = self._taken_since_s if len(rest) == len(self.sending) else time.monotonic()
        self.next, self.sending = max(self.next, sent_to), ()
        self._pass_covered()

    def _weigh(self, items: Sequence[Item], sign: int) -> None:
        """They come to those that wait, or they go."""
        sizes = [len(item.event) for item in items if item.event is not None]
        self._waiting_events += sign * len(sizes)
        self._waiting_json_bytes += sign * sum(sizes)
        self.waiting_bytes += sign * (EVENT_OVERHEAD_BYTES * len(items) + sum(sizes))

    def _pass_covered(self) -> None:
        """Move on over places that have receipts, or no rows, where nothing before them is unsettled."""
        oldest = self.sending or self.waiting
        if not oldest:
            self.next = max(self.next, self.read_to)
        until = oldest[0].offset if oldest else self.next
        while self._covered and self._covered[0][0] <= until:
            self.next = max(self.next, self._covered.popleft()[1])
            until = max(until, self.next)
        self.read_to = max(self.read_to, self.next)  # rows in between are forgotten to have receipts; nobody is to read them

    def fills(self, limits: BatchLimits) -> bool:
        """Whether there is more than one request takes."""
        return self._waiting_events > limits.events or self._waiting_json_bytes > limits.size_bytes

    @property
    def unsettled(self) -> int:
        """Rows that wait or are under way; those of requests that were answered count until what was taken is given back."""
        return len(self.sending) + len(self.waiting)

    @property
    def oldest_waiting_us(self) -> int | None:
        """When the oldest of them came to the lane's source."""
        oldest = self.sending or self.waiting
        return oldest[0].waiting_since_us if oldest else None


@dataclass(frozen=True)
class Sent:
    """What ``send_items`` did. rest: not settled, in order; sent_to: the place that is reached; counts: of what was settled."""

    rest: list[Item]
    sent_to: int
    counts: Counts
    bytes_sent: int


def send_items(
    items: Sequence[Item],
    *,
    start: int,
    end: int,
    flush: bool,
    sink: HttpSink,
    receipts: LaneReceipts,
    until_s: float,
    clock: Callable[[], float] = time.time,
) -> Sent:
    """Send rows of a lane, batch by batch, with a receipt after each answer.

    Args:
        items: in order.
        start: the lane's first place without a receipt.
        end: the place behind the items.
        flush: also send a batch that is not full.
        sink: where to.
        receipts: of the lane.
        until_s: when to give back what is not settled, monotonic.
        clock: seconds since 1970.
    """
    counts: Counts = Counter()
    at = bytes_sent = 0
    for first, following, batch, ahead in _stretches(items, sink, flush):
        results = sink.send(batch, until_s, ahead) if batch else []
        settled, others = _settled(items[first:following], results, int(clock() * SECOND_US))
        at += len(settled) + others.total()
        bytes_sent += sum([len(event.body) for event, result in zip(batch, results, strict=True) if result])
        reached = items[at].offset if at < len(items) else end
        counts += receipts.write(start, reached, settled, others)
        start = reached
        if at < following:
            break
    return Sent(list(items[at:]), start, counts, bytes_sent)


def _stretches(items: Sequence[Item], sink: HttpSink, flush: bool) -> Iterator[tuple[int, int, list[Outgoing], Sequence[Outgoing]]]:
    """Items [first, following) that are settled together, the batch that is sent of them, and some of what comes next."""
    outgoing = [Outgoing(item.event_id, item.event, item.user) for item in items if item.event is not None]
    sent: Sequence[int] = range(len(items))
    if len(outgoing) < len(items):
        sent = [i for i, item in enumerate(items) if item.event is not None]
    batches = [list(batch) for batch in sink.cut(outgoing)]
    if not flush and batches:
        batches.pop()  # may grow
    first = number = 0
    for batch in batches:
        number += len(batch)
        following = sent[number] if number < len(sent) else len(items)
        yield first, following, batch, outgoing[number : number + _AHEAD]
        first = following
    if flush and first < len(items):
        yield first, len(items), [], ()


def _settled(
    items: Sequence[Item], results: Sequence[Result | None], now_us: int
) -> tuple[list[Receipt] | DeliveredReceipts, Counts]:
    """Receipts of rows up to the first that is not settled, and how many of them are only counted.

    Args:
        items: in order.
        results: of those that were sent.
        now_us: when.
    """
    result = results[0] if results else None
    if result and result.delivered and results.count(result) == len(items):  # as nearly always: all of them, alike
        offsets, ids, times, _, events, *_ = zip(*items, strict=True)
        return DeliveredReceipts(offsets, ids, times, result.status, list(map(event_digest, events)), now_us), Counter()
    receipts: list[Receipt] = []
    others: Counts = Counter()
    of_sent = iter(results)
    for item in items:
        if item.event is None and item.reason in (FILTERED, BEFORE):
            others[item.reason] += 1
            continue
        result = None if item.event is None else next(of_sent)
        if item.event is not None and result is None:
            break
        receipts.append(_receipt(item, result, now_us))
    return receipts, others


def _receipt(item: Item, result: Result | None, now_us: int) -> Receipt:
    place = item.offset, item.event_id, item.window_time_us
    if result is None:
        if item.reason == MALFORMED:
            return Receipt(*place, REFUSED, MALFORMED, None, None, None, now_us)
        return Receipt(*place, WITHHELD, item.reason, None, None, None, now_us)
    assert item.event is not None
    digest = event_digest(item.event)
    if result.delivered:
        return Receipt(*place, DELIVERED, None, result.status, digest, None, now_us)
    return Receipt(*place, REFUSED, result.reason, result.status, digest, item.event, now_us)
