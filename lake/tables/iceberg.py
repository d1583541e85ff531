"""Iceberg tables of the lake: made from schemas, with a fixed layout, listed by range and shard.

Every table that the pipeline folds into has three constant columns per data file: ``_from``, ``_to`` (microseconds, half open) and
``_shard``. So a delete by predicate drops whole files, and listing them needs no file but the manifests.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar
from uuid import uuid4

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    NoSuchTableError,
    ServerError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import IntegerType, LongType

from contracts.codes import Violation
from contracts.compiler.schemas import PROVENANCE, TIMESTAMP
from contracts.errors import ComponentDownError, ConfigurationError, LayoutMismatchError
from lake.catalogs import TROUBLE
from lake.location import Lake
from lake.tables.transactions import RefTransaction

T = TypeVar("T")
_COMMIT_DEADLINE_S = 300.0
_LOOK_S = 0.05
# How pyiceberg, by a ValueError, and REST catalogs, by a BadRequestError, tell that a commit to another branch was faster: the
# branch itself has not moved, so no requirement fails (apache/iceberg#15001). Databricks says so in words of its own (#16644).
_OUTRUN = re.compile(
    r"Cannot add snapshot with sequence number \d+ older than last sequence number|commit validation failed", re.IGNORECASE
)
_ONE_SNAPSHOT = re.compile(r"multiple snapshots in a single update", re.IGNORECASE)  # apache/iceberg-python#3076
# Another was faster, or nobody knows: a commit looks at the table anew before it is tried again.
_MAY_PASS = (CommitFailedException, ValidationException, *TROUBLE)
DEAD_LETTERS = "ops.dead_letter"
WITHDRAWN = "withdrawn"  # in place of a code: a conflict that was none in the end; nothing to show
LEDGER = "ops.ledger"
# Of every table. Each commit writes a manifest and the whole metadata file anew: without bounds a stream's commits grow slower.
UPKEEP_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
}
# Of tables in ranges: bounds only of columns that follow the order of files; those of ids would let a reader skip nothing. Counts
# of all: without them DuckDB takes a column for one without nulls, and answers IS NULL with no row (duckdb-iceberg#782).
REVISION_METRICS = {"write.metadata.metrics.column._revision": "full"}
METRICS_PROPERTIES = {
    "write.metadata.metrics.default": "counts",
    **{f"write.metadata.metrics.column.{name}": "full" for name in ("_from", "_to", "_shard", "_window_time", "_received_at")},
    **REVISION_METRICS,
}
FORMAT = 2  # of a lake's tables: 1 had no horizon
_log = logging.getLogger(__name__)
GRID_PROPERTY, SHARDS_PROPERTY = "headrace.layout.grid-s", "headrace.layout.num-shards"
VACATED_PROPERTY = "headrace.vacated"
ROWS_PROPERTY, HASH_PROPERTY, RUN_PROPERTY = "headrace.rows", "headrace.content-hash", "headrace.run-id"  # of a snapshot
HORIZON_PROPERTY, DERIVED_PROPERTY = "headrace.layout.horizon-s", "headrace.layout.derived-ids"
UNLIMITED = "unlimited"
UNLIMITED_S = 1 << 40
_UNFINISHED = " not finished"
RANGE_COLUMNS = pa.schema(
    [
        pa.field("_from", pa.int64(), nullable=False),
        pa.field("_to", pa.int64(), nullable=False),
        pa.field("_shard", pa.int32(), nullable=False),
    ]
)
_VIOLATION = pa.struct([pa.field("path", pa.string()), pa.field("rule", pa.string()), pa.field("expected", pa.string())])
DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("dead_letter_id", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("violations", pa.list_(_VIOLATION)),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("contract_version", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),  # <raw file>:<ordinal>
        pa.field("event_id", pa.string()),
        pa.field("received_at", TIMESTAMP, nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("raw", pa.binary()),
        *PROVENANCE,
    ]
)
LEDGER_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("raw_file", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("runs", pa.list_(pa.int64()), nullable=False),  # first, length, first, length, …
        pa.field("window_from", pa.int64()),  # the event-time windows that these positions reach, microseconds
        pa.field("window_to", pa.int64()),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("first", pa.int64()),  # smallest and largest position of the runs; null in rows of versions before these columns
        pa.field("last", pa.int64()),
        pa.field("epoch", pa.int64()),  # 0 or null: said by a job; else by the promotion of a replay, which holds against earlier
        pa.field("dataset", pa.string()),  # null in rows of versions before this column
        pa.field("item", pa.int32()),  # which item of each record; null: the record as a whole
    ]
)


@dataclass(frozen=True)
class Layout:
    """How a table is cut. Fixed at its creation; another one means replay and promote.

    grid_s: every range begins and ends on a multiple of it. num_shards: ``xxh3_128(event_id) % num_shards``. horizon_s: for how
    long a key stands for one event, see horizon.py; 0 for one cell of the grid, None for ever. derived: whether also a key that is
    derived from content does.
    """

    grid_s: int = 60
    num_shards: int = 4
    horizon_s: int | None = 0
    derived: bool = False

    def properties(self) -> dict[str, str]:
        """As table properties."""
        # A commit on a stale view must come back to us: rows it replaces may have changed (publish.py).
        retries = {"commit.retry.num-retries": "0"}
        cut = {GRID_PROPERTY: self.grid_text, SHARDS_PROPERTY: str(self.num_shards)}
        return retries | cut | self.horizon_properties()

    @property
    def grid_text(self) -> str:
        """The grid, with the format: jobs of format 1 compare this text, and are refused by it."""
        return f"{self.grid_s} (lake format {FORMAT})"

    def horizon_properties(self) -> dict[str, str]:
        """Those of the horizon alone."""
        horizon = UNLIMITED if self.horizon_s is None else str(self.horizon_s)
        return {HORIZON_PROPERTY: horizon, DERIVED_PROPERTY: "horizon" if self.derived else "cell"}


def layout_of(table: Table) -> Layout:
    """How a table is cut."""
    said = table.properties.get(HORIZON_PROPERTY, "0")
    return Layout(
        grid_s=int(table.properties[GRID_PROPERTY].split()[0]),
        num_shards=num_shards(table),
        horizon_s=None if said == UNLIMITED else int(said),
        derived=derived_in_horizon(table),
    )


def num_shards(table: Table) -> int:
    """How many shards a table that is folded into is cut into."""
    return int(table.properties[SHARDS_PROPERTY])


@dataclass(frozen=True, order=True)
class PublishedFile:
    """A data file that a snapshot of the table holds: rows of [from_us, to_us) and one shard.

    size_bytes: 0 of files that no manifest holds yet. received_us: when its newest record was received; None where nobody knows.
    dropped: whether its rows are not published, but kept since the horizon drops them; see horizon.py.
    """

    from_us: int
    to_us: int
    shard: int
    path: str
    rows: int
    dropped: bool = False
    size_bytes: int = 0
    received_us: int | None = field(default=None, compare=False)

    def overlaps(self, from_us: int, to_us: int, shard: int) -> bool:
        """Whether it holds rows of this range and shard."""
        return self.shard == shard and self.from_us < to_us and self.to_us > from_us


def ensure_table(
    lake: Lake,
    name: str,
    schema: pa.Schema,
    layout: Layout | None,
    comments: Mapping[str, str] = MappingProxyType({}),
    required: Collection[str] = (),
) -> Table:
    """The table, made where it is missing and widened by new columns where the schema has some.

    Args:
        lake: where.
        name: ``namespace.table``.
        schema: Arrow schema of its rows, without range columns.
        layout: None for plain append tables.
        comments: what columns mean, for whoever reads the table with another tool; brought up to date where the table is there.
        required: columns that have a value in every row, beside those that the schema says so of. A table that is made has them as
            NOT NULL. In one that is there none becomes it, since older rows may lack a value; one that is no more loses it.

    Raises:
        LayoutMismatchError: it exists with another layout.
        ConfigurationError: it has a column of another type, or lies in another lake.
    """
    catalog = lake.catalog()
    full = pa.schema([*schema, *RANGE_COLUMNS]) if layout else schema
    wanted = layout.properties() if layout else {}
    try:
        table = catalog.load_table(name)
    except NoSuchTableError:
        properties = {"format-version": "2", **UPKEEP_PROPERTIES, **(METRICS_PROPERTIES if layout else {}), **wanted}
        try:
            told = [f.with_nullable(f.nullable and f.name not in required) for f in full]
            commented = [f.with_metadata({"doc": comments[f.name]}) if comments.get(f.name) else f for f in told]
            location = f"{lake.warehouse}/{name.replace('.', '/')}"  # where a REST catalog would else decide
            return catalog.create_table(name, schema=pa.schema(commented), location=location, properties=properties)
        except (TableAlreadyExistsError, ServerError):  # another run was faster; Iceberg's own server says so by the second
            table = catalog.load_table(name)
    if not table.location().startswith(f"{lake.warehouse}/"):
        raise ConfigurationError(
            f"table {name} of this catalog lies at {table.location()}, not in the lake {lake.root}: one catalog serves one lake; "
            "name another database in headrace.yaml"
        )
    if wanted and format_of(table) < FORMAT:
        if unfinished := unfinished_verb(table):
            raise LayoutMismatchError(
                f"lake {lake.root}: {unfinished} was not finished (table {name}). Give again: headrace lake {unfinished}"
            )
        raise LayoutMismatchError(
            f"lake {lake.root}: was made by an earlier version (lake format 1), and this one writes format {FORMAT}. Stop its "
            "jobs, then: headrace lake upgrade --dry-run says what it will do, headrace lake upgrade does it."
        )
    have = {key: table.properties.get(key) for key in wanted}
    if have != wanted:
        raise LayoutMismatchError(
            f"table {name} has the layout {_layout_text(have)}, the job asks for {_layout_text(wanted)}. A layout is fixed when a "
            "table is made: give the table's, or ingest raw/ again into another lake. Only horizon-s and derived-ids, from the "
            "deduplication of the contract, can be changed: headrace lake upgrade."
        )
    _check_types(name, table, full)
    return committed(name, lambda: _widened(catalog.load_table(name), full, comments, required))


def _layout_text(properties: Mapping[str, str | None] | Mapping[str, str]) -> str:
    return ", ".join(f"{key.rsplit('.', 1)[-1]} = {value}" for key, value in properties.items() if ".layout." in key)


def _check_types(name: str, table: Table, schema: pa.Schema) -> None:
    """A column keeps its type: rows that are published already cannot be read as another."""
    have = table.schema().as_arrow()
    changed = [
        f"{field.name} is {plain_type(have.field(field.name).type)}, the contract says {plain_type(field.type)}"
        for field in schema
        if field.name in have.names
        and not pa.types.is_nested(field.type)
        and plain_type(have.field(field.name).type) != plain_type(field.type)
    ]
    if changed:
        raise ConfigurationError(
            f"table {name}: {'; '.join(changed)}. A column's type cannot change: give the column another name, or use another lake."
        )


def plain_type(arrow_type: pa.DataType) -> str:
    """A type in words, however wide its offsets are."""
    return str(arrow_type).removeprefix("large_")


def _widened(table: Table, schema: pa.Schema, comments: Mapping[str, str], required: Collection[str]) -> Table:
    """With the columns, comments and upkeep properties that it lacks: an older version may have made it."""
    wanted = UPKEEP_PROPERTIES | (REVISION_METRICS if "_revision" in schema.names else {})
    if missing_properties := {key: value for key, value in wanted.items() if key not in table.properties}:
        with RefTransaction(table) as transaction:
            transaction.set_properties(missing_properties)
    missing = [field for field in schema if field.name not in table.schema().column_names]
    if missing:
        with table.update_schema() as update:
            update.union_by_name(pa.schema(missing))
    may_lack = {field.name for field in schema if field.nullable and field.name not in required}
    if loosened := [f.name for f in table.schema().fields if f.required and f.name in may_lack]:
        with table.update_schema() as update:
            for column in loosened:
                update.make_column_optional(column)
    stale = {f.name: doc for f in table.schema().fields if (doc := comments.get(f.name)) and f.doc != doc}
    if stale:
        with table.update_schema() as update:
            for column, doc in stale.items():
                update.update_column(column, doc=doc)
    return table


def committed(name: str, commit: Callable[[], T], turn: Path | None = None) -> T:
    """Commit to a table among rivals: again and again, until the commit is not refused because another was faster.

    Args:
        name: the table's.
        commit: loads the table and commits.
        turn: for what is dear to do in vain, a folder on this machine: whoever was refused holds it from then on, one at a time.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
        ConfigurationError: the catalog takes no such commit.
    """
    began = time.monotonic()
    deadline = began + _COMMIT_DEADLINE_S
    attempt = 0
    with ExitStack() as held:
        while True:
            try:
                result = commit()
                _log.info("%s: committed in %.1f s, attempt %d", name, time.monotonic() - began, attempt + 1)
                return result
            except (*_MAY_PASS, ValueError, BadRequestError) as error:
                attempt += 1
                _check_may_pass(name, error, attempt, time.monotonic() > deadline)
            if turn and attempt == 1:
                held.enter_context(_turn(turn, deadline))
            else:
                time.sleep(random.uniform(0.02, 0.2) * min(attempt, 10))  # spreads rivals; no result depends on it


def _check_may_pass(name: str, error: Exception, attempt: int, is_late: bool) -> None:
    """Raise what cannot be tried again, or not any more."""
    if _ONE_SNAPSHOT.search(str(error)):
        raise ConfigurationError(
            f"table {name}: this catalog takes no more than one snapshot in a commit, and a commit that replaces rows has several. "
            "Use another catalog: SQLite, PostgreSQL, or a REST catalog that takes them."
        ) from None
    if not isinstance(error, _MAY_PASS) and not _OUTRUN.search(str(error)):
        raise error
    if is_late:
        raise ComponentDownError(
            f"table {name}: no commit in {_COMMIT_DEADLINE_S:.0f} s and {attempt} attempts ({_refusal(error)}); "
            "is the catalog reachable, and are not too many runs writing at once?"
        ) from None


@contextmanager
def _turn(folder: Path, deadline: float) -> Iterator[None]:
    """Hold a folder against others on this machine who ask for it; without it where it cannot be had before the deadline."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a catalog put the table elsewhere
        yield
        return
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOOK_S)
                continue
            except OSError:  # a file system without locks
                pass
            break
        yield
    finally:
        os.close(handle)


