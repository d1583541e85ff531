"""The demo's ledger equals the generator's truth, record by record."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.spec.project import Project
from examples.webshop import generate as webshop
from examples.webshop.truth import OUT_OR_CONFLICT, OUT_OR_DUPLICATE
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN
from pipelines.ingest.run import IngestReport
from tests.support import runs
from tests.support.lake_state import CONFLICT, Position, Verdict, claimed, content_hash, scan, verdicts

RECORDS = 50_000
TABLES = {
    "web": "validated.customer_event",
    "mobile": "validated.customer_event",
    "crm": "validated.contact",
    "orders": "validated.order",
}
PROJECT = Project.load(Path(webshop.__file__).parent)
Truth = dict[Position, dict[str, Any]]


def ingest(sample: Path, lake: Path, source: str) -> IngestReport:
    return runs.ingest(lake, [sample / source], source, allow_damaged=True)  # one broken upload is damage by design


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webshop")
    webshop.generate(folder, records=RECORDS)
    return folder


@pytest.fixture(scope="module")
def reports(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, IngestReport]:
    lake = tmp_path_factory.mktemp("truth") / "lake"
    return {source: ingest(sample, lake, source) for source in TABLES}


@pytest.fixture(scope="module")
def lake(reports: dict[str, IngestReport]) -> Lake:
    return Lake.at(reports["web"].manifest["options"]["lake"])


@pytest.fixture(scope="module")
def truth(sample: Path) -> Truth:
    rows = pq.read_table(sample / "truth.parquet").to_pylist()
    ids = {name: hashlib.sha256((sample / name).read_bytes()).hexdigest() for name in {row["file"] for row in rows}}
    return {(row["source"], ids[row["file"]], row["ordinal"]): row for row in rows}


@pytest.fixture(scope="module")
def found(lake: Lake) -> dict[Position, Verdict]:
    return verdicts(lake, TABLES)


def test_every_generated_record_has_an_outcome_and_no_other_has_one(truth: Truth, found: dict[Position, Verdict]) -> None:
    assert len(truth) >= RECORDS
    assert found.keys() == truth.keys()


def test_every_record_came_to_what_the_truth_says(truth: Truth, found: dict[Position, Verdict]) -> None:
    wrong = {
        position: (found[position], row["expected"], row["code"], row["defect"])
        for position, row in truth.items()
        if not row["expected"].startswith("out_or") and found[position] != (row["expected"], row["code"])
    }
    assert not wrong, list(wrong.items())[:5]


def test_of_identical_copies_exactly_one_is_out(truth: Truth, found: dict[Position, Verdict]) -> None:
    groups = groups_of(truth, OUT_OR_DUPLICATE)
    assert groups
    for group, positions in groups.items():
        outcomes = Counter(found[position] for position in positions)
        assert outcomes == {("out", None): 1, ("duplicate", None): len(positions) - 1}, group


def test_of_one_key_with_other_values_one_is_out_and_the_other_a_conflict(truth: Truth, found: dict[Position, Verdict]) -> None:
    groups = groups_of(truth, OUT_OR_CONFLICT)
    assert groups
    for group, positions in groups.items():
        assert Counter(found[position] for position in positions) == {("out", None): 1, ("dead_letter", CONFLICT): 1}, group


def groups_of(truth: Truth, expected: str) -> dict[tuple[str, str], list[Position]]:
    groups: dict[tuple[str, str], list[Position]] = defaultdict(list)
    for position, row in truth.items():
        if row["expected"] == expected:
            groups[row["source"], row["duplicate_group"]].append(position)
    return groups


@pytest.mark.parametrize("source", TABLES)
def test_ledger_of_a_source_equals_the_truth(source: str, truth: Truth, reports: dict[str, IngestReport], lake: Lake) -> None:
    published = scan(lake, TABLES[source], columns=("_source", "_time_corrected")).to_pylist()
    entry = reports[source].ledger
    own = [row for (name, _, _), row in truth.items() if name == source]
    expected = Counter(row["expected"] for row in own)
    identical = {row["duplicate_group"] for row in own if row["expected"] == OUT_OR_DUPLICATE}
    contested = {row["duplicate_group"] for row in own if row["expected"] == OUT_OR_CONFLICT}
    codes = Counter(row["code"] for row in own if row["code"])
    codes[CONFLICT] += expected[OUT_OR_CONFLICT] - len(contested)
    assert entry.balanced
    assert entry == LedgerEntry(
        records_in=len(own),
        out=expected["out"] + len(identical) + len(contested),
        duplicate=expected["duplicate"] + expected[OUT_OR_DUPLICATE] - len(identical),
        filtered=expected["filtered"],
        dead_letter=codes.total(),
        corrected=sum(row["_time_corrected"] for row in published if row["_source"] == source),
        codes=dict(+codes),
    )


@pytest.mark.parametrize("source", TABLES)
def test_dead_letters_name_their_record_and_a_reason(source: str, truth: Truth, lake: Lake) -> None:
    for letter in scan(lake, "ops.dead_letter").to_pylist():
        if letter["source"] != source or letter["code"] == WITHDRAWN:
            continue
        row = truth[letter["_source"], letter["_raw_file"], letter["_position"]]
        assert letter["position"] == f"{letter['_raw_file']}:{letter['_position']}"
        assert letter["violations"] and all(v["path"] and v["rule"] for v in letter["violations"])
        assert (letter["raw"] is None) == (letter["code"] == CONFLICT)
        if row["event_id"] and letter["event_id"]:
            assert letter["event_id"] == row["event_id"] or TABLES[source] != "validated.customer_event"


@pytest.mark.parametrize("source", ["mobile", "crm", "orders"])  # the last of each table
def test_independently_computed_content_hash_is_the_manifests(source: str, reports: dict[str, IngestReport], lake: Lake) -> None:
    (dataset,) = reports[source].manifest["datasets"].values()
    rows = scan(lake, TABLES[source])
    assert dataset["table"] == TABLES[source]
    assert (len(rows), content_hash(rows)) == (dataset["rows"], dataset["content_hash"]) == claimed(lake, TABLES[source])


@pytest.mark.parametrize("source", TABLES)
def test_second_ingest_says_already_landed_and_changes_nothing(
    source: str, sample: Path, reports: dict[str, IngestReport], lake: Lake
) -> None:
    before = lake_files(lake)
    again = ingest(sample, lake.path, source)
    assert {entry["status"] for entry in again.manifest["inputs"]} <= {"already landed", "ignored"}
    assert again.manifest["ingested_files"] == 0
    assert again.ledger == reports[source].ledger
    (dataset,) = again.manifest["datasets"].values()
    table = lake.catalog().load_table(TABLES[source])
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert (dataset["snapshot_id"], (dataset["rows"], dataset["content_hash"])) == (
        snapshot.snapshot_id,
        claimed(lake, TABLES[source]),
    )
    assert lake_files(lake) == before


def lake_files(lake: Lake) -> dict[str, tuple[int, int]]:
    """Every file of the lake but the catalog's own and the notes of runs, with size and time."""
    files = (path for part in ("raw", "warehouse", "_tmp") for path in (lake.path / part).rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_manifest_on_disk_is_the_report(reports: dict[str, IngestReport], lake: Lake) -> None:
    for report in reports.values():
        document = json.loads((lake.runs / report.run_id / "manifest.json").read_text("utf-8"))
        assert document["ledger"] == {report.source: asdict(report.ledger)}
        assert document["datasets"] == report.manifest["datasets"]
        assert document["verdict"] == {"exit_code": 0, "reasons": []}
