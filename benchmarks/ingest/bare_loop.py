"""The work of ``headrace ingest web`` without Beam, Iceberg and catalog: straight-line Python for this one dataset.

Written for speed. It does all that the job does to the data: copies and hashes the raw files, checks every rule of the contract,
writes dead letters with their reasons, canonical rows with fingerprint and row hash, one winner per event id and window, conflicts
as dead letters, sorted Parquet (zstd) per window and shard, and the outcome of every position. Lines that are not in the common
form (``web_event.py``) go through the contract's own checker.

    python -m benchmarks.ingest.bare_loop SAMPLE OUTPUT [--processes 2]

With several processes each reads its share of the files and writes its share of the shards; rows of other shards change hands in
Arrow files.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import multiprocessing.synchronize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from benchmarks.ingest.web_event import WebEvent, breaks_cross_field_rules
from contracts.codes import RULE_CODES, Violation
from contracts.compiler.checker import RecordChecker
from contracts.compiler.rows import MAX_AHEAD_US, MAX_BEHIND_US, RowFinisher
from contracts.compiler.schemas import row_schema, to_arrow
from contracts.compiler.timestamps import parse_column
from contracts.spec.project import Project
from lake.formats.jsonl import parse_payloads

PROJECT = Path(__file__).parents[2] / "examples/webshop"
SPEC, CONTRACT = Project.load(PROJECT).source("web")
SCHEMA = row_schema(CONTRACT)
CHECKER, FINISHER = RecordChecker(CONTRACT, SPEC), RowFinisher(CONTRACT)
TOKENS = CONTRACT.by_name["event_id"].null_tokens
WINDOW_US, NUM_SHARDS = 3_600_000_000, 4
BLOCK_LINES = 4_000
WINNER = ("_rank", "_fingerprint", "_row_hash", "_source", "_raw_file", "_position")
_BRACKETS_MAX, _BYTES_MAX = SPEC.max_depth, SPEC.record_bytes

# The canonical row of the common form: the contract's columns in sorted order, with (below) and without identity and transport.
_NAMES = (
    "anonymous_id", "campaign_content", "campaign_medium", "campaign_name", "campaign_source", "campaign_term", "consent",
    "context", "event_id", "event_name", "event_time", "event_type", "group_id", "ip", "library", "library_version", "locale",
    "original_timestamp", "page_url", "previous_id", "properties", "received_at", "sent_at", "traits", "user_agent", "user_id",
)  # fmt: skip
_UNSTABLE = ("event_id", "event_time", "received_at", "sent_at")
_STABLE = tuple(name for name in _NAMES if name not in _UNSTABLE)
_FullRow = msgspec.defstruct("FullRow", [(n, Any, None) for n in _NAMES], omit_defaults=True, gc=False)
_StableRow = msgspec.defstruct("StableRow", [(n, Any, None) for n in _STABLE], omit_defaults=True, gc=False)
# Columns whose values repeat; a dictionary of the others costs a fifth of the writing and makes files larger.
_DISTINCT = {"event_id", "_fingerprint", "_row_hash", "_rank", "_position", "_window_time", "_received_at"}
_REPEATED = [f.name for f in SCHEMA if f.name not in _DISTINCT and not pa.types.is_timestamp(f.type)] + ["_from", "_to", "_shard"]
_decode = msgspec.json.Decoder(WebEvent).decode
_encode = msgspec.json.Encoder(order="deterministic").encode  # sorts maps; our own types stand in order already
_digest = xxhash.xxh3_128_digest

Slots = dict[int, list[pa.Table]]


@dataclass
class Totals:
    """What one process found.

    rows_by_slot: accepted rows, one table per file, window and shard. letters: dead letters. accepted, filtered: positions by raw
        file.
    """

    rows_by_slot: Slots = field(default_factory=dict)
    letters: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[tuple[str, Sequence[int]]] = field(default_factory=list)
    filtered: list[tuple[str, Sequence[int]]] = field(default_factory=list)


def read_file(path: Path, output: Path, totals: Totals) -> None:
    """Land one file, decode and check it, and put its rows into slots of window and shard."""
    data = path.read_bytes()
    raw_file = hashlib.sha256(data).hexdigest()
    (output / "raw" / f"{raw_file}.jsonl").write_bytes(data)
    received_us = path.stat().st_mtime_ns // 1000
    lines = [line for line in data.split(b"\n") if line]
    tables: list[pa.Table] = []
    slow_at: list[int] = []
    for first in range(0, len(lines), BLOCK_LINES):
        tables.append(_common_rows(lines[first : first + BLOCK_LINES], first, raw_file, slow_at))
    tables.append(_other_rows(lines, slow_at, raw_file, received_us, totals))
    rows = pa.concat_tables(tables).combine_chunks()
    totals.accepted.append((raw_file, rows.column("_position").to_numpy()))
    slots = rows.column("_window_time").cast(pa.int64()).to_numpy() // WINDOW_US * NUM_SHARDS + _shards(rows)
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    rows = rows.take(pa.array(order))
    edges = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(ordered)]
    for start, end in pairwise(edges):
        totals.rows_by_slot.setdefault(int(ordered[start]), []).append(rows.slice(start, end - start))


def _common_rows(lines: list[bytes], first: int, raw_file: str, slow_at: list[int]) -> pa.Table:
    """Rows of the lines in the common form; the numbers of the others are added to ``slow_at``."""
    events: list[WebEvent] = []
    positions: list[int] = []
    for position, line in enumerate(lines, first):
        try:
            if line.count(b"{") + line.count(b"[") > _BRACKETS_MAX or len(line) > _BYTES_MAX:
                raise ValueError
            event = _decode(line)
            if breaks_cross_field_rules(event):
                raise ValueError
        except (ValueError, msgspec.MsgspecError, RecursionError):
            slow_at.append(position)
            continue
        events.append(event)
        positions.append(position)
    original, bad_original = parse_column([e.originalTimestamp for e in events])
    sent, bad_sent = parse_column([e.sentAt for e in events])
    received, bad_received = parse_column([e.receivedAt for e in events])
    odd = {*bad_original, *bad_sent, *bad_received}
    for name in ("messageId", "userId", "anonymousId", "previousId", "groupId"):
        values = [getattr(e, name) for e in events]
        if not TOKENS.isdisjoint(values):
            odd.update(i for i, value in enumerate(values) if value in TOKENS)
    if odd:
        slow_at += [positions[i] for i in odd]
        keep = [i for i in range(len(events)) if i not in odd]
        events, positions = [events[i] for i in keep], [positions[i] for i in keep]
        original, sent, received = ([times[i] for i in keep] for times in (original, sent, received))
    return _to_table(events, positions, (original, sent, received), raw_file)


def _to_table(events: list[WebEvent], positions: list[int], times: tuple[list[int | None], ...], raw_file: str) -> pa.Table:
    original, sent, received = (np.array(values, dtype=np.int64) for values in times)
    event_time = received - (sent - original)
    low, high = received - MAX_BEHIND_US, received + MAX_AHEAD_US
    trusted = (low <= original) & (original <= high)
    window_time = np.where(trusted, original, np.where((low <= event_time) & (event_time <= high), event_time, received))
    contexts = [e.context for e in events]
    campaigns = [c.campaign or None for c in contexts]
    consents = [c.consent or None for c in contexts]
    columns: dict[str, list[Any]] = {
        "anonymous_id": [e.anonymousId for e in events],
        "campaign_content": [c and c.content for c in campaigns],
        "campaign_medium": [c and c.medium for c in campaigns],
        "campaign_name": [c and c.name for c in campaigns],
        "campaign_source": [c and c.source for c in campaigns],
        "campaign_term": [c and c.term for c in campaigns],
        "consent": [c and c.categoryPreferences for c in consents],
        "context": [_encode(c).decode() for c in contexts],
        "event_id": [e.messageId for e in events],
        "event_name": [e.name if e.event is None else e.event for e in events],
        "event_time": event_time.tolist(),
        "event_type": [e.type for e in events],
        "group_id": [e.groupId for e in events],
        "ip": [c.ip for c in contexts],
        "library": [c.library.name for c in contexts],
        "library_version": [c.library.version for c in contexts],
        "locale": [c.locale for c in contexts],
        "original_timestamp": times[0],
        "page_url": [c.page.url for c in contexts],
        "previous_id": [e.previousId for e in events],
        "properties": [None if e.properties is None else _encode(e.properties).decode() for e in events],
        "received_at": times[2],
        "sent_at": times[1],
        "traits": [None if e.traits is None else _encode(e.traits).decode() for e in events],
        "user_agent": [c.userAgent for c in contexts],
        "user_id": [e.userId for e in events],
    }
    arrays: dict[str, pa.Array] = {
        "_window_time": pa.array(window_time),
        "_time_corrected": pa.array(~trusted),
        "_received_at": pa.array(received),
        "_source": pa.repeat(SPEC.name, len(events)),
        "_raw_file": pa.repeat(raw_file, len(events)),
        "_position": pa.array(positions, pa.int64()),
        "_fingerprint": _digests(map(_StableRow, *(columns[n] for n in _STABLE))),
        "_row_hash": _digests(map(_FullRow, *columns.values())),
        "_rank": _ranks(received),
        "event_time": pa.array(event_time),
        "original_timestamp": pa.array(original),
        "received_at": pa.array(received),
        "sent_at": pa.array(sent),
    }
    for column in SCHEMA:
        if column.name not in arrays:
            values = columns.get(column.name)
            arrays[column.name] = pa.nulls(len(events), column.type) if values is None else to_arrow(column.type, values)
    return pa.Table.from_arrays(
        [arrays[f.name] if arrays[f.name].type == f.type else arrays[f.name].cast(f.type) for f in SCHEMA], schema=SCHEMA
    )


def _digests(rows: Iterator[Any]) -> pa.Array:
    return _binary(b"".join(map(_digest, map(_encode, rows))), 16)


def _binary(data: bytes, width: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(data) // width, [None, pa.py_buffer(data)])


def _shards(rows: pa.Table) -> npt.NDArray[np.uint8]:
    digests = b"".join([_digest(key.encode()) for key in rows.column("event_id").to_pylist()])
    return np.frombuffer(digests, dtype=np.uint8)[15::16] % NUM_SHARDS  # the last byte of 16, big endian


def _ranks(received: npt.NDArray[np.int64]) -> pa.Array:
    """As RowFinisher's: a zero byte, then the time as big-endian bytes that compare like it."""
    moved = (received.astype(np.uint64) + np.uint64(2**63)).astype(">u8").view(np.uint8).reshape(-1, 8)
    return _binary(np.hstack((np.zeros((len(moved), 1), dtype=np.uint8), moved)).tobytes(), 9).cast(pa.binary())


