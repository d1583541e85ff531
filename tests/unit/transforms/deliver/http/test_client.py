"""How long the destination asks to wait: Retry-After in both forms."""

from __future__ import annotations

import pytest

from transforms.deliver.http.client import Answer, asked_wait_s

NOON_S = 1_763_899_200.0  # Sun, 23 Nov 2025 12:00:00 GMT


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 120 ", 120.0),
        ("86400", 300.0),
        ("9" * 400, 300.0),
        ("Sun, 23 Nov 2025 12:00:07 GMT", 7.0),
        ("Sunday, 23-Nov-25 12:00:07 GMT", 7.0),
        ("Sun Nov 23 12:00:07 2025", 7.0),
        ("Sun, 23 Nov 2025 12:00:07 -0000", 7.0),
        ("Sun, 23 Nov 2025 11:59:00 GMT", 0.0),
        ("Mon, 24 Nov 2025 12:00:00 GMT", 300.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("²", None),
        ("٣", None),
        ("Sun, 99 Nov 2025 12:00:07 GMT", None),
    ],
)
def test_retry_after(retry_after: str | None, wait_s: float | None) -> None:
    assert asked_wait_s(Answer(429, b"", retry_after), NOON_S) == wait_s


def test_a_date_counts_from_the_clock_that_wrote_it() -> None:
    answer = Answer(503, b"", "Sun, 23 Nov 2025 12:00:07 GMT", "Sun, 23 Nov 2025 12:00:00 GMT")
    assert asked_wait_s(answer, NOON_S + 3_600) == 7.0
    assert asked_wait_s(answer._replace(date="yesterday"), NOON_S + 4) == 3.0
