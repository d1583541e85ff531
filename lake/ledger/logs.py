"""Where the logs of a source stand: landed up to, accounted for up to, and what became of their records."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.source import SourceSpec
from lake.ledger.ledger import LedgerEntry, frontier, log_ledger
from lake.location import Lake
from lake.raw.segments import log_segments, logs_of
from lake.storage import read_parquet
from lake.tables.iceberg import published_files


@dataclass(frozen=True)
class LogState:
    """One log. landed_to: the offset after the last that is landed. frontier: the offset below which all is accounted for."""

    topic: str
    topic_id: str
    partition: int
    landed_to: int
    frontier: int
    ledger: LedgerEntry


@dataclass(frozen=True)
class LogFiles:
    """What lies in ``raw/`` of one log. first_offset, end_offset: what it covers is in between."""

    source: str
    topic: str
    topic_id: str
    partition: int
    segments: int
    first_offset: int
    end_offset: int
    messages: int
    size_bytes: int


def log_states(lake: Lake, spec: SourceSpec, table: str) -> list[LogState]:
    """The logs of a source, by topic and partition.

    Args:
        lake: where.
        spec: the source.
        table: the table that its rows are published in.
    """
    states = []
    for log in logs_of(lake, spec.raw_source):
        accounted = frontier(lake, spec, log)  # before the segments are listed: it is not beyond what they say
        if accounted is not None:
            landed_to = max(segment.end for segment in log_segments(lake, spec.raw_source, log))
            states.append(LogState(*log, landed_to, accounted, log_ledger(lake, spec, table, log, end=landed_to)))
    return states


def log_files(lake: Lake) -> list[LogFiles]:
    """The logs of all sources, by source, topic and partition. Empty logs are left out."""
    folders = lake.storage.folders(lake.at_key("raw"))
    found = []
    for source in [name.removeprefix("source=") for name in folders if name.startswith("source=")]:
        for log in logs_of(lake, source):
            if segments := log_segments(lake, source, log):
                first, end = segments[0].start, segments[-1].end
                messages, size = sum(s.messages for s in segments), sum(s.size_bytes for s in segments)
                found.append(LogFiles(source, *log, len(segments), first, end, messages, size))
    return found


def newest_window_time(lake: Lake, source: str, table: str, now_us: int) -> int | None:
    """The largest ``_window_time`` of a source's published rows that is not to come, microseconds; None where there are none."""
    newest: int | None = None
    for file in sorted(published_files(lake.catalog().load_table(table)), key=lambda f: f.to_us, reverse=True):
        if newest is not None and file.to_us <= newest:
            break
        if file.from_us > now_us:
            continue
        rows = read_parquet(file.path, ["_window_time", "_source"])
        times = rows.filter(pc.equal(rows.column("_source"), source)).column("_window_time").cast(pa.int64())
        found = pc.max(times.filter(pc.less_equal(times, now_us))).as_py()
        newest = found if newest is None or (found is not None and found > newest) else newest
    return newest
