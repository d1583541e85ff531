"""The main job in idiomatic Beam, a record at a time: what a competent Beam user would write for this dataset today.

Same runner (FnApiRunner in process), same decoder (msgspec), same rules, hashes, windows and winner as the job; plain Python per
record on the common path, and the contract's judge for the reasons of what fails. It does less than the job: no raw layer, no
positions (Beam's text source knows none), no Iceberg commit, and its files are not sorted by window and shard.

    python -m benchmarks.ingest.row_job SAMPLE OUTPUT
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pyarrow as pa
import xxhash
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from contracts.codes import Violation
from contracts.compiler.judge import RecordJudge
from contracts.compiler.rows import MAX_AHEAD_US, MAX_BEHIND_US
from contracts.compiler.schemas import TIMESTAMP, row_schema
from contracts.compiler.values import CANONICAL_JSON
from contracts.compiler.versions import VersionReader
from contracts.spec.project import Project
from lake.formats.jsonl import parse_payloads
from runners.direct import run_bounded

PROJECT = Path(__file__).parents[2] / "examples/webshop"
SPEC, CONTRACT = Project.load(PROJECT).source("web")
ROW_SCHEMA = pa.schema([field for field in row_schema(CONTRACT) if field.name != "_position"])
LETTER_SCHEMA = pa.schema(
    [
        ("code", pa.string()),
        ("violations", pa.string()),
        ("event_id", pa.string()),
        ("file", pa.string()),
        ("received_at", TIMESTAMP),
        ("raw", pa.binary()),
    ]
)
WINDOW_S = 3_600
TYPES = frozenset(CONTRACT.by_name["event_type"].enum)
TOKENS = CONTRACT.by_name["user_id"].null_tokens
KNOWN = SPEC.known_fields
STABLE = frozenset(c.name for c in CONTRACT.columns if not c.transport and c.name != CONTRACT.event_id)
LETTERS, CONFLICTS = "dead_letters", "conflicts"
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
Row = dict[str, Any]


class UncommonError(Exception):
    """A record that is not in the common form; it may be good all the same."""


def text(value: Any, limit: int = 1 << 30) -> str | None:
    """A string of this length, or nothing."""
    if value is None or (type(value) is str and len(value) <= limit):
        return value
    raise UncommonError


def identifier(value: Any) -> str | None:
    """A string that identifies something, or nothing."""
    if value is None or (type(value) is str and 0 < len(value) <= 256 and value not in TOKENS):
        return value
    raise UncommonError


def microseconds(value: Any) -> int | None:
    """The common form of a timestamp, ``2026-11-01T12:00:00.000Z``."""
    if value is None:
        return None
    if type(value) is not str or len(value) != 24 or value[10] != "T" or value[19] != "." or value[23] != "Z":
        raise UncommonError
    try:
        return (datetime.fromisoformat(value) - EPOCH) // MICROSECOND
    except ValueError:
        raise UncommonError from None


def an_object(value: Any) -> dict[str, Any]:
    """An object; an empty one for nothing."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise UncommonError
    return value


def canonical(value: Any) -> str | None:
    """An object as canonical JSON."""
    return None if value is None else CANONICAL_JSON.encode(an_object(value)).decode()


