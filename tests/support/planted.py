"""A small project whose destination is made to differ from it in every way there is, each of them known."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts.compiler.values import CANONICAL_JSON
from contracts.encode.events import EventEncoder, event_digest
from contracts.units import us_text
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import DELIVERED, REFUSED, WITHHELD, LaneReceipts, Receipt
from lake.tables.data_files import read_rows
from lake.tables.iceberg import RANGE_COLUMNS, published_files
from lake.tables.publish import fold_range, publish
from operations.reconcile.options import ReconcileOptions
from operations.reconcile.reconcile import reconcile
from tests.support.cdp import CdpEndpoint
from tests.support.shop import Shop

HOUR_US = 3_600_000_000
NOW_US = time.time_ns() // 1_000
BEGIN_US = NOW_US // HOUR_US * HOUR_US - 48 * HOUR_US  # of the first hour that has events
START_US, END_US = BEGIN_US + 3 * HOUR_US // 2, BEGIN_US + 7 * HOUR_US // 2  # what is reconciled; within files, and at an event
FAR_US = BEGIN_US - 30 * 24 * HOUR_US  # window time of versions that have nothing to do with the range
OLD_US, YOUNG_US = NOW_US - 40 * HOUR_US, NOW_US - HOUR_US
SETTLE_S = 86_400
EVENTS = 320
TABLE = "validated.customer_event"
DESTINATION = """
destination: {name}
dataset: customer_event
version: 1
type: segment
endpoint: http://127.0.0.1:9/v1/batch
export: {export}
credentials: {{write_key: env:PLANTED_KEY}}
consent: [analytics]
filter: [{{column: event_type, in: [page, track]}}]
columns:
  event_id: messageId
  event_type: type
  event_name: event
  user_id: userId
  anonymous_id: anonymousId
  original_timestamp: timestamp
  page_url: context.page.url
  properties: properties
