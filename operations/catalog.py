"""A catalog that was lost, or that is older than the tables: register each table again by its newest metadata file.

An Iceberg catalog holds one fact a table, which metadata file is the current one, and each such file names those before it. A
writer that lost against another, or was killed before the catalog took its file, leaves a file that no later one names. So:

- The newest file of a table, by the number in its name, is the current one. Where it is of a writer that was killed before the
  catalog took it, what it committed is published: folds make the same rows of it when the job does it again.
- Two files with the highest number are a contest whose outcome only the catalog knew; so are two lines of files that went on side
  by side. Then a person has to choose, by what each of them holds.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError

from contracts.errors import ConfigurationError
from contracts.units import us_to_datetime
from lake.location import NAMESPACES, Lake, data_path
from lake.tables.iceberg import HASH_PROPERTY, ROWS_PROPERTY

_METADATA = re.compile(r"(\d+)-[0-9a-f-]{36}\.metadata\.json\Z")


class _Entry(msgspec.Struct, rename="kebab"):
    metadata_file: str


class _Snapshot(msgspec.Struct, rename="kebab"):
    snapshot_id: int
    manifest_list: str = ""
    summary: dict[str, str] = {}


class _Ref(msgspec.Struct, rename="kebab"):
    snapshot_id: int


class _Metadata(msgspec.Struct, rename="kebab"):
    """What is looked at of a metadata file."""

    last_updated_ms: int
    current_snapshot_id: int | None = None
    metadata_log: list[_Entry] = []
    snapshots: list[_Snapshot] = []
    refs: dict[str, _Ref] = {}


@dataclass(frozen=True)
class MetadataFile:
    """A metadata file of a table.

    number: of the commit. rows, content_hash: of its current snapshot, None where it tells none. before: names of those before it.
    lists: manifest lists of its branches and tags.
    """

    location: str
    number: int
    updated_at: datetime
    rows: int | None
    content_hash: str | None
    before: tuple[str, ...]
    lists: tuple[str, ...]


@dataclass(frozen=True)
class Registered:
    """What became of a table.

    was, now: metadata files by name; was is None where the catalog did not know the table. passed_over: newer ones, of a commit
    whose manifest list is gone; what it did is lost, and ``lake check`` tells of what.
    """

    table: str
    was: str | None
    now: str
    rows: int | None
    content_hash: str | None
    passed_over: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the catalog says something else now."""
        return self.was != self.now


def rebuild_catalog(lake: Lake, *, known_too: bool = False, chosen: Mapping[str, str] | None = None) -> Iterator[Registered]:
    """Register the tables whose metadata lie in a lake's warehouse, one after the other. Doing it again changes nothing.

    Args:
        lake: no job writes into it.
        known_too: also tables that the catalog knows by a file that is there: for a catalog that was restored from a copy.
        chosen: metadata file by table, by name, where there are several that may be the current one.

    Raises:
        ConfigurationError: several files may be the current one of a table, or the chosen one is not there; says which there are.
            Tables before it, by name, are registered.
        ComponentDownError: catalog or store does not answer.
    """
    chosen = chosen or {}
    folders = tables_on_disk(lake)
    if unknown := chosen.keys() - folders.keys():
        raise ConfigurationError(
            f"no table {', '.join(sorted(unknown))} in {lake.warehouse}; there is: {', '.join(folders) or 'none'}"
        )
    lake.create()
    catalog = lake.catalog()
    for name, folder in folders.items():
        was = _known(catalog, name)
        files = metadata_files(lake, folder)
        by_name = {file.location.rsplit("/", 1)[-1]: file for file in files}
        if name not in chosen and was in by_name and not known_too:
            now, passed = by_name[was], list[MetadataFile]()
        else:
            whole, passed = _whole(lake, files)
            now = _chosen(name, chosen[name], by_name) if name in chosen else _newest(name, whole)
            _register(lake, catalog, name, now)
        names = tuple(_name(file) for file in passed if file.number > now.number)
        yield Registered(name, was, _name(now), now.rows, now.content_hash, names)


def tables_on_disk(lake: Lake) -> dict[str, str]:
    """Folders of tables in a lake's warehouse, by table name; those that have a metadata file."""
    found = {}
    for namespace in NAMESPACES:
        folder = f"{data_path(lake.warehouse)}/{namespace}"
        for name in lake.storage.folders(folder):
            if any(_METADATA.search(file) for file in lake.storage.names(f"{folder}/{name}/metadata")):
                found[f"{namespace}.{name}"] = f"{folder}/{name}"
    return found


