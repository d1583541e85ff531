"""What a lake says of its records: the ledger, and receipts of deliveries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pyarrow as pa

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.ledger.ledger import LedgerEntry, ledger_of, log_ledger
from lake.location import Lake
from lake.raw.files import RawFile
from lake.raw.positions import landed_file
from lake.raw.segments import logs_of
from lake.receipts.receipts import deliveries_folder, lane_folder, lanes_of, list_receipts, read_receipts
from operations.check.findings import Notes, State
from operations.check.raw import sources_in_raw

_REPLAY = "headrace replay of their windows brings the rows back"


def check_ledger(lake: Lake, project: Project, files: Iterable[RawFile], tables: set[str], notes: Notes) -> None:
    """Add the ledger up. files: of raw; tables: that can be read."""
    by_source: dict[str, list[RawFile]] = {source: [] for source in sources_in_raw(lake)}
    for file in files:
        by_source[file.source].append(file)
    for source in sorted({*by_source, *_sharing(project)}):
        try:
            spec, contract = project.source(source)
            table = contract.table
        except ConfigurationError:
            remedy = "name the project that has it: --project"
            notes.add("ledger", "sources that the project has not", State.MISSING, remedy, source)
            continue
        own = by_source.get(spec.raw_source, [])
        if not {table, "ops.ledger"} <= tables:
            continue  # told already
        entries = ledger_of(lake, source, table, [landed_file(file) for file in own])
        notes.looked("records in the ledger", sum(entry.records_in for entry in entries.values()))
        for file in own:
            for told, state, remedy in _faults(entries[file.raw_file]):
                notes.add(f"ledger of {source}", told, state, remedy, f"{file.name} ({file.raw_file[:12]})")
        for log in logs_of(lake, spec.raw_source):
            entry = log_ledger(lake, spec, table, log)
            notes.looked("records in the ledger", entry.records_in)
            if entry.lost:
                told = "logs with accepted records whose rows are gone"
                notes.add(f"ledger of {source}", told, State.MISSING, _REPLAY, f"{log.topic}[{log.partition}]")


def _sharing(project: Project) -> Iterator[str]:
    """Sources that have no raw of their own."""
    for name in project.source_names:
        with contextlib.suppress(ConfigurationError):
            if project.source(name)[0].raw:
                yield name


def _faults(entry: LedgerEntry) -> Iterator[tuple[str, State, str]]:
    if entry.pending:
        yield "files with records that have no outcome", State.MISSING, "ingest the same input again: it goes on where it ended"
    if entry.lost:
        yield "files with accepted records whose rows are gone", State.MISSING, _REPLAY
    if not (entry.pending or entry.lost or entry.balanced):
        yield "files whose figures do not give what came in", State.CHANGED, "please report it, with headrace lake check --json"


def check_receipts(lake: Lake, notes: Notes) -> None:
    """Look whether receipts of deliveries can be read."""
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