constants: {{context.library.name: headrace}}
limits: {{patience_s: 0.5}}
"""
_CONSENT: tuple[Any, ...] = ({"analytics": True}, {"analytics": True}, {"analytics": False}, {"marketing": True}, None)


def line(event_id: str, us: int, *, received_us: int = OLD_US, **more: Any) -> str:
    """A line of the web source."""
    event = {
        "messageId": event_id, "type": "page", "anonymousId": "a-1",
        "originalTimestamp": us_text(us), "receivedAt": us_text(received_us),
        "context": {"consent": {"categoryPreferences": {"analytics": True}}, "page": {"url": "https://shop.example/"}},
        "properties": {"price": 1.5, "z": [1, {"b": "ü", "a": None}]},
    }  # fmt: skip
    return json.dumps({**event, **more})


def lines() -> list[str]:
    """Events of four hours, by consent and type, old and young; some that are rejected."""
    found = []
    for n in range(EVENTS):
        us = BEGIN_US + n * 4 * HOUR_US // EVENTS
        consent = _CONSENT[n % len(_CONSENT)]
        context = {"consent": {"categoryPreferences": consent}} if consent else {}
        kind = "identify" if n % 7 == 0 else "track" if n % 3 == 0 else "page"
        more = {"event": f"Event {n}"} if kind == "track" else {}
        more |= {"userId": f"u-{n % 9}"} if n % 2 else {}
        received_us = YOUNG_US if n % 4 == 0 else OLD_US
        found.append(line(f"m-{n:03d}", us, received_us=received_us, type=kind, context=context, **more))
    return [*found, *(line(f"odd-{n}", START_US + n, type="no such type") for n in range(3))]


class Plot(Shop):
    """The project, made once. Each ``Plant`` in it has a destination, receipts and a ledger of its own."""

    received_s = OLD_US / 1e6

    def __init__(self, folder: Path, deduplication: str | None = None) -> None:
        super().__init__(folder, "destinations: [destinations]")
        if deduplication:
            self.write_contract(deduplication)
        (folder / "destinations").mkdir()
        self.ingest(lines())
        self._add_late()

    def _add_late(self) -> None:
        """Rows that only the table of late rows has."""
        self.ingest([line(f"late-{n}", START_US + n) for n in range(4)], "other")
        table = self.lake().load("late.customer_event")
        folds = []
        for file in published_files(self.lake("other").load(TABLE)):
            rows = read_rows(file.path)
            rows = rows.drop_columns([name for name in RANGE_COLUMNS.names if name in rows.column_names])
            folds.append(fold_range(table, [], rows, key="event_id", from_us=file.from_us, to_us=file.to_us, shard=file.shard))
        publish(self.lake(), "late.customer_event", folds, key="event_id", run_id="late")

    def write_destination(self, name: str, export: str, text: str = DESTINATION) -> None:
        """A destination of this name."""
        (self.folder / "destinations" / f"{name}.yaml").write_text(text.format(name=name, export=export))


@dataclass
class Plant:
    """One destination with what was planted there. expected: ids by class and cause. events: what the row of an id is sent as."""

    plot: Plot
    cdp: CdpEndpoint
    name: str
    text: str = DESTINATION
    table: str = TABLE
    expected: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    young: set[str] = field(default_factory=set)
    within: set[str] = field(default_factory=set)
    elsewhere: int = 0
    ahead: int = 0
    ledger: dict[str, dict[str, Any]] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plot.write_destination(self.name, f"{self.cdp.url}/v1/export", self.text)
        self.read_rows()

    def read_rows(self) -> None:
        """Learn what the table has."""
        project = self.plot.project
        destination, contract = project.destination(self.name)
        encoder = EventEncoder(destination, contract, project.suppressions(contract))
        for file in published_files(self.plot.lake().load(self.table)):
            rows = read_rows(file.path)
            columns = encoder.of_table(rows)
            ids, times = encoder.event_ids(columns), rows.column("_window_time").cast(pa.int64()).to_pylist()
            self.sent.update(zip(ids, encoder.events(columns), strict=True))
            self.events.update({event_id: json.loads(self.sent[event_id]) for event_id in ids})
            self.reasons.update(zip(ids, encoder.reasons(columns), strict=True))
            self.within |= {i for i, us in zip(ids, times, strict=True) if START_US <= us < END_US}
            received = rows.column("_received_at").cast(pa.int64()).to_pylist()
            self.young |= {i for i, us in zip(ids, received, strict=True) if us == YOUNG_US}

    # --- what may be planted

    def receipt(
        self,
        event_id: str,
        outcome: str,
        event: Mapping[str, Any] | bytes | None,
        reason: str | None = None,
        us: int = OLD_US,
        window_us: int = START_US,
    ) -> None:
        """Say what became of an event."""
        digest = None if event is None else event_digest(event if isinstance(event, bytes) else CANONICAL_JSON.encode(event))
        status = {DELIVERED: 200, REFUSED: 400}.get(outcome)
        self.receipts.append(Receipt(len(self.receipts), event_id, window_us, outcome, reason, status, digest, None, us))

    def put(self, event_id: str, event: Mapping[str, Any]) -> None:
        """An event that the destination has."""
        self.ledger[event_id] = dict(event)

    def expect(self, event_id: str, kind: str, cause: str = "") -> None:
        """Which class and cause it is in."""
        self.expected[kind, cause].add(event_id)

    def version_of(self, event_id: str, random_: random.Random) -> dict[str, Any]:
        """Another version of an event, with other top-level fields."""
        event = {**self.events[event_id], "properties": {"price": random_.random()}}
        if random_.random() < 0.5:
            event.pop("userId", None)
        else:
            event["userId"] = "somebody"
        return event

    def sow(self, seed: int) -> None:
        """Give every id a fate by chance, and add ids that the rows do not have."""
        chance = random.Random(seed)
        fates = {
            "delivered": self._delivered, "delivered_with_fields": self._delivered_with_fields, "no_receipt": self._no_receipt,
            "refused_then_delivered": self._refused_then_delivered, "lost": self._lost, "lost_version": self._lost_version,
            "not_sent": self._not_sent, "withheld_before": self._withheld_before, "refused": self._refused,
            "first_seen": self._first_seen, "altered": self._altered,
        }  # fmt: skip
        weights = [12, 3, 2, 1, 1, 1, 2, 1, 1, 1, 1]
        for event_id in sorted(self.events):
            if event_id not in self.within:
                if chance.random() < 0.1:  # of another range, whatever its own time is said to be
                    self.put(event_id, {**self.events[event_id], "timestamp": us_text(START_US + 5)})
                    self.elsewhere += 1
            elif self.reasons[event_id]:
                self._may_not_leave(event_id, chance)
            else:
                fates[chance.choices(list(fates), weights)[0]](event_id, chance)
        self._strangers(chance)

    def _may_not_leave(self, event_id: str, chance: random.Random) -> None:
        reason = self.reasons[event_id]
        filtered = reason == "filtered"
        if chance.random() < 0.15:
            self.put(event_id, self.events[event_id])
            self.expect(event_id, "extra", reason if filtered else f"withheld:{reason}")
        else:
            self.expect(event_id, "filtered" if filtered else "withheld", "" if filtered else reason)
            if not filtered:
                self.receipt(event_id, WITHHELD, None, reason)

    def _delivered(self, event_id: str, _: random.Random) -> None:
        self.put(event_id, self.events[event_id])
        self.receipt(event_id, DELIVERED, self.events[event_id])
        self.expect(event_id, "delivered")

    def _delivered_with_fields(self, event_id: str, chance: random.Random) -> None:
        """The destination adds fields of its own, and one that this row has no value for."""
        self._delivered(event_id, chance)
        self.put(event_id, {"event": "Page viewed", **self.events[event_id], "receivedAt": us_text(NOW_US), "channel": "server"})

    def _no_receipt(self, event_id: str, chance: random.Random) -> None:
        """A worker died between the answer and its receipt."""
        self._delivered(event_id, chance)
        self.receipts.pop()

    def _refused_then_delivered(self, event_id: str, chance: random.Random) -> None:
        self.receipt(event_id, REFUSED, self.events[event_id], "http_400")
        self._delivered(event_id, chance)

    def _lost(self, event_id: str, chance: random.Random) -> None:
        if chance.random() < 0.5:
            self.receipt(event_id, REFUSED, self.events[event_id], "http_400")
        self.receipt(event_id, DELIVERED, self.events[event_id])
        self.expect(event_id, "missing", "sent")

    def _lost_version(self, event_id: str, chance: random.Random) -> None:
        self.receipt(event_id, DELIVERED, self.version_of(event_id, chance))
        self.expect(event_id, "missing", "sent_other_version")

    def _not_sent(self, event_id: str, _: random.Random) -> None:
        young = event_id in self.young
        self.expect(event_id, "pending" if young else "missing", "not_yet" if young else "never_sent")

    def _withheld_before(self, event_id: str, _: random.Random) -> None:
        young = event_id in self.young
        self.receipt(event_id, WITHHELD, None, "consent_denied:analytics")
        self.expect(event_id, "pending" if young else "missing", "not_yet" if young else "withheld_before")

    def _refused(self, event_id: str, chance: random.Random) -> None:
        self.receipt(event_id, REFUSED, self.events[event_id], "http_413", OLD_US)
        last = chance.choice(["http_400", "too_large"])
        self.receipt(event_id, REFUSED, self.events[event_id], last, OLD_US + 1)
        self.expect(event_id, "refused", last)

    def _first_seen(self, event_id: str, chance: random.Random) -> None:
        version = self.version_of(event_id, chance)
        added = [{}, {"receivedAt": us_text(NOW_US)}, {"event": "Page viewed", "channel": "server"}]
        self.put(event_id, chance.choice(added) | version)
        self.receipt(event_id, DELIVERED, version, window_us=chance.choice([START_US, FAR_US]))
        if chance.random() < 0.5:
            self.receipt(event_id, DELIVERED, self.events[event_id])
        self.expect(event_id, "different", "first_seen")

    def _altered(self, event_id: str, chance: random.Random) -> None:
        event = self.events[event_id]
        altered = [{**event, "type": "screen"}, {**event, "context": {}}, {k: v for k, v in event.items() if k != "properties"}]
        self.put(event_id, {"anonymousId": "a-1", **chance.choice(altered)})
        if chance.random() < 0.7:
            self.receipt(event_id, DELIVERED, event)
        self.expect(event_id, "different", "altered")

    def _strangers(self, chance: random.Random) -> None:
        some = {"type": "page", "anonymousId": "a-9", "timestamp": us_text(chance.randrange(START_US, END_US))}
        for n in range(chance.randrange(4)):
            self.put(f"unknown-{n}", some)
            self.expect(f"unknown-{n}", "extra", "unknown_id")
            self.put(f"beyond-{n}", {**some, "timestamp": us_text(chance.choice([START_US - 1_000, END_US]))})
            self.elsewhere += 1
        for n in range(4):
            if chance.random() < 0.5:
                self.put(f"late-{n}", some)
                self.receipt(f"late-{n}", DELIVERED, some, None, NOW_US)
                self.expect(f"late-{n}", "extra", "late")
        for n in range(3):
            if chance.random() < 0.5:
                self.put(f"odd-{n}", some)
                self.expect(f"odd-{n}", "extra", "rejected:not_in_enum")
        for n in range(chance.randrange(4)):
            self.put(f"gone-{n}", some)
            self.receipt(f"gone-{n}", DELIVERED, some, window_us=chance.choice([START_US, FAR_US]))
            self.expect(f"gone-{n}", "extra", "not_validated")
            self.put(f"ahead-{n}", some)
            self.receipt(f"ahead-{n}", DELIVERED, some, None, NOW_US - 60_000_000)
            self.ahead += 1

    # --- and what is found

    def grow(self) -> None:
        """Write receipts, in several lanes and files, and the ledger."""
        near = [receipt for receipt in self.receipts if receipt.window_time_us != FAR_US]
        far = [receipt for receipt in self.receipts if receipt.window_time_us == FAR_US]
        for lane, own in enumerate((near[::2], near[1::2], far)):
            written = LaneReceipts(self.plot.lake(), self.name, LaneId("headrace.validated.customer_event", "T", lane))
            for first in range(0, len(own), 40):
                part = [receipt._replace(offset=first + n) for n, receipt in enumerate(own[first : first + 40])]
                written.write(first, first + len(part), part, Counter())
        self.cdp.clear()
        for event_id, event in self.ledger.items():
            self.cdp.add(event_id, event)

    def options(self, **more: Any) -> ReconcileOptions:
        """All that is found, by id."""
        given = {"start": START_US // 1_000, "end": END_US // 1_000, "settle": SETTLE_S, "samples": 1_000, "reveal": True}
        return ReconcileOptions(destination=self.name, **(given | more))

    def reconcile(self, **more: Any) -> dict[str, Any]:
        """The document."""
        document = reconcile(self.options(**more), self.plot.project, self.plot.lake(), lambda _: None)
        assert json.loads(json.dumps(document)) == document
        return document


def found_in(document: Mapping[str, Any]) -> dict[tuple[str, str], set[str]]:
    """Ids by class and cause, of those that are shown."""
    return {
        (kind, cause["cause"]): {sample["id"] for sample in cause["samples"]}
        for kind, causes in document["causes"].items()
        for cause in causes
        if cause["samples"]
    }