def metadata_files(lake: Lake, folder: str) -> list[MetadataFile]:
    """The metadata files of a table that can be read, by number."""
    locations = [location for location in lake.storage.names(f"{folder}/metadata") if _METADATA.search(location)]
    read = lake.storage.map(lambda location: _read(lake, location), locations)
    return sorted((file for file in read if file), key=lambda file: (file.number, file.updated_at, file.location))


def _read(lake: Lake, location: str) -> MetadataFile | None:
    """None where it is torn: a writer was killed, so nothing ever named it."""
    try:
        document = msgspec.json.decode(lake.storage.read(location), type=_Metadata)
    except (msgspec.MsgspecError, FileNotFoundError):
        return None
    named = {document.current_snapshot_id, *(ref.snapshot_id for ref in document.refs.values())}
    current = next((s for s in document.snapshots if s.snapshot_id == document.current_snapshot_id), _Snapshot(0))
    return MetadataFile(
        location, _number(location), us_to_datetime(document.last_updated_ms * 1_000),
        int(current.summary[ROWS_PROPERTY]) if ROWS_PROPERTY in current.summary else None, current.summary.get(HASH_PROPERTY),
        tuple(entry.metadata_file.rsplit("/", 1)[-1] for entry in document.metadata_log),
        tuple(sorted({snapshot.manifest_list for snapshot in document.snapshots if snapshot.snapshot_id in named})),
    )  # fmt: skip


def _whole(lake: Lake, files: list[MetadataFile]) -> tuple[list[MetadataFile], list[MetadataFile]]:
    """Files up to the newest whose manifest lists are all there, and those after it. All of them where there is no such file.

    A machine that was switched off in the midst of a commit may have lost one.
    """
    for number in range(len(files), 0, -1):
        if all(_is_there(lake, data_path(uri)) for uri in files[number - 1].lists):
            return files[:number], files[number:]
    return files, []


def _is_there(lake: Lake, location: str) -> bool:
    try:
        return lake.storage.stat(location).size_bytes > 0
    except FileNotFoundError:
        return False


def _name(file: MetadataFile) -> str:
    return file.location.rsplit("/", 1)[-1]


def _newest(table: str, files: list[MetadataFile]) -> MetadataFile:
    """The one with the highest number, where no other may be the current one as well."""
    if not files:
        raise ConfigurationError(
            f"table {table}: none of its metadata files can be read; nothing but a copy of them brings it back"
        )
    newest = files[-1]
    named = {newest.location.rsplit("/", 1)[-1], *newest.before}
    rivals = [file for file in files[:-1] if _rivals(file, newest, named)]
    if rivals:
        shown = "\n".join(f"  {_shown(file)}" for file in (*rivals, newest))
        raise ConfigurationError(
            f"table {table}: several metadata files may be the current one, and only the catalog knew which:\n{shown}\n"
            f"Choose one, such as --use {table}={newest.location.rsplit('/', 1)[-1]}; then headrace lake check tells whether "
            "records lack their rows, and headrace replay of their windows brings these back"
        )
    return newest


def _rivals(file: MetadataFile, newest: MetadataFile, named: set[str]) -> bool:
    """Whether a file is of another line than the newest, and as long, or longer than one commit that lost."""
    name = file.location.rsplit("/", 1)[-1]
    first = newest.number - len(newest.before)  # of those that the newest still names
    if name in named or file.number < first:
        return False
    beside = [before for before in file.before if before not in named and _number(before) >= first]
    return file.number == newest.number or bool(beside)


def _number(name: str) -> int:
    match = _METADATA.search(name)
    return int(match[1]) if match else -1


def _chosen(table: str, name: str, files: Mapping[str, MetadataFile]) -> MetadataFile:
    if name not in files:
        shown = "\n".join(f"  {_shown(file)}" for file in list(files.values())[-5:])
        raise ConfigurationError(f"table {table}: no metadata file {name!r}; the newest are:\n{shown}")
    return files[name]


def _shown(file: MetadataFile) -> str:
    rows = "rows unknown" if file.rows is None else f"{file.rows:,} rows, content_hash {file.content_hash}"
    return f"{file.location.rsplit('/', 1)[-1]}  of {file.updated_at:%Y-%m-%d %H:%M:%SZ}: {rows}"


def _known(catalog: Catalog, name: str) -> str | None:
    """The name of the metadata file that the catalog has for a table, be it there or not."""
    try:
        return catalog.load_table(name).metadata_location.rsplit("/", 1)[-1]
    except NoSuchTableError:
        return None
    except (FileNotFoundError, OSError):
        return "(a file that is gone)"


def _register(lake: Lake, catalog: Catalog, name: str, file: MetadataFile) -> None:
    location = file.location if "://" in file.location else f"file://{file.location}"
    with contextlib.suppress(NoSuchTableError):
        catalog.drop_table(name)  # of the catalog alone: its files stay
    catalog.register_table(name, location)
