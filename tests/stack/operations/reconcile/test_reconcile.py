"""Reconciliation finds what was planted at a real endpoint, all of it and nothing else, and says why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.compiler.timestamps import parse_timestamp
from contracts.encode.events import event_digest
from contracts.errors import ConfigurationError
from contracts.units import us_text
from lake.receipts.receipts import DELIVERED
from operations.reconcile import classes, url_export
from operations.reconcile.causes import Commands
from operations.reconcile.classes import CLASSES
from operations.reconcile.page import page
from operations.reconcile.reconcile import reconcile
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from tests.support.cdp import CdpEndpoint
from tests.support.planted import BEGIN_US, END_US, HOUR_US, OLD_US, START_US, YOUNG_US, Plant, Plot, found_in, line

QUIET = ("delivered", "withheld", "filtered")
MINUTE_US = 60_000_000


def check(plant: Plant, document: dict[str, Any]) -> None:
    """All that was planted is found, and nothing else."""
    shown = {key: ids for key, ids in plant.expected.items() if key[0] not in QUIET}
    assert found_in(document) == shown
    classes = Counter[str]()
    for (kind, _), ids in plant.expected.items():
        classes[kind] += len(ids)
    assert document["classes"] == {kind: classes[kind] for kind in CLASSES}
    withheld = {cause["cause"]: cause["ids"] for cause in document["causes"].get("withheld", [])}
    assert withheld == {cause: len(ids) for (kind, cause), ids in plant.expected.items() if kind == "withheld"}
    assert document["ids"] == len(plant.within)
    strangers = sum(len(ids - plant.within) for ids in plant.expected.values())
    assert sum(document["classes"].values()) == len(plant.within) + strangers
    export = document["export"]
    assert (export["events"], export["repeated"]) == (len(plant.ledger), 0)
    assert (export["of_other_ranges"], export["ahead_of_the_table"]) == (plant.elsewhere, plant.ahead)
    assert document["ids_at_destination"] == len(plant.ledger) - plant.elsewhere - plant.ahead
    assert document["adds_up"]
    alarms = sum(classes[kind] for kind in ("missing", "extra", "different"))
    assert document["verdict"]["exit_code"] == (1 if alarms else 0)


@pytest.mark.parametrize("seed", range(8))
def test_what_was_planted_is_found_and_nothing_else(plant: Plant, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_export, "_PAGE_ROWS", 1 + 17 * seed)
    plant.sow(seed)
    plant.grow()
    check(plant, plant.reconcile())


def test_an_event_that_was_delivered_before_and_after_the_export_is_lost(plant: Plant, tmp_path: Path) -> None:
    lost = min(i for i in plant.within if not plant.reasons[i])
    for us in (OLD_US, OLD_US + 2_000_000):
        plant.receipt(lost, "delivered", plant.events[lost], us=us)
    plant.grow()
    (tmp_path / "export").write_bytes(b"")
    document = plant.reconcile(export=(str(tmp_path / "export"),), exported_at=OLD_US // 1_000 + 1_000)
    assert document["adds_up"] and found_in(document)["missing", "sent"] == {lost}


def test_windows_add_up_to_the_classes(plant: Plant) -> None:
    plant.sow(3)
    plant.grow()
    document = plant.reconcile()
    assert document["window_minutes"] == 1 and len(document["windows"]) > 5
    for kind in ("missing", "different", "refused", "pending", "extra"):
        assert sum(window[kind] for window in document["windows"]) == document["classes"][kind]
    times = [window["from"] for window in document["windows"]]
    assert times == sorted(times) and times[0] >= us_text(START_US) and times[-1] < us_text(END_US)


def test_halves_of_a_range_give_what_the_whole_gives(plant: Plant) -> None:
    plant.sow(5)
    plant.grow()
    middle = (START_US + END_US) // 2_000
    whole, early, late = plant.reconcile(), plant.reconcile(end=middle), plant.reconcile(start=middle)
    for kind in CLASSES:
        assert early["classes"][kind] + late["classes"][kind] == whole["classes"][kind], kind


def test_a_range_without_rows_has_nothing_but_what_should_not_be_there(plant: Plant) -> None:
    plant.put("stranger", {"type": "page", "anonymousId": "a", "timestamp": us_text(START_US - 100 * HOUR_US)})
    plant.grow()
    span = {"start": (START_US - 101 * HOUR_US) // 1_000, "end": (START_US - 99 * HOUR_US) // 1_000}
    document = plant.reconcile(**span)
    assert document["ids"] == 0 and found_in(document) == {("extra", "unknown_id"): {"stranger"}}
    plant.cdp.clear()
    document = plant.reconcile(**span)
    assert set(document["classes"].values()) == {0} and document["verdict"] == {"exit_code": 0, "reasons": []}
    assert "Nothing is missing, extra or different." in page(document)


def test_settle_decides_what_is_pending(plant: Plant) -> None:
    plant.grow()
    may = {i for i in plant.within if not plant.reasons[i]}
    young = may & plant.young
    assert found_in(plant.reconcile()) == {("pending", "not_yet"): young, ("missing", "never_sent"): may - young}
    assert found_in(plant.reconcile(settle=100 * 86_400)) == {("pending", "not_yet"): may}
    document = plant.reconcile(settle=None)  # as long as the destination says that an event may wait
    assert found_in(document) == {("missing", "never_sent"): may} and document["settle_s"] == 600


# --- several rows of one id


@pytest.fixture
def twice(growing: Plant) -> str:
    """An id with two rows, ten minutes apart: one of each version."""
    name = f"{growing.name}-twice"
    versions = [(START_US + 5 * MINUTE_US, 1), (START_US + 15 * MINUTE_US, 2)]
    growing.plot.ingest([line(name, us, properties={"version": version}) for us, version in versions])
    growing.read_rows()
    return name


def row_of(growing: Plant, version: int) -> dict[str, Any]:
    """The event of a version of ``twice``."""
    name = f"{growing.name}-twice"
    us = START_US + (5 if version == 1 else 15) * MINUTE_US
    time = us_text(us).replace("Z", ".000Z")
    return {**growing.events[name], "timestamp": time, "properties": {"version": version}}


@pytest.mark.parametrize(
    "there, sent, expected",
    [
        (1, [1], ("delivered", "")),
        (2, [2], ("delivered", "")),
        (None, [1], ("missing", "sent")),
        (None, [2], ("missing", "sent")),
        (None, [], ("missing", "never_sent")),
        (3, [3], ("different", "first_seen")),
        (3, [1], ("different", "altered")),
    ],
)
def test_an_id_with_two_rows_is_one_id_and_either_content_is_right(
    growing: Plant, twice: str, there: int | None, sent: list[int], expected: tuple[str, str]
) -> None:
    assert row_of(growing, 2) == growing.events[twice] or row_of(growing, 1) == growing.events[twice]
    if there is not None:
        growing.put(twice, row_of(growing, there))
    for version in sent:
        growing.receipt(twice, "delivered", row_of(growing, version))
    growing.grow()
    start, end = START_US // 1_000, (START_US + 20 * MINUTE_US) // 1_000
    document = growing.reconcile(start=start, end=end)
    ids = {key for key, ids in found_in(document).items() if twice in ids}
    assert ids == ({expected} if expected[0] != "delivered" else set())
    assert document["classes"]["delivered"] == (1 if expected[0] == "delivered" else 0)
    assert document["adds_up"] and document["rows"] > document["ids"]


def test_an_id_whose_other_row_is_of_another_range_is_compared_here_too(growing: Plant, twice: str) -> None:
    growing.put(twice, row_of(growing, 2))
    growing.receipt(twice, "delivered", row_of(growing, 2))
    growing.grow()
    start, middle, end = (us // 1_000 for us in (START_US, START_US + 10 * MINUTE_US, START_US + 20 * MINUTE_US))
    assert found_in(growing.reconcile(start=start, end=middle))["different", "first_seen"] == {twice}
    assert growing.reconcile(start=middle, end=end)["classes"]["delivered"] == 1


def test_only_rows_that_may_leave_make_an_id_wait(growing: Plant) -> None:
    name, start_us = f"{growing.name}-twice", BEGIN_US - 2 * HOUR_US
    denied = {"context": {"consent": {"categoryPreferences": {"analytics": False}}}}
    growing.plot.ingest([line(name, start_us), line(name, start_us + 10 * MINUTE_US, received_us=YOUNG_US, **denied)])
    growing.grow()
    document = growing.reconcile(start=start_us // 1_000, end=(start_us + HOUR_US) // 1_000)
    assert found_in(document) == {("missing", "never_sent"): {name}} and document["rows"] == 2


# --- decimals

ORDERS = """
source: orders
dataset: order
version: 1
format: jsonl
missing_event_id: derive
columns: {order_id: id, customer_id: who, status: status, currency: currency, total_amount: total, placed_at: at, updated_at: at}
"""
ORDERS_DESTINATION = """
destination: {name}
dataset: order
type: segment
endpoint: http://127.0.0.1:9/v1/batch
export: {export}
credentials: {{write_key: env:PLANTED_KEY}}
consent: []
columns: {{event_id: messageId, customer_id: userId, total_amount: properties.total, updated_at: timestamp}}
constants: {{type: track, event: Order}}
"""


def test_decimals_are_compared_by_value(tmp_path: Path, cdp: CdpEndpoint) -> None:
    class Orders(Plot):
        def _add_late(self) -> None:
            """None."""

        def ingest(self, given: Sequence[str], name: str = "lake", **options: Any) -> None:
            """No web events."""

    plot = Orders(tmp_path / "project")
    (plot.folder / "sources" / "orders.yaml").write_text(ORDERS)
    order = {"who": "c", "status": "paid", "currency": "EUR", "at": us_text(OLD_US)}
    totals = ["1.50", "2.00", "0.10", "9999999999.99"]
    (plot.folder / "o.jsonl").write_text(
        "".join(json.dumps({**order, "id": f"O-{n:09d}", "total": float(total)}) + "\n" for n, total in enumerate(totals))
    )
    options = IngestOptions(source="orders", input=(str(plot.folder / "o.jsonl"),), lake=str(plot.folder / "lake"))
    assert ingest_files(options, plot.project, lambda _: None).exit_code == 0
    span = {"start": (OLD_US - HOUR_US) // 1_000, "end": (OLD_US + HOUR_US) // 1_000}
    plant = Plant(plot, cdp, "orders", text=ORDERS_DESTINATION, table="validated.order")
    assert len(plant.events) == len(totals)
    lost, altered, *kept = sorted(plant.events)
    for event_id in (altered, *kept):
        plant.put(event_id, plant.events[event_id])
    plant.ledger[altered]["properties"] = {"total": 1.51}
    for event_id, sent in plant.sent.items():
        plant.receipt(event_id, "delivered", sent)
    plant.grow()
    document = plant.reconcile(**span)
    assert document["classes"]["delivered"] == len(kept)
    assert found_in(document) == {("missing", "sent"): {lost}, ("different", "altered"): {altered}}


# --- what is told


def test_every_cause_is_told_with_what_to_do(plant: Plant) -> None:
    told: dict[tuple[str, str], tuple[str, str | None]] = {}
    for seed in range(4):
        other = Plant(plant.plot, plant.cdp, f"{plant.name}-{seed}"[-100:].lstrip("-"))
        other.sow(seed)
        other.grow()
        for kind, causes in other.reconcile()["causes"].items():
            told |= {(kind, cause["cause"]): (cause["told"], cause["do"]) for cause in causes}
    assert len(told) > 15 and all(text for text, _ in told.values())
    assert {kind for (kind, _), (_, do) in told.items() if do is None} == {"withheld"}
    assert any("--rows refused" in str(do) for (kind, _), (_, do) in told.items() if kind == "refused")


def test_every_class_and_cause_is_in_the_guide() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "guides" / "reconcile.md").read_text("utf-8")
    assert all(f"| {kind} | " in guide for kind in CLASSES)
    named = [value for name, value in vars(classes).items() if name.isupper() and isinstance(value, str)]
    assert [cause for cause in named if cause not in CLASSES and not re.search(rf"`{cause}[`:]", guide)] == []


def test_commands_name_destination_and_range() -> None:
    commands = Commands("segment", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "10m")
    told, do = commands.explain("missing", "never_sent")
    assert told == "it was never delivered, and is older than 10m"
    assert do == "headrace deliver segment --start 2026-11-01T00:00:00Z --end 2026-11-02T00:00:00Z"
    assert commands.explain("withheld", "consent_denied:analytics") == ("consent to analytics is denied", None)
    assert commands.explain("withheld", "suppressed") == ("its id is suppressed", None)
    assert "consent to analytics is not known" in commands.explain("extra", "withheld:consent_unknown:analytics")[0]


def test_ids_are_hidden_unless_they_are_asked_for(plant: Plant) -> None:
    plant.sow(1)
    plant.grow()
    hidden, shown = plant.reconcile(reveal=False), plant.reconcile()
    text = json.dumps(hidden) + page(hidden)
    ids = set().union(*found_in(shown).values())
    assert ids and not any(f'"{event_id}"' in text or f">{event_id}<" in text for event_id in ids)
    assert all(len(event_id) == 12 for found in found_in(hidden).values() for event_id in found)
    few = plant.reconcile(samples=1)
    assert all(len(cause["samples"]) <= 1 for causes in few["causes"].values() for cause in causes)
    assert few["classes"] == shown["classes"]


def test_samples_tell_window_time_and_type(plant: Plant) -> None:
    plant.put("stranger", {"type": "page", "anonymousId": "a", "timestamp": us_text(START_US)})
    plant.put("timeless", {"anonymousId": "a", "timestamp": "soon"})
    plant.grow()
    # without a time of its own it is in no stretch of an export that is read by time, so the whole export is given as a file
    path = plant.plot.folder / f"{plant.name}.export"
    path.write_text("".join(json.dumps({"messageId": i, "event": event}) + "\n" for i, event in plant.ledger.items()))
    (cause,) = plant.reconcile(export=(str(path),))["causes"]["extra"]
    assert cause["samples"] == [
        {"id": "stranger", "window_time": us_text(START_US), "event_type": "page"},
        {"id": "timeless", "window_time": None, "event_type": None},
    ]
    samples = plant.reconcile()["causes"]["missing"][0]["samples"]
    assert samples and all(sample["event_type"] == plant.events[sample["id"]]["type"] for sample in samples)
    times = {sample["id"]: plant.events[sample["id"]]["timestamp"] for sample in samples}
    assert {s["id"]: parse_timestamp(s["window_time"], None) for s in samples} == {
        i: parse_timestamp(t, None) for i, t in times.items()
    }


def test_the_page_needs_nothing_else_and_escapes_what_strangers_wrote(plant: Plant) -> None:
    evil = "<script>alert('x')</script>"
    plant.put(evil, {"type": evil, "anonymousId": "a", "timestamp": us_text(START_US)})
    plant.grow()
    text = page(plant.reconcile())
    assert evil not in text and "&lt;script&gt;alert(" in text
    assert "<script" not in text and "http-equiv" in text and "src=" not in text and "@import" not in text


def test_what_is_not_there_to_compare_is_told(plant: Plant) -> None:
    lake = plant.plot.lake("none")
    lake.create()
    with pytest.raises(ConfigurationError, match=r"there is no table validated\.customer_event"):
        reconcile(plant.options(), plant.plot.project, lake, lambda _: None)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda given: given | {"end": given["start"]}, "--end: is not after --start"),
        (lambda given: given | {"exported_at": 1}, "--exported-at: with --export only"),
        (lambda given: given | {"id_field": ""}, "--id-field"),
    ],
)
def test_options_that_do_not_fit_are_told(plant: Plant, change: Callable[[dict[str, Any]], dict[str, Any]], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        plant.options(**change({"start": 1_000, "end": 2_000})).check()


def test_deliveries_that_go_on_meanwhile_are_no_differences(growing: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the rows were read: rows come that are delivered, and an event is delivered whose page was read already."""
    may = sorted(i for i in growing.within if not growing.reasons[i])
    for event_id in may[1:]:
        growing.put(event_id, growing.events[event_id])
    growing.grow()
    newcomer = f"{growing.name}-new"
    pages = url_export.UrlExport.pages

    def slow_pages(self: url_export.UrlExport) -> Any:
        growing.plot.ingest([line(newcomer, START_US + MINUTE_US)])
        growing.put(newcomer, {"type": "page", "anonymousId": "a-1", "timestamp": us_text(START_US + MINUTE_US)})
        growing.cdp.add(newcomer, growing.ledger[newcomer])
        yield from pages(self)
        growing.receipt(may[0], "delivered", growing.events[may[0]], us=self.as_of_us + 1_000)
        growing.grow()

    monkeypatch.setattr(url_export.UrlExport, "pages", slow_pages)
    document = growing.reconcile()
    assert found_in(document) == {("pending", "after_export"): {may[0]}}
    assert document["export"]["of_other_ranges"] == 1 and document["verdict"]["exit_code"] == 0


def test_a_digest_that_ends_with_zeros_is_like_any_other(growing: Plant) -> None:
    """One in 256 does, and arrays of bytes give single elements without them."""
    us = START_US + 61_000_000
    growing.plot.ingest([line("zeros-000000", us)])
    growing.read_rows()
    model = growing.sent["zeros-000000"]
    name = next(
        name
        for name in (f"zeros-{number:06d}" for number in range(1, 100_000))
        if event_digest(model.replace(b"zeros-000000", name.encode())).endswith(b"\0")
    )
    growing.plot.ingest([line(name, us)])
    growing.read_rows()
    assert event_digest(growing.sent[name]).endswith(b"\0")
    for event_id in ("zeros-000000", name):
        growing.receipt(event_id, DELIVERED, growing.events[event_id])
        growing.put(event_id, {**growing.events[event_id], "receivedAt": "added"})
    growing.grow()
    document = growing.reconcile(start=us // 1_000, end=us // 1_000 + 1)
    assert document["classes"]["delivered"] == 2
    assert document["verdict"]["exit_code"] == 0