def _other_rows(lines: list[bytes], slow_at: list[int], raw_file: str, received_us: int, totals: Totals) -> pa.Table:
    """The lines that are not in the common form, by the contract's own checker."""
    parsed = parse_payloads(SPEC, [lines[i] for i in slow_at])
    checked = CHECKER.check(parsed.records, failed=parsed.failed)
    totals.filtered.append((raw_file, [slow_at[i] for i in checked.filtered]))
    for index, violations in checked.rejected.items():
        record = parsed.records[index]
        event_id = record.get("messageId") if isinstance(record, dict) else None
        event_id = event_id[:256] if isinstance(event_id, str) else None
        totals.letters.append(_letter(violations, "decode", raw_file, slow_at[index], event_id, received_us, parsed.raw(index)))
    columns = FINISHER.finish(checked.columns, [received_us] * len(checked.accepted))
    columns["_source"] = [SPEC.name] * len(checked.accepted)
    columns["_raw_file"] = [raw_file] * len(checked.accepted)
    columns["_position"] = [slow_at[i] for i in checked.accepted]
    return pa.Table.from_arrays([to_arrow(f.type, columns[f.name]) for f in SCHEMA], schema=SCHEMA)


def _letter(
    violations: list[Violation], stage: str, raw_file: str, position: int, event_id: str | None, received_us: int, raw: bytes | None
) -> dict[str, Any]:
    key = f"{raw_file}:{position}\0{stage}\0{CONTRACT.name}"
    return {
        "dead_letter_id": xxhash.xxh3_128_hexdigest(key.encode()),
        "code": str(RULE_CODES[violations[0].rule]),
        "violations": [{"path": v.path, "rule": v.rule, "expected": v.expected} for v in violations],
        "stage": stage,
        "dataset": CONTRACT.name,
        "contract_version": CONTRACT.version,
        "source": SPEC.name,
        "_raw_file": raw_file,
        "_position": position,
        "event_id": event_id,
        "received_at": received_us,
        "raw": raw,
    }


