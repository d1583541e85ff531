"""Cases that people of this trade found or reported, through the command line: what is published, said, and the exit code."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cli.main import main
from lake.location import Lake
from tests.support.lake_state import scan

AT = "2026-11-02T10:00:00Z"
MOMENT = datetime(2026, 11, 2, 10, tzinfo=UTC)
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: test:thing
name: thing
version: 1.0.0
status: active
customProperties:
  - {{property: eventId, value: {{column: event_id}}}}
  - {{property: windowTime, value: [at]}}
  - {{property: unknownFields, value: {unknown}}}
schema:
  - name: thing
    logicalType: object
    physicalType: table
    properties:
      - {{name: event_id, logicalType: string, required: true}}
      - {{name: at, logicalType: timestamp, customProperties: [{{property: accept, value: [epoch, no_zone]}}]}}
      - {{name: rest, logicalType: object}}
      - {{name: v, {kind}}}
"""


@dataclass(frozen=True)
class Case:
    """files: by name. rows: event id to value of ``v``. codes: of dead letters, with their paths. says: on stdout or stderr."""

    format: str
    files: dict[str, bytes]
    kind: str = "logicalType: string"
    more: str = ""
    unknown: str = "{policy: drop}"
    v: str = "v"
    rows: dict[str, Any] = field(default_factory=dict)
    codes: tuple[tuple[str, str], ...] = ()
    exit_code: int = 0
    says: str = ""


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def avro(kind: Any, value: Any, written: Any = None) -> bytes:
    """One record; ``written`` is the plain type that its value is written as."""
    out = io.BytesIO()
    schema: Any = {"type": "record", "name": "r", "namespace": "my-project.Translated Schema"}
    fields = [{"name": "id", "type": "string"}, {"name": "at", "type": "string"}]
    fastavro.writer(
        out, schema | {"fields": [*fields, {"name": "v", "type": written or kind}]}, [{"id": "a", "at": AT, "v": value}]
    )
    found = fastavro.block_reader(io.BytesIO(out.getvalue()))
    before = found.metadata["avro.schema"].encode()
    after = json.dumps(schema | {"fields": [*fields, {"name": "v", "type": kind}]}).encode()
    return out.getvalue().replace(varint(len(before)) + before, varint(len(after)) + after)