def _refusal(error: Exception) -> str:
    """What a catalog said; others than a refusal by their class alone, since they may quote an address with a password."""
    refused = isinstance(error, CommitFailedException | ValidationException | BadRequestError)
    return f"{type(error).__name__}: {str(error)[:300]}" if refused else type(error).__name__


def published_files(table: Table, snapshot: Snapshot | None = None) -> list[PublishedFile]:
    """The data files of a snapshot, or of the current one, with the range and shard that their constant columns tell."""
    snapshot = snapshot or table.current_snapshot()
    if snapshot is None:
        return []
    return sorted(file for manifest in manifests_of(table, snapshot) for file in files_of(table, manifest))


def horizon_s(table: Table) -> int:
    """The deduplication horizon of a table, seconds; 0 for none (horizon.py)."""
    said = table.properties.get(HORIZON_PROPERTY, "0")
    return UNLIMITED_S if said == UNLIMITED else int(said)


class Vacated(NamedTuple):
    """Ranges of main, microseconds, out of which pairs may have gone, since a replay or a rollback took their place.

    last: which time it was last; only a swap writes it, in its own commit. ranges: by time, those for which a sweep has to look yet
    which rows are dropped for nothing now. Each time is a property of its own, since properties are set without a look at others.
    """

    last: str = ""
    ranges: Mapping[str, tuple[tuple[int, int], ...]] = {}

    @classmethod
    def of(cls, table: Table) -> Vacated:
        """Of a table."""
        ranges = {
            key: tuple((low, high) for low, high in json.loads(value))
            for key, value in table.properties.items()
            if key.startswith(f"{VACATED_PROPERTY}.")
        }
        return cls(table.properties.get(VACATED_PROPERTY, ""), ranges)

    def all_ranges(self) -> list[tuple[int, int]]:
        """Of all times."""
        return sorted({span for ranges in self.ranges.values() for span in ranges})