def fold_slot(slot: int, tables: list[pa.Table], output: Path, totals: Totals) -> None:
    """One row per event id, conflicts as dead letters, and one sorted Parquet file."""
    rows = pa.concat_tables(tables).combine_chunks()
    codes = rows.column("event_id").chunk(0).dictionary_encode().indices.to_numpy()
    contested = np.flatnonzero(np.bincount(codes)[codes] > 1)
    if len(contested):
        keep = np.ones(len(rows), dtype=bool)
        subset = rows.select(["event_id", *WINNER]).take(pa.array(contested)).to_pydict()
        by_id: dict[str, list[tuple[Any, ...]]] = {}
        for event_id, *rank in zip(*subset.values(), contested.tolist(), strict=True):
            by_id.setdefault(event_id, []).append(tuple(rank))
        for event_id, ranked in by_id.items():
            winner, *rest = sorted(ranked)
            seen = {winner[1]}
            for _rank, fingerprint, _row_hash, _source, raw_file, position, index in rest:
                keep[index] = False
                if fingerprint not in seen:
                    seen.add(fingerprint)
                    reason = [Violation("$", "fingerprint", "the same content as the published row with this event_id")]
                    received_us = rows.column("_received_at")[index].value
                    totals.letters.append(_letter(reason, "converge", raw_file, position, event_id, received_us, None))
        rows = rows.filter(pa.array(keep))
    rows = rows.take(pc.sort_indices(rows, [("_window_time", "ascending"), ("event_id", "ascending")]))
    window, shard = divmod(slot, NUM_SHARDS)
    for name, value in (("_from", window * WINDOW_US), ("_to", (window + 1) * WINDOW_US), ("_shard", shard)):
        rows = rows.append_column(name, pa.repeat(value, len(rows)))
    pq.write_table(rows, output / "rows" / f"{slot}.parquet", compression="zstd", use_dictionary=_REPEATED)


