"""Whether what lies in a lake fits together: catalog, metadata, data files, raw files, their index, ledger and receipts.

Reads only. Beside running jobs a file that vanishes between two looks is looked for again before it counts as missing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.ledger.ledger import LedgerEntry, ledger_of, log_ledger
from lake.location import Lake, data_path
from lake.raw.files import RawFile, raw_files
from lake.raw.positions import landed_file
from lake.raw.schemas import schema_count, schema_faults
from lake.raw.segments import log_folder, log_segments, logs_of
from lake.receipts.receipts import deliveries_folder, lane_folder, lanes_of, list_receipts, read_receipts
from lake.storage import StoredFile, read_parquet, storage_of
from lake.tables.fold import add_hashes, content_hash
from lake.tables.iceberg import PublishedFile, dropped_branch, files_of, manifests_of, settled_refs
from lake.tables.publish import table_totals
from operations.catalog import tables_on_disk

_MOST_NAMED = 5
_READ_BYTES = 8 << 20


class State(StrEnum):
    """What a finding is."""

    MISSING = "missing"
    CHANGED = "changed"
    ORPHANED = "orphaned"
    NOTED = "noted"


@dataclass
class Finding:
    """Things of one kind that do not fit. names: a few of them. remedy: what to do."""

    part: str
    what: str
    state: State
    remedy: str
    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.names) < _MOST_NAMED:
            self.names.append(name)


@dataclass(frozen=True)
class Checked:
    """How many things of each part were looked at, and what does not fit."""

    looked_at: dict[str, int]
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether nothing is missing or changed. What is orphaned only takes room, and what is noted may be as it should."""
        return not any(finding.state in (State.MISSING, State.CHANGED) for finding in self.findings)


class _Notes:
    def __init__(self, root: str) -> None:
        self.looked_at: dict[str, int] = {}
        self.found: dict[tuple[str, str], Finding] = {}
        self._root = f"{root}/"

    def looked(self, part: str, number: int) -> None:
        self.looked_at[part] = self.looked_at.get(part, 0) + number

    def add(self, part: str, what: str, state: State, remedy: str, name: str) -> None:
        finding = self.found.setdefault((part, what), Finding(part, what, state, remedy))
        finding.add(name.removeprefix("file://").removeprefix(self._root))

    def has(self, parts: set[str]) -> bool:
        """Whether something of one of these parts is missing or changed."""
        unsound = (State.MISSING, State.CHANGED)
        return any(finding.part in parts and finding.state in unsound for finding in self.found.values())


_FROM_RAW = "headrace lake repair, then headrace replay of the windows that it held, which brings the rows back"
_FROM_BEFORE = (
    "bring it back from a backup; or go back to a metadata file before it, headrace lake rebuild-catalog --use, and replay since"
)
_REPLAY = "headrace replay of their windows brings the rows back"
_FROM_BACKUP = "bring it back from a backup; without it its records cannot be replayed"


def check_lake(lake: Lake, project: Project, *, verify: bool = False, report: Callable[[str], None] = lambda _: None) -> Checked:
    """Check all of a lake.

    Args:
        lake: which.
        project: with its sources, by which the ledger is added up.
        verify: also read all raw and data files, and compare their hashes.
        report: is told what is looked at.

    Raises:
        ComponentDownError: catalog or store does not answer.
    """
    notes = _Notes(lake.root)
    report("catalog and tables")
    names = _check_catalog(lake, notes, verify)
    report("raw files")
    files = _check_raw(lake, notes, verify)
    report("raw segments of logs")
    _check_logs(lake, notes)
    _check_schemas(lake, notes)
    if not notes.has(names):  # else rows that are missing have been told, and the ledger cannot be added up
        report("ledger")
        _check_ledger(lake, project, files, names, notes)
    report("receipts")
    _check_receipts(lake, notes)
    return Checked(notes.looked_at, list(notes.found.values()))


def _check_catalog(lake: Lake, notes: _Notes, verify: bool) -> set[str]:
    """The tables that the catalog knows and whose metadata can be read."""
    catalog, usable = lake.catalog(), set()
    on_disk = tables_on_disk(lake)
    known = {".".join(name) for (space,) in catalog.list_namespaces() for name in catalog.list_tables(space)}
    for name in sorted(on_disk.keys() - known):
        notes.add("catalog", "tables that it does not know", State.MISSING, "headrace lake rebuild-catalog", name)
    for name in sorted(known):
        notes.looked("tables", 1)
        table = _load(catalog, name)
        if table is None:
            told = "metadata files that it names"
            notes.add("catalog", told, State.MISSING, "headrace lake rebuild-catalog takes the newest that is there", name)
            continue
        usable.add(name)
        _check_table(lake, table, name, notes, verify)
    return usable


