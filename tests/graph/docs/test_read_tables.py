"""What the page about other readers says in Python runs, where the package is there: here, or beside the bench's peers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ingest.contestants import PEERS_PYTHON
from lake.location import Lake
from tests.support.lake_state import scan
from tests.support.pages import DOCS, Block, blocks_of
from tests.support.readers import Clone

BLOCKS = [block for block in blocks_of(DOCS / "guides" / "read-tables.md") if block.language == "python"]
_SLOW = {"pyspark"}  # a JVM
_DEADLINE_S = 240


def package_of(block: Block) -> str:
    found = re.match(r"(?:import|from) (\w+)", block.text)
    assert found
    return found[1]


def interpreter_with(package: str) -> str:
    """One that has the package and what it reads Parquet with."""
    for python in (sys.executable, str(PEERS_PYTHON)):
        if Path(python).exists():
            probe = [python, "-c", f"import {package}"]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return python
    pytest.skip(f"no {package}: make peers")


def test_the_page_shows_three_readers() -> None:
    assert [package_of(block) for block in BLOCKS] == ["polars", "pyspark", "pandas"]


@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=[pytest.mark.long] if package_of(b) in _SLOW else [], id=package_of(b)) for b in BLOCKS]
)
def test_a_reader_counts_what_is_published(block: Block, clone: Clone, environment: dict[str, str], tmp_path: Path) -> None:
    python = interpreter_with(package_of(block))
    clone.renew()
    listed = ["headrace", "lake", "files", "--paths", "validated.order", "--project", str(clone.webshop)]
    paths = subprocess.run(listed, env=environment, capture_output=True, text=True, check=True, timeout=_DEADLINE_S).stdout
    (tmp_path / "orders.txt").write_text(paths)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", block.text], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    published = scan(Lake.at(str(clone.lake)), "validated.order")["order_id"].to_pylist()
    assert int(done.stdout.split()[-1]) == len(set(published)) > 0
