"""Where what a destination has comes from: its URL, and files of its own."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ComponentDownError, ConfigurationError
from contracts.units import us_text
from operations.reconcile import url_export
from operations.reconcile.rows import HOUR_US
from operations.reconcile.url_export import spans_of
from tests.support.cdp import CdpEndpoint
from tests.support.planted import DESTINATION, NOW_US, OLD_US, START_US, Plant, found_in, line


@pytest.fixture
def delivered(plant: Plant) -> Plant:
    """With everything delivered that may leave."""
    for event_id in sorted(plant.within):
        if not plant.reasons[event_id]:
            plant.put(event_id, plant.events[event_id])
            plant.receipt(event_id, "delivered", plant.events[event_id])
    plant.grow()
    return plant


def lines_of(plant: Plant, form: Callable[[str, dict[str, Any]], Any]) -> bytes:
    """The ledger as JSON lines."""
    return b"".join(json.dumps(form(event_id, event)).encode() + b"\n" for event_id, event in plant.ledger.items())


def wrapped(event_id: str, event: dict[str, Any]) -> Any:
    return {"messageId": event_id, "event": event}


# --- files


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_json_lines_plain_and_compressed(delivered: Plant, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "part-1").write_bytes(compress(lines_of(delivered, wrapped)))
    document = delivered.reconcile(export=(str(tmp_path),))
    assert document["verdict"]["exit_code"] == 0
    assert document["classes"]["delivered"] == document["contents"]["compared"] == len(delivered.ledger)


def test_a_record_may_be_the_event_itself_and_its_fields_in_any_order(delivered: Plant, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(lines_of(delivered, lambda _, event: dict(reversed(event.items()))))
    document = delivered.reconcile(export=(str(path),), event_field=".")
    assert document["classes"]["delivered"] == document["contents"]["compared"] == len(delivered.ledger)


def test_ids_only_are_compared_by_id_and_this_is_said(delivered: Plant, tmp_path: Path) -> None:
    (lost, *kept) = delivered.ledger
    path = tmp_path / "export.jsonl"
    path.write_text("".join(json.dumps({"uuid": event_id}) + "\n" for event_id in [*kept, "stranger"]))
    document = delivered.reconcile(export=(str(path),), id_field="uuid", exported_at=NOW_US // 1_000)
    assert document["contents"] == {"compared": 0, "ids_only": len(kept)}
    assert document["classes"]["delivered"] == len(kept)
    assert found_in(document) == {("missing", "sent"): {lost}, ("extra", "unknown_id"): {"stranger"}}


def test_contents_are_not_compared_where_that_is_asked_for(delivered: Plant) -> None:
    """The destination sets times anew, and whoever asks knows that."""
    beyond = {"type": "page", "timestamp": us_text(START_US - 1_000)}
    delivered.cdp.add("beyond", beyond)  # of another range, by its own time
    for event_id, event in delivered.ledger.items():
        delivered.cdp.alter(event_id, {**event, "timestamp": event["timestamp"].replace(".000Z", ".001Z")})
    assert delivered.reconcile()["classes"]["different"] == len(delivered.ledger)
    document = delivered.reconcile(ids_only=True)
    assert document["contents"] == {"compared": 0, "ids_only": len(delivered.ledger)}
    assert document["classes"]["delivered"] == len(delivered.ledger) and document["verdict"]["exit_code"] == 0


@pytest.mark.parametrize("kind", ["text", "binary", "struct", "ids"])
def test_parquet_with_events_as_text_as_bytes_as_structs_and_without(delivered: Plant, tmp_path: Path, kind: str) -> None:
    forms: dict[str, Callable[[dict[str, Any]], Any]] = {
        "text": json.dumps, "binary": lambda event: json.dumps(event).encode(),
        "struct": lambda event: event, "ids": lambda _: None,
    }  # fmt: skip
    ids = pa.array(list(delivered.ledger))
    events = [forms[kind](event) for event in delivered.ledger.values()]
    if kind == "struct":  # a struct's fields are those of all rows
        events = [{k: v for k, v in event.items() if k not in ("context", "properties")} for event in events]
    columns = {"messageId": ids} | ({} if kind == "ids" else {"event": pa.array(events)})
    pq.write_table(pa.table(columns), tmp_path / "export.parquet")
    document = delivered.reconcile(export=(str(tmp_path / "export.parquet"),))
    there = len(delivered.ledger)
    assert document["contents"] == ({"compared": 0, "ids_only": there} if kind == "ids" else {"compared": there, "ids_only": 0})
    assert document["classes"]["different" if kind == "struct" else "delivered"] == there


def test_repeated_ids_count_once_and_are_told(delivered: Plant, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    stranger = json.dumps(wrapped("stranger", {"type": "page"})).encode() + b"\n"
    path.write_bytes(lines_of(delivered, wrapped) * 2 + stranger * 3)
    document = delivered.reconcile(export=(str(path),))
    assert document["export"]["repeated"] == len(delivered.ledger) + 2
    assert document["classes"]["delivered"] == len(delivered.ledger) and found_in(document) == {
        ("extra", "unknown_id"): {"stranger"}
    }


def test_of_two_events_with_one_id_both_must_be_right(delivered: Plant, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    twice, event = next(iter(delivered.ledger.items()))
    other = json.dumps(wrapped(twice, {**event, "type": "screen"})).encode() + b"\n"
    path.write_bytes(lines_of(delivered, wrapped) + other)
    assert found_in(delivered.reconcile(export=(str(path),))) == {("different", "altered"): {twice}}


def test_what_was_delivered_after_the_export_is_pending(delivered: Plant, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"")
    document = delivered.reconcile(export=(str(path),), exported_at=OLD_US // 1_000 - 1)
    assert found_in(document) == {("pending", "after_export"): set(delivered.ledger)} and document["verdict"]["exit_code"] == 0
    document = delivered.reconcile(export=(str(path),))  # by default it is as old as its file
    assert found_in(document) == {("missing", "sent"): set(delivered.ledger)}


@pytest.mark.parametrize(
    "content, told",
    [
        (b'{"messageId": "a"}\n{"id": 1}\n', "line 2: expected a JSON object with messageId"),
        (b'{"messageId": "a"}\n\n[1]\n', "line 3: expected a JSON object"),
        (b'{"messageId": "a", "event": "not JSON"}\n', "line 1"),
        (b"messageId,event\n", "line 1"),
        (gzip.compress(b'{"messageId": "a"}\n' * 1_000, mtime=0)[:-9], "damaged"),
    ],
    ids=["no id", "no object", "event as text", "CSV", "cut gzip"],
)
def test_what_is_no_export_is_refused(delivered: Plant, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "export").write_bytes(content)
    with pytest.raises(ConfigurationError, match=told):
        delivered.reconcile(export=(str(tmp_path / "export"),))


def test_a_parquet_without_ids_is_refused(delivered: Plant, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigurationError, match="no column messageId"):
        delivered.reconcile(export=(str(tmp_path / "a.parquet"),))
    pq.write_table(pa.table({"id": ["a", None]}), tmp_path / "b.parquet")
    with pytest.raises(ConfigurationError, match="a row has no id"):
        delivered.reconcile(export=(str(tmp_path / "b.parquet"),), id_field="id")
    with pytest.raises(ConfigurationError, match="no file found"):
        delivered.reconcile(export=(str(tmp_path / "c.parquet"),))


# --- the URL


def test_an_endpoint_that_is_down_is_told(delivered: Plant, cdp: CdpEndpoint) -> None:
    cdp.faults(down=True)
    with pytest.raises(ComponentDownError, match=rf"export of {delivered.name} .*http_503"):
        delivered.reconcile()


def test_an_address_where_nobody_listens_is_told(delivered: Plant) -> None:
    delivered.plot.write_destination(delivered.name, "http://127.0.0.1:9/v1/export")
    with pytest.raises(ComponentDownError, match="ConnectError"):
        delivered.reconcile()


def test_a_wrong_key_is_told_and_not_shown(delivered: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "s3cret")
    with pytest.raises(ConfigurationError, match="does not take the write key") as told:
        delivered.reconcile()
    assert "s3cret" not in str(told.value)
    monkeypatch.delenv("PLANTED_KEY")
    with pytest.raises(ConfigurationError, match="the environment has no PLANTED_KEY"):
        delivered.reconcile()


def test_a_destination_without_export_asks_for_files(delivered: Plant) -> None:
    text = DESTINATION.replace("export: {export}\n", "")
    delivered.plot.write_destination(delivered.name, "", text)
    with pytest.raises(ConfigurationError, match="names no export: URL; give its export as files with --export"):
        delivered.reconcile()


def test_events_without_a_time_are_found_by_reading_all(delivered: Plant) -> None:
    delivered.plot.write_destination(
        delivered.name, f"{delivered.cdp.url}/v1/export", DESTINATION.replace("timestamp: timestamp\n", "")
    )
    text = DESTINATION.replace("  original_timestamp: timestamp\n", "")
    delivered.plot.write_destination(delivered.name, f"{delivered.cdp.url}/v1/export", text)
    for event_id, event in delivered.ledger.items():
        delivered.cdp.alter(event_id, {name: value for name, value in event.items() if name != "timestamp"})
    document = delivered.reconcile()
    assert document["classes"]["delivered"] == len(delivered.ledger) and document["verdict"]["exit_code"] == 0


@contextmanager
def serving(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, list[str]]]:
    """An address that gives these answers one after the other, the last one for ever; and the paths that were asked for."""
    left, asked = list(answers), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/export?kind=all", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_page_is_asked_for_again_while_that_may_help(delivered: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the longest backoff that chance may give: together longer than ``patience_s``, which ends with a last attempt."""
    monkeypatch.setattr("operations.reconcile.url_export.backoff_s", lambda attempt: 0.2 * 2 ** (attempt - 1))
    body = lines_of(delivered, wrapped)
    half = body[: body.index(b"\n", len(body) // 2) + 1]
    pages = (200, {"X-Next-Cursor": "c 1"}, half), (503, {}, b""), (429, {"Retry-After": "0"}, b""), (200, {}, body[len(half) :])
    with serving(*pages) as (url, asked):
        delivered.plot.write_destination(delivered.name, url)
        document = delivered.reconcile()
    assert document["classes"]["delivered"] == len(delivered.ledger) and document["export"]["events"] == len(delivered.ledger)
    assert len(asked) == 4 and len(set(asked[1:])) == 1 and "cursor=c+1" in asked[1]
    assert all("kind=all" in path and "start=" in path and "end=" in path for path in asked)
    assert document["export"]["from"] == url.partition("?")[0]


@pytest.mark.parametrize(
    "answer, told",
    [
        ((404, {}, b""), "HTTP 404; check export:"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "HTTP 302"),
        ((400, {}, b""), "HTTP 400"),
        ((200, {}, b"<html>"), "expected JSON lines with messageId"),
    ],
)
def test_what_no_second_attempt_would_change_is_told_at_once(
    delivered: Plant, answer: tuple[int, dict[str, str], bytes], told: str
) -> None:
    with serving(answer) as (url, asked):
        delivered.plot.write_destination(delivered.name, url)
        with pytest.raises(ConfigurationError, match=told):
            delivered.reconcile()
    assert len(asked) == 1


def test_a_cursor_that_comes_again_ends_in_an_error(delivered: Plant) -> None:
    with serving((200, {"X-Next-Cursor": "7"}, b"")) as (url, asked):
        delivered.plot.write_destination(delivered.name, url)
        with pytest.raises(ComponentDownError, match="comes again"):
            delivered.reconcile()
    assert len(asked) == 2


# --- which times are read


def hours(*numbers: int) -> Any:
    return np.array(numbers, dtype=np.int64)


def test_the_range_and_the_hours_of_its_events_are_read_each_with_a_margin() -> None:
    hour = HOUR_US
    assert spans_of(10 * hour, 12 * hour, hours(10, 11), hour) == [(9 * hour, 13 * hour)]
    assert spans_of(10 * hour, 12 * hour, hours(2, 10, 13), hour) == [(hour, 4 * hour), (9 * hour, 15 * hour)]
    assert spans_of(10 * hour, 12 * hour, hours(7), hour) == [(6 * hour, 13 * hour)]
    assert spans_of(10 * hour, 12 * hour, hours(), 1) == [(10 * hour - 1, 12 * hour + 1)]


def test_many_stretches_become_few_and_none_is_lost() -> None:
    chosen = np.arange(0, 3_000, 10)
    spans = spans_of(0, 1, chosen, 1)
    assert len(spans) == url_export._MOST_SPANS
    assert all(any(low <= hour * HOUR_US and (hour + 1) * HOUR_US <= high for low, high in spans) for hour in chosen.tolist())
    assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_an_event_with_a_time_far_from_its_window_is_found(growing: Plant) -> None:
    """Its own time is the client's clock, which was not believed: the window is when it was received."""
    far, now_us = f"{growing.name}-far", START_US + 60_000_000
    growing.plot.ingest([line(far, now_us - 500 * 24 * HOUR_US, received_us=now_us)])
    growing.read_rows()
    assert far in growing.within and growing.events[far]["timestamp"] < us_text(START_US - 400 * 24 * HOUR_US)
    growing.put(far, growing.events[far])
    growing.grow()
    assert growing.reconcile()["classes"]["delivered"] == 1
