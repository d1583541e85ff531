"""What one reader does: it reads its lanes, sends what waits in them, and says how far everything is settled. No Beam in here."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.encode.events import EventEncoder
from contracts.errors import ComponentDownError
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.spec.suppressions import Suppressions
from contracts.units import SECOND_US
from lake.location import Lake
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import DELIVERED, Counts, LaneReceipts
from lake.receipts.state import DOWN, ENDED, ReaderState, write_state
from transforms.deliver.http.sink import HttpSink
from transforms.deliver.lane import Lane, Sent, send_items
from transforms.deliver.letters import settle_letters
from transforms.deliver.source import Lanes
from transforms.readers.progress import END_OF_TIME_US, LaneProgress, ReaderProgress
from transforms.readers.restriction import ReaderName

_LANE_BYTES = 4 << 20  # that may wait in a lane: several requests
_READER_BYTES = 64 << 20
_IDLE_S, _BUSY_S = 0.2, 0.02
_REPORT_EVERY_S = 2.0
_RATE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Everything that workers need to know; travels to them.

    lake: where receipts lie. destination, contract: checked against each other. suppressions: ids that must not leave. run_id:
    names the run. lanes: where rows come from. slice_s: how long a reader works before it makes its progress durable with the
    runner. give_up_s: how long the destination may be down before the run fails; None: for ever.
    """

    lake: Lake
    destination: Destination
    contract: Contract
    suppressions: Suppressions
    run_id: str
    lanes: Lanes
    slice_s: float = 5.0
    give_up_s: float | None = None


