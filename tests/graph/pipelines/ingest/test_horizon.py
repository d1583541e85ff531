"""One id is one event within the deduplication horizon: what people of this trade reported of copies, through the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cli.main import main
from tests.support.copies import Record, at, conflicts, ingest, ledger, lines, project, published


@dataclass(frozen=True)
class Case:
    """runs: what each is given. rows: what is published in the end, as id and time. duplicate, conflicts: of all runs."""

    runs: Sequence[Sequence[Record]]
    rows: Sequence[tuple[str, str]]
    duplicate: int = 0
    conflicts: int = 0
    deduplication: str = "{horizon: 7d}"


def days(*days_of: int) -> list[tuple[str, str]]:
    return [("a", f"10-{day:02d} 10:00") for day in days_of]


CASES = {
    # Stripe tries again for three days, GitHub and Hugging Face replay under the same id: letsrevel/revel-backend#491,
    # huggingface/hub-docs#2749
    "a webhook that is sent again for three days": Case([[at(1), at(2), at(4)]], days(1), duplicate=2),
    "a webhook that is sent again a week later": Case([[at(1)], [at(8)]], days(1), duplicate=1),
    "and a minute after that": Case([[at(1)], [at(8, "10:01:00")]], [("a", "10-01 10:00"), ("a", "10-08 10:01")]),
    # apache/spark#40561: the earlier copy comes last
    "the earlier copy comes later": Case([[at(3)], [at(1)]], days(1), duplicate=1),
    "the one in between comes last": Case([[at(1), at(15)], [at(8)]], days(1), duplicate=2),
    # nats-io/nats-server#7302: does a copy prolong the window? Here it does: what is dropped is known.
    "an id that is used every day": Case([[at(d) for d in range(1, 21)]], days(1), duplicate=19),
    # snowplow/snowplow#24: synthetic copies, of other content
    "another content under the same id": Case([[at(1)], [at(2, v="y")]], days(1), conflicts=1),
    "another content, and then the same": Case([[at(1), at(3, v="y")], [at(2, v="y")]], days(1), duplicate=1, conflicts=1),
    # PostHog/posthog#30692, kurrent-io/KurrentDB#1013: an id that was given twice, months apart
    "an id of another month": Case(
        [[at(1)], [at(20, v="y")]], days(1, 20)
    ),
    # documenso/documenso#3204: retries without an id, with a time of their own
    "no id at all": Case([[at(1, id=""), at(2, id="")]], [("", "10-01 10:00"), ("", "10-02 10:00")]),
    "no id at all, one event all the same": Case(
        [[at(1, id=""), at(2, id="")]], [("", "10-01 10:00")], duplicate=1, deduplication="{horizon: 7d, derived: horizon}"
    ),
    # Openpanel-dev/openpanel#508, ClickHouse/ClickHouse#63010: copies in different partitions
    "none": Case([[at(1), at(2), at(2, "10:00:30")]], days(1, 2), duplicate=1, deduplication="{horizon: none}"),
    "a minute": Case(
        [[at(1), at(1, "10:01:30"), at(1, "10:03:00")]],
        [("a", "10-01 10:00"), ("a", "10-01 10:03")],
        duplicate=1,
        deduplication="{horizon: 1m}",
    ),
    # upstash/qstash-js#13
    "unlimited": Case(
        [[{"id": "a", "at": "2021-01-01T00:00:00Z", "v": "x"}], [at(1)]],
        [("a", "01-01 00:00")],
        duplicate=1,
        deduplication="{horizon: unlimited}",
    ),
    "a clock that jumps ahead and back": Case([[at(1), at(28)], [at(1, "10:00:40")]], days(1, 28), duplicate=1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_copies(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    project(tmp_path, case.deduplication)
    for number, records in enumerate(case.runs):
        ingest(tmp_path, f"{number}.jsonl", lines(records))
    assert published(tmp_path) == sorted(case.rows)
    assert conflicts(tmp_path) == case.conflicts
    ingest(tmp_path, "all.jsonl", lines([r | {"nobody_reads": "it"} for records in case.runs for r in records]))
    assert published(tmp_path) == sorted(case.rows), "all of it was known"
    assert conflicts(tmp_path) == case.conflicts
    totals, again = ledger(tmp_path), sum(map(len, case.runs))
    assert (totals.out, totals.duplicate) == (len(case.rows), case.duplicate + again)
    assert (totals.dead_letter, totals.balanced) == (case.conflicts, True)


def as_csv(records: Sequence[Record]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["id", "at", "received_at", "v"])
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def as_parquet(records: Sequence[Record]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(records)), out)
    return out.getvalue()


def as_avro(records: Sequence[Record]) -> bytes:
    out = io.BytesIO()
    schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": "string"} for n in ("id", "at", "v")]}
    fastavro.writer(out, schema, records)
    return out.getvalue()


WRITERS = {"jsonl": lines, "csv": as_csv, "parquet": as_parquet, "avro": as_avro}


@pytest.mark.parametrize("format_", WRITERS)
def test_exports_that_overlap_are_one_row_an_event_in_every_format(format_: str, tmp_path: Path) -> None:
    """Each day's export holds the three days before it, with the time of the export as the event's."""
    project(tmp_path, format_=format_)
    for day in range(1, 6):
        records = [at(day, id=f"e{n}", v=f"v{n}") for n in range(max(day - 3, 0), day + 1)]
        ingest(tmp_path, f"{day}.{format_}", WRITERS[format_](records))
    rows = published(tmp_path)
    assert [row[0] for row in rows] == [f"e{n}" for n in range(6)]
    assert dict(rows) == {f"e{n}": f"10-{max(n, 1):02d} 10:00" for n in range(6)}


def test_an_id_that_is_used_again_and_again_is_warned_of(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(lines([at(d) for d in (1, 7, 8, 9, 10)]))
    told = CliRunner().invoke(main, ["ingest", "src", "--input", str(tmp_path / "a.jsonl"), "--project", str(tmp_path)])
    assert told.exit_code == 0
    assert "warning: 2 rows were dropped that are further from the first of their id than the deduplication horizon" in told.output


def test_an_id_of_two_sources_is_one_event(tmp_path: Path) -> None:
    project(tmp_path, sources=("src", "other"))
    ingest(tmp_path, "a.jsonl", lines([at(2)]))
    found = ingest(tmp_path, "b.jsonl", lines([at(1), at(3)]), "other")
    assert published(tmp_path) == days(1)
    assert (found["ledger"]["other"]["out"], found["ledger"]["other"]["duplicate"]) == (1, 1)


def test_one_id_in_thousands_of_minutes(tmp_path: Path) -> None:
    """snowplow/snowplow-rdb-loader#583: a robot that sends one id for ever must not stop the rest."""
    project(tmp_path)
    records = [at(1 + n // 1_000, f"{n % 1_000 // 60:02d}:{n % 60:02d}:00", v=f"v{n % 7}") for n in range(5_000)]
    found = ingest(tmp_path, "a.jsonl", lines([*records, *(at(5, id=f"e{n}") for n in range(100))]))
    assert found["datasets"]["thing"]["rows"] == 101
    assert found["ledger"]["src"] | {"codes": 0} == found["ledger"]["src"] | {"codes": 0, "records_in": 5_100, "out": 101}
    assert conflicts(tmp_path) == 6