def vacating(ranges: Iterable[tuple[int, int]]) -> dict[str, str]:
    """The properties that say so of one more time."""
    time_of = uuid4().hex
    return {VACATED_PROPERTY: time_of, f"{VACATED_PROPERTY}.{time_of}": json.dumps(sorted(ranges))}


def without_properties(table: Table, keys: Iterable[str]) -> None:
    """Remove properties.

    Raises:
        CommitFailedException: somebody else had removed one of them when the table was loaded.
    """
    try:
        with RefTransaction(table) as transaction:
            transaction.remove_properties(*(key for key in keys if key in table.properties))
    except KeyError:
        raise CommitFailedException("a property was removed by another process") from None


def derived_in_horizon(table: Table) -> bool:
    """Whether the horizon holds for keys that are derived from content."""
    return table.properties.get(DERIVED_PROPERTY) == "horizon"


def format_of(table: Table) -> int:
    """The lake format that a table that is folded into has."""
    return FORMAT if f"lake format {FORMAT}" in table.properties.get(GRID_PROPERTY, "") else 1


def unfinished_grid(table: Table, verb: str) -> str:
    """In place of the grid's text while a table goes to another format: neither version's jobs take it."""
    return f"{layout_of(table).grid_s} ({verb}{_UNFINISHED})"


