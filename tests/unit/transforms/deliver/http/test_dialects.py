"""What the answers of the two APIs mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.spec.destination import DialectName
from transforms.deliver.http.client import Answer, Fate, fate_of
from transforms.deliver.http.dialects import dialect_of

IDS = ["a", "b", "c"]
BOTH: list[DialectName] = ["segment", "rudderstack"]

FATES = {
    Fate.DELIVERED: [200, 201, 202, 207],
    Fate.THROTTLED: [429],
    Fate.RETRY: [408, 410, 425, 460, 500, 502, 503, 504, 507, 508, 511, 520, 599, 100, 600],
    Fate.UNUSABLE: [301, 302, 304, 307, 308, 401, 402, 403, 404, 405, 407, 421, 426, 451, 501, 505],
    Fate.REFUSED: [400, 406, 409, 411, 412, 413, 414, 415, 416, 417, 418, 422, 428, 431],
}


@pytest.mark.parametrize(("status", "fate"), [(status, fate) for fate, statuses in FATES.items() for status in statuses])
def test_every_status_has_one_meaning(status: int, fate: Fate) -> None:
    assert fate_of(status) is fate


def of(status: int, document: Any) -> Answer:
    return Answer(status, document if isinstance(document, bytes) else json.dumps(document).encode())


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("segment", b'{"success": true}'),
        ("segment", b'{\n  "success": true\n}'),
        ("rudderstack", b"OK"),
        ("rudderstack", b'"ok"\n'),
    ],
)
def test_the_documented_success(name: DialectName, body: bytes) -> None:
    verdict = dialect_of(name).judge(of(200, body), IDS)
    assert (verdict.fate, verdict.failure, dict(verdict.listed)) == (Fate.DELIVERED, "", {})


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 207])
@pytest.mark.parametrize(
    "body", [b"", b"OK", b"accepted", {"success": True}, {"status": "queued"}, {"errors": []}, ["OK"], b"\xff\xfe"]
)
def test_every_2xx_is_delivered(name: DialectName, status: int, body: Any) -> None:
    assert dialect_of(name).judge(of(status, body), IDS).fate is Fate.DELIVERED


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("status", [200, 202, 207])
@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b"\n <!doctype html>",
        b"\xef\xbb\xbf<html>",
        b'<?xml version="1.0"?><error/>',
        {"error": "quota"},
        {"success": None},
        {"success": False},
        {"success": 1},
        {"success": "true"},
        {"success": True, "errors": "none"},
        {"errors": [{"messageId": "unknown", "status": 400}]},
        {"errors": [{"index": 3, "status": 400}]},
        {"errors": [{"index": -1, "status": 400}]},
        {"errors": [{"index": True, "status": 400}]},
        {"errors": [{"index": 0}]},
        {"errors": [{"index": 0, "status": "400"}]},
        {"errors": [{"index": 0, "status": 400}, "more"]},
    ],
)
def test_a_2xx_that_is_a_page_or_says_that_something_failed_is_no_success(name: DialectName, status: int, body: Any) -> None:
    verdict = dialect_of(name).judge(of(status, body), IDS)
    assert (verdict.fate, verdict.failure) == (Fate.RETRY, "wrong_answer")


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("status", [200, 202, 207])
def test_excepted_events_by_id_or_by_index(name: DialectName, status: int) -> None:
    errors = [{"messageId": "c", "status": 503, "message": "later"}, {"index": 0, "status": 400}]
    verdict = dialect_of(name).judge(of(status, {"success": False, "errors": errors}), IDS)
    assert (verdict.fate, dict(verdict.listed)) == (Fate.DELIVERED, {2: 503, 0: 400})


def test_an_id_that_is_twice_in_a_request_is_excepted_twice() -> None:
    verdict = dialect_of("segment").judge(of(207, {"errors": [{"messageId": "a", "status": 400}]}), ["a", "b", "a"])
    assert dict(verdict.listed) == {0: 400, 2: 400}


@pytest.mark.parametrize(
    ("status", "failure"),
    [(401, "unauthorised"), (403, "unauthorised"), (407, "unauthorised"), (404, "not_found"), (307, "redirect"), (503, "http_503")],
)
def test_failures_have_short_names_that_are_not_of_the_server(status: int, failure: str) -> None:
    assert dialect_of("segment").judge(of(status, {"message": "jane@example.com is banned"}), IDS).failure == failure


@pytest.mark.parametrize("name", BOTH)
def test_the_write_key_is_the_user_of_basic_authentication(name: DialectName) -> None:
    assert dialect_of(name).headers("abc123")["Authorization"] == "Basic YWJjMTIzOg=="  # the example of Segment's documentation
