"""The interface over HTTP: calls, keys, limits, reads, export, control, the page."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.cdp import CdpEndpoint

Event = dict[str, Any]


def track(number: int, **fields: Any) -> Event:
    return {
        "type": "track",
        "event": "Viewed",
        "userId": "u-1",
        "messageId": f"m-{number}",
        "timestamp": f"2026-11-23T10:00:{number:02}Z",
        **fields,
    }


def post(url: str, content: object, key: str = "dev-write-key", **options: Any) -> requests.Response:
    return requests.post(url, json=content, auth=(key, ""), timeout=30, **options)


def test_each_dialect_answers_as_its_product_does(cdp: CdpEndpoint) -> None:
    for url in (f"{cdp.url}/v1/batch", f"{cdp.url}/segment/v1/batch"):
        segment = post(url, {"batch": [track(1)]})
        assert (segment.status_code, segment.json()) == (200, {"success": True})
    rudderstack = post(f"{cdp.rudderstack}/v1/batch", {"batch": [track(2)]})
    assert (rudderstack.status_code, rudderstack.text) == (200, "OK")
    assert rudderstack.headers["Content-Type"].startswith("text/plain")
    assert [(row["messageId"], row["times"]) for row in cdp.ledger()] == [("m-1", 2), ("m-2", 1)]
    assert (cdp.counters()["events_accepted"], cdp.counters()["repeats"]) == (2, 1)


@pytest.mark.parametrize("prefix", ["", "/segment", "/rudderstack"])
def test_every_single_call_arrives_with_its_type(cdp: CdpEndpoint, prefix: str) -> None:
    calls = ("track", "identify", "page", "screen", "group", "alias")
    for call in calls:
        answer = post(f"{cdp.url}{prefix}/v1/{call}", {"userId": "u", "messageId": call, "event": "e"})
        assert answer.status_code == 200
    assert [(row["messageId"], row["type"]) for row in cdp.ledger()] == [(call, call) for call in calls]


def test_a_missing_or_wrong_key_is_401_and_counted(cdp: CdpEndpoint) -> None:
    url = f"{cdp.url}/v1/batch"
    answers = [
        requests.post(url, json={"batch": [track(1)]}, timeout=30),
        post(url, {"batch": [track(1)]}, key="wrong"),
        requests.post(url, json={"batch": [track(1)]}, auth=("dev-write-key", "password"), timeout=30),
        requests.post(url, json={"batch": [track(1)]}, headers={"Authorization": "Basic é"}, timeout=30),
        post(f"{cdp.rudderstack}/v1/batch", {"batch": [track(1)]}, key="wrong"),
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert answers[0].json() == {"success": False, "message": "Invalid Write Key"}
    assert answers[-1].text == "Invalid Write Key\n"
    assert (cdp.counters()["unauthorised"], cdp.ledger()) == (5, [])


def test_gzip_counts_by_what_it_unpacks_to(cdp: CdpEndpoint) -> None:
    def send(content: bytes) -> requests.Response:
        headers = {"Content-Encoding": "gzip"}
        return requests.post(f"{cdp.url}/v1/batch", data=content, headers=headers, auth=(cdp.write_key, ""), timeout=30)

    content = json.dumps({"batch": [track(1), track(2)]}).encode()
    packed = gzip.compress(content[:50]) + gzip.compress(content[50:])  # two members are one body
    assert send(packed).json() == {"success": True}
    counters = cdp.counters()
    assert (counters["wire_bytes"], counters["json_bytes"], counters["events_accepted"]) == (len(packed), len(content), 2)
    assert send(gzip.compress(content.ljust(512_001))).status_code == 413
    assert send(gzip.compress(bytes(200_000_000), 1)).status_code == 413  # is not unpacked as a whole
    assert send(packed[:-10]).json()["message"] == "Invalid gzip: it ends early"
    assert send(content).json()["message"] == "Invalid gzip"
    assert len(cdp.ledger()) == 2


def test_an_unknown_encoding_is_400(cdp: CdpEndpoint) -> None:
    answer = post(f"{cdp.url}/v1/batch", {"batch": [track(1)]}, headers={"Content-Encoding": "br"})
    assert (answer.status_code, answer.json()["message"]) == (400, "Content-Encoding br is not supported; send gzip or none")


def test_more_than_2500_events_are_answered_with_success_dropped_and_counted(cdp: CdpEndpoint) -> None:
    events = [{"type": "page", "userId": "u", "messageId": str(n)} for n in range(2_501)]
    assert post(f"{cdp.url}/v1/batch", {"batch": events}).json() == {"success": True}
    assert (cdp.counters()["dropped"], cdp.ledger()) == (2_501, [])
    assert post(f"{cdp.rudderstack}/v1/batch", {"batch": events}).text == "OK"
    assert cdp.counters()["events_accepted"] == 2_501


def test_a_refused_request_leaves_nothing(cdp: CdpEndpoint) -> None:
    assert post(f"{cdp.url}/v1/batch", {"batch": [track(1), 5]}).status_code == 400
    assert post(f"{cdp.rudderstack}/v1/batch", {"batch": [track(1), track(2, userId=None)]}).status_code == 400
    assert post(f"{cdp.url}/v1/batch", {"batch": [track(n, x="y" * 30_000) for n in range(20)]}).status_code == 413
    assert (cdp.ledger(), cdp.counters()["by_status"]) == ([], {"400": 2, "413": 1})


def test_the_ledger_survives_kill_and_restart(tmp_path: Path) -> None:
    with CdpEndpoint.started(data=tmp_path / "cdp") as cdp:
        post(f"{cdp.url}/v1/batch", {"batch": [track(1), track(2)]})
        counters, ledger = cdp.counters(), cdp.ledger()
        for number in (signal.SIGKILL, signal.SIGTERM):
            cdp.restart(number)
            assert (cdp.counters(), cdp.ledger()) == (counters, ledger)
        post(f"{cdp.url}/v1/batch", {"batch": [track(2), track(3)]})
        assert [(row["messageId"], row["times"]) for row in cdp.ledger()] == [("m-1", 1), ("m-2", 2), ("m-3", 1)]


def test_the_export_is_paged_by_key_and_time(cdp: CdpEndpoint) -> None:
    post(f"{cdp.url}/v1/batch", {"batch": [track(n) for n in range(50)]})
    post(f"{cdp.url}/v1/batch", {"batch": [track(n) for n in range(50)]}, key="shop-key")
    window = {"start": "2026-11-23T10:00:10Z", "end": "2026-11-23T11:00:35+01:00", "limit": "7"}
    for prefix in ("", "/segment", "/rudderstack"):
        found: list[Event] = []
        cursor: dict[str, str] = {}
        pages = 0
        while True:
            page = requests.get(f"{cdp.url}{prefix}/v1/export", params={**window, **cursor}, auth=("shop-key", ""), timeout=30)
            found += [json.loads(line) for line in page.text.splitlines()]
            pages += 1
            if (following := page.headers.get("X-Next-Cursor")) is None:
                break
            cursor = {"cursor": following}
        assert found == [{"messageId": f"m-{n}", "event": track(n)} for n in range(10, 35)]
        assert pages == 4  # 25 by 7


def test_the_export_refuses_a_wrong_key_and_a_wrong_time(cdp: CdpEndpoint) -> None:
    assert requests.get(f"{cdp.url}/v1/export", auth=("wrong", ""), timeout=30).status_code == 401
    answer = requests.get(f"{cdp.url}/v1/export?start=now", auth=(cdp.write_key, ""), timeout=30)
    assert (answer.status_code, answer.text) == (400, "start: expected an RFC 3339 time\n")
    cdp.faults(down=True)
    assert requests.get(f"{cdp.url}/v1/export", auth=(cdp.write_key, ""), timeout=30).status_code == 503


def test_the_ledger_is_read_by_page_key_and_time(cdp: CdpEndpoint) -> None:
    post(f"{cdp.url}/v1/batch", {"batch": [track(n) for n in range(3)]})
    post(f"{cdp.url}/v1/batch", {"batch": [track(9, originalTimestamp="2026-11-23T09:00:00Z")]}, key="shop-key")
    everything = cdp.ledger()
    last = dict(everything[-1])
    assert last.pop("receivedAt").endswith("Z")
    assert last == {
        "seq": everything[0]["seq"] + 3,
        "messageId": "m-9",
        "user": "u-1",
        "type": "track",
        "timestamp": "2026-11-23T09:00:00Z",
        "times": 1,
        "writeKey": "shop",
        "event": track(9, originalTimestamp="2026-11-23T09:00:00Z"),
    }
    assert cdp.ledger(write_key="shop") == cdp.ledger(write_key="shop-key") == everything[-1:]
    assert cdp.ledger(start="2026-11-23T10:00:01Z") == everything[1:3]
    assert cdp.ledger(after=everything[2]["seq"]) == everything[3:]
    page = requests.get(f"{cdp.url}/_control/ledger?limit=2", timeout=30)
    assert [json.loads(line) for line in page.text.splitlines()] == everything[:2]
    for query, message in (("write_key=no", "write_key: no such key"), ("after=x", "after: expected a number")):
        wrong = requests.get(f"{cdp.url}/_control/ledger?{query}", timeout=30)
        assert wrong.status_code == 400
        assert message in wrong.text


def test_every_request_is_on_record_with_its_answer(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["ok", "429_seconds", "reset_after"], retry_after_s=3)
    url, batch = f"{cdp.url}/v1/batch", {"batch": [track(1), track(2)]}
    post(url, batch, headers={"Idempotency-Key": "k-1"})
    post(url, batch)
    with pytest.raises(requests.ConnectionError):
        post(url, batch)
    post(url, batch, key="wrong")
    found = cdp.requests()
    names = ("write_key", "status", "fault", "events", "accepted", "repeats", "idempotency_key", "retry_after")
    assert [tuple(one[name] for name in names) for one in found] == [
        ("dev", 200, None, 2, 2, 0, "k-1", None),
        ("dev", 429, "429_seconds", 0, 0, 0, None, "3"),
        ("dev", None, "reset_after", 2, 0, 2, None, None),
        (None, 401, None, 0, 0, 0, None, None),
    ]
    assert cdp.requests(after=found[2]["seq"]) == found[3:]
    assert requests.get(f"{cdp.url}/_control/requests?limit=x", timeout=30).status_code == 400


def test_order_is_one_users_first_arrivals(cdp: CdpEndpoint) -> None:
    post(f"{cdp.url}/v1/batch", {"batch": [track(2), track(5, userId="other"), track(1), track(2)]})
    assert cdp.order("u-1") == ["m-2", "m-1"]
    assert requests.get(f"{cdp.url}/_control/order", timeout=30).status_code == 400


def test_losses_and_differences_can_be_seeded(cdp: CdpEndpoint) -> None:
    post(f"{cdp.url}/v1/batch", {"batch": [track(1), track(2)]})
    counters = cdp.counters()
    cdp.alter("m-1", None)
    cdp.alter("m-2", track(2, event="Changed"))
    cdp.add("m-3", track(3))
    assert [(row["messageId"], row["event"]["event"]) for row in cdp.ledger()] == [("m-2", "Changed"), ("m-3", "Viewed")]
    assert cdp.counters() == counters
    for method, message_id, status in (("PATCH", "m-1", 404), ("POST", "m-2", 409)):
        answer = requests.request(
            method, f"{cdp.url}/_control/ledger", json={"messageId": message_id, "event": track(1)}, timeout=30
        )
        assert answer.status_code == status


def test_a_wrong_fault_plan_is_refused_and_changes_nothing(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["503"])
    for plan in ({"share": 2}, {"kinds": ["404"]}, {"kinds": []}, {"shares": 0.1}, {"rate_limit_per_s": 0}, {"down": "maybe"}):
        answer = requests.put(f"{cdp.url}/_control/faults", json=plan, timeout=30)
        assert answer.status_code == 400, plan
        assert answer.text.startswith("faults: ")
    assert requests.get(f"{cdp.url}/_control/faults", timeout=30).json()["script_left"] == 1


def test_another_host_name_is_refused(cdp: CdpEndpoint) -> None:
    assert requests.get(f"{cdp.url}/_control/ledger", headers={"Host": "rebound.example"}, timeout=30).status_code == 400
    assert requests.get(f"http://localhost:{cdp.port}/_control/counters", timeout=30).status_code == 200


def test_the_page_shows_totals_faults_requests_and_hides_users_and_escapes(cdp: CdpEndpoint) -> None:
    post(f"{cdp.url}/v1/batch", {"batch": [track(1, event="<b>Sale</b>", userId="ada@example.com")]})
    cdp.faults(rate_limit_per_s=40)
    page = requests.get(cdp.url, timeout=30).text
    assert "&lt;b&gt;Sale&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "ada@example.com" not in page
    assert "rate_limit_per_s 40" in page
    assert "200 × 1" in page
    assert "http-equiv=refresh content=2" in page
    assert "ada@example.com" in requests.get(f"{cdp.url}/?users=show", timeout=30).text
    assert "<script" not in page and "http://" not in page and "https://" not in page
