"""What ``--window`` takes, and the sentence for what it does not."""

from __future__ import annotations

import pytest

from pipelines.ingest.options import IngestOptions
from runners.option_readers import window_length


@pytest.mark.parametrize(
    ("given", "seconds"), [("1m", 60), ("90 m", 5_400), ("1h", 3_600), ("1d", 86_400), ("7d", 604_800), ("30d", 2_592_000)]
)
def test_minutes_that_divide_a_day_and_whole_days_are_windows(given: str, seconds: int) -> None:
    assert window_length(given) == seconds


@pytest.mark.parametrize("given", ["30s", "7m", "25h", "36h", "3661d", "99999999999d"])
def test_other_lengths_are_refused_in_a_sentence(given: str) -> None:
    with pytest.raises(ValueError, match=r"whole minutes that divide a day, such as 1h, or whole days up to 3660d"):
        window_length(given)


@pytest.mark.parametrize("given", ["", "d", "0d", "-1d", "1.5d", "1month", "P1D", "30"])
def test_what_is_no_duration_is_refused_in_a_sentence(given: str) -> None:
    with pytest.raises(ValueError, match="a duration such as 90s, 15m, 1h or 7d"):
        window_length(given)


def told(window: int, *, until: str | None) -> list[str]:
    options = IngestOptions(source="web", input=("kafka://127.0.0.1:1/t",), window=window, until=until)
    return [problem for problem in options.problems() if problem.startswith("--window")]


def test_a_stream_holds_rows_for_a_day_at_most() -> None:
    assert told(86_400, until=None) == []
    assert told(30 * 86_400, until="now") == []
    (problem,) = told(30 * 86_400, until=None)
    assert problem.startswith("--window: at most 1d for a stream")