class Dispatcher:
    """One reader's work. For one thread.

    Args:
        delivery: what is delivered.
        name: the reader's.
        clock: seconds since 1970.
    """

    def __init__(self, delivery: Delivery, name: ReaderName, clock: Callable[[], float] = time.time) -> None:
        self._delivery, self._name, self._clock = delivery, name, clock
        destination = delivery.destination
        encoder = EventEncoder(destination, delivery.contract, delivery.suppressions)
        self._limits = destination.limits
        self._sink = HttpSink(destination, share=1 / name.readers)
        self._reader = delivery.lanes.open(name, encoder)
        self._pool = ThreadPoolExecutor(max(1, round(self._limits.in_flight / name.readers)), f"deliver-{name.number}")
        self._busy: dict[Future[Sent], Lane] = {}
        self._lanes: dict[LaneId, Lane] = {}
        self._progress: ReaderProgress[LaneProgress] = ReaderProgress(())
        self._started_us = int(clock() * SECOND_US)
        self._counts: Counts = Counter()
        self._recent: deque[tuple[float, int, int]] = deque()
        self._reported_s = float("-inf")
        self._failed_s: float | None = None

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._busy)

    @property
    def down(self) -> bool:
        """Whether the destination is down."""
        return self._sink.state().state == DOWN

    def begin(self, progress: ReaderProgress[Any]) -> None:
        """Go on from this progress; what waits from before stays where it fits."""
        self._progress = progress
        known = self._lanes
        self._lanes = {}
        for p in progress.lanes:
            lane_id = LaneId(*p.id)
            lane = known.get(lane_id)
            if lane is None or lane.next != p.next:  # also where the runner goes on from an older place: receipts say what was done
                lane = Lane(lane_id, p.next, LaneReceipts(self._delivery.lake, self._delivery.destination.name, lane_id))
            self._lanes[lane_id] = lane

    def read(self) -> bool:
        """Read more, where there is room for it; whether something came."""
        fresh = self._reader.refreshed(self._progress)
        if fresh != self._progress:
            self.begin(fresh)
        full = sum(lane.waiting_bytes for lane in self._lanes.values()) > _READER_BYTES
        unfinished = [self._lanes[LaneId(*p.id)] for p in self._progress.lanes if not p.finished]
        room = {lane.id for lane in unfinished if not full and lane.waiting_bytes < _LANE_BYTES and not lane.ended}
        timeout = _BUSY_S if self._busy or any(lane.waiting for lane in self._lanes.values()) else _IDLE_S
        if not room:
            if not self._busy:
                time.sleep(timeout)
            return False
        read_to = {lane_id: lane.read_to for lane_id, lane in self._lanes.items()}
        found = self._reader.read(self._progress, read_to, room, timeout)
        for lane_id, read in found.items():
            self._lanes[lane_id].add(read.items, read.read_to, read.ended)
            if read.delivered:
                self._sink.delivered_before(read.delivered)
        return any(read.items for read in found.values())

    def dispatch(self, until_s: float) -> None:
        """Give lanes that have enough, or have waited long enough, to be sent; each at most once at a time."""
        next_try = self._sink.state().next_try
        if next_try is not None and next_try > self._clock():
            return
        sending = {lane.id for lane in self._busy.values()}
        now = time.monotonic()
        limits = self._sink.limits
        for lane in self._lanes.values():
            if lane.id in sending or not lane.waiting:
                continue
            flush = lane.ended or (lane.since_s is not None and now - lane.since_s >= self._limits.linger_s)
            if not flush and not (lane.waiting_bytes > limits.size_bytes and lane.fills(limits)):
                continue
            start = lane.next
            items, end = lane.take()
            future = self._pool.submit(
                send_items, items, start=start, end=end, flush=flush, sink=self._sink, receipts=lane.receipts, until_s=until_s
            )
            self._busy[future] = lane

    def collect(self, timeout_s: float) -> Counts:
        """What was settled since it was asked last; empty if nothing was.

        Raises:
            ComponentDownError: the destination was down for too long.
        """
        counts: Counts = Counter()
        if not self._busy:
            return counts
        done, _ = wait(self._busy, timeout_s, FIRST_COMPLETED)
        for future in done:
            lane = self._busy.pop(future)
            sent = future.result()
            lane.give_back(sent.rest, sent.sent_to)
            counts += sent.counts
            self._recent.append((time.monotonic(), sent.counts[DELIVERED], sent.bytes_sent))
        self._counts += counts
        self._check_down()
        return counts

    def progress(self) -> ReaderProgress[Any]:
        """How far everything is settled."""
        settled = tuple(p.at(self._lanes[LaneId(*p.id)].next) for p in self._progress.lanes)
        self._progress = msgspec.structs.replace(self._progress, lanes=settled)
        if self._progress.finished:
            self._progress = msgspec.structs.replace(self._progress, watermark_us=END_OF_TIME_US)
        return self._progress

    def close_slice(self, progress: ReaderProgress[Any]) -> None:
        """Before the reader's work is handed back to the runner."""
        settle_letters(
            self._delivery.lake, self._delivery.destination, self._delivery.contract, self._delivery.run_id, list(self._lanes)
        )
        self._reader.committed(progress)
        self.report(ended=progress.finished)

    def report(self, *, ended: bool = False) -> None:
        """Say where it is, every few seconds."""
        now = time.monotonic()
        if now - self._reported_s < _REPORT_EVERY_S and not ended:
            return
        self._reported_s = now
        while self._recent and now - self._recent[0][0] > _RATE_S:
            self._recent.popleft()
        sink, now_us = self._sink.state(), int(self._clock() * SECOND_US)
        span_s = min(_RATE_S, max((now_us - self._started_us) / SECOND_US, 1.0))
        lanes = self._lanes.values()
        write_state(
            self._delivery.lake,
            ReaderState(
                run_id=self._delivery.run_id, destination=self._delivery.destination.name,
                reader=self._name.number, of=self._name.readers, endless=self._progress.endless,
                updated_us=now_us, started_us=self._started_us,
                state=ENDED if ended else sink.state, since_us=int(sink.since * SECOND_US),
                next_try_us=None if sink.next_try is None else int(sink.next_try * SECOND_US), last_failure=sink.last_failure,
                in_doubt=sink.in_doubt,
                counts=dict(self._counts),
                events_per_s=round(sum(n for _, n, _ in self._recent) / span_s, 1),
                bytes_per_s=round(sum(size for _, _, size in self._recent) / span_s, 1),
                requests=sink.counters.requests, retried=sink.counters.retried, throttled=sink.counters.throttled_requests,
                waiting=sum(lane.unsettled for lane in lanes),
                oldest_us=min((us for lane in lanes if (us := lane.oldest_waiting_us) is not None), default=None),
                lag=self._reader.lag(), lanes=len(self._lanes),
            ),
        )  # fmt: skip

    def _check_down(self) -> None:
        state, limit = self._sink.state(), self._delivery.give_up_s
        if state.state != DOWN:
            self._failed_s = None
            return
        now = time.monotonic()
        self._failed_s = self._failed_s or now
        unusable = state.proven and state.last_failure in ("unauthorised", "not_found")
        if limit is not None and now - self._failed_s >= (0 if unusable else limit):
            self.report(ended=True)
            name, what = self._delivery.destination.name, state.last_failure
            hint = "check endpoint and credentials." if unusable else "is it up, and the endpoint right?"
            if state.in_doubt:
                hint += " Or one event is to blame: nothing that it takes is known to tell by; see probe: of destinations."
            raise ComponentDownError(
                f"destination {name} is down ({what}); {hint} What was delivered is on record: run the same command again to go on"
            )

    def close(self) -> None:
        """End requests and connections; what waits is read again by whoever comes next."""
        self._sink.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reader.close()