def row_of(event: dict[str, Any]) -> Row:
    """The contract's columns of an event in the common form.

    Raises:
        UncommonError: it is not, or breaks a rule.
    """
    context = an_object(event.get("context"))
    campaign, library = an_object(context.get("campaign")), an_object(context.get("library"))
    consent = an_object(context.get("consent")).get("categoryPreferences")
    if consent is not None and not all(type(choice) is bool for choice in an_object(consent).values()):
        raise UncommonError
    row: Row = {
        "event_id": identifier(event.get("messageId")),
        "event_type": event.get("type"),
        "event_name": text(event["event"] if event.get("event") is not None else event.get("name"), 256),
        "user_id": identifier(event.get("userId")),
        "anonymous_id": identifier(event.get("anonymousId")),
        "previous_id": identifier(event.get("previousId")),
        "group_id": identifier(event.get("groupId")),
        "original_timestamp": microseconds(event.get("originalTimestamp")),
        "sent_at": microseconds(event.get("sentAt")),
        "received_at": microseconds(event.get("receivedAt")),
        "consent": consent,
        "ip": text(context.get("ip"), 64),
        "user_agent": text(context.get("userAgent"), 2048),
        "locale": text(context.get("locale"), 64),
        "page_url": text(an_object(context.get("page")).get("url"), 8192),
        "campaign_name": text(campaign.get("name")),
        "campaign_source": text(campaign.get("source")),
        "campaign_medium": text(campaign.get("medium")),
        "campaign_term": text(campaign.get("term")),
        "campaign_content": text(campaign.get("content")),
        "device_id": identifier(an_object(context.get("device")).get("id")),
        "library": text(library.get("name")),
        "library_version": text(library.get("version")),
        "context": canonical(event.get("context")),
        "properties": canonical(event.get("properties")),
        "traits": canonical(event.get("traits")),
        "integrations": canonical(event.get("integrations")),
        "unknown_fields": None,
    }
    kind = row["event_type"]
    if (
        type(kind) is not str
        or kind not in TYPES
        or not row["original_timestamp"]
        or row["event_name"] == ""
        or (row["user_id"] is None and row["anonymous_id"] is None)
        or (kind == "track" and row["event_name"] is None)
        or (kind == "group" and row["group_id"] is None)
        or (kind == "alias" and (row["previous_id"] is None or row["user_id"] is None))
        or (kind == "identify" and row["user_id"] is None and row["traits"] is None)
        or event.get("schemaVersion") not in (None, 1, 2)
        or not KNOWN.issuperset(event)
    ):
        raise UncommonError
    return row


def finish(row: Row, file: str, received_us: int) -> Row:
    """Add what is computed from a row: times, identity and hashes."""
    received = row["received_at"] = received_us if row["received_at"] is None else row["received_at"]
    original, sent = row["original_timestamp"], row["sent_at"]
    event_time = row["event_time"] = None if original is None or sent is None else received - (sent - original)
    low, high = received - MAX_BEHIND_US, received + MAX_AHEAD_US
    trusted = original is not None and low <= original <= high
    estimate = event_time if event_time is not None and low <= event_time <= high else received
    stable = {name: value for name, value in row.items() if value is not None and name in STABLE}
    fingerprint = xxhash.xxh3_128_digest(CANONICAL_JSON.encode(stable))
    if row["event_id"] is None:
        row["event_id"] = f"fp-{fingerprint.hex()}"
    full = {name: value for name, value in row.items() if value is not None}
    row["_row_hash"] = xxhash.xxh3_128_digest(CANONICAL_JSON.encode(full))
    row["_fingerprint"] = fingerprint
    row["_window_time"] = original if trusted else estimate
    row["_time_corrected"] = original is not None and not trusted
    row["_received_at"] = received
    row["_rank"] = (received + 2**63).to_bytes(8, "big")
    row["_source"] = SPEC.name
    row["_raw_file"] = file
    return row


def dead_letter(violations: list[Violation], event_id: Any, file: str, received_us: int, raw: bytes | None) -> Row:
    """A dead letter with every reason."""
    reasons = [{"path": v.path, "rule": v.rule, "expected": v.expected} for v in violations]
    return {
        "code": str(violations[0].code),
        "violations": json.dumps(reasons),
        "event_id": event_id if isinstance(event_id, str) else None,
        "file": file,
        "received_at": received_us,
        "raw": raw,
    }


