"""The generator's promises, checked by a plain reading of its files that shares no code with it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
import zstandard

from examples.webshop.contacts import CONTACT_DEFECTS
from examples.webshop.defects import COPIES, EVENT_DEFECTS
from examples.webshop.generate import generate, main
from examples.webshop.orders import ORDER_DEFECTS

Truth = dict[str, Any]
PLACEHOLDERS = (None, "", "null", "undefined", "None", "00000000-0000-0000-0000-000000000000")
TYPES = ("track", "identify", "page", "screen", "group", "alias")
LEVELS_MAX = 500
EVENT_BYTES_MAX = 1 << 20
ID_LENGTH_MAX = 256
ITEMS_MAX = 10_000


@pytest.fixture(scope="module")
def webshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest size at which every defect must be there."""
    output = tmp_path_factory.mktemp("webshop")
    generate(output, records=50_000)
    return output


@pytest.fixture(scope="module")
def truth(webshop: Path) -> dict[str, list[Truth]]:
    """The truth by file, in the order of ordinals."""
    files: dict[str, list[Truth]] = defaultdict(list)
    for row in pq.read_table(webshop / "truth.parquet").to_pylist():
        files[row["file"]].append(row)
    for rows in files.values():
        rows.sort(key=lambda row: int(row["ordinal"]))
    return files


# Reading


def inflate(data: bytes) -> bytes:
    """All gzip members, or what can be had of them."""
    text = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        text += member.decompress(data)
        data = member.unused_data
    return text


