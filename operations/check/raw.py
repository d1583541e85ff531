"""Raw files, their index, and raw segments of logs."""

from __future__ import annotations

import hashlib
import itertools

import msgspec

from lake.location import Lake
from lake.raw.files import RawFile, raw_files
from lake.raw.schemas import kept_fingerprints, named_fingerprints, schema_count, schema_faults
from lake.raw.segments import log_folder, log_segments, logs_of
from lake.storage import StoredFile
from operations.check.findings import Notes, State

_READ_BYTES = 8 << 20
_FROM_BACKUP = "bring it back from a backup; without it its records cannot be replayed"


def check_raw(lake: Lake, notes: Notes, verify: bool) -> list[RawFile]:
    """Look at raw files and their index; the files that it names."""
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
        if key.startswith("schemas/"):  # see check_schemas
            continue
        if "/_index/" not in key and "/kafka/" not in key and _stat(lake, _index_of(location)) is None:
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


def check_logs(lake: Lake, notes: Notes) -> None:
    """Look at the raw segments of logs."""
    for source in sources_in_raw(lake):
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


def check_schemas(lake: Lake, notes: Notes, verify: bool) -> None:
    """Look at the schemas that raw messages name; with ``verify`` at what each message names."""
    notes.looked("raw schemas", schema_count(lake))
    if verify:
        there = kept_fingerprints(lake)
        for source in sources_in_raw(lake):
            lacking = {name for log in logs_of(lake, source) for name in named_fingerprints(lake, source, log)} - there
            for name in sorted(lacking):
                notes.add(f"raw of {source}", "schemas that landed messages name", State.MISSING, _FROM_BACKUP, name)
    for state, path in schema_faults(lake):
        told = "schemas of messages that are not there" if state == "missing" else "schemas of messages that were changed"
        notes.add("raw", told, State(state), _FROM_BACKUP, path)


def sources_in_raw(lake: Lake) -> list[str]:
    """Sources that something was landed of."""
    folders = lake.storage.folders(lake.at_key("raw"))
    return [name.removeprefix("source=") for name in folders if name.startswith("source=")]
