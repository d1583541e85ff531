"""What a lake holds, read without the code under test where possible: rows, positions, dead letters, ledger, content hash."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash
from pyiceberg.exceptions import NoSuchTableError

from lake.ledger.ledger import LedgerEntry, compute_ledger
from lake.location import Lake
from lake.raw.files import raw_files
from tests.support.horizon_model import settled

Position = tuple[str, str, int]  # source, raw file, ordinal
Verdict = tuple[str, str | None]  # outcome and, of dead letters, the code
WEEK = 7 * 24 * 60  # the deduplication horizon of contracts that say none, minutes
CONFLICT = "conflicting_duplicate"
# Which sidecar holds where attempts disagree, and what the ledger calls it.
_SIDECARS = ("accepted", "filtered", "dead_letter", "late")
_NOTE = "duplicate"  # says what became of an accepted one
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_CONTRACT = ("_from", "_to", "_shard")
_OF_THE_RUN = ("run_id",)  # who found a dead letter; no property of the data


@dataclass(frozen=True)
class LakeState:
    """Everything that must not depend on how the data came in. Files and snapshots are not in it.

    rows: per folded table its rows, provenance included, without the layout. verdicts: what became of each position, from the
    committed rows and sidecars. ledger: per source, as the code under test adds it up. content_hash: per folded table, recomputed.
    """

    rows: dict[str, list[dict[str, Any]]]
    verdicts: dict[Position, Verdict]
    ledger: dict[str, LedgerEntry]
    content_hash: dict[str, str]


def read_state(path: Path | Lake, sources: Iterable[tuple[str, str]]) -> LakeState:
    """The state of a lake.

    Args:
        path: the lake, or where it lies.
        sources: pairs of source and the table that its rows are published in.
    """
    lake = path if isinstance(path, Lake) else Lake.at(str(path))
    tables = dict(sources)
    names = sorted({*tables.values(), "ops.dead_letter"})
    rows = {name: table_rows(lake, name) for name in names}
    return LakeState(
        rows=rows,
        verdicts=verdicts(lake, tables),
        ledger={source: compute_ledger(lake, source, table, raw_files(lake, source)) for source, table in tables.items()},
        content_hash={name: content_hash(scan(lake, name)) for name in tables.values()},
    )


def difference(actual: LakeState, expected: LakeState) -> str:
    """What differs, in a few lines; empty where nothing does."""
    found: list[str] = []
    for name in expected.rows:
        key = "dead_letter_id" if name == "ops.dead_letter" else "event_id"
        for told, some, other in (("only here", actual, expected), ("missing", expected, actual)):
            rest = list(other.rows[name])
            gone = [row for row in some.rows[name] if row not in rest]
            for row in gone[:5]:
                found.append(f"{name}: {told}: {row[key]} at {row['_raw_file'][:6]}:{row['_position']} {row.get('code', '')}")
            if len(gone) > 5:
                found.append(f"{name}: {told}: {len(gone)} rows in all")
    differing = [p for p in {*actual.verdicts, *expected.verdicts} if actual.verdicts.get(p) != expected.verdicts.get(p)]
    found += [f"{p[1][:6]}:{p[2]}: {actual.verdicts.get(p)}, expected {expected.verdicts.get(p)}" for p in sorted(differing)[:8]]
    for source, entry in expected.ledger.items():
        if actual.ledger.get(source) != entry:
            found.append(f"ledger: {actual.ledger.get(source)}, expected {entry}")
    if actual.content_hash != expected.content_hash:
        found.append(f"content hash: {actual.content_hash}, expected {expected.content_hash}")
    return "\n".join(found)


def scan(lake: Lake, name: str, snapshot_id: int | None = None, columns: tuple[str, ...] = ("*",)) -> pa.Table:
    """Rows of a table's snapshot (the current one by default), as any Iceberg reader gets them."""
    return lake.catalog().load_table(name).scan(snapshot_id=snapshot_id, selected_fields=columns).to_arrow()


