"""A Prism that a run starts ends with the run, not with the process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import apache_beam as beam
import pytest

from runners.binaries import find_prism
from runners.direct import run_unbounded
from tests.support.leftovers import processes_of

running: list[str] = []  # Prism's workers are threads of this process


def _look(place: str) -> None:
    running.extend(processes_of(Path(place)).values())


def _fail(_: None) -> None:
    raise ValueError("no such thing")


@pytest.mark.parametrize("fails", [False, True])
def test_neither_prism_nor_a_file_of_it_is_left_when_the_run_has_ended(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running.clear()

    def build(pipeline: beam.Pipeline) -> None:
        looked = pipeline | beam.Create([str(tmp_path)], reshuffle=False) | beam.Map(_look)
        if fails:
            _ = looked | "Fail" >> beam.Map(_fail)

    try:
        run_unbounded(build, prism=find_prism())
    except RuntimeError as error:
        assert fails and "no such thing" in str(error)
    assert any("prism" in command for command in running)
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
