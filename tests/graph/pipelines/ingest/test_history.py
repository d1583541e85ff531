"""Imports of history: eighteen months of purchases of a real shop, without event ids and with days for times.

The expected numbers are counted here with the standard library alone. pandas 3.1.1 says the same of the file:
``read_csv(…, sep=r"\\s+", header=None, dtype=str).drop_duplicates()`` has 6,898 of 6,919 rows, 16,450 CDs, 243,680.87 dollars.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from contracts.spec.project import Project
from lake.location import Lake
from lake.tables import ranges
from lake.tables.iceberg import published_files
from pipelines.ingest.run import IngestReport
from tests.support.lake_state import claimed, scan
from tests.support.runs import ingest

TABLE = "validated.purchase"
FILE = Path(__file__).parents[3] / "fixtures" / "cdnow" / "CDNOW_sample.txt.gz"
DISTINCT, CDS, DOLLARS = 6_898, 16_450, Decimal("243680.87")
ONE_MORE = ("99999", "19980701", "2", "19.98")
Purchase = tuple[str, str, str, str]

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: test:purchase
name: purchase
version: 1.0.0
status: active
description:
  purpose: Purchases, a line each.
customProperties:
  - {property: kind, value: event}
  - {property: eventId, value: {column: event_id}}
  - {property: windowTime, value: [purchased_at]}
schema:
  - name: purchase
    logicalType: object
    physicalType: table
    properties:
      - {name: event_id, logicalType: string, required: true}
      - {name: customer_id, logicalType: string, required: true}
      - {name: purchased_at, logicalType: timestamp, required: true, customProperties: [{property: accept, value: [no_zone]}]}
      - {name: cds, logicalType: integer, required: true}
      - {name: dollars, logicalType: number, physicalType: "decimal(12,2)", required: true}
"""
SOURCE = """
source: cdnow
dataset: purchase
version: 1
format: csv
missing_event_id: derive
timezone: {zone}
columns: {{customer_id: customer, purchased_at: day, cds: cds, dollars: dollars}}
"""


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    lines = gzip.decompress(FILE.read_bytes()).decode("ascii").splitlines()
    return [(fields[0], fields[2], fields[3], fields[4]) for fields in map(str.split, lines)]


def write(path: Path, rows: Sequence[Purchase]) -> Path:
    """As CSV with days as a database exports them: midnight, no zone."""
    lines = [f"{who},{day[:4]}-{day[4:6]}-{day[6:]} 00:00:00,{cds},{dollars}\n" for who, day, cds, dollars in rows]
    path.write_text("customer,day,cds,dollars\n" + "".join(lines))
    return path


def project_in(folder: Path, zone: str = "UTC") -> Project:
    for name, text in (("datasets/purchase.v1.yaml", CONTRACT), ("sources/cdnow.yaml", SOURCE.format(zone=zone))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "headrace.yaml").write_text("lake: lake\ndatasets: [datasets]\nsources: [sources]\n")
    return Project.load(folder)


def run(folder: Path, file: Path, lake: str = "lake", *, zone: str = "UTC", window: int | None = None) -> IngestReport:
    report = ingest(folder / lake, [file], "cdnow", project_in(folder, zone), window=window)
    assert not report.reasons and report.ledger.balanced and report.ledger.dead_letter == 0
    return report


def published(lake: Path) -> tuple[int, int, Decimal]:
    """Rows, CDs and dollars."""
    rows = scan(Lake.at(str(lake)), TABLE)
    return len(rows), sum(rows["cds"].to_pylist()), sum(rows["dollars"].to_pylist(), Decimal(0))


def expected(rows: Sequence[Purchase]) -> tuple[int, int, Decimal]:
    distinct = set(rows)
    return len(distinct), sum(int(cds) for *_, cds, _ in distinct), sum((Decimal(d) for *_, d in distinct), Decimal(0))


def data_files(lake: Path) -> int:
    return len(published_files(Lake.at(str(lake)).load(TABLE)))


def test_a_log_ingested_twice_once_with_a_row_more_has_each_event_once(tmp_path: Path, purchases: list[Purchase]) -> None:
    assert expected(purchases) == (DISTINCT, CDS, DOLLARS)
    first = run(tmp_path, write(tmp_path / "export.csv", purchases))
    assert (first.ledger.records_in, first.ledger.out, first.ledger.duplicate) == (6_919, DISTINCT, 21)
    assert published(tmp_path / "lake") == (DISTINCT, CDS, DOLLARS)

    longer = [*purchases[:3_000], ONE_MORE, *purchases[3_000:]]
    second = run(tmp_path, write(tmp_path / "later.csv", longer))
    assert second.ledger.records_in == 6_920
    assert published(tmp_path / "lake") == expected(longer) == (DISTINCT + 1, CDS + 2, DOLLARS + Decimal("19.98"))


def test_a_run_tells_that_events_without_ids_were_merged(tmp_path: Path, purchases: list[Purchase]) -> None:
    report = run(tmp_path, write(tmp_path / "export.csv", purchases))
    (warning,) = report.warnings
    assert warning.startswith("21 of 6,919 records equal another one in every column of purchase and were merged with it")
    again = run(tmp_path, write(tmp_path / "distinct.csv", sorted(set(purchases))), "other")
    assert again.warnings == []


