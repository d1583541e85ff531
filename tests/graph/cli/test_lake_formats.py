"""``headrace lake upgrade``, ``downgrade`` and ``why``: lakes of format 1, other horizons, and what became of every copy."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from lake.location import Lake
from lake.tables.iceberg import known_files
from operations import upgrade as module
from tests.support.copies import at, ingest, ledger, lines, project, published

COPIES = [at(1), at(3), at(5, v="y"), at(20), at(1, id="b")]
ALL = [("a", "10-01 10:00"), ("a", "10-03 10:00"), ("a", "10-05 10:00"), ("a", "10-20 10:00"), ("b", "10-01 10:00")]
KEPT = [ALL[0], ALL[3], ALL[4]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    project(tmp_path)
    ingest(tmp_path, "a.jsonl", lines(COPIES))
    return tmp_path


def headrace(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--project", str(path)])


def document(path: Path, *arguments: str) -> Any:
    told = headrace(path, *arguments, "--json")
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def test_a_lake_goes_back_to_format_1_and_comes_again(path: Path) -> None:
    before = {step["after"]["table"]: step["after"] for step in document(path, "lake", "upgrade", "--dry-run")}
    assert published(path) == KEPT
    assert document(path, "lake", "downgrade")[0]["after"]["format"] == 1
    assert published(path) == ALL
    table = Lake.at(str(path / "lake")).load("validated.thing")
    assert "dropped" not in table.metadata.refs and "settled" not in table.metadata.refs
    refused = headrace(path, "ingest", "src", "--input", str(path / "in"))
    assert refused.exit_code == 2
    assert "headrace lake upgrade --dry-run says what it will do" in refused.stderr
    dry = document(path, "lake", "upgrade", "--dry-run")
    assert all(step["needed"] for step in dry)
    assert published(path) == ALL, "a dry run changes nothing"
    after = document(path, "lake", "upgrade")
    assert published(path) == KEPT
    assert {step["after"]["table"]: step["after"] for step in after} == before
    assert not any(step["needed"] for step in document(path, "lake", "upgrade"))
    assert ledger(path).balanced


@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
@pytest.mark.parametrize("step", ["_begin", "sweep", "_as_this_format", "_as_format_1"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_anywhere_it_is_done_again(path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, step: str, moment: str) -> None:
    if verb == "upgrade":
        document(path, "lake", "downgrade")
    given = getattr(module, step)

    def killed(*arguments: Any, **more: Any) -> Any:
        if moment == "after":
            given(*arguments, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, step, killed)
        headrace(path, "lake", verb)
    document(path, "lake", verb)
    assert published(path) == (KEPT if verb == "upgrade" else ALL)
    formats = {step["after"]["format"] for step in document(path, "lake", verb)}
    assert formats == {2 if verb == "upgrade" else 1}


def test_another_horizon_is_an_upgrade(path: Path) -> None:
    for deduplication, rows in (("{horizon: 3d}", KEPT), ("{horizon: unlimited}", [ALL[0], ALL[4]]), ("{horizon: none}", ALL)):
        project(path, deduplication)
        refused = headrace(path, "ingest", "src", "--input", str(path / "in"))
        assert refused.exit_code == 2
        assert "headrace lake upgrade" in refused.stderr
        document(path, "lake", "upgrade")
        assert published(path) == rows, deduplication
        ingest(path, "a.jsonl", lines(COPIES))
        assert published(path) == rows


def test_why_tells_each_copy_and_for_which_it_was_dropped(path: Path) -> None:
    found = document(path, "lake", "why", "a")
    told = [(c["state"], c["at"][:10], c["copy_of"] and c["copy_of"][:10], c["input"], c["position"]) for c in found["copies"]]
    assert told == [
        ("published", "2026-10-01", None, "a.jsonl", 0),
        ("dropped", "2026-10-03", "2026-10-01", "a.jsonl", 1),
        ("conflicting_duplicate", "2026-10-05", None, "a.jsonl", 2),
        ("dropped", "2026-10-05", "2026-10-01", "a.jsonl", 2),
        ("published", "2026-10-20", None, "a.jsonl", 3),
    ]
    text = headrace(path, "lake", "why", "a").stdout
    assert "copy of 2026-10-01 10:00:00Z, same content" in text
    assert "thing: deduplication horizon 7d" in text
    nothing = headrace(path, "lake", "why", "c")
    assert nothing.exit_code == 1
    assert "no copy of 'c' in" in nothing.stderr


def test_expiry_leaves_what_is_dropped_and_settled(path: Path) -> None:
    ingest(path, "b.jsonl", lines([at(2), at(6)]))
    time.sleep(1.1)  # what is older than a second goes
    assert headrace(path, "lake", "expire", "--older-than", "1s").exit_code == 0
    assert headrace(path, "lake", "clean", "--older-than", "1s").exit_code == 0
    lake = Lake.at(str(path / "lake"))
    files = known_files(lake.load("validated.thing"), None)
    assert sum(f.rows for f in files if f.dropped) == 4
    data = Path(files[0].path.removeprefix("file://")).parent
    assert {p.name for p in data.glob("*.parquet")} == {f.path.rsplit("/", 1)[-1] for f in files}
    assert {p.name.removesuffix(".keys") for p in data.glob("*.keys")} <= {p.name for p in data.glob("*.parquet")}
    document(path, "lake", "why", "a")
    ingest(path, "c.jsonl", lines([at(7)]))
    assert published(path) == KEPT