@beam.typehints.with_input_types(tuple[str, bytes])
@beam.typehints.with_output_types(tuple[str, dict[str, Any]])
class _ParseAndValidateFn(beam.DoFn):
    def setup(self) -> None:
        assert SPEC.schema_version
        self._judge, self._versions = RecordJudge(CONTRACT, SPEC), VersionReader(SPEC.schema_version)
        self._decode = msgspec.json.Decoder().decode
        self._received: dict[str, int] = {}

    def process(self, element: tuple[str, bytes]) -> Iterator[Any]:
        file, line = element
        if file not in self._received:
            self._received[file] = os.stat(file).st_mtime_ns // 1000
        received_us = self._received[file]
        try:
            if line.count(b"{") + line.count(b"[") > SPEC.max_depth or len(line) > SPEC.record_bytes:
                raise ValueError
            event = self._decode(line)
        except (ValueError, msgspec.MsgspecError):
            parsed = parse_payloads(SPEC, [line])
            if parsed.failed:
                yield beam.pvalue.TaggedOutput(LETTERS, dead_letter(parsed.failed[0], None, file, received_us, parsed.raw(0)))
                return
            event = parsed.records[0]
        if type(event) is not dict:
            reason = [Violation("$", "syntax", "an object")]
            yield beam.pvalue.TaggedOutput(LETTERS, dead_letter(reason, None, file, received_us, line))
            return
        if self._judge.is_filtered(event):
            return
        try:
            row = row_of(event)
        except UncommonError:
            unread = self._versions.read([event], [event.get("schemaVersion")]).broken.get(0)
            verdict = [unread] if unread else self._judge.judge(event)
            if isinstance(verdict, list):
                letter = dead_letter(verdict, event.get("messageId"), file, received_us, line)
                yield beam.pvalue.TaggedOutput(LETTERS, letter)
                return
            row = verdict
        row = finish(row, file, received_us)
        yield TimestampedValue((row["event_id"], row), Timestamp(micros=row["_window_time"]))


@beam.typehints.with_input_types(tuple[str, Iterable[dict[str, Any]]])
@beam.typehints.with_output_types(dict[str, Any])
class _PickWinnerFn(beam.DoFn):
    def process(self, element: tuple[str, Iterable[Row]]) -> Iterator[Any]:
        event_id, rows = element
        winner, *rest = sorted(rows, key=lambda row: (row["_rank"], row["_fingerprint"], row["_row_hash"], row["_raw_file"]))
        yield winner
        seen = {winner["_fingerprint"]}
        for row in rest:
            if row["_fingerprint"] not in seen:
                seen.add(row["_fingerprint"])
                reason = [Violation("$", "fingerprint", "the same content as the published row with this event_id")]
                yield beam.pvalue.TaggedOutput(
                    CONFLICTS, dead_letter(reason, event_id, row["_raw_file"], row["_received_at"], None)
                )


def with_sorted_map(row: Row) -> Row:
    """The row as pyarrow wants it: a map is a list of pairs."""
    consent = row["consent"]
    return row if consent is None else {**row, "consent": sorted(consent.items())}


def build(pipeline: beam.Pipeline, sample: Path, output: Path) -> None:
    """The graph."""
    checked = (
        pipeline
        | "Read" >> beam.io.ReadFromTextWithFilename(f"{sample}/*.jsonl", coder=beam.coders.BytesCoder())
        | "ParseAndValidate" >> beam.ParDo(_ParseAndValidateFn()).with_outputs(LETTERS, main="rows")
    )
    picked = (
        checked.rows
        | "Hours" >> beam.WindowInto(FixedWindows(WINDOW_S))
        | "ByEventId" >> beam.GroupByKey()
        | "PickWinner" >> beam.ParDo(_PickWinnerFn()).with_outputs(CONFLICTS, main="winners")
    )
    _ = (
        picked.winners
        | "SortMap" >> beam.Map(with_sorted_map)
        | "RowsGlobal" >> beam.WindowInto(GlobalWindows())
        | "WriteRows" >> beam.io.WriteToParquet(f"{output}/rows/part", ROW_SCHEMA, codec="zstd", file_name_suffix=".parquet")
    )
    conflicts = picked[CONFLICTS] | "ConflictsGlobal" >> beam.WindowInto(GlobalWindows())
    _ = (
        (checked[LETTERS], conflicts)
        | "AllDeadLetters" >> beam.Flatten()
        | "WriteDeadLetters"
        >> beam.io.WriteToParquet(f"{output}/dead_letters/part", LETTER_SCHEMA, codec="zstd", file_name_suffix=".parquet")
    )


def run_row_job(sample: Path, output: Path) -> None:
    """All of it."""
    for folder in (output / "rows", output / "dead_letters"):
        folder.mkdir(parents=True)
    run_bounded(lambda pipeline: build(pipeline, sample, output))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.row_job")
    parser.add_argument("sample", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    # Imported under its own name: what a Beam worker unpickles must not live in __main__.
    from benchmarks.ingest.row_job import run_row_job as run  # noqa: PLC0415

    run(options.sample, options.output)


if __name__ == "__main__":
    main()
