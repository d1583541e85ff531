"""Schemas that messages were written with, beside the raw bytes: a replay needs no registry.

``raw/schemas/<fingerprint>.json`` is a schema with all that it needs; the fingerprint is the SHA-256 of the file. Landed messages
name it (``framing.SCHEMA_HEADER``). ``raw/schemas/ids/<registry>/<key>.json`` says which one an id of a registry stands for. Both
are put if absent and never change: a registry that gives another schema for an id later does not change what was landed, and the
first stays until the project gives the registry another name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import msgspec

from lake.formats.framed import WriterSchema
from lake.formats.framing import landed_schema
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segments import log_segments, read_messages

_FOLDER = "raw/schemas"
_SUFFIX = ".json"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")  # a producer may send a header of this name too


class SchemaPointer(msgspec.Struct, frozen=True):
    """What an id of a registry stands for. subjects: its version in each, as the registry had it when the id was first met."""

    fingerprint: str
    subjects: dict[str, int] = {}


def put_schema(lake: Lake, registry: str, key: str, schema: WriterSchema, subjects: dict[str, int]) -> SchemaPointer:
    """Keep what an id stands for; what it stands for in this lake from now on, which is what was kept first.

    Args:
        lake: where.
        registry: the name of the registry.
        key: of the schema there, such as ``id-17``.
        schema: what it stands for.
        subjects: its version in each.
    """
    document = encode_schema(schema)
    fingerprint = fingerprint_of(document)
    lake.storage.put_if_absent(_schema_file(lake, fingerprint), document)  # before what names it
    pointer = SchemaPointer(fingerprint, subjects)
    if lake.storage.put_if_absent(_pointer_file(lake, registry, key), msgspec.json.encode(pointer)):
        return pointer
    return find_pointer(lake, registry, key) or pointer


def find_pointer(lake: Lake, registry: str, key: str) -> SchemaPointer | None:
    """What an id stands for in this lake."""
    try:
        return msgspec.json.decode(lake.storage.read(_pointer_file(lake, registry, key)), type=SchemaPointer)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        raise OSError(f"raw schema {_pointer_file(lake, registry, key)}: cannot be read; was it changed?") from None


def read_schema_file(lake: Lake, fingerprint: str) -> bytes:
    """The document of a schema.

    Raises:
        OSError: it is not there, or is another than was kept.
    """
    path = _schema_file(lake, fingerprint)
    document = lake.storage.read(path)
    if fingerprint_of(document) != fingerprint:
        raise OSError(f"raw schema {path}: it is another than was landed; bring it back from a backup")
    return document


def encode_schema(schema: WriterSchema) -> bytes:
    """The document of a schema."""
    return msgspec.json.encode(schema)


def fingerprint_of(document: bytes) -> str:
    """The name of a schema's document."""
    return hashlib.sha256(document).hexdigest()


def schema_faults(lake: Lake) -> Iterator[tuple[str, str]]:
    """(what is wrong, where) of each file that is not what its name or another file says."""
    root, there = lake.at_key(_FOLDER), kept_fingerprints(lake)
    for fingerprint in sorted(there):
        try:
            read_schema_file(lake, fingerprint)
        except OSError:
            yield "changed", _schema_file(lake, fingerprint)
    for location in sorted(file.location for file in lake.storage.files(f"{root}/ids")):
        try:
            pointer = msgspec.json.decode(lake.storage.read(location), type=SchemaPointer)
        except msgspec.MsgspecError:
            yield "changed", location
            continue
        if pointer.fingerprint not in there:
            yield "missing", _schema_file(lake, pointer.fingerprint)


def kept_fingerprints(lake: Lake) -> set[str]:
    """Of all schemas that are kept."""
    return {location.rsplit("/", 1)[-1].removesuffix(_SUFFIX) for location in lake.storage.names(lake.at_key(_FOLDER))}


def named_fingerprints(lake: Lake, source: str, log: LogId) -> set[str]:
    """Of the schemas that the landed messages of a log name; reads them all."""
    headers = (message.headers for segment in log_segments(lake, source, log) for message in read_messages(segment))
    named = (landed_schema(own) for own in headers)
    return {found[0] for found in named if found and _FINGERPRINT.fullmatch(found[0])}


def schema_count(lake: Lake) -> int:
    """How many schemas are kept."""
    return len(kept_fingerprints(lake))


def _schema_file(lake: Lake, fingerprint: str) -> str:
    return lake.at_key(f"{_FOLDER}/{fingerprint}{_SUFFIX}")


def _pointer_file(lake: Lake, registry: str, key: str) -> str:
    return lake.at_key(f"{_FOLDER}/ids/{registry}/{key}{_SUFFIX}")