def _load(catalog: SqlCatalog, name: str) -> Table | None:
    try:
        return catalog.load_table(name)
    except (FileNotFoundError, NoSuchTableError):
        return None


def _check_table(lake: Lake, table: Table, name: str, notes: _Notes, verify: bool) -> None:
    root = data_path(table.location())
    there = {file.location: file for file in storage_of(root).files(root)}

    def missing(location: str) -> bool:
        return location not in there and not _exists(location)

    refs = table.metadata.refs
    current = {refs[name].snapshot_id for name in ("main", dropped_branch(None), *settled_refs(None)) if name in refs}
    named: dict[str, tuple[PublishedFile, bool]] = {}
    for snapshot in sorted(table.snapshots(), key=lambda snapshot: snapshot.snapshot_id in current):
        is_current = snapshot.snapshot_id in current
        if missing(data_path(snapshot.manifest_list)):
            notes.add(name, *_lost("manifest lists", _FROM_BEFORE, is_current), snapshot.manifest_list)
            continue
        for manifest in manifests_of(table, snapshot):
            if missing(data_path(manifest.manifest_path)):
                notes.add(name, *_lost("manifests", _FROM_BEFORE, is_current), manifest.manifest_path)
                continue
            named |= {data_path(file.path): (file, is_current) for file in files_of(table, manifest)}
    notes.looked("data files", len(named))
    for location, (file, is_current) in sorted(named.items()):
        if missing(location):
            notes.add(name, *_lost("data files", _FROM_RAW, is_current), location)
        elif location in there and there[location].size_bytes != file.size_bytes:
            what, state, remedy = _lost("data files of another size than was written", _FROM_RAW, is_current)
            notes.add(name, what, State.CHANGED if is_current else state, remedy, location)
    if verify and "_row_hash" in table.schema().column_names and not notes.has({name}):
        _verify_rows(table, name, notes)


def _lost(what: str, remedy: str, is_current: bool) -> tuple[str, State, str]:
    """Older states are read by nothing but rollbacks and by who asks for them; they expire."""
    if is_current:
        return what, State.MISSING, remedy
    return f"{what} of older states", State.NOTED, "headrace lake expire forgets those that no branch and no tag holds"


def _verify_rows(table: Table, name: str, notes: _Notes) -> None:
    rows = digest = 0
    for task in table.scan().plan_files():
        try:
            hashes = read_parquet(task.file.file_path, ["_row_hash"])
        except (pa.ArrowInvalid, OSError):
            notes.add(name, "data files that cannot be read", State.CHANGED, _FROM_RAW, task.file.file_path)
            return
        rows, digest = rows + len(hashes), add_hashes(digest, content_hash(hashes))
    if (rows, digest) != table_totals(table):
        notes.add(name, "rows that do not give the content hash of the snapshot", State.CHANGED, _FROM_RAW, name)


def _exists(location: str) -> bool:
    try:
        storage_of(location).stat(location)
    except FileNotFoundError:
        return False
    return True


def _check_raw(lake: Lake, notes: _Notes, verify: bool) -> list[RawFile]:
    files = raw_files(lake)
    notes.looked("raw files", len(files))
    raw = lake.at_key("raw")
    there = {file.location: file for file in lake.storage.files(raw)}
    for file in files:
        location = lake.at_key(file.path)
        found = there.get(location) or _stat(lake, location)
        if found is None:
            notes.add(f"raw of {file.source}", "raw files that the index names", State.MISSING, _FROM_BACKUP, file.path)
        elif found.size_bytes != file.size_bytes or (verify and _sha256(lake, location) != file.raw_file):
            told = "raw files with other bytes than were landed"
            notes.add(f"raw of {file.source}", told, State.CHANGED, _FROM_BACKUP, file.path)
    indexed = {lake.at_key(file.path) for file in files}
    for location in sorted(there.keys() - indexed):
        key = location.removeprefix(f"{raw}/")
        if "/_index/" not in key and "/kafka/" not in key and not key.startswith("schemas/") and not _exists(_index_of(location)):
            remedy = (
                "ingest it again: headrace ingest SOURCE --input FILE; a run that was killed while it landed leaves such a file"
            )
            notes.add("raw", "raw files without an index", State.ORPHANED, remedy, key)
    return files