def lines_of(path: Path) -> list[bytes]:
    """The lines that are not blank, without BOM and line ends."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = inflate(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line.removesuffix(b"\r") for line in lines if line.strip()]


def parse(line: bytes) -> tuple[Any, str | None]:
    """The JSON object of a line, or why there is none."""
    if len(line) > EVENT_BYTES_MAX:
        return None, "too_large"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None, "invalid_encoding"
    if text.count("{") > LEVELS_MAX:
        return None, "too_deep"
    try:
        value = json.loads(text, parse_constant=int)
    except ValueError:
        return None, "malformed"
    if not isinstance(value, dict) or (re.search(r"\\ud[89a-f]", text) and "\\ud83d" in text):
        return None, "malformed"
    return value, None


def events_of(path: Path) -> Iterator[tuple[Any, str | None]]:
    """The records of a file of web events or SDK batches: an event, or the code of a line that has none."""
    for line in lines_of(path):
        value, code = parse(line)
        if path.parent.name == "web" or code:
            yield value, code
        elif not isinstance(value.get("batch"), list):
            yield None, "malformed"
        else:
            times = {name: value[name] for name in ("sentAt", "receivedAt")}
            yield from ((times | event, None) for event in value["batch"])


def is_time(value: Any) -> bool:
    if value is None or isinstance(value, int):
        return True
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


# Judging by the contracts, column by column and then rule by rule


def judge_event(event: dict[str, Any], source: str) -> str | None:
    """The first violation, `filtered`, or None."""
    context = event.get("context")
    if isinstance(context, dict) and context.get("traffic") in ("synthetic", "bot"):
        return "filtered"
    if source == "web" and event.get("schemaVersion", 1) not in (1, 2):
        return "unknown_schema_version"
    user, anonymous = event.get("userId"), event.get("anonymousId")
    kind = event.get("type")
    checks = (
        ("missing_required", source == "mobile" and event.get("messageId") in PLACEHOLDERS),
        ("missing_required", kind is None),
        ("not_in_enum", kind not in TYPES),
        ("wrong_type", not isinstance(user, str | None)),
        ("bad_length", isinstance(user, str) and len(user) > ID_LENGTH_MAX),
        ("bad_timestamp", not is_time(event.get("originalTimestamp"))),
        ("wrong_type", not isinstance(context, dict)),
        ("missing_required", user in PLACEHOLDERS and anonymous in PLACEHOLDERS),
        ("missing_required", kind == "track" and not event.get("event")),
        ("missing_required", kind == "group" and not event.get("groupId")),
        ("missing_required", kind == "alias" and not (event.get("previousId") and user)),
        ("missing_required", kind == "identify" and not (user or event.get("traits"))),
    )
    return next((code for code, broken in checks if broken), None)


def judge_contact(row: list[str], columns: list[str]) -> str | None:
    """The first violation or None."""
    if len(row) != len(columns):
        return "ragged_row"
    contact = dict(zip(columns, row, strict=True))
    points, birth = contact["Loyalty Points"], contact["Birth Date"]
    is_date = bool(re.fullmatch(r"\d{4}-\d\d-\d\d", birth))
    is_number = bool(re.fullmatch(r"-?\d+", points))
    checks = (
        ("missing_required", not contact["Contact ID"]),
        ("bad_pattern", not re.fullmatch(r"C-\d{8}", contact["Contact ID"])),
        (
            "bad_pattern",
            bool(contact["Email"]) and not re.fullmatch(r"[a-z0-9.-]+@example\.(com|org)", contact["Email"]),
        ),
        ("bad_pattern", bool(contact["Phone"]) and not re.fullmatch(r"\+4915550\d{6}", contact["Phone"])),
        ("bad_timestamp", bool(birth) and not is_date),
        ("out_of_range", is_date and date.fromisoformat(birth) < date(1900, 1, 1)),
        ("bad_pattern", not re.fullmatch(r"([A-Z]{2})?", contact["Country"])),
        ("wrong_type", contact["Marketing Consent"] not in ("true", "false", "")),
        ("wrong_type", not re.fullmatch(r"(\d+,\d\d)?", contact["Lifetime Value"])),
        ("wrong_type", bool(points) and not is_number),
        ("out_of_range", is_number and not 0 <= int(points) < 2**63),
        ("bad_timestamp", not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", contact["Last Modified"])),
    )
    return next((code for code, broken in checks if broken), None)


def judge_order(order: dict[str, Any]) -> str | None:
    """The first violation or None."""
    refunded = order["refunded_amount"]
    checks = (
        ("bad_pattern", not re.fullmatch(r"O-\d{9}", order["order_id"])),
        ("not_in_enum", order["status"] not in ("placed", "paid", "shipped", "refunded", "cancelled")),
        ("not_in_enum", order["currency"] not in ("EUR", "USD", "GBP", "SEK")),
        ("out_of_range", order["total_amount"] < 0),
        ("out_of_range", refunded is not None and refunded < 0),
        ("out_of_range", not 1 <= order["item_count"] <= ITEMS_MAX),
        ("cross_field", refunded is not None and refunded > order["total_amount"]),
        ("cross_field", order["placed_at"] > order["updated_at"]),
        ("missing_required", order["status"] == "refunded" and refunded is None),
    )
    return next((code for code, broken in checks if broken), None)


def assert_verdict(row: Truth, code: str | None) -> None:
    """The truth of a record agrees with a judgement of the record alone."""
    if code == "filtered":
        assert row["expected"] == "filtered", row
    elif code:
        assert (row["expected"], row["code"]) == ("dead_letter", code), row
    else:
        assert row["expected"] not in ("filtered",), row
        assert row["code"] in (None, "conflicting_duplicate"), row


# The promises


def digest(output: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of each file."""
    return {
        str(path.relative_to(output)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def test_same_arguments_give_same_bytes_and_times(tmp_path: Path) -> None:
    generate(tmp_path / "a", records=5_000)
    generate(tmp_path / "b", records=5_000)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_another_seed_gives_other_bytes_everywhere(tmp_path: Path) -> None:
    generate(tmp_path / "a", records=5_000)
    generate(tmp_path / "b", records=5_000, seed=8)
    first, second = digest(tmp_path / "a"), digest(tmp_path / "b")
    constant = {"web/.DS_Store", "web/upload.tmp", "web/events-empty.jsonl"}
    assert {name for name, what in first.items() if second.get(name) == what} == constant


def test_second_run_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    generate(tmp_path / "a", records=5_000)
    generate(tmp_path / "b", records=5_000, seed=8)
    (tmp_path / "b" / "web" / "left-over.jsonl").write_bytes(b"{}")
    generate(tmp_path / "b", records=5_000)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SystemExit) as exit_info:
        main(["--output", str(tmp_path)])
    assert exit_info.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_defect_and_copy_is_there_at_50_000(truth: dict[str, list[Truth]]) -> None:
    found = {(row["source"], row["defect"]) for rows in truth.values() for row in rows}
    tables: dict[str, tuple[Any, ...]] = {
        "web": EVENT_DEFECTS + COPIES,
        "mobile": EVENT_DEFECTS + COPIES,
        "crm": CONTACT_DEFECTS + COPIES,
        "orders": ORDER_DEFECTS + COPIES,
    }
    for source, entries in tables.items():
        stated = {(source, entry.name) for entry in entries if source in entry.sources}
        assert stated <= found
    assert ("web", "damaged_file") in found


def test_every_dead_letter_code_of_the_brief_is_there(truth: dict[str, list[Truth]]) -> None:
    codes = {row["code"] for rows in truth.values() for row in rows}
    assert codes == {
        None, "malformed", "invalid_encoding", "too_large", "too_deep", "missing_required", "wrong_type",
        "out_of_range", "bad_timestamp", "not_in_enum", "bad_pattern", "bad_length", "cross_field", "ragged_row",
        "damaged_input", "unknown_schema_version", "conflicting_duplicate",
    }  # fmt: skip


@pytest.mark.parametrize("source", ["web", "mobile"])
def test_events_are_where_the_truth_says_and_have_only_its_defect(
    webshop: Path, truth: dict[str, list[Truth]], source: str
) -> None:
    for file, rows in truth.items():
        if rows[0]["source"] != source or "damaged" in file:
            continue
        events = list(events_of(webshop / file))
        assert [row["ordinal"] for row in rows] == list(range(len(events)))
        for row, (event, unreadable) in zip(rows, events, strict=True):
            code = unreadable or judge_event(event, source)
            assert_verdict(row, code)
            if row["event_id"]:
                assert event["messageId"] == row["event_id"]


def test_contacts_are_where_the_truth_says(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    for file in sorted(path.name for path in (webshop / "crm").iterdir()):
        with (webshop / "crm" / file).open(encoding="cp1252", newline="") as text:
            columns, *contacts = csv.reader(text, delimiter=";", strict=True)
        for row, contact in zip(truth[f"crm/{file}"], contacts, strict=True):
            assert_verdict(row, judge_contact(contact, columns))
            if row["person"] and contact[0]:
                assert int(contact[0][2:]) == int(row["person"][2:])


def test_orders_are_where_the_truth_says(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    for path in (webshop / "orders").iterdir():
        with path.open("rb") as file:
            orders: list[dict[str, Any]] = [dict(order) for order in fastavro.reader(file) if isinstance(order, dict)]
        for row, order in zip(truth[f"orders/{path.name}"], orders, strict=True):
            assert_verdict(row, judge_order(order))
        cents = sum(item["quantity"] * item["unit_price_cents"] for item in orders[0]["items"])
        assert orders[0]["total_amount"] == Decimal(cents).scaleb(-2)


def test_records_of_one_event_id_are_one_duplicate_group(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    groups: dict[tuple[str, str], list[tuple[Truth, Any]]] = defaultdict(list)
    for file, rows in truth.items():
        if rows[0]["source"] not in ("web", "mobile") or "damaged" in file:
            continue
        for row, (event, _) in zip(rows, events_of(webshop / file), strict=True):
            if row["event_id"] and row["expected"] not in ("filtered",):
                groups[row["source"], row["event_id"]].append((row, event))
    for (_, event_id), members in groups.items():
        if len(members) == 1:
            assert members[0][0]["duplicate_group"] is None
            continue
        assert {row["duplicate_group"] for row, _ in members} == {event_id}
        (first, original), *others = sorted(members, key=lambda member: str(member[1]["receivedAt"]))
        second, copy = others[0]
        assert len({row["expected"] for row, _ in others}) == 1
        assert len(others) == 1 or {row["defect"] for row, _ in others} == {"retried_three_times"}
        without_transport = [
            {name: value for name, value in event.items() if name not in ("sentAt", "receivedAt")} for event in (original, copy)
        ]
        outcomes = (first["expected"], second["expected"])
        if outcomes == ("out_or_duplicate", "out_or_duplicate"):
            assert original == copy
        elif outcomes == ("out", "duplicate"):
            assert original["receivedAt"] < copy["receivedAt"]
            assert without_transport[0] == without_transport[1]
        else:
            assert outcomes == ("out", "dead_letter")
            assert original["receivedAt"] < copy["receivedAt"]
            assert without_transport[0] != without_transport[1]


def test_retry_without_id_differs_in_transport_only(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    groups: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for file, rows in truth.items():
        if rows[0]["source"] == "web" and "damaged" not in file:
            for row, (event, _) in zip(rows, events_of(webshop / file), strict=True):
                if row["duplicate_group"] and not row["event_id"]:
                    assert "messageId" not in event
                    groups[row["duplicate_group"]].append((row["expected"], event))
    assert groups
    for members in groups.values():
        members.sort(key=lambda member: str(member[1]["receivedAt"]))
        assert [expected for expected, _ in members] == ["out", "duplicate"]
        assert members[0][1] | {name: members[1][1][name] for name in ("sentAt", "receivedAt")} == members[1][1]


def test_versions_of_entities_are_unique_but_for_the_groups(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    groups: dict[str, list[Truth]] = defaultdict(list)
    for path in (webshop / "crm").iterdir():
        with path.open(encoding="cp1252", newline="") as text:
            for row, contact in zip(truth[f"crm/{path.name}"], list(csv.reader(text, delimiter=";"))[1:], strict=True):
                groups[f"{contact[0]}@{contact[-1]}"].append(row)
    for path in (webshop / "orders").iterdir():
        with path.open("rb") as file:
            for row, order in zip(truth[f"orders/{path.name}"], fastavro.reader(file), strict=True):
                assert isinstance(order, dict)
                groups[f"{order['order_id']}@{order['updated_at']}"].append(row)
    for members in groups.values():
        expected = {row["expected"] for row in members}
        if len(members) > 1:
            assert expected in ({"out_or_duplicate"}, {"out_or_conflict"})
            assert len({row["duplicate_group"] for row in members}) == 1
        else:
            assert expected <= {"out", "dead_letter"}


def test_user_id_is_known_only_after_a_login_on_the_device(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    logins: dict[str, str] = {}
    seen: list[tuple[str, Any]] = []
    for file, rows in truth.items():
        if rows[0]["source"] in ("web", "mobile") and "damaged" not in file:
            records = zip(rows, events_of(webshop / file), strict=True)
            seen += [(row["person"], event) for row, (event, _) in records if row["expected"].startswith("out") and event]
    people: dict[str, set[str]] = defaultdict(set)
    for person, event in sorted(seen, key=lambda pair: str(pair[1]["originalTimestamp"])):
        if isinstance(event["originalTimestamp"], int) or event["originalTimestamp"][:4] in ("1970", "2099"):
            continue
        if event["type"] == "identify":
            logins[event["anonymousId"]] = event["userId"]
        if event["userId"]:
            assert logins.get(event["anonymousId"]) == event["userId"]
            people[event["userId"]].add(person)
    assert people and all(len(persons) == 1 for persons in people.values())


def test_damaged_file_counts_its_whole_lines(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    (path,) = (webshop / "web").glob("*damaged*")
    with pytest.raises(EOFError), gzip.open(path) as file:
        file.read()
    *lines, rest = inflate(path.read_bytes()).split(b"\n")
    rows = truth[f"web/{path.name}"]
    assert len(lines) > 50 and rest
    assert [row["event_id"] for row in rows[:-1]] == [json.loads(line)["messageId"] for line in lines]
    assert (rows[-1]["ordinal"], rows[-1]["code"]) == (len(lines), "damaged_input")


def test_copied_file_is_listed_once_with_its_second_name(webshop: Path, truth: dict[str, list[Truth]]) -> None:
    copies = {(file, row["copy"]) for file, rows in truth.items() for row in rows if row["copy"]}
    ((original, copy),) = copies
    assert (webshop / original).read_bytes() == (webshop / copy).read_bytes()
    assert copy not in truth


def test_forms_of_files_are_all_there(webshop: Path) -> None:
    data = {path.name: path.read_bytes() for folder in ("web", "mobile") for path in (webshop / folder).iterdir()}
    texts = [inflate(raw) if name.endswith(".gz") else raw for name, raw in data.items() if not name.endswith(".zst")]
    assert any(text.startswith(b"\xef\xbb\xbf") for text in texts)
    assert any(b"\r\n\r\n" in text for text in texts) and any(b"\n\n" in text for text in texts)
    assert any(text.endswith(b"}") for text in texts)
    assert any(raw.count(b"\x28\xb5\x2f\xfd") > 1 for name, raw in data.items() if name.endswith(".zst"))
    assert any(zlib.decompressobj(31).decompress(raw) != inflate(raw) for name, raw in data.items() if ".gz" in name)
    assert {".DS_Store", "upload.tmp", "events-empty.jsonl"} <= data.keys()


def test_times_of_receipt_are_within_the_window_of_the_clock(webshop: Path) -> None:
    """Sound events lie in [received - 30 d, + 1 h], so that a retry has the window of its original."""
    for path in sorted((webshop / "mobile").iterdir()):
        for event, _ in events_of(path):
            stamp = event and event.get("originalTimestamp")
            if isinstance(stamp, str) and stamp.endswith("Z") and stamp[:4] == "2026" and is_time(stamp):
                age = datetime.fromisoformat(event["receivedAt"]) - datetime.fromisoformat(stamp)
                assert timedelta(hours=-1) < age < timedelta(days=30)
    assert datetime.fromtimestamp((webshop / "truth.parquet").stat().st_mtime, UTC).date() == date(2026, 11, 4)
