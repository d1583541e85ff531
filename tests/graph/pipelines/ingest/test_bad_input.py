"""Every kind of bad input that the project knows, through the real graph: what becomes of each record, and why."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from contracts.codes import Code
from contracts.spec.project import Project
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.tables.iceberg import WITHDRAWN
from pipelines.ingest.run import IngestReport
from tests.support import runs
from tests.support.compressed import gz
from tests.support.lake_state import scan, verdicts

ROOT = Path(__file__).parents[4]
SOURCES = ROOT / "examples" / "webshop" / "sources"
PROJECT = Project(root=ROOT, sources=(SOURCES,))
TABLES = {
    "web": "validated.customer_event",
    "mobile": "validated.customer_event",
    "crm": "validated.contact",
    "orders": "validated.order",
}
RECEIVED = datetime(2026, 11, 2, 10, 0, 0, 400_000, tzinfo=UTC)
OUT, DUPLICATE, FILTERED = "out", "duplicate", "filtered"
MARK = "zq7"  # in every value of every record, and so never in the text of a violation

Paths = tuple[tuple[str, str], ...]  # of violations: path, rule


@dataclass(frozen=True)
class Case:
    """One record. outcome: out, duplicate, filtered or a code. violations: all, in order. row: what is published, in part."""

    name: str
    record: bytes
    outcome: str = OUT
    violations: Paths = ()
    row: dict[str, Any] = field(default_factory=dict)


@dataclass
class Told:
    """What a run said about one file."""

    report: IngestReport
    outcomes: list[str]
    letters: dict[int, dict[str, Any]]
    rows: dict[int, dict[str, Any]]


def ingest(lake: Path, source: str, *inputs: Path | str, **options: Any) -> IngestReport:
    return runs.ingest(lake, inputs, source, PROJECT, window=86_400, num_shards=1, **options)


def landed(report: IngestReport) -> list[dict[str, Any]]:
    """The inputs that have a raw file, as the manifest tells them."""
    return [entry for entry in report.manifest["inputs"] if "raw_file" in entry]


def told(report: IngestReport, lake: Path, name: str) -> Told:
    """The outcome of every position of an input file, from the lake."""
    opened = Lake.at(str(lake))
    (raw_file, records), *_ = [(i["raw_file"], i["records"]) for i in landed(report) if Path(i["uri"]).name == name]
    found = verdicts(opened, {report.source: TABLES[report.source]})
    mine = {position: verdict for (_, file, position), verdict in found.items() if file == raw_file}
    assert sorted(mine) == list(range(records))
    outcomes = [code or outcome for _, (outcome, code) in sorted(mine.items())]
    dead = [row for row in scan(opened, "ops.dead_letter").to_pylist() if row["code"] != WITHDRAWN]
    letters = {row["_position"]: row for row in dead if row["_raw_file"] == raw_file}
    rows = {row["_position"]: row for row in scan(opened, TABLES[report.source]).to_pylist() if row["_raw_file"] == raw_file}
    return Told(report, outcomes, letters, rows)


def check(case: Case, position: int, result: Told) -> None:
    """That a record became what its case says, and that a dead letter tells all of it and none of its values."""
    assert result.outcomes[position] == case.outcome
    if case.outcome in (OUT, DUPLICATE, FILTERED):
        assert position not in result.letters
    else:
        letter = result.letters[position]
        assert letter["code"] == case.outcome
        assert tuple((v["path"], v["rule"]) for v in letter["violations"]) == case.violations
        assert letter["position"] == f"{letter['_raw_file']}:{position}"
        assert letter["source"] == result.report.source
        assert letter["raw"] is None or letter["raw"].strip() == case.record.strip()[: len(letter["raw"].strip())]
    assert {name: value for name, value in result.rows.get(position, {}).items() if name in case.row} == case.row


def no_value_is_told(result: Told) -> None:
    """Paths, rules and expectations come from the contract alone."""
    text = json.dumps([letter["violations"] for letter in result.letters.values()])
    assert MARK not in text
    assert "70077" not in text


def balanced(entry: LedgerEntry, cases: Sequence[Case]) -> None:
    """The ledger adds up and counts exactly these cases."""
    outcomes = [case.outcome for case in cases]
    rejected = [outcome for outcome in outcomes if outcome not in (OUT, DUPLICATE, FILTERED)]
    assert entry.balanced
    assert entry == LedgerEntry(
        records_in=len(cases),
        out=outcomes.count(OUT),
        duplicate=outcomes.count(DUPLICATE),
        filtered=outcomes.count(FILTERED),
        dead_letter=len(rejected),
        corrected=sum(bool(case.row and case.row.get("_time_corrected")) for case in cases),
        codes={code: rejected.count(code) for code in set(rejected)},
    )


# Web events ---------------------------------------------------------------------------------------


def event(number: int | str, **changes: Any) -> dict[str, Any]:
    """A sound track event; changes to ... take a field away."""
    base = {
        "messageId": f"{MARK}-m-{number}",
        "type": "track",
        "event": f"{MARK} Order Completed",
        "userId": f"{MARK}-u-{number}",
        "anonymousId": f"{MARK}-a-{number}",
        "originalTimestamp": "2026-11-02T10:00:00.000Z",
        "sentAt": "2026-11-02T10:00:00.200Z",
        "receivedAt": "2026-11-02T10:00:00.400Z",
        "context": {"ip": f"{MARK}.0.0.1"},
        "properties": {"total": 70077},
    }
    return {key: value for key, value in (base | changes).items() if value is not ...}


def line(number: int | str, **changes: Any) -> bytes:
    return json.dumps(event(number, **changes), ensure_ascii=False).encode()


def with_property(number: int | str, text: bytes) -> bytes:
    """An event with a piece of JSON among its properties."""
    return line(number).replace(b'"total": 70077', text)


ZERO = "00000000-0000-0000-0000-000000000000"
MALFORMED: Paths = (("$", "syntax"),)
TEN_O_CLOCK = datetime(2026, 11, 2, 10, tzinfo=UTC)
TEN_S = 1_793_613_600
WEB_CASES = (
    Case("sound", line(0), row={"event_id": f"{MARK}-m-0", "original_timestamp": TEN_O_CLOCK, "_time_corrected": False}),
    # Clocks
    Case(
        "a clock of the future",
        line(1, originalTimestamp="2099-12-31T23:00:00Z", sentAt="2099-12-31T23:00:10Z"),
        row={
            "original_timestamp": datetime(2099, 12, 31, 23, tzinfo=UTC),
            "_window_time": RECEIVED - timedelta(seconds=10),
            "_time_corrected": True,
        },
    ),
    Case(
        "a clock of 1970",
        line(2, originalTimestamp="1970-01-01T00:00:05Z", sentAt="1970-01-01T00:00:07Z"),
        row={
            "event_time": RECEIVED - timedelta(seconds=2),
            "_window_time": RECEIVED - timedelta(seconds=2),
            "_time_corrected": True,
        },
    ),
    Case(
        "a clock of the future that was never sent",
        line(3, originalTimestamp="9999-12-31T23:59:59Z", sentAt=...),
        row={"_window_time": RECEIVED, "_time_corrected": True},
    ),
    Case("epoch seconds", line(4, originalTimestamp=TEN_S), row={"original_timestamp": TEN_O_CLOCK}),
    Case(
        "epoch milliseconds",
        line(5, originalTimestamp=TEN_S * 1_000 + 7),
        row={"original_timestamp": TEN_O_CLOCK + timedelta(milliseconds=7)},
    ),
    Case(
        "epoch microseconds",
        line(6, originalTimestamp=TEN_S * 1_000_000 + 7),
        row={"original_timestamp": TEN_O_CLOCK + timedelta(microseconds=7)},
    ),
    Case(
        "epoch seconds with a fraction",
        line(7, originalTimestamp=TEN_S + 0.5),
        row={"original_timestamp": TEN_O_CLOCK + timedelta(milliseconds=500)},
    ),
    Case("another zone", line(8, originalTimestamp="2026-11-02T11:00:00+01:00"), row={"original_timestamp": TEN_O_CLOCK}),
    Case("epoch nanoseconds", line(9, originalTimestamp=TEN_S * 10**9), Code.BAD_TIMESTAMP, (("originalTimestamp", "timestamp"),)),
    Case(
        "a date without zone",
        line(10, originalTimestamp="2026-11-02T10:00:00"),
        Code.BAD_TIMESTAMP,
        (("originalTimestamp", "timestamp"),),
    ),
    Case("a date alone", line(11, originalTimestamp="2026-11-02"), Code.BAD_TIMESTAMP, (("originalTimestamp", "timestamp"),)),
    Case("a day that is none", line(12, sentAt="2026-02-30T10:00:00Z"), Code.BAD_TIMESTAMP, (("sentAt", "timestamp"),)),
    Case("a word as time", line(13, receivedAt=f"{MARK} yesterday"), Code.BAD_TIMESTAMP, (("receivedAt", "timestamp"),)),
    Case(
        "digits of another script",
        line(14, originalTimestamp="２０２６-11-02T10:00:00Z"),
        Code.BAD_TIMESTAMP,
        (("originalTimestamp", "timestamp"),),
    ),
    # Ids
    Case("a user id of null as text", line(15, userId="null"), row={"user_id": None, "anonymous_id": f"{MARK}-a-15"}),
    Case(
        "no id at all",
        line(16, userId="null", anonymousId="undefined"),
        Code.MISSING_REQUIRED,
        (("userId|anonymousId", "require_any"),),
    ),
    Case(
        "a zero UUID as id", line(17, userId=..., anonymousId=ZERO), Code.MISSING_REQUIRED, (("userId|anonymousId", "require_any"),)
    ),
    Case("an empty id", line(18, userId="", anonymousId=...), Code.MISSING_REQUIRED, (("userId|anonymousId", "require_any"),)),
    Case("an undefined message id", line(19, messageId="undefined")),
    Case("no message id", line(20, messageId=...)),
    Case("a number as user id", line(21, userId=70077), Code.WRONG_TYPE, (("userId", "type"),)),
    Case("2^64 as user id", line(22, userId=2**64), Code.WRONG_TYPE, (("userId", "type"),)),
    Case("a user id that is too long", line(23, userId=MARK * 100), Code.BAD_LENGTH, (("userId", "length"),)),
    Case("a user id as long as allowed", line(24, userId="ü" * 256), row={"user_id": "ü" * 256}),
    # Values
    Case("NUL bytes in text", with_property(25, b'"coupon":"SAVE\\u000010"'), row={"properties": '{"coupon":"SAVE\\u000010"}'}),
    Case("NUL bytes in an id", line(26, userId="a\x00b"), row={"user_id": "a\x00b"}),
    Case("2^64 in a JSON column", with_property(27, b'"n":18446744073709551616'), row={"properties": '{"n":18446744073709551616}'}),
    Case("10,000 keys", line(28, properties={f"{MARK}{i:05d}": i for i in range(10_000)})),
    Case("10,000 unknown fields", line(29, **{f"{MARK}{i:05d}": i for i in range(10_000)})),
    Case(
        "an unknown field",
        line(30, projectId=f"{MARK}-p"),
        row={"unknown_fields": json.dumps({"projectId": f"{MARK}-p"}, separators=(",", ":"))},
    ),
    Case(
        "duplicate keys",
        b'{"type":"zq7 first","userId":70077,' + line(31)[1:],
        row={"event_type": "track", "user_id": f"{MARK}-u-31"},
    ),
    Case("blanks and CRLF", b" \t" + line(32) + b" \r"),
    Case("an emoji", line(33, event="🧡👩‍👩‍👧"), row={"event_name": "🧡👩‍👩‍👧"}),
    Case("a context that is text", line(34, context=MARK), Code.WRONG_TYPE, (("context", "type"),)),
    Case(
        "consent as text",
        line(35, context={"consent": {"categoryPreferences": {"ads": f"{MARK} yes"}}}),
        Code.WRONG_TYPE,
        (("context.consent.categoryPreferences.ads", "type"),),
    ),
    Case("an unknown type", line(36, type=f"{MARK}view"), Code.NOT_IN_ENUM, (("type", "enum"),)),
    Case("a type in other letters", line(37, type="Track"), Code.NOT_IN_ENUM, (("type", "enum"),)),
    Case("no type", line(38, type=...), Code.MISSING_REQUIRED, (("type", "required"),)),
    Case("track without event", line(39, event=...), Code.MISSING_REQUIRED, (("event", "require_when"),)),
    Case("group without group id", line(40, type="group"), Code.MISSING_REQUIRED, (("groupId", "require_when"),)),
    Case(
        "alias without both of its ids",
        line(41, type="alias", userId=...),
        Code.MISSING_REQUIRED,
        (("previousId", "require_when"), ("userId", "require_when")),
    ),
    Case(
        "identify without user id and traits",
        line(42, type="identify", userId=...),
        Code.MISSING_REQUIRED,
        (("userId|traits", "require_when"),),
    ),
    Case("an empty event name", line(43, event=""), Code.BAD_LENGTH, (("event", "length"),)),
    Case("schema version 9", line(44, schemaVersion=9), Code.UNKNOWN_SCHEMA_VERSION, (("schemaVersion", "schema_version"),)),
    Case("schema version 2 as text", line(45, schemaVersion="2")),
    Case("a bot", line(46, context={"traffic": "bot"}), FILTERED),
    Case("a bot with defects", line(47, context={"traffic": "bot"}, type=7, userId=7, event=...), FILTERED),
    # No JSON objects
    Case("a line that is cut", line(48)[:90], Code.MALFORMED, MALFORMED),
    Case("NaN", with_property(49, b'"n":NaN'), Code.MALFORMED, MALFORMED),
    Case("minus infinity", with_property(50, b'"n":-Infinity'), Code.MALFORMED, MALFORMED),
    Case("an array", b"[" + line(51) + b"]", Code.MALFORMED, MALFORMED),
    Case("null", b"null", Code.MALFORMED, MALFORMED),
    Case("a number", b"70077", Code.MALFORMED, MALFORMED),
    Case("a lone surrogate", with_property(52, b'"t":"\\ud83d"'), Code.MALFORMED, MALFORMED),
    Case("a lone low surrogate", with_property(53, b'"t":"\\udc00 zq7"'), Code.MALFORMED, MALFORMED),
    Case("a raw control character", with_property(54, b'"t":"zq7\x00"'), Code.MALFORMED, MALFORMED),
    Case("NUL bytes alone", b"\x00" * 40, Code.MALFORMED, MALFORMED),
    Case("two objects in a line", line(55) + line(56), Code.MALFORMED, MALFORMED),
    Case("bare text", b"upstream connect error zq7", Code.MALFORMED, MALFORMED),
    Case("bytes of cp1252", line(57).replace(b"Order", b"Gr\xf6\xdfe"), Code.INVALID_ENCODING, (("$", "encoding"),)),
    Case("a surrogate in UTF-8", line(58).replace(b"Order", b"\xed\xa0\x80"), Code.INVALID_ENCODING, (("$", "encoding"),)),
    Case("an overlong NUL", line(59).replace(b"Order", b"\xc0\x80"), Code.INVALID_ENCODING, (("$", "encoding"),)),
    Case("1e999", with_property(60, b'"n":1e999'), Code.OUT_OF_RANGE, (("$", "range"),)),
    Case(
        "1,000 nested levels", with_property(61, b'"t":' + b'{"a":' * 1_000 + b"1" + b"}" * 1_000), Code.TOO_DEEP, (("$", "depth"),)
    ),
    Case("100,000 brackets", b"[" * 100_000, Code.TOO_DEEP, (("$", "depth"),)),
    Case("more than a mebibyte", with_property(62, b'"t":"' + b"A" * (1 << 20) + b'"'), Code.TOO_LARGE, (("$", "record_bytes"),)),
    # Several at once
    Case(
        "five defects",
        line(63, type=f"{MARK}view", event=70077, userId=MARK * 100, originalTimestamp=f"{MARK} noon", context=[MARK]),
        Code.NOT_IN_ENUM,
        (("type", "enum"), ("event", "type"), ("userId", "length"), ("originalTimestamp", "timestamp"), ("context", "type")),
    ),
    Case(
        "defects of columns and of rules",
        line(64, userId=..., anonymousId=..., event=..., sentAt=f"{MARK} noon"),
        Code.BAD_TIMESTAMP,
        (("sentAt", "timestamp"), ("userId|anonymousId", "require_any"), ("event", "require_when")),
    ),
    # The same id again
    Case("a retry", line(0, sentAt="2026-11-02T10:05:00Z", receivedAt="2026-11-02T10:05:00.200Z"), DUPLICATE),
    Case("the same once more", line(0), DUPLICATE),
    Case(
        "the same id with other content",
        line(0, event=f"{MARK} other", receivedAt="2026-11-02T11:00:00Z"),
        Code.CONFLICTING_DUPLICATE,
        (("$", "fingerprint"),),
    ),
    Case("sound to the end", line(65)),
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("web")
    records = [case.record for case in WEB_CASES]
    records.insert(20, b" \r\n\n")  # blank lines are no records
    (folder / "web.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(records))  # a mark, and no last line end
    return told(ingest(folder / "lake", "web", folder / "web.jsonl", max_rejected=1.0), folder / "lake", "web.jsonl")


def test_case_names_are_unique() -> None:
    for cases in (WEB_CASES, CRM_CASES, ORDER_CASES):
        assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("position", range(len(WEB_CASES)), ids=lambda i: WEB_CASES[i].name)
def test_a_web_event_is_judged_as_it_should_be(position: int, web: Told) -> None:
    check(WEB_CASES[position], position, web)


def test_the_ledger_of_web_events_adds_up(web: Told) -> None:
    balanced(web.report.ledger, WEB_CASES)
    assert web.report.exit_code == 0


def test_no_violation_of_web_events_tells_a_value(web: Told) -> None:
    no_value_is_told(web)


def test_an_id_that_is_no_value_is_derived_from_the_content(web: Told) -> None:
    ids = {web.rows[i]["event_id"] for i, case in enumerate(WEB_CASES) if case.name in ("an undefined message id", "no message id")}
    assert len(ids) == 2
    assert all(event_id.startswith("fp-") for event_id in ids)


def test_a_run_with_many_rejects_fails_and_keeps_the_good_records(tmp_path: Path) -> None:
    (tmp_path / "web.jsonl").write_bytes(line(1) + b"\n{\n")
    report = ingest(tmp_path / "lake", "web", tmp_path / "web.jsonl")
    assert report.exit_code == 1
    assert "50.0% of the records were rejected" in report.reasons[0]
    assert (report.ledger.out, report.ledger.dead_letter) == (1, 1)


# Contacts -----------------------------------------------------------------------------------------

CRM_COLUMNS = {
    "Contact ID": "C-00000000",
    "Email": "zq7@example.com",
    "Phone": "+491700770077",
    "First Name": "zq7 Jürgen",
    "Last Name": "zq7 Größe",
    "Birth Date": "1980-02-29",
    "Country": "DE",
    "Marketing Consent": "true",
    "Lifetime Value": "12,50",
    "Loyalty Points": "70077",
    "Notes": "zq7",
    "Last Modified": "2026-11-02T10:00:00",
}


def contact(number: int, *extra: str, **changes: str) -> bytes:
    """A row of the CRM; names of changes have _ for a blank."""
    cells = CRM_COLUMNS | {"Contact ID": f"C-{number:08d}"} | {name.replace("_", " "): value for name, value in changes.items()}
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\r\n").writerow([*cells.values(), *extra])
    return out.getvalue().encode("cp1252")


CRM_HEADER = ";".join(CRM_COLUMNS).encode() + b"\r\n"
CRM_CASES = (
    Case(
        "sound",
        contact(0),
        row={
            "first_name": "zq7 Jürgen",
            "lifetime_value": Decimal("12.50"),
            "loyalty_points": 70077,
            "birth_date": date(1980, 2, 29),
            "marketing_consent": True,
            "updated_at": datetime(2026, 11, 2, 9, tzinfo=UTC),
        },
    ),
    Case(
        "a time with a zone",
        contact(1, Last_Modified="2026-11-02 10:00:00+05:00"),
        row={"updated_at": datetime(2026, 11, 2, 5, tzinfo=UTC)},
    ),
    Case(
        "a time that the zone skips",
        contact(2, Last_Modified="2026-03-29T02:30:00"),
        row={"updated_at": datetime(2026, 3, 29, 1, 30, tzinfo=UTC)},
    ),
    Case("a decimal comma", contact(3, Lifetime_Value="1234567,89"), row={"lifetime_value": Decimal("1234567.89")}),
    Case(
        "a decimal point where a comma is due", contact(4, Lifetime_Value="12.50"), Code.WRONG_TYPE, (("Lifetime Value", "type"),)
    ),
    Case("groups of thousands", contact(5, Lifetime_Value="1.234,50"), Code.WRONG_TYPE, (("Lifetime Value", "type"),)),
    Case(
        "more digits than the scale", contact(6, Lifetime_Value="70077,123"), Code.OUT_OF_RANGE, (("Lifetime Value", "precision"),)
    ),
    Case(
        "more digits than the precision",
        contact(7, Lifetime_Value="70077700777"),
        Code.OUT_OF_RANGE,
        (("Lifetime Value", "precision"),),
    ),
    Case("a negative amount", contact(8, Lifetime_Value="-1"), Code.OUT_OF_RANGE, (("Lifetime Value", "range"),)),
    Case("2^64", contact(9, Loyalty_Points=str(2**64)), Code.OUT_OF_RANGE, (("Loyalty Points", "range"),)),
    Case("2^63 - 1", contact(10, Loyalty_Points=str(2**63 - 1)), row={"loyalty_points": 2**63 - 1}),
    Case("a fraction of a point", contact(11, Loyalty_Points="1,5"), Code.WRONG_TYPE, (("Loyalty Points", "type"),)),
    Case("Excel's phone number", contact(12, Phone="4.47E+11"), Code.BAD_PATTERN, (("Phone", "pattern"),)),
    Case("Excel's phone number with a comma", contact(13, Phone="4,47E+11"), Code.BAD_PATTERN, (("Phone", "pattern"),)),
    Case("a phone number with a line end behind", contact(14, Phone="+491700770077\n"), Code.BAD_PATTERN, (("Phone", "pattern"),)),
    Case("a German date", contact(15, Birth_Date="29.02.1980"), Code.BAD_TIMESTAMP, (("Birth Date", "timestamp"),)),
    Case("a day that is none", contact(16, Birth_Date="1981-02-29"), Code.BAD_TIMESTAMP, (("Birth Date", "timestamp"),)),
    Case("a birth before 1900", contact(17, Birth_Date="1899-12-31"), Code.OUT_OF_RANGE, (("Birth Date", "range"),)),
    Case("a bad address", contact(18, Email="zq7(at)example.com"), Code.BAD_PATTERN, (("Email", "format"),)),
    Case("an address that is too long", contact(19, Email="zq7" * 90 + "@example.com"), Code.BAD_LENGTH, (("Email", "length"),)),
    Case("a choice that is none", contact(20, Marketing_Consent="zq7"), Code.WRONG_TYPE, (("Marketing Consent", "type"),)),
    Case(
        "empty cells",
        contact(21, Email="", Phone="", Lifetime_Value="", Notes=""),
        row={"email": None, "lifetime_value": None, "notes": None},
    ),
    Case("an empty key", contact(22, Contact_ID=""), Code.MISSING_REQUIRED, (("Contact ID", "required"),)),
    Case("a quoted line end", contact(23, Notes='zq7 "one"\nand; two\r\n'), row={"notes": 'zq7 "one"\nand; two\r\n'}),
    Case("a NUL byte", contact(24, Notes="zq7\x00"), row={"notes": "zq7\x00"}),
    Case("a cell too many", contact(25, "zq7"), Code.RAGGED_ROW, (("$", "fields"),)),
    Case("cells too few", b"C-00000026;zq7\r\n", Code.RAGGED_ROW, (("$", "fields"),)),
    Case("a byte that cp1252 does not know", contact(27).replace(b"DE", b"\x81\x8d"), Code.INVALID_ENCODING, (("$", "encoding"),)),
    Case("a quote that is never closed", contact(28).replace(b"zq7 J", b'"zq7 J'), Code.MALFORMED, (("$", "syntax"),)),
    Case("a row too large", contact(29, Notes="zq7" + "n" * (1 << 20)), Code.TOO_LARGE, (("$", "record_bytes"),)),
    Case(
        "six defects",
        contact(30, Contact_ID="zq7", Email="zq7", Phone="70077", Birth_Date="zq7", Country="zq7", Loyalty_Points="-70077"),
        Code.BAD_PATTERN,
        (
            ("Contact ID", "pattern"),
            ("Email", "format"),
            ("Phone", "pattern"),
            ("Birth Date", "timestamp"),
            ("Country", "pattern"),
            ("Loyalty Points", "range"),
        ),
    ),
    Case("the same row again", contact(0), DUPLICATE),
    Case("the same version with other content", contact(0, Notes="zq7 other"), Code.CONFLICTING_DUPLICATE, (("$", "fingerprint"),)),
    Case("another version", contact(0, Last_Modified="2026-11-03T10:00:00")),
)


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("crm")
    (folder / "contacts.csv").write_bytes(CRM_HEADER + b"\r\n" + b"".join(case.record for case in CRM_CASES))
    return told(ingest(folder / "lake", "crm", folder / "contacts.csv", max_rejected=1.0), folder / "lake", "contacts.csv")


@pytest.mark.parametrize("position", range(len(CRM_CASES)), ids=lambda i: CRM_CASES[i].name)
def test_a_contact_is_judged_as_it_should_be(position: int, crm: Told) -> None:
    case = CRM_CASES[position]
    conflicting = ("sound", "the same row again", "the same version with other content")
    if case.name not in conflicting:
        check(case, position, crm)


def test_of_two_contents_of_one_version_one_is_published_and_the_other_a_dead_letter(crm: Told) -> None:
    positions = {case.name: i for i, case in enumerate(CRM_CASES)}
    found = sorted(crm.outcomes[positions[n]] for n in ("sound", "the same row again", "the same version with other content"))
    assert found in ([Code.CONFLICTING_DUPLICATE, DUPLICATE, OUT], [Code.CONFLICTING_DUPLICATE, Code.CONFLICTING_DUPLICATE, OUT])
    assert crm.report.ledger.balanced
    assert crm.report.ledger.records_in == len(CRM_CASES)


def test_no_violation_of_contacts_tells_a_value(crm: Told) -> None:
    no_value_is_told(crm)


def test_contact_files_of_other_encodings_and_headers(tmp_path: Path) -> None:
    files = tmp_path / "in"
    files.mkdir()
    (files / "utf16.csv").write_bytes((CRM_HEADER + contact(1)).decode("cp1252").encode("utf-16"))
    (files / "utf8.csv").write_bytes((CRM_HEADER + contact(2)).decode("cp1252").encode("utf-8-sig"))
    (files / "commas.csv").write_bytes((CRM_HEADER + contact(3) + contact(4)).replace(b";", b","))
    (files / "renamed.csv").write_bytes((CRM_HEADER + contact(5)).replace(b"Contact ID;Email", b"Contact Id;Mail"))
    (files / "wider.csv").write_bytes(CRM_HEADER[:-2] + b";Fax;Blog\r\n" + contact(6, "zq7", "zq7"))
    (files / "mac.csv").write_bytes((CRM_HEADER + contact(7)).replace(b"\r\n", b"\r"))
    (files / "header only.csv").write_bytes(CRM_HEADER)
    lake = tmp_path / "lake"
    report = ingest(lake, "crm", files, max_rejected=1.0)
    for name, first_name in (("utf16.csv", "zq7 Jürgen"), ("utf8.csv", "zq7 Jürgen")):
        result = told(report, lake, name)
        assert result.outcomes == [OUT]
        assert result.rows[0]["first_name"] == first_name
    for name, outcomes in (
        ("commas.csv", [Code.HEADER_MISMATCH] * 2),
        ("renamed.csv", [Code.HEADER_MISMATCH]),
        ("mac.csv", [Code.HEADER_MISMATCH]),
    ):
        result = told(report, lake, name)
        assert result.outcomes == outcomes
        assert [(v["path"], v["rule"]) for v in result.letters[0]["violations"]] == [("$", "header")]
        no_value_is_told(result)
    assert told(report, lake, "renamed.csv").letters[0]["violations"][0]["expected"] == "a header with Contact ID, Email"
    wider = told(report, lake, "wider.csv")
    assert wider.outcomes == [Code.UNKNOWN_FIELD]
    assert [(v["path"], v["rule"]) for v in wider.letters[0]["violations"]] == [("Blog", "unknown_field"), ("Fax", "unknown_field")]
    no_value_is_told(wider)
    assert told(report, lake, "header only.csv").outcomes == []
    assert report.ledger.balanced
    assert report.ledger.records_in == 7


# Orders -------------------------------------------------------------------------------------------

TIME = {"type": "long", "logicalType": "timestamp-micros"}
AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 14, "scale": 2}
ORDER_SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "customer_id", "type": ["null", "string"]},
        {"name": "status", "type": "string"},
        {"name": "currency", "type": "string"},
        {"name": "total_amount", "type": AMOUNT},
        {"name": "refunded_amount", "type": ["null", AMOUNT]},
        {"name": "item_count", "type": ["null", "long"]},
        {"name": "placed_at", "type": TIME},
        {"name": "updated_at", "type": TIME},
        {"name": "email", "type": ["null", "string"], "default": None},
        {"name": "items", "type": ["null", {"type": "array", "items": "string"}], "default": None},
    ],
}


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": f"O-{number:09d}",
        "customer_id": f"{MARK}-c",
        "status": "paid",
        "currency": "EUR",
        "total_amount": Decimal("70077.50"),
        "refunded_amount": None,
        "item_count": 2,
        "placed_at": TEN_O_CLOCK,
        "updated_at": TEN_O_CLOCK + timedelta(minutes=5),
    } | changes


def datum(record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, ORDER_SCHEMA, record)
    return out.getvalue()


def order_case(name: str, number: int, outcome: str = OUT, violations: Paths = (), **changes: Any) -> Case:
    return Case(name, datum(order(number, **changes)), outcome, violations)


ORDER_CASES = (
    order_case("sound", 0),
    order_case(
        "more refunded than paid",
        1,
        Code.CROSS_FIELD,
        (("refunded_amount|total_amount", "compare"),),
        status="refunded",
        refunded_amount=Decimal("70077.51"),
    ),
    order_case("as much refunded as paid", 2, status="refunded", refunded_amount=Decimal("70077.50")),
    order_case(
        "changed before it was placed",
        3,
        Code.CROSS_FIELD,
        (("placed_at|updated_at", "compare"),),
        updated_at=TEN_O_CLOCK - timedelta(1),
    ),
    order_case("refunded without amount", 4, Code.MISSING_REQUIRED, (("refunded_amount", "require_when"),), status="refunded"),
    order_case("no customer", 5, Code.MISSING_REQUIRED, (("customer_id", "required"),), customer_id=None),
    order_case("no items", 6, Code.OUT_OF_RANGE, (("item_count", "range"),), item_count=0),
    order_case("the largest integer", 7, Code.OUT_OF_RANGE, (("item_count", "range"),), item_count=2**63 - 1),
    order_case(
        "an amount beyond the precision",
        8,
        Code.OUT_OF_RANGE,
        (("total_amount", "precision"),),
        total_amount=Decimal("700777007770.00"),
    ),
    order_case("another currency", 9, Code.NOT_IN_ENUM, (("currency", "enum"),), currency=MARK),
    order_case(
        "four defects",
        10,
        Code.BAD_PATTERN,
        (("order_id", "pattern"), ("status", "enum"), ("currency", "enum"), ("total_amount", "range")),
        order_id=MARK,
        status=MARK,
        currency=MARK,
        total_amount=Decimal("-700.77"),
    ),
    order_case("years ago", 11, placed_at=datetime(1970, 1, 1, tzinfo=UTC), updated_at=datetime(1970, 1, 2, tzinfo=UTC)),
)


def avro_bytes(records: Sequence[dict[str, Any]], *, per_block: int = 1_000, codec: str = "null") -> bytes:
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, ORDER_SCHEMA, codec=codec, sync_marker=b"\x07SYNC-MARKER-16\x09")
    for number, record in enumerate(records, 1):
        writer.write(record)
        if number % per_block == 0:
            writer.flush()
    writer.flush()
    return out.getvalue()


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> tuple[IngestReport, Path]:
    """One run over: the cases; a file with a broken block and a cut end; a file that is no Avro; a gzip around one."""
    folder = tmp_path_factory.mktemp("orders")
    files = folder / "in"
    files.mkdir()
    records = [fastavro.schemaless_reader(io.BytesIO(case.record), ORDER_SCHEMA) for case in ORDER_CASES]  # type: ignore[call-arg]
    (files / "orders.avro").write_bytes(avro_bytes(records))  # type: ignore[arg-type]
    blocks = avro_bytes([order(100 + i) for i in range(50)], per_block=10, codec="deflate").split(b"\x07SYNC-MARKER-16\x09")
    blocks[2] = blocks[2][:6] + b"\xff" * (len(blocks[2]) - 6)
    (files / "broken.avro").write_bytes(b"\x07SYNC-MARKER-16\x09".join(blocks)[:-40])
    (files / "text.avro").write_bytes(b"zq7 this is no Avro")
    (files / "packed.avro").write_bytes(gz(avro_bytes([order(200), order(201)])))
    return ingest(folder / "lake", "orders", files, max_rejected=1.0, allow_damaged=True), folder / "lake"


@pytest.mark.parametrize("position", range(len(ORDER_CASES)), ids=lambda i: ORDER_CASES[i].name)
def test_an_order_is_judged_as_it_should_be(position: int, orders: tuple[IngestReport, Path]) -> None:
    check(ORDER_CASES[position], position, told(*orders, "orders.avro"))


def test_the_good_blocks_of_a_broken_avro_file_are_published(orders: tuple[IngestReport, Path]) -> None:
    result = told(*orders, "broken.avro")
    assert result.outcomes == [OUT] * 10 + [Code.DAMAGED_INPUT] * 10 + [OUT] * 20 + [Code.DAMAGED_INPUT]
    assert [row["order_id"] for _, row in sorted(result.rows.items())] == [
        f"O-{100 + i:09d}" for i in range(40) if not 10 <= i < 20
    ]
    assert {(v["path"], v["rule"]) for letter in result.letters.values() for v in letter["violations"]} == {("$", "damage")}


def test_what_is_no_avro_is_one_damage_and_a_gzip_around_avro_is_read(orders: tuple[IngestReport, Path]) -> None:
    assert told(*orders, "text.avro").outcomes == [Code.DAMAGED_INPUT]
    assert told(*orders, "packed.avro").outcomes == [OUT, OUT]
    report = orders[0]
    assert report.ledger.balanced
    assert report.exit_code == 0  # damage was allowed
    for name in ("orders.avro", "broken.avro", "text.avro"):
        no_value_is_told(told(*orders, name))


# Mobile batches -----------------------------------------------------------------------------------


def test_batches_are_judged_record_by_record(tmp_path: Path) -> None:
    lines = [
        {"batch": [event(1), event(2, messageId=...), event(3, type=...), 7, None], "sentAt": "2026-11-02T10:00:01Z"},
        {"events": [event(4)]},
        {"batch": {"type": "track"}},
        {"batch": []},
        {"batch": [event(5, sentAt=..., receivedAt=...)], "sentAt": f"{MARK} noon", "receivedAt": "2026-11-02T10:00:00Z"},
        {"batch": [event(6, messageId=ZERO), event(7)]},
    ]
    (tmp_path / "mobile.jsonl").write_bytes(b"\n".join(json.dumps(batch).encode() for batch in lines))
    result = told(
        ingest(tmp_path / "lake", "mobile", tmp_path / "mobile.jsonl", max_rejected=1.0), tmp_path / "lake", "mobile.jsonl"
    )
    assert result.outcomes == [
        OUT,
        Code.MISSING_REQUIRED,
        Code.MISSING_REQUIRED,
        Code.MALFORMED,
        Code.MALFORMED,
        Code.MALFORMED,
        Code.MALFORMED,
        Code.BAD_TIMESTAMP,
        Code.MISSING_REQUIRED,
        OUT,
    ]
    found = {i: [(v["path"], v["rule"]) for v in letter["violations"]] for i, letter in result.letters.items()}
    assert found == {
        1: [("messageId", "required")],
        2: [("type", "required")],
        3: [("$", "syntax")],
        4: [("$", "syntax")],
        5: [("batch", "syntax")],
        6: [("batch", "syntax")],
        7: [("^.sentAt", "timestamp")],  # the path whose value was bad
        8: [("messageId", "required")],
    }
    assert json.loads(result.letters[1]["raw"]) == event(2, messageId=...)
    no_value_is_told(result)
    assert result.report.ledger.balanced


# Files --------------------------------------------------------------------------------------------


def events(*numbers: int) -> bytes:
    return b"".join(line(number) + b"\n" for number in numbers)


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[IngestReport, Path]:
    """One run over a folder of everything that lies about in folders."""
    top = tmp_path_factory.mktemp("files")
    files = top / "in"
    (files / "sub").mkdir(parents=True)
    noisy = [json.dumps(event(1_000 + i, properties={"n": Random(i).randrange(10**12)})).encode() + b"\n" for i in range(900)]
    (files / "plain.jsonl").write_bytes(events(1, 2))
    (files / "cut.jsonl.gz").write_bytes(gz(b"".join(noisy[:300]))[:-2_000])
    (files / "cut.jsonl.zst").write_bytes(_zstd_blocks(noisy[300:600])[:-300])
    (files / "middle.jsonl.gz").write_bytes(_broken_middle(gz(b"".join(noisy[600:]))))
    (files / "members.jsonl.gz").write_bytes(gz(events(10)) + gz(b"") + gz(events(11)) + b"\0" * 512)
    (files / "frames.jsonl.zst").write_bytes(zstandard.compress(events(12)) + zstandard.compress(events(13)))
    (files / "packed.jsonl").write_bytes(gz(events(14)))
    (files / "unpacked.jsonl.gz").write_bytes(events(15))
    (files / "wide.jsonl").write_bytes(("\ufeff" + events(16).decode()).encode("utf-16-le"))
    (files / "empty.jsonl").write_bytes(b"")
    (files / "blank.jsonl").write_bytes(b"\r\n\n \n")
    (files / "empty.jsonl.gz").write_bytes(gz(b""))
    (files / "headless.jsonl.gz").write_bytes(b"\x1f\x8b")
    (files / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (files / "part-0.jsonl.tmp").write_bytes(events(90))
    (files / "_SUCCESS").write_bytes(b"")
    (files / "plain copy.jsonl").write_bytes(events(1, 2))
    (files / "sub" / "plain.jsonl").write_bytes(events(2, 3))
    (files / "sub" / "no newline").write_bytes(events(17)[:-1])
    (files / "dangling.jsonl").symlink_to(files / "gone.jsonl")
    os.mkfifo(files / "pipe.jsonl")
    (files / os.fsdecode(b"M\xfcller.jsonl")).write_bytes(events(18))
    return ingest(top / "lake", "web", files, files / "plain.jsonl", max_rejected=1.0), top / "lake"


def _zstd_blocks(lines: Sequence[bytes]) -> bytes:
    """One zstd frame, flushed into a block every twenty lines, as a logger does."""
    out = zstandard.ZstdCompressor().compressobj()
    parts = []
    for number, text in enumerate(lines, 1):
        parts.append(out.compress(text))
        if number % 20 == 0:
            parts.append(out.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return b"".join([*parts, out.flush()])


def _broken_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + Random(0).randbytes(200) + data[middle + 200 :]


def test_every_file_has_its_status(folder_run: tuple[IngestReport, Path]) -> None:
    report = folder_run[0]
    found: dict[str, str] = {}
    for entry in report.manifest["inputs"]:
        found[entry["uri"].split("/in/")[1]] = entry["status"]
    same = {found.pop("plain.jsonl"), found.pop("plain copy.jsonl")}
    assert same == {"landed", "already landed"}
    assert found == {
        ".DS_Store": "ignored",
        "_SUCCESS": "ignored",
        "part-0.jsonl.tmp": "ignored",
        "dangling.jsonl": "vanished",
        "pipe.jsonl": "unreadable",
        **dict.fromkeys(
            [
                "cut.jsonl.gz",
                "cut.jsonl.zst",
                "middle.jsonl.gz",
                "members.jsonl.gz",
                "frames.jsonl.zst",
                "packed.jsonl",
                "unpacked.jsonl.gz",
            ],
            "landed",
        ),
        **dict.fromkeys(
            [
                "wide.jsonl",
                "empty.jsonl",
                "blank.jsonl",
                "empty.jsonl.gz",
                "headless.jsonl.gz",
                "sub/plain.jsonl",
                "sub/no newline",
                "M\ufffdller.jsonl",
            ],
            "landed",
        ),
    }


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst", "middle.jsonl.gz"])
def test_the_good_records_of_a_damaged_file_are_published_and_the_damage_is_one_dead_letter(
    name: str, folder_run: tuple[IngestReport, Path]
) -> None:
    result = told(*folder_run, name)
    rejected = [i for i, outcome in enumerate(result.outcomes) if outcome != OUT]
    assert result.outcomes[-1] == Code.DAMAGED_INPUT
    assert len(result.outcomes) > 100
    if name.startswith("cut"):
        assert rejected == [len(result.outcomes) - 1]
    assert {(v["path"], v["rule"]) for v in result.letters[rejected[-1]]["violations"]} == {("$", "damage")}
    ids = [row["event_id"] for _, row in sorted(result.rows.items())]
    first = {"cut.jsonl.gz": 1_000, "cut.jsonl.zst": 1_300, "middle.jsonl.gz": 1_600}[name]
    assert ids[:100] == [f"{MARK}-m-{first + i}" for i in range(100)]
    no_value_is_told(result)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("members.jsonl.gz", [10, 11]),
        ("frames.jsonl.zst", [12, 13]),
        ("packed.jsonl", [14]),
        ("unpacked.jsonl.gz", [15]),
        ("wide.jsonl", [16]),
        ("empty.jsonl", []),
        ("blank.jsonl", []),
        ("empty.jsonl.gz", []),
        ("no newline", [17]),
        ("M\ufffdller.jsonl", [18]),
    ],
)
def test_an_odd_file_is_read_to_its_end(name: str, numbers: list[int], folder_run: tuple[IngestReport, Path]) -> None:
    result = told(*folder_run, name)
    assert result.outcomes == [OUT] * len(numbers)
    assert [row["event_id"] for _, row in sorted(result.rows.items())] == [f"{MARK}-m-{n}" for n in numbers]


def test_a_file_that_is_all_damage_is_one_dead_letter(folder_run: tuple[IngestReport, Path]) -> None:
    assert told(*folder_run, "headless.jsonl.gz").outcomes == [Code.DAMAGED_INPUT]


def test_the_same_content_counts_once_and_the_same_name_with_other_content_is_another_file(
    folder_run: tuple[IngestReport, Path],
) -> None:
    report, lake = folder_run
    plain = [e["raw_file"] for e in landed(report) if Path(e["uri"]).name in ("plain.jsonl", "plain copy.jsonl")]
    assert len(plain) == 3
    assert len(set(plain)) == 2
    found = verdicts(Lake.at(str(lake)), {"web": TABLES["web"]})
    outcomes = sorted((raw_file, position, verdict[0]) for (_, raw_file, position), verdict in found.items() if raw_file in plain)
    assert sorted(outcome for _, _, outcome in outcomes) == [DUPLICATE, OUT, OUT, OUT]


def test_the_ledger_of_the_folder_adds_up_and_the_run_tells_what_it_could_not_read(folder_run: tuple[IngestReport, Path]) -> None:
    report = folder_run[0]
    assert report.ledger.balanced
    assert report.ledger.codes[Code.DAMAGED_INPUT] == 4
    assert report.exit_code == 1
    named = sorted(reason.split("/in/")[1].split(":")[0] for reason in report.reasons if "/in/" in reason)
    assert named == ["cut.jsonl.gz", "cut.jsonl.zst", "dangling.jsonl", "headless.jsonl.gz", "middle.jsonl.gz", "pipe.jsonl"]


def test_a_second_run_over_the_folder_changes_nothing(folder_run: tuple[IngestReport, Path]) -> None:
    report, lake = folder_run
    files = Path(report.manifest["inputs"][-1]["uri"].split("/in/")[0]) / "in"
    again = ingest(lake, "web", files, max_rejected=1.0)
    assert again.manifest["ingested_files"] == 0
    assert again.ledger == report.ledger
    assert again.manifest["datasets"] == report.manifest["datasets"]
    assert {entry["status"] for entry in again.manifest["inputs"]} == {"already landed", "ignored", "vanished", "unreadable"}


def _opening(monkeypatch: pytest.MonkeyPatch, path: Path, first: Callable[[], None]) -> None:
    """Something happens whenever landing opens this file."""

    def opened(name: Any, *args: Any, **options: Any) -> Any:
        if str(name) == str(path):
            first()
        return open(name, *args, **options)

    monkeypatch.setattr("lake.raw.inputs.open", opened, raising=False)


def test_a_file_that_grows_while_it_is_read_is_not_landed_until_it_is_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "grows.jsonl"
    path.write_bytes(events(1))
    (tmp_path / "still.jsonl").write_bytes(events(2))

    def grow() -> None:
        with path.open("ab") as file:
            file.write(events(100 + path.stat().st_size))

    with monkeypatch.context() as patch:
        _opening(patch, path, grow)
        report = ingest(tmp_path / "lake", "web", path, tmp_path / "still.jsonl")
    assert [entry["status"] for entry in report.manifest["inputs"]] == ["changing", "landed"]
    assert report.ledger.out == 1
    assert report.exit_code == 1
    after = ingest(tmp_path / "lake", "web", path)
    assert [entry["status"] for entry in after.manifest["inputs"]] == ["landed"]
    assert after.exit_code == 0
    assert after.ledger.out == path.read_bytes().count(b"\n")


def test_a_file_that_grew_between_two_runs_is_another_file_whose_known_records_are_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(events(1, 2))
    assert ingest(tmp_path / "lake", "web", path).ledger.out == 2
    path.write_bytes(events(1, 2, 3))
    report = ingest(tmp_path / "lake", "web", path)
    assert [entry["status"] for entry in report.manifest["inputs"]] == ["landed"]
    assert report.ledger.records_in == 3
    assert report.ledger.out + report.ledger.duplicate == 3
    assert report.manifest["datasets"]["customer_event"]["rows"] == 3


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (PermissionError(13, "Permission denied"), "unreadable", "permission denied"),
        (OSError(5, "Input/output error"), "unreadable", "input/output error"),
        (OSError(40, "Too many levels of symbolic links"), "unreadable", "too many levels of symbolic links"),
        (FileNotFoundError(2, "No such file or directory"), "vanished", "it was listed, and was gone when it was opened"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_the_others_are_ingested(
    error: OSError, status: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(events(1))
    (tmp_path / "good.jsonl").write_bytes(events(2))

    def fail() -> None:
        raise error

    _opening(monkeypatch, tmp_path / "bad.jsonl", fail)
    report = ingest(tmp_path / "lake", "web", tmp_path / "bad.jsonl", tmp_path / "good.jsonl")
    assert [(entry["status"], entry.get("detail", "")) for entry in report.manifest["inputs"]] == [(status, detail), ("landed", "")]
    assert report.ledger.out == 1
    assert report.exit_code == 1


# Parquet ------------------------------------------------------------------------------------------

PARQUET_SOURCE = """
source: lakehouse
dataset: customer_event
version: 1
format: parquet
columns:
  event_id: id
  event_type: type
  event_name: name
  user_id: user
  original_timestamp: at
  properties: properties
