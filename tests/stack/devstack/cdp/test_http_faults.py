"""Each fault over a real socket: what the client sees, and what is in the ledger then."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from tests.support.cdp import CdpEndpoint


def send(cdp: CdpEndpoint, *message_ids: str, session: requests.Session | None = None, **options: Any) -> requests.Response:
    events = [{"type": "page", "userId": "u", "messageId": message_id} for message_id in message_ids]
    options = {"auth": (cdp.write_key, ""), "timeout": 30, **options}
    return (session or requests).post(f"{cdp.url}/v1/batch", json={"batch": events}, **options)


@pytest.mark.parametrize("kind", ["500", "503"])
def test_a_server_error_keeps_the_events_out(cdp: CdpEndpoint, kind: str) -> None:
    cdp.faults(script=[kind])
    assert [send(cdp, "m").status_code for _ in range(2)] == [int(kind), 200]
    assert [(row["messageId"], row["times"]) for row in cdp.ledger()] == [("m", 1)]
    assert cdp.counters()["by_fault"] == {kind: 1}


@pytest.mark.parametrize("status", [403, 500])
def test_a_poisonous_event_keeps_its_whole_request_out_each_time(cdp: CdpEndpoint, status: int) -> None:
    cdp.faults(poison="bad-\\u0000", poison_status=status, script=["ok", "503"])
    assert [send(cdp, "good", "bad-\x00").status_code, send(cdp, "good").status_code] == [status, 503]
    assert [send(cdp, "bad-\x00").status_code, send(cdp, "good").status_code] == [status, 200]
    assert cdp.message_ids() == ["good"]
    assert cdp.counters()["by_fault"] == {"poison": 2, "503": 1}


def test_429_says_when_to_come_back_in_seconds_or_as_a_date(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["429_seconds", "429_date"], retry_after_s=7)
    before = time.time()
    seconds, date = send(cdp, "m"), send(cdp, "m")
    assert (seconds.status_code, date.status_code, cdp.ledger()) == (429, 429, [])
    assert seconds.headers["Retry-After"] == "7"
    assert before + 7 <= parsedate_to_datetime(date.headers["Retry-After"]).timestamp() <= time.time() + 8


def test_a_reset_before_keeps_the_events_out_and_one_after_does_not(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["reset_before", "reset_after"])
    with requests.Session() as session:
        for message_id in ("before", "after"):
            with pytest.raises(requests.ConnectionError, match="Connection reset by peer"):
                send(cdp, message_id, session=session)
        assert send(cdp, "after", session=session).status_code == 200
    assert [(row["messageId"], row["times"]) for row in cdp.ledger()] == [("after", 2)]
    assert cdp.counters()["by_status"] == {"reset": 2, "200": 1}


def test_a_slow_answer_is_committed_before_it_comes(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["slow", "slow"], slow_s=0.3)
    began = time.monotonic()
    assert send(cdp, "patient").status_code == 200
    assert time.monotonic() - began >= 0.3
    cdp.faults(script=["slow"], slow_s=20)
    with pytest.raises(requests.ReadTimeout):
        send(cdp, "hasty", timeout=0.3)
    assert cdp.message_ids() == ["patient", "hasty"]


def test_others_are_served_while_one_answer_is_slow(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["slow"], slow_s=20)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(send, cdp, "slow", timeout=1)
        while not cdp.counters()["requests"]:
            assert not slow.done()
        assert send(cdp, "quick").status_code == 200
        with pytest.raises(requests.ReadTimeout):
            slow.result()


def test_a_wrong_body_is_a_success_that_is_no_json(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["wrong_body"])
    answer = send(cdp, "m")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<html>")
    assert cdp.message_ids() == ["m"]


def test_a_partial_failure_names_the_events_that_are_not_kept(cdp: CdpEndpoint) -> None:
    ids = [f"m-{n}" for n in range(40)]
    cdp.faults(script=["partial"], seed=3, partial_share=0.3)
    events = [{"type": "page", "userId": one, "messageId": one} for one in ids]  # of as many users: each fails by itself
    answer = requests.post(f"{cdp.url}/v1/batch", json={"batch": events}, auth=(cdp.write_key, ""), timeout=30)
    document = answer.json()
    assert (answer.status_code, document["success"]) == (207, False)
    errors = document["errors"]
    assert {error["status"] for error in errors} == {400, 413, 429, 503}
    assert all(ids[error["index"]] == error["messageId"] and error["message"] for error in errors)
    named = {error["messageId"] for error in errors}
    assert 0 < len(named) < 40
    assert cdp.message_ids() == [one for one in ids if one not in named]
    assert cdp.counters()["rejected"] == len(named)


def test_the_index_of_a_partial_failure_counts_dropped_events_too(cdp: CdpEndpoint) -> None:
    cdp.faults(script=["partial"], partial_share=1)
    batch = [{"type": "nonsense", "userId": "u"}, {"type": "page", "userId": "u", "messageId": "m"}]
    answer = requests.post(f"{cdp.url}/v1/batch", json={"batch": batch}, auth=(cdp.write_key, ""), timeout=30)
    assert [(error["index"], error["messageId"]) for error in answer.json()["errors"]] == [(1, "m")]


def test_down_answers_503_without_a_body_or_refuses_and_is_over_when_faults_end(cdp: CdpEndpoint) -> None:
    cdp.faults(down=True)
    answer = send(cdp, "m")
    assert (answer.status_code, answer.content) == (503, b"")
    cdp.faults(down="refuse")
    with pytest.raises(requests.ConnectionError):
        send(cdp, "m")
    assert cdp.counters()["by_fault"] == {"down": 2}
    cdp.faults()
    assert send(cdp, "m").status_code == 200
    assert [row["times"] for row in cdp.ledger()] == [1]


def test_the_rate_limit_lets_so_many_through_in_a_second(cdp: CdpEndpoint) -> None:
    cdp.faults(rate_limit_per_s=5)
    with requests.Session() as session:
        answers = [send(cdp, f"m-{n}", session=session) for n in range(20)]
        over = [answer for answer in answers if answer.status_code == 429]
        assert over, "twenty requests took more than three seconds"
        assert {answer.headers["Retry-After"] for answer in over} == {"1"}
        deadline = time.monotonic() + 10
        while send(cdp, "later", session=session).status_code == 429:
            assert time.monotonic() < deadline
    assert len(cdp.ledger()) == len(answers) - len(over) + 1
    assert cdp.counters()["by_fault"]["rate_limit"] >= len(over)


def test_a_share_of_all_faults_loses_and_doubles_nothing_for_a_client_that_tries_again(cdp: CdpEndpoint) -> None:
    cdp.faults(share=0.5, seed=11, slow_s=0.01, retry_after_s=0, partial_statuses=[429, 503])
    wanted = [f"m-{n}" for n in range(300)]
    with requests.Session() as session:
        for start in range(0, len(wanted), 10):
            left = wanted[start : start + 10]
            while left:
                try:
                    answer = send(cdp, *left, session=session)
                except requests.ConnectionError:
                    continue
                if answer.status_code == 207:
                    left = [error["messageId"] for error in answer.json()["errors"]]
                elif answer.status_code == 200:
                    left = []
    assert sorted(cdp.message_ids()) == sorted(wanted)
    counters = cdp.counters()
    assert counters["repeats"] > 0
    assert len(counters["by_fault"]) == 9