def run_process(number: int, count: int, files: Sequence[Path], output: Path, barrier: Callable[[], object]) -> None:
    """The share of one process: of the files first, then of the shards.

    Args:
        number: which process this is.
        count: how many there are.
        files: all files.
        output: where everything goes.
        barrier: returns when all processes have called it.
    """
    gc.disable()  # nothing here is cyclic
    totals = Totals()
    for path in files[number::count]:
        read_file(path, output, totals)
    slots = totals.rows_by_slot
    if count > 1:
        _hand_over(number, count, slots, output, barrier)
    for slot in sorted(slots):
        fold_slot(slot, slots.pop(slot), output, totals)
    _write_letters(totals, output / f"dead_letters-{number}.parquet")
    _write_outcomes(totals, output / f"outcomes-{number}.parquet")


def _hand_over(number: int, count: int, slots: Slots, output: Path, barrier: Callable[[], object]) -> None:
    """Give every process the rows of its shards."""
    schema = SCHEMA.append(pa.field("_slot", pa.int64()))
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    for other in range(count):
        if other != number:
            with pa.ipc.new_stream(output / f"{number}-to-{other}.arrow", schema, options=options) as writer:
                for slot in [slot for slot in slots if slot % NUM_SHARDS % count == other]:
                    for table in slots.pop(slot):
                        writer.write_table(table.append_column("_slot", pa.repeat(slot, len(table))))
    barrier()
    for other in range(count):
        if other != number:
            path = output / f"{other}-to-{number}.arrow"
            with pa.ipc.open_stream(path) as reader:
                for batch in reader:
                    table = pa.Table.from_batches([batch])
                    slots.setdefault(batch.column("_slot")[0].as_py(), []).append(table.drop_columns("_slot"))
            path.unlink()


def _write_letters(totals: Totals, path: Path) -> None:
    text = ["dead_letter_id", "code", "stage", "dataset", "contract_version", "source", "_raw_file", "event_id"]
    violation = pa.struct([("path", pa.string()), ("rule", pa.string()), ("expected", pa.string())])
    fields = [(name, pa.string()) for name in text] + [("violations", pa.list_(violation)), ("raw", pa.binary())]
    fields += [("_position", pa.int64()), ("received_at", SCHEMA.field("_received_at").type)]
    pq.write_table(pa.Table.from_pylist(totals.letters, pa.schema(fields)), path, compression="zstd")


def _write_outcomes(totals: Totals, path: Path) -> None:
    """Positions of every outcome as runs: first and length of each stretch."""
    rejected: dict[str, list[int]] = {}
    for letter in totals.letters:
        if letter["stage"] == "decode":
            rejected.setdefault(letter["_raw_file"], []).append(letter["_position"])
    entries: list[dict[str, Any]] = []
    outcomes: dict[str, list[tuple[str, Sequence[int]]]] = {
        "accepted": totals.accepted, "filtered": totals.filtered, "dead_letter": list(rejected.items()),
    }  # fmt: skip
    for outcome, parts in outcomes.items():
        for raw_file, positions in parts:
            ordered = np.unique(np.asarray(positions, dtype=np.int64))
            starts = np.flatnonzero(np.diff(ordered, prepend=-2) != 1)
            lengths = np.diff(starts, append=len(ordered))
            runs = list(chain.from_iterable(zip(ordered[starts].tolist(), lengths.tolist(), strict=True)))
            entries.append({"raw_file": raw_file, "outcome": outcome, "runs": runs})
    schema = pa.schema([("raw_file", pa.string()), ("outcome", pa.string()), ("runs", pa.list_(pa.int64()))])
    pq.write_table(pa.Table.from_pylist(entries, schema), path, compression="zstd")


def run_loop(sample: Path, output: Path, processes: int = 1) -> None:
    """All of it."""
    files = sorted(sample.glob("*.jsonl"))
    for folder in (output / "raw", output / "rows"):
        folder.mkdir(parents=True)
    if processes == 1:
        run_process(0, 1, files, output, lambda: None)
        return
    context = multiprocessing.get_context("fork")
    barrier: multiprocessing.synchronize.Barrier = context.Barrier(processes)
    workers = [
        context.Process(target=run_process, args=(number, processes, files, output, barrier.wait)) for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a process of the loop failed")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.bare_loop")
    parser.add_argument("sample", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    run_loop(options.sample, options.output, options.processes)
    print(json.dumps({"files": len(list(options.output.glob("rows/*.parquet")))}))


if __name__ == "__main__":
    main()