def unfinished_verb(table: Table) -> str | None:
    """What a table is in the midst of, upgrade or downgrade; None if in nothing."""
    said = table.properties.get(GRID_PROPERTY, "")
    return said.partition("(")[2].removesuffix(_UNFINISHED + ")") if _UNFINISHED in said else None


def dropped_branch(branch: str | None) -> str:
    """The branch of a table that holds what the horizon drops of a branch; the tag that goes with a tag. branch: None for main."""
    return "dropped" if branch is None else f"{branch}.dropped"


def settled_tag(branch: str | None) -> str:
    """The tag of the newest snapshot of a branch in which the horizon was applied to every row. branch: None for main."""
    return "settled" if branch is None else f"{branch}.settled"


def settled_refs(branch: str | None) -> tuple[str, str]:
    """The tags of the newest settled state of a branch: of its published rows, and of its dropped ones."""
    return settled_tag(branch), dropped_branch(settled_tag(branch))


def settled_snapshot(table: Table) -> Snapshot | None:
    """The newest snapshot of main in which the horizon was applied to every row: what consumers read.

    The current one of a table without a horizon, and of one that was never swept.
    """
    settled = table.metadata.snapshot_by_name(settled_tag(None)) if horizon_s(table) else None
    return settled or table.current_snapshot()


