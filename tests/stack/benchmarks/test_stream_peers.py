"""Each streaming peer once, on a broker of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.stream import __main__ as command
from benchmarks.stream.programs import PEERS_PYTHON


@pytest.mark.long
@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="the peers of make bench-stream are not installed: make peers")
@pytest.mark.parametrize("job", ["pyspark", "bytewax", "quixstreams"])
def test_a_peer_takes_every_event_to_its_files_once(job: str, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    assert command.main(["--quick", "--job", job, "--output", str(output)]) == 0
    document = json.loads(output.read_text())
    assert document["failed"] == []
    (run,) = document["runs"]
    assert run["differs"] is None
    assert (run["events"] > 5_000, run["cpu"]["other_share"] < 1) == (True, True)
    own = sum(used for name, used in run["cpu"]["cpu_s"].items() if name not in ("broker", "producer"))
    assert own > 0
