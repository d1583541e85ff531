"""Windows of bounded input are as long as memory allows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake.location import Lake
from lake.raw.files import CHUNK_BYTES, RawChunk, land_file
from lake.raw.inputs import expand_inputs
from pipelines.ingest import density
from pipelines.ingest.density import WHOLE_S, window_for
from tests.support.runs import WEBSHOP

START = datetime(2025, 1, 1, tzinfo=UTC)
SPEC, CONTRACT = WEBSHOP.source("web")


@pytest.fixture
def chunks(tmp_path: Path) -> list[RawChunk]:
    """An event an hour for a year."""
    lines = [
        json.dumps({"messageId": f"m-{n}", "type": "track", "event": "e", "userId": "u", "originalTimestamp": at, "sentAt": at})
        for n in range(365 * 24)
        for at in [(START + timedelta(hours=n)).isoformat()]
    ]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines))
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    landed = land_file(lake, SPEC, expand_inputs([str(file)])[0], CHUNK_BYTES >> 8).file
    assert landed is not None
    return list(landed.as_chunks(lake))


def test_what_fits_into_memory_is_one_window(chunks: list[RawChunk]) -> None:
    assert window_for(chunks, SPEC, CONTRACT, at_once_bytes=1 << 40) == WHOLE_S


def test_what_does_not_fit_has_the_longest_windows_that_do(chunks: list[RawChunk], monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(chunk.size_bytes for chunk in chunks)
    lengths_s = []
    for share in (2, 20, 10_000_000):
        monkeypatch.setattr(density, "FOLDED_BYTES", total // share)
        lengths_s.append(window_for(chunks, SPEC, CONTRACT, at_once_bytes=total))
    longest, shorter, shortest = lengths_s
    assert 4 * 86_400 <= shorter < longest <= 256 * 86_400
    assert shortest == 3_600


def test_a_run_that_takes_little_at_once_needs_no_sample(chunks: list[RawChunk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density, "FOLDED_BYTES", 1_000)
    assert window_for(chunks, SPEC, CONTRACT, at_once_bytes=1_000) == WHOLE_S
    assert window_for([], SPEC, CONTRACT, at_once_bytes=1_000) == WHOLE_S


def test_input_that_tells_no_time_has_windows_of_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density, "FOLDED_BYTES", 1)
    (tmp_path / "bad.jsonl").write_text("not json\n" * 10)
    lake = Lake.at(str(tmp_path / "lake"))
    lake.create()
    landed = land_file(lake, SPEC, expand_inputs([str(tmp_path / "bad.jsonl")])[0]).file
    assert landed is not None
    assert window_for(list(landed.as_chunks(lake)), SPEC, CONTRACT, at_once_bytes=1 << 40) == 3_600
