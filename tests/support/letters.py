"""One input for each dead-letter code: the record that is rejected, what it is rejected for, and the record as it should have been.

``LetterShop`` is a project whose sources reject all of them. Cases of files alone have a reason why no stream can have them.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contracts.codes import Code
from contracts.spec.project import Project
from lake.location import Lake
from pipelines.ingest.run import IngestReport
from tests.support.runs import ingest
from tests.support.shop import RECEIVED_S, WEB

MARK = "zq7"  # in the values of every record, and so never in what a letter tells of it
RECORD_BYTES, MAX_DEPTH = 2_048, 8
EVENTS, PEOPLE, SALES, DESK = "events", "people", "sales", "desk"
DATASETS = {EVENTS: "customer_event", PEOPLE: "contact", SALES: "order", DESK: "contact"}
_SALE = ("order_id", "customer_id", "status", "currency", "total_amount", "refunded_amount", "placed_at", "updated_at")
SPECS: dict[str, dict[str, Any]] = {
    EVENTS: {key: value for key, value in WEB.items() if key != "examples"}
    | {
        "source": EVENTS,
        "record_bytes": RECORD_BYTES,
        "max_depth": MAX_DEPTH,
        "schema_version": {
            "path": "schemaVersion",
            "accepted": [1, 2],
            "default": 2,
            "upcasts": [{"from": 1, "to": 2, "steps": [{"unit": {"path": "properties.s", "to": "properties.ms", "factor": 1000}}]}],
        },
    },
    PEOPLE: {
        "source": PEOPLE,
        "dataset": "contact",
        "version": 1,
        "format": "jsonl",
        "columns": {"contact_id": "id", "email": "email", "phone": "phone", "country": "country", "updated_at": "at"},
    },
    SALES: {
        "source": SALES,
        "dataset": "order",
        "version": 1,
        "format": "jsonl",
        "columns": dict(zip(_SALE, _SALE, strict=True)),
    },
    DESK: {
        "source": DESK,
        "dataset": "contact",
        "version": 1,
        "format": "csv",
        "csv": {"delimiter": ";"},
        "columns": {"contact_id": "ID", "email": "Email", "updated_at": "Changed"},
    },
}
NOT_IN_STREAMS = {
    Code.RAGGED_ROW: "messages have no cells",
    Code.HEADER_MISMATCH: "messages have no header",
    Code.DAMAGED_INPUT: "a message arrives whole, or Kafka's client ends the run",
    Code.REFUSED: "a destination refuses, which is another run: tests/stack/pipelines/deliver",
}


@dataclass(frozen=True)
class LetterCase:
    """An input with one dead letter.

    bad, repaired: the file or messages with the record as it came, and as it should have been, by position; in each a record before
    it that is right. path, rule: of the first violation. suffix: of the file. stage: which rejects it. position: of the record.
    """

    code: Code
    rule: str
    path: str
    bad: tuple[bytes, ...]
    repaired: tuple[bytes, ...]
    source: str = EVENTS
    suffix: str = ".jsonl"
    stage: str = "decode"
    position: int = 1

    @property
    def streams(self) -> bool:
        """Whether messages can hold it."""
        return self.code not in NOT_IN_STREAMS

    def file(self, records: tuple[bytes, ...]) -> bytes:
        """The records as a file of this case."""
        text = b"".join(record + b"\n" for record in records)
        return gzip.compress(text, mtime=0) if self.suffix.endswith(".gz") else text


def event(number: int, **changes: Any) -> bytes:
    """A sound event; changes to ... take a field away."""
    base = {
        "messageId": f"{MARK}-m-{number}",
        "type": "track",
        "event": f"{MARK} Paid",
        "userId": f"{MARK}-u-{number}",
        "originalTimestamp": f"2026-11-02T10:{number % 60:02d}:00.000Z",
        "sentAt": f"2026-11-02T10:{number % 60:02d}:00.200Z",
        "receivedAt": f"2026-11-02T10:{number % 60:02d}:00.400Z",
        "properties": {"note": MARK},
    }
    return json.dumps({key: value for key, value in (base | changes).items() if value is not ...}).encode()


def _person(**changes: Any) -> bytes:
    base = {"id": "C-00000001", "email": f"{MARK}@example.com", "phone": "+491700000000", "at": "2026-11-02T10:00:00Z"}
    return json.dumps(base | changes).encode()


def _sale(**changes: Any) -> bytes:
    base = {
        "order_id": "O-000000001", "customer_id": MARK, "status": "paid", "currency": "EUR", "total_amount": 10,
        "placed_at": "2026-11-02T10:00:00Z", "updated_at": "2026-11-02T10:00:00Z",
    }  # fmt: skip
    return json.dumps(base | changes).encode()


def _event_case(code: Code, rule: str, path: str, bad: bytes, number: int = 2) -> LetterCase:
    return LetterCase(code, rule, path, (event(1), bad), (event(1), event(number)))


def _nested(levels: int) -> Any:
    value: Any = MARK
    for _ in range(levels):
        value = {"a": value}
    return value


def _cases() -> Iterable[LetterCase]:
    yield _event_case(Code.MALFORMED, "syntax", "$", event(2)[:-9])
    yield _event_case(Code.INVALID_ENCODING, "encoding", "$", event(2).replace(b"Paid", b"Gr\xf6\xdfe"))
    yield _event_case(Code.TOO_LARGE, "record_bytes", "$", event(2, properties={"note": MARK * 1_000}))
    yield _event_case(Code.TOO_DEEP, "depth", "$", event(2, properties=_nested(MAX_DEPTH)))
    yield _event_case(Code.MISSING_REQUIRED, "required", "type", event(2, type=...))
    yield _event_case(Code.WRONG_TYPE, "type", "userId", event(2, userId=70077))
    yield _event_case(Code.OUT_OF_RANGE, "range", "$", event(2).replace(b'"zq7"', b"1e999"))
    yield _event_case(Code.BAD_TIMESTAMP, "timestamp", "originalTimestamp", event(2, originalTimestamp=f"{MARK} noon"))
    yield _event_case(Code.NOT_IN_ENUM, "enum", "type", event(2, type=f"{MARK}view"))
    yield _event_case(Code.BAD_LENGTH, "length", "userId", event(2, userId=MARK * 100))
    yield _event_case(Code.UNKNOWN_SCHEMA_VERSION, "schema_version", "schemaVersion", event(2, schemaVersion=9))
    yield _event_case(Code.UPCAST_FAILED, "upcast", "properties.s", event(2, schemaVersion=1, properties={"s": MARK}))
    lost = event(1, event=f"{MARK} other", receivedAt="2026-11-02T10:01:05.000Z")
    yield LetterCase(Code.CONFLICTING_DUPLICATE, "fingerprint", "$", (event(1), lost), (event(1), event(2)), stage="converge")
    person = _person()
    yield LetterCase(
        Code.BAD_PATTERN, "pattern", "phone", (person, _person(id="C-00000002", phone=f"4,47E+11 {MARK}")),
        (person, _person(id="C-00000002")), PEOPLE,
    )  # fmt: skip
    yield LetterCase(
        Code.UNKNOWN_FIELD, "unknown_field", "nick", (person, _person(id="C-00000002", nick=MARK)),
        (person, _person(id="C-00000002")), PEOPLE,
    )  # fmt: skip
    sale, refunded = _sale(), {"order_id": "O-000000002", "refunded_amount": 9}
    yield LetterCase(
        Code.CROSS_FIELD, "compare", "refunded_amount|total_amount",
        (sale, _sale(**refunded | {"refunded_amount": 11})), (sale, _sale(**refunded)), SALES,
    )  # fmt: skip
    header, first = b"ID;Email;Changed", b"C-00000003;zq7@example.com;2026-11-02T10:00:00Z"
    second = b"C-00000004;zq7@example.com;2026-11-02T10:00:00Z"
    yield LetterCase(Code.RAGGED_ROW, "fields", "$", (header, first, second + b";zq7"), (header, first, second), DESK, ".csv")
    yield LetterCase(Code.HEADER_MISMATCH, "header", "$", (b"ID;Email;zq7", second), (header, second), DESK, ".csv", position=0)
    yield LetterCase(Code.DAMAGED_INPUT, "damage", "$", (event(1), event(2)), (event(1), event(2)), suffix=".jsonl.gz", position=0)


CASES = {case.code: case for case in _cases()}


class LetterShop:
    """A project with the sources of the cases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sources").mkdir(parents=True)
        (folder / "headrace.yaml").write_text("lake: lake\nsources: [sources]\nreplay: {maxAge: 36500d}\n")
        for name, spec in SPECS.items():
            (folder / "sources" / f"{name}.yaml").write_text(yaml.safe_dump(spec))

    @property
    def project(self) -> Project:
        """As its files are now."""
        return Project.load(self.folder)

    def lake(self, name: str = "lake") -> Lake:
        """One of its lakes."""
        return Lake.at(str(self.folder / name))

    def write(self, case: LetterCase, *, repaired: bool = False) -> Path:
        """A case's file, as it came or as it should have been. The damaged one breaks off in its last record."""
        path = self.folder / "drop" / f"{case.code}{'-repaired' if repaired else ''}{case.suffix}"
        path.parent.mkdir(exist_ok=True)
        content = case.file(case.repaired if repaired else case.bad)
        broken = case.code is Code.DAMAGED_INPUT and not repaired
        path.write_bytes(content[: len(content) * 3 // 4] if broken else content)
        os.utime(path, (RECEIVED_S, RECEIVED_S))
        return path

    def ingest(self, source: str, paths: Iterable[Path], lake: str = "lake") -> IngestReport:
        """Ingest files of one source."""
        return ingest(self.lake(lake), paths, source, self.project, max_rejected=1.0, allow_damaged=True, window=3_600)