"""


@pytest.fixture
def _parquet_table() -> Iterator[None]:
    TABLES["lakehouse"] = TABLES["web"]
    yield
    del TABLES["lakehouse"]


@pytest.mark.usefixtures("_parquet_table")
def test_parquet_files_are_judged_record_by_record_and_broken_groups_are_damage(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.yaml").write_text(PARQUET_SOURCE)
    moments = pa.array([TEN_S * 10**9 + 1, TEN_S * 10**9, None, TEN_S * 10**9], pa.timestamp("ns", "UTC"))
    table = pa.table(
        {
            "id": [f"{MARK}-p-{i}" for i in range(4)],
            "type": ["track", MARK, "track", "page"],
            "name": ["zq7"] * 4,
            "user": ["zq7", "zq7", None, "zq7"],
            "at": moments,
            "properties": [{"total": 1}] * 4,
        }
    )
    pq.write_table(table, tmp_path / "good.parquet")
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=1, compression="zstd")
    data = bytearray(out.getvalue())
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    data[group.dictionary_page_offset : group.dictionary_page_offset + 16] = b"\xff" * 16
    (tmp_path / "broken.parquet").write_bytes(bytes(data).replace(b"zq7-p-", b"zq7-q-"))
    (tmp_path / "cut.parquet").write_bytes(out.getvalue()[:-30])
    inputs = [tmp_path / name for name in ("good.parquet", "broken.parquet", "cut.parquet")]
    report = ingest(tmp_path / "lake", str(tmp_path / "lakehouse.yaml"), *inputs, max_rejected=1.0, allow_damaged=True)
    good = told(report, tmp_path / "lake", "good.parquet")
    assert good.outcomes[1:3] == [Code.NOT_IN_ENUM, Code.MISSING_REQUIRED]
    assert told(report, tmp_path / "lake", "broken.parquet").outcomes[1] == Code.DAMAGED_INPUT
    assert told(report, tmp_path / "lake", "cut.parquet").outcomes == [Code.DAMAGED_INPUT]
    rows = scan(Lake.at(str(tmp_path / "lake")), TABLES["web"]).to_pylist()
    published = {row["event_id"]: row["original_timestamp"] for row in rows}
    assert published == {f"{MARK}-{letter}-{i}": TEN_O_CLOCK for letter in "pq" for i in (0, 3)}
    assert report.ledger.balanced
    no_value_is_told(good)