def test_eighteen_months_are_few_files_and_any_window_gives_the_same_table(
    tmp_path: Path, purchases: list[Purchase], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of any window, one after the other into one lake, and in the end one that brings it all."""
    months = [purchases[start::3] for start in range(3)]
    whole = write(tmp_path / "whole.csv", purchases)
    run(tmp_path, whole, "auto")
    assert data_files(tmp_path / "auto") == 4  # one for each shard
    run(tmp_path, whole, "months", window=30 * 86_400)
    assert data_files(tmp_path / "months") <= 4 * 20

    monkeypatch.setattr(ranges, "RANGE_ROWS", 500)
    parts = zip(months, (None, 30 * 86_400, 7 * 86_400), strict=True)
    for number, (rows, window) in enumerate(parts):
        run(tmp_path, write(tmp_path / f"part-{number}.csv", rows), "parts", window=window)
    run(tmp_path, whole, "parts")
    hashes = {claimed(Lake.at(str(tmp_path / name)), TABLE) for name in ("auto", "months", "parts")}
    assert len(hashes) == 1
    assert hashes.pop()[0] == DISTINCT


def test_a_day_without_a_zone_is_that_of_the_source(tmp_path: Path, purchases: list[Purchase]) -> None:
    """Midnight in New York is 05:00 in UTC, in summer 04:00; no purchase moves to the day or the month before."""
    zone = ZoneInfo("America/New_York")
    run(tmp_path, write(tmp_path / "export.csv", purchases), zone=zone.key)
    times = scan(Lake.at(str(tmp_path / "lake")), TABLE)["_window_time"].to_pylist()
    assert {time.astimezone(UTC).hour for time in times} == {4, 5}
    days = sorted(time.astimezone(zone).strftime("%Y%m%d") for time in times)
    assert days == sorted(day for _, day, *_ in set(purchases))
    assert min(times) == datetime(1997, 1, 1, 5, tzinfo=UTC)


def test_another_export_of_the_same_events_in_other_forms_adds_nothing(tmp_path: Path, purchases: list[Purchase]) -> None:
    """Ids are of values, not of texts: order of columns, of rows, digits and forms of a time do not count."""
    run(tmp_path, write(tmp_path / "export.csv", purchases))
    before = claimed(Lake.at(str(tmp_path / "lake")), TABLE)
    lines = [
        f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00.000+00:00;{dollars}0;{int(cds)}.0;{who}\r\n"
        for who, day, cds, dollars in reversed(purchases)
    ]
    other = tmp_path / "other.csv"
    other.write_bytes(("day;dollars;cds;customer\r\n" + "".join(lines)).encode("utf-16"))
    project_in(tmp_path)
    spec = tmp_path / "sources" / "cdnow.yaml"
    twin = spec.read_text().replace("source: cdnow", "source: twin") + "csv: {delimiter: ';', encoding: utf-16}\n"
    spec.with_name("twin.yaml").write_text(twin)
    report = ingest(tmp_path / "lake", [other], "twin", Project.load(tmp_path))
    assert not report.reasons
    assert claimed(Lake.at(str(tmp_path / "lake")), TABLE) == before


def test_values_that_only_look_alike_side_by_side_are_different_events(tmp_path: Path) -> None:
    """Joined without separators these would collide; nor is the text null no value."""
    rows = [("1", "19970101", "23", "4.00"), ("12", "19970101", "3", "4.00"), ("null", "19970101", "3", "4.00")]
    rows += [("NULL", "19970101", "3", "4.00"), ("01", "19970101", "23", "4.00"), ('"1,"', "19970101", "23", "4.00")]
    run(tmp_path, write(tmp_path / "export.csv", rows))
    assert published(tmp_path / "lake")[0] == len(rows)


def test_a_column_with_the_number_of_the_repeat_keeps_equal_events_apart(tmp_path: Path, purchases: list[Purchase]) -> None:
    seen: Counter[Purchase] = Counter()
    file = write(tmp_path / "export.csv", purchases)
    head, *lines = file.read_text().splitlines()
    numbered = [head + ",repeat"]
    for purchase, line in zip(purchases, lines, strict=True):
        seen[purchase] += 1
        numbered.append(f"{line},{seen[purchase]}")
    file.write_text("\n".join(numbered))
    project_in(tmp_path)
    contract, spec = tmp_path / "datasets" / "purchase.v1.yaml", tmp_path / "sources" / "cdnow.yaml"
    contract.write_text(contract.read_text() + "      - {name: repeat, logicalType: integer}\n")
    spec.write_text(spec.read_text().replace("columns: {", "columns: {repeat: repeat, "))
    for _ in range(2):
        report = ingest(tmp_path / "lake", [file], "cdnow", Project.load(tmp_path))
        assert not report.reasons and report.warnings == []
        file.write_text(file.read_text() + "\n")  # another file of the same rows
    assert published(tmp_path / "lake") == (6_919, CDS + 29, Decimal("244091.94"))


def test_one_late_row_rewrites_one_file_of_many(tmp_path: Path, purchases: list[Purchase], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_ROWS", 100)
    run(tmp_path, write(tmp_path / "export.csv", purchases))
    before = {file.path for file in published_files(Lake.at(str(tmp_path / "lake")).load(TABLE))}
    late = ("99999", "19970201", "1", "1.00")
    run(tmp_path, write(tmp_path / "late.csv", [late]))
    after = {file.path for file in published_files(Lake.at(str(tmp_path / "lake")).load(TABLE))}
    assert len(before) > 60
    assert len(before - after) <= 1 and len(after - before) <= 2
