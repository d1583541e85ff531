"""When a partition is silent, also one that is never at its end."""

from __future__ import annotations

from lake.raw.log_ids import LogId
from transforms.read.silence import EndsSeen

LOG, OTHER, WITHIN_S = LogId("t", "id", 0), LogId("t", "id", 1), 30.0


def test_at_its_end_all_is_read_up_to_now() -> None:
    ends = EndsSeen()
    assert ends.read_up_to(LOG, 7, 7, 100.0, WITHIN_S) == 100.0
    assert ends.read_up_to(LOG, 7, 7, 500.0, WITHIN_S) == 500.0


def test_what_never_ends_is_read_up_to_when_it_was_asked_before() -> None:
    ends = EndsSeen()
    assert ends.read_up_to(LOG, 90, 100, 100.0, WITHIN_S) is None
    assert ends.read_up_to(LOG, 99, 500, 110.0, WITHIN_S) is None
    assert ends.read_up_to(LOG, 100, 900, 115.0, WITHIN_S) == 100.0
    assert ends.read_up_to(LOG, 899, 1_000, 116.0, WITHIN_S) is None
    assert ends.read_up_to(LOG, 900, 1_000, 117.0, WITHIN_S) == 115.0
    assert ends.read_up_to(OTHER, 900, 1_000, 117.0, WITHIN_S) is None


def test_what_was_told_long_ago_says_nothing() -> None:
    """A process that was frozen for an hour has a backlog, though all of the hour before is read."""
    ends = EndsSeen()
    assert ends.read_up_to(LOG, 90, 100, 100.0, WITHIN_S) is None
    assert ends.read_up_to(LOG, 100, 9_000, 3_700.0, WITHIN_S) is None
    assert ends.read_up_to(LOG, 9_000, 9_500, 3_710.0, WITHIN_S) == 3_700.0


def test_what_moved_the_watermark_begins_anew() -> None:
    ends = EndsSeen()
    assert ends.read_up_to(LOG, 90, 100, 100.0, WITHIN_S) is None
    ends.forget(LOG)
    assert ends.read_up_to(LOG, 120, 200, 110.0, WITHIN_S) is None