def settled_age_s(table: Table, now_s: float, branch: str | None = None) -> float | None:
    """For how long the settled snapshot has not been the current one: how long the oldest unsettled commit has waited.

    Args:
        table: with this branch as its current snapshot.
        now_s: seconds since 1970; the clock's.
        branch: None for main.

    Returns:
        Seconds; 0 where the current snapshot is settled; None of a table without a horizon or without a snapshot.
    """
    head = table.current_snapshot()
    if head is None or not horizon_s(table):
        return None
    settled = table.metadata.snapshot_by_name(settled_tag(branch))
    if settled == head:
        return 0.0
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    oldest = head
    while (parent := by_id.get(oldest.parent_snapshot_id or -1)) and parent != settled:
        oldest = parent
    return max(now_s - oldest.timestamp_ms / 1_000, 0.0)


def dropped_rows(table: Table, branch: str | None) -> int:
    """How many rows the horizon drops of a branch."""
    dropped = table.metadata.snapshot_by_name(dropped_branch(branch))
    return sum(file.rows for file in published_files(table, dropped)) if dropped else 0


def known_files(table: Table, branch: str | None) -> list[PublishedFile]:
    """The data files of a branch's rows, and of those that the horizon drops.

    Args:
        table: with this branch as its current snapshot, as ``Lake.load`` gives it.
        branch: None for main.
    """
    dropped = table.metadata.snapshot_by_name(dropped_branch(branch))
    if dropped is None:
        return published_files(table)
    return sorted([*published_files(table), *(replace(f, dropped=True) for f in published_files(table, dropped))])