def merged_with_late(lake: Lake, name: str, late: str, horizon: int) -> pa.Table:
    """Rows that a table would have if nothing had come late, by the model: of its published and dropped rows and the late ones.

    Args:
        lake: where.
        name: the table.
        late: the table of its late rows.
        horizon: the deduplication horizon, minutes; for ids that were not derived from their content.
    """
    dropped = lake.catalog().load_table(name).metadata.snapshot_by_name("dropped")
    parts = [scan(lake, name), scan(lake, late), *([scan(lake, name, dropped.snapshot_id)] if dropped else [])]
    rows = pa.concat_tables(parts, promote_options="permissive")
    numbered = rows.append_column("_at", pa.array(range(len(rows)))).to_pylist()
    accepted = [{**row, "_window_time": (row["_window_time"] - _EPOCH) // timedelta(microseconds=1)} for row in numbered]
    derived = [row for row in accepted if row["event_id"] == f"fp-{row['_fingerprint'].hex()}"]
    given = [row for row in accepted if row not in derived]
    return rows.take([row["_at"] for row in (*settled(given, horizon)[0], *settled(derived, 0)[0])])


def table_rows(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Rows of a folded table, sorted, without layout and the id of the run that wrote them; no dead letters that were withdrawn."""
    try:
        rows = scan(lake, name)
    except NoSuchTableError:
        return []
    listed = rows.drop_columns([n for n in (*_NOT_CONTRACT, *_OF_THE_RUN) if n in rows.column_names]).to_pylist()
    shown = [row for row in listed if row.get("code") != "withdrawn"]
    return sorted(shown, key=lambda row: (row["_source"], row["_raw_file"], row["_position"], row["_fingerprint"]))


def content_hash(rows: pa.Table) -> str:
    """The content hash as the reference says, from the contract's columns alone: stdlib json and xxhash."""
    names = [name for name in rows.column_names if not name.startswith("_")]
    total = 0
    for row in rows.select(names).to_pylist():
        total += int.from_bytes(row_digest(row), "big")
    return f"{total % 2**128:032x}"


def row_digest(row: dict[str, Any]) -> bytes:
    """xxh3_128 of a row's canonical JSON."""
    document = {name: _plain(value) for name, value in row.items() if value is not None}
    return xxhash.xxh3_128_digest(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):  # a map's pairs
        return dict(value)
    return value


def claimed(lake: Lake, name: str) -> tuple[int, str]:
    """Rows and content hash that the current snapshot's properties claim."""
    snapshot = lake.catalog().load_table(name).current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return 0, f"{0:032x}"
    told = snapshot.summary.additional_properties
    return int(told["headrace.rows"]), told["headrace.content-hash"]


def verdicts(lake: Lake, tables: dict[str, str]) -> dict[Position, Verdict]:
    """What became of each position, from the sidecars, the published rows and the dead letters; nothing of ``compute_ledger``."""
    sidecars: dict[Position, set[str]] = {}
    for entry in scan(lake, "ops.ledger").to_pylist():
        runs = entry["runs"]
        for first, length in zip(runs[::2], runs[1::2], strict=True):
            for position in range(first, first + length):
                sidecars.setdefault((entry["source"], entry["raw_file"], position), set()).add(entry["outcome"])
    where = ("_source", "_raw_file", "_position")
    published = {position for name in set(tables.values()) for position in _tuples(scan(lake, name, columns=where), where)}
    proven = {position for position, told in sidecars.items() if _NOTE in told}
    for name in set(tables.values()):
        if ref := lake.catalog().load_table(name).metadata.snapshot_by_name("dropped"):
            proven.update(_tuples(scan(lake, name, ref.snapshot_id, where), where))
    letters: dict[Position, set[str]] = {}
    for source, raw_file, ordinal, code in _tuples(scan(lake, "ops.dead_letter", columns=(*where, "code")), (*where, "code")):
        letters.setdefault((source, raw_file, ordinal), set()).add(code)
    return {
        position: _verdict(told, position in published, letters.get(position, set()), position in proven)
        for position, told in sidecars.items()
        if told != {_NOTE}
    }


def _tuples(rows: pa.Table, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(rows.column(name).to_pylist() for name in columns), strict=True))


def _verdict(sidecars: set[str], published: bool, codes: set[str], proven: bool) -> Verdict:
    outcome = next(name for name in _SIDECARS if name in sidecars)
    if outcome == "dead_letter":
        (code,) = codes - {CONFLICT}
        return outcome, code
    if outcome != "accepted":
        return outcome, None
    if published:
        return "out", None
    if CONFLICT in codes:
        return "dead_letter", CONFLICT
    return ("duplicate" if proven else "lost"), None