def varint(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("contacts.csv", content)
    return out.getvalue()


def line(**fields: Any) -> bytes:
    return json.dumps({"id": "a", "at": AT} | fields).encode() + b"\n"


JSON_OBJECT = "logicalType: object"
DECIMAL = 'logicalType: number, physicalType: "decimal(12,2)"'
EPOCH = "logicalType: timestamp, customProperties: [{property: accept, value: [epoch]}]"
TOKENS = "logicalType: string, customProperties: [{property: nullTokens, value: ['', 'null']}]"
ID, TIME = pa.array(["a"]), pa.array([MOMENT], pa.timestamp("us", "UTC"))
BAD_TEXT = pa.Array.from_buffers(pa.string(), 1, pa.array([b"M\xfcller"]).buffers())
BATCH = json.dumps({"batch": [{"id": f"e{i}", "at": AT, "v": "x" * 500} for i in range(3_000)]}).encode()
CASES = {
    "a ZIP for a CSV": Case("csv", {"a.csv": zipped(b"id,at,v\n")}, exit_code=1, says="this is a ZIP archive, not csv"),
    "nothing but what is ignored": Case("jsonl", {"_SUCCESS": b"", "a.tmp": line(v="x")}, exit_code=1, says="nothing was read"),
    "a file without records": Case("jsonl", {"a.jsonl": b"\n"}, exit_code=1, says="nothing was read"),
    "a null token before a value": Case("jsonl", {"a.jsonl": line(v="", w="u-7")}, TOKENS, v="[v, w]", rows={"a": "u-7"}),
    "a birthday in milliseconds": Case(
        "jsonl", {"a.jsonl": line(v=31_536_000_000)}, EPOCH, "epoch: {v: ms}", rows={"a": datetime(1971, 1, 1, tzinfo=UTC)}
    ),
    "a birthday in no unit": Case(
        "jsonl", {"a.jsonl": line(v=31_536_000_000)}, EPOCH, codes=(("bad_timestamp", "v"),), exit_code=1, says="guessed"
    ),
    # github.com/jeroen/jsonlite/issues/405, github.com/bcicen/jstream/issues/13
    "numbers of many digits": Case(
        "jsonl",
        {"a.jsonl": b'{"id":"a","at":"%s","v":{"id":1413617112501850121,"f":1.20000000000000000000000000005}}' % AT.encode()},
        JSON_OBJECT,
        rows={"a": '{"f":1.20000000000000000000000000005,"id":1413617112501850121}'},
    ),
    "an integer that is written as a double": Case(
        "jsonl", {"a.jsonl": line().replace(b"}", b', "v": 9007199254740993.0}')}, "logicalType: integer", rows={"a": 2**53 + 1}
    ),
    "a batch of more than record_bytes": Case(
        "jsonl", {"a.jsonl": BATCH}, more="records: batch", rows={f"e{i}": "x" * 500 for i in range(3_000)}
    ),
    "a batch with an item of more": Case(
        "jsonl",
        {"a.jsonl": json.dumps({"batch": [{"id": "a", "at": AT, "v": "x"}, {"id": "b", "v": "x" * (1 << 20)}]}).encode()},
        more="records: batch",
        rows={"a": "x"},
        codes=(("too_large", "$"),),
        exit_code=1,
    ),
    "few lines that are most bytes": Case(
        "jsonl",
        {"a.jsonl": b"".join(line(id=str(i), v="x") for i in range(50)) + line(v="x" * (2 << 20))},
        rows={str(i): "x" for i in range(50)},
        codes=(("too_large", "$"),),
        exit_code=1,
        says="of the bytes are in records that are too large",
    ),
    # github.com/singer-io/tap-s3-csv/pull/30
    "two columns of one name": Case(
        "csv",
        {"a.csv": f"id,at,v,Email,Email,\na,{AT},1,work@x.de,home@x.de,z\n".encode()},
        unknown="{policy: keep, column: rest}",
        rows={"a": "1"},
    ),
    # github.com/johnkerl/miller/issues/161, github.com/elastic/elasticsearch/pull/152878
    "a mark before a quoted header": Case(
        "csv", {"a.csv": b"\xef\xbb\xbf" + f'"id","at","v","a,b"\r\n"a",{AT},"x, y",2\r\n'.encode()}, rows={"a": "x, y"}
    ),
    "integers beside nulls": Case("csv", {"a.csv": f"id,at,v\na,{AT},12.0\n".encode()}, "logicalType: integer", rows={"a": 12}),
    "a row of blanks in a TSV": Case(
        "csv",
        {"a.csv": f"id\tat\tv\na\t{AT}\tx\n\t\t\n".encode()},
        more='csv: {delimiter: "\\t"}',
        rows={"a": "x"},
        codes=(("missing_required", "id"),),
        exit_code=1,
    ),
    # github.com/pandas-dev/pandas/issues/41690 and 25423, github.com/pola-rs/polars/issues/12893
    "zones that nobody knows": Case(
        "parquet",
        {
            "a.parquet": parquet(
                id=ID, at=TIME.cast(pa.timestamp("us", "tzutc()")), v=["x"], seen=TIME.cast(pa.timestamp("us", "UTC+1"))
            ),
            "b.parquet": parquet(id=["b"], at=TIME.cast(pa.timestamp("us", "+10:00")), v=["y"]),
        },
        rows={"a": "x", "b": "y"},
    ),
    "nanoseconds in a struct": Case(
        "parquet",
        {"a.parquet": parquet(id=ID, at=TIME, v=pa.array([{"t": 1}], pa.struct([("t", pa.timestamp("ns", "UTC"))])))},
        JSON_OBJECT,
        rows={"a": '{"t":"1970-01-01T00:00:00Z"}'},
    ),
    "NaN in a struct": Case(
        "parquet",
        {"a.parquet": parquet(id=ID, at=TIME, v=[{"n": [1.0, float("nan")]}])},
        JSON_OBJECT,
        codes=(("out_of_range", "v.n.1"),),
        exit_code=1,
    ),
    "text of cp1252": Case(
        "parquet", {"a.parquet": parquet(id=ID, at=TIME, v=BAD_TEXT)}, codes=(("invalid_encoding", "v"),), exit_code=1
    ),
    "text of cp1252 that nobody reads": Case(
        "parquet", {"a.parquet": parquet(id=ID, at=TIME, v=["x"], w=BAD_TEXT)}, rows={"a": "x"}
    ),
    "a renamed column": Case(
        "parquet", {"a.parquet": parquet(id=ID, at=TIME, V=["x"])}, codes=(("header_mismatch", "$"),), exit_code=1
    ),
    "a column that may be missing": Case("parquet", {"a.parquet": parquet(id=ID, at=TIME)}, more="optional: [v]", rows={"a": None}),
    # Names that Avro does not allow, in all of these: github.com/goccy/bigquery-emulator/pull/508 and apache/beam/issues/19866
    "more digits than declared": Case(
        "avro",
        {"a.avro": avro({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\x01\xe2\x40", "bytes")},
        DECIMAL,
        rows={"a": Decimal("1234.56")},
    ),
    "nanoseconds of Avro": Case(
        "avro",
        {"a.avro": avro({"type": "long", "logicalType": "timestamp-nanos"}, 1_793_613_600_000_000_123, "long")},
        "logicalType: timestamp",
        rows={"a": MOMENT},
    ),
    # github.com/GoogleCloudPlatform/DataflowJavaSDK/issues/485
    "an enum": Case("avro", {"a.avro": avro({"type": "enum", "name": "e", "symbols": ["SPADES"]}, "SPADES")}, rows={"a": "SPADES"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_found_from_outside(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    for path, content in (
        ("headrace.yaml", "lake: lake\ndatasets: [datasets]\nsources: [sources]\n"),
        ("datasets/thing.v1.yaml", CONTRACT.format(kind=case.kind, unknown=case.unknown)),
        (
            "sources/src.yaml",
            f"source: src\ndataset: thing\nformat: {case.format}\ncolumns: {{event_id: id, at: at, v: {case.v}}}\n{case.more}\n",
        ),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "in").mkdir()
    for file, data in case.files.items():
        (tmp_path / "in" / file).write_bytes(data)
    told = CliRunner().invoke(main, ["ingest", "src", "--input", str(tmp_path / "in"), "--project", str(tmp_path)])
    assert told.exit_code == case.exit_code, told.output
    assert case.says in told.output
    lake = Lake.at(str(tmp_path / "lake"))
    rows = scan(lake, "validated.thing").to_pylist()
    assert {row["event_id"]: row["v"] for row in rows} == case.rows
    letters = scan(lake, "ops.dead_letter").to_pylist()
    found = tuple((letter["code"], letter["violations"][0]["path"]) for letter in letters if letter["code"] != "damaged_input")
    assert found == case.codes
    assert all(letter["raw"] for letter in letters if letter["code"] != "damaged_input")
    if "two columns" in name:
        assert rows[0]["rest"] == '{"":"z","Email":["work@x.de","home@x.de"]}'