def manifests_of(table: Table, snapshot: Snapshot) -> tuple[ManifestFile, ...]:
    """The manifests of a snapshot."""
    return _manifests.get(snapshot.manifest_list, lambda: tuple(snapshot.manifests(table.io)))


def files_of(table: Table, manifest: ManifestFile) -> tuple[PublishedFile, ...]:
    """The data files that a manifest holds; of tables without range columns the range is empty."""
    return _files.get(manifest.manifest_path, lambda: tuple(_read_manifest(table, manifest)))


def _read_manifest(table: Table, manifest: ManifestFile) -> Iterator[PublishedFile]:
    ids = {field.name: field.field_id for field in table.schema().fields}
    types = zip(RANGE_COLUMNS.names, (LongType(), LongType(), IntegerType()), strict=True)
    columns = [(ids[name], kind) for name, kind in types if name in ids]
    for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
        file = entry.data_file
        from_us, to_us, shard = [int(from_bytes(kind, file.lower_bounds[id_])) for id_, kind in columns] or [0, 0, 0]
        newest = (file.upper_bounds or {}).get(ids.get("_received_at", -1))
        received_us = None if newest is None else int(from_bytes(LongType(), newest))
        size = file.file_size_in_bytes
        yield PublishedFile(from_us, to_us, shard, file.file_path, file.record_count, size_bytes=size, received_us=received_us)


class _ReadOnce(Generic[T]):
    """What was read of files that never change, by path; as many tuple items as fit, those used last. For several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._size, self._lock = most, 0, threading.Lock()
        self._known: OrderedDict[str, tuple[T, ...]] = OrderedDict()

    def get(self, path: str, read: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
        """What is in the file at a path."""
        with self._lock:
            if path in self._known:
                self._known.move_to_end(path)
                return self._known[path]
        items = read()
        with self._lock:
            if path not in self._known:
                self._known[path] = items
                self._size += len(items) + 1
            while self._size > self._most:
                self._size -= len(self._known.popitem(last=False)[1]) + 1
        return items


_manifests: _ReadOnce[ManifestFile] = _ReadOnce(20_000)
_files: _ReadOnce[PublishedFile] = _ReadOnce(100_000)


def violations_column(violations: Iterable[list[Violation]]) -> pa.Array:
    """Violations as the dead-letter column."""
    return pa.array(
        [[{"path": v.path, "rule": v.rule, "expected": v.expected} for v in listed] for listed in violations],
        DEAD_LETTER_SCHEMA.field("violations").type,
    )
