"""Two hundred thousand letters are reprocessed in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.repairs import write_recipe
from tests.support.shop import Shop

LETTERS = 200_000
MOST_BYTES = 1_200 << 20  # measured: 815 MiB
_RUN = """
import json, logging, sys
from pathlib import Path
from contracts.spec.project import Project
from lake.location import Lake
from operations.reprocess.recipes import tried_recipe
from tests.support.repairs import run
logging.disable(logging.CRITICAL)
project = Project.load(Path(sys.argv[1]))
report = run(project, Lake.at(sys.argv[1] + "/lake"), recipe=tried_recipe(project, "page"))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"recovered": report.count("recovered"), "balanced": report.ledger["web"].balanced, "kib": int(peak.split()[1])}))
"""


def _line(number: int) -> str:
    second = number % 86_400
    time = f"2026-11-02T{second // 3_600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    event = {"messageId": f"m-{number}", "type": "nothing", "anonymousId": f"a-{number}", "originalTimestamp": time}
    return json.dumps(event | {"properties": {"text": "x" * 100}})


@pytest.mark.long
def test_memory_does_not_follow_the_letters(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    write_recipe(shop.folder, "page", steps=[{"map": {"path": "type", "values": {"nothing": "page"}}}])
    shop.ingest(list(map(_line, range(LETTERS))), window=86_400)
    command = [sys.executable, "-c", _RUN, str(shop.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["recovered"], told["balanced"]) == (LETTERS, True)
    assert told["kib"] << 10 < MOST_BYTES, f"{told['kib'] >> 10} MiB"
