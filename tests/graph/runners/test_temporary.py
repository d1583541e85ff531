"""A run leaves nothing in the temporary folder: not when it fails, not when it is interrupted, and for no longer than the next
run when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from contracts.errors import ConfigurationError
from runners.direct import run_bounded
from runners.temporary import removed_folder
from tests.support.population import records, write_files
from tests.support.processes import finish, start_ingest, wait_until


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of this test, and of the processes that it starts."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(folder)


def left_in(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def test_a_run_leaves_nothing(place: Path) -> None:
    seen = place.parent / "seen"

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([1]) | beam.Map(lambda _: seen.write_text(tempfile.mkdtemp()))

    run_bounded(build)
    assert Path(seen.read_text()).is_relative_to(place)
    assert left_in(place) == []


def test_a_run_whose_graph_cannot_be_built_leaves_nothing(place: Path) -> None:
    def build(pipeline: beam.Pipeline) -> None:
        raise ConfigurationError("no such thing")

    with pytest.raises(ConfigurationError):
        run_bounded(build)
    assert left_in(place) == []


def _started(process: subprocess.Popen[str], place: Path) -> None:
    assert wait_until(process, lambda: any(place.rglob("beam-pipeline-temp*")))


def test_an_interrupted_run_leaves_nothing(place: Path, tmp_path: Path) -> None:
    process = start_ingest(tmp_path / "lake", write_files(tmp_path, records(99), 4))
    _started(process, place)
    process.send_signal(signal.SIGINT)
    code, _, said = finish(process)
    assert (code, left_in(place)) == (130, []), said


def test_what_a_killed_run_left_goes_with_the_next_one_but_not_what_a_living_one_uses(place: Path, tmp_path: Path) -> None:
    process = start_ingest(tmp_path / "lake", write_files(tmp_path, records(99), 4))
    _started(process, place)
    process.kill()
    finish(process)
    assert left_in(place) != []
    hour_ago = time.time() - 3600
    with removed_folder() as used:
        for folder in (*place.glob("headrace-run-*"), used):
            os.utime(folder, (hour_ago, hour_ago))
        with removed_folder() as own:
            assert set(place.iterdir()) == {used, own}
    assert left_in(place) == []