def _index_of(location: str) -> str:
    head, _, tail = location.partition("/dt=")
    return f"{head}/_index/{tail.rsplit('/', 1)[-1].partition('.')[0]}.json"


def _stat(lake: Lake, location: str) -> StoredFile | None:
    try:
        return lake.storage.stat(location)
    except FileNotFoundError:
        return None


def _sha256(lake: Lake, location: str) -> str:
    digest = hashlib.sha256()
    with lake.storage.open(location) as opened:
        while piece := opened.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _check_logs(lake: Lake, notes: _Notes) -> None:
    for source in _sources_in_raw(lake):
        for log in logs_of(lake, source):
            try:
                segments = log_segments(lake, source, log)
            except (msgspec.MsgspecError, ValueError):
                told = "raw segments that cannot be read"
                notes.add(f"raw of {source}", told, State.CHANGED, _FROM_BACKUP, log_folder(lake, source, log))
                continue
            notes.looked("raw segments", len(segments))
            for before, after in itertools.pairwise(segments):
                if before.end < after.start:
                    where = f"{log.topic}[{log.partition}] {before.end} to {after.start}"
                    remedy = "right where a job began further on (--start, --on-offset-gap earliest); else ingest that range again"
                    notes.add(f"raw of {source}", "offsets that were never landed", State.NOTED, remedy, where)


def _check_schemas(lake: Lake, notes: _Notes) -> None:
    notes.looked("raw schemas", schema_count(lake))
    for state, path in schema_faults(lake):
        told = "schemas of messages that are not there" if state == "missing" else "schemas of messages that were changed"
        notes.add("raw", told, State(state), _FROM_BACKUP, path)


def _sources_in_raw(lake: Lake) -> list[str]:
    folders = lake.storage.folders(lake.at_key("raw"))
    return [name.removeprefix("source=") for name in folders if name.startswith("source=")]


def _check_ledger(lake: Lake, project: Project, files: Iterable[RawFile], tables: set[str], notes: _Notes) -> None:
    by_source: dict[str, list[RawFile]] = {source: [] for source in _sources_in_raw(lake)}
    for file in files:
        by_source[file.source].append(file)
    for source, own in sorted(by_source.items()):
        try:
            spec, contract = project.source(source)
            table = contract.table
        except ConfigurationError:
            remedy = "name the project that has it: --project"
            notes.add("ledger", "sources that the project has not", State.MISSING, remedy, source)
            continue
        if not {table, "ops.ledger"} <= tables:
            continue  # told already
        entries = ledger_of(lake, source, table, [landed_file(file) for file in own])
        notes.looked("records in the ledger", sum(entry.records_in for entry in entries.values()))
        for file in own:
            for told, state, remedy in _faults(entries[file.raw_file]):
                notes.add(f"ledger of {source}", told, state, remedy, f"{file.name} ({file.raw_file[:12]})")
        for log in logs_of(lake, source):
            entry = log_ledger(lake, spec, table, log)
            notes.looked("records in the ledger", entry.records_in)
            if entry.lost:
                told = "logs with accepted records whose rows are gone"
                notes.add(f"ledger of {source}", told, State.MISSING, _REPLAY, f"{log.topic}[{log.partition}]")


def _faults(entry: LedgerEntry) -> Iterator[tuple[str, State, str]]:
    if entry.pending:
        yield "files with records that have no outcome", State.MISSING, "ingest the same input again: it goes on where it ended"
    if entry.lost:
        yield "files with accepted records whose rows are gone", State.MISSING, _REPLAY
    if not (entry.pending or entry.lost or entry.balanced):
        yield "files whose figures do not give what came in", State.CHANGED, "please report it, with headrace lake check --json"


def _check_receipts(lake: Lake, notes: _Notes) -> None:
    for destination in lake.storage.folders(lake.at_key("deliveries")):
        part = f"receipts of {destination}"
        for lane in lanes_of(lake, destination):
            for file in list_receipts(lake, lane_folder(lake, destination, lane)):
                notes.looked("receipts", 1)
                try:
                    read_receipts(file, ["offset"])
                except FileNotFoundError:  # merged meanwhile
                    continue
                except (pa.ArrowInvalid, OSError, KeyError):
                    remedy = "bring it back from a backup; else move it away: its rows are delivered again, with the same ids"
                    name = file.location.removeprefix(f"{deliveries_folder(lake, destination)}/")
                    notes.add(part, "receipts that cannot be read", State.CHANGED, remedy, name)
