"""The records of messages that name the schema that they were written with: Avro and JSON, each by its own schema."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from contracts.codes import Violation
from contracts.spec.source import SourceSpec
from lake.formats.avro_records import read_bodies
from lake.formats.avro_references import with_referenced
from lake.formats.avro_schema import AvroSchema, SchemaError, read_schema
from lake.formats.base import ParsedRecords
from lake.formats.framing import Framed, Headers, framing_of, is_plain, landed_schema
from lake.formats.jsonl import parse_payloads

_KEPT = 64  # schemas that are kept as they are read
_UNKNOWN = "a schema id that the registry knows"
_HALF_OF_EIGHT = "id-0"  # no registry gives it


class WriterSchema(msgspec.Struct, frozen=True):
    """A schema as ``raw/`` keeps it. type: AVRO, JSON or another that is not read. references: (name, schema) of those it needs."""

    type: str
    schema: str
    references: tuple[tuple[str, str], ...] = ()


class _Read(NamedTuple):
    """What one schema's bodies gave: the index of each message, and its record."""

    indexes: list[int]
    parsed: ParsedRecords


def parse_framed(
    spec: SourceSpec, values: Sequence[bytes], headers: Sequence[Headers], schemas: Mapping[str, bytes]
) -> ParsedRecords:
    """One record of each message.

    Args:
        spec: the source; its format says how messages are read that name no schema.
        values: payloads as received.
        headers: per message, with that of the landing.
        schemas: documents of WriterSchema by fingerprint.
    """
    records: list[Any] = [None] * len(values)
    failed: dict[int, list[Violation]] = {}
    versions: list[str | None] = [None] * len(values)
    bodies: dict[str, list[tuple[int, bytes]]] = {}  # by fingerprint; "" of plain text
    for index, (value, own) in enumerate(zip(values, headers, strict=True)):
        framed = framing_of(value, own)
        if spec.format == "jsonl" and is_plain(value, own):
            bodies.setdefault("", []).append((index, value.removeprefix(codecs.BOM_UTF8)))
        elif isinstance(framed, Violation):
            failed[index] = [framed]
        else:
            fingerprint, versions[index] = landed_schema(own) or ("", None)
            if fingerprint not in schemas:
                failed[index] = [_unknown(framed)]
            else:
                bodies.setdefault(fingerprint, []).append((index, value[framed.start :]))
    for fingerprint, found in bodies.items():
        indexes = [index for index, _ in found]
        read = _read(spec, schemas.get(fingerprint), [body for _, body in found])
        for index, record in zip(indexes, read.records, strict=True):
            records[index] = record
        failed.update((indexes[i], violations) for i, violations in read.failed.items())
    return ParsedRecords(records, lambda i: values[i][: spec.record_bytes], failed, versions=versions)


def _unknown(framed: Framed) -> Violation:
    kind, _, number = framed.key.partition("-")
    hint = "; are these ids of 8 bytes, which Apicurio 2 writes?" if framed.key == _HALF_OF_EIGHT else ""
    return Violation("$", "schema_version", f"{_UNKNOWN}; it has no {kind} {number}{hint}")


def _read(spec: SourceSpec, document: bytes | None, bodies: list[bytes]) -> ParsedRecords:
    if document is None:
        return parse_payloads(spec, bodies)
    schema = _schema_of(document)
    if schema is None:
        return parse_payloads(spec, bodies)
    why = schema if isinstance(schema, Violation) else _misfit(spec, schema)
    if why is not None or isinstance(schema, Violation):
        return ParsedRecords([None] * len(bodies), bodies.__getitem__, {i: [why] for i in range(len(bodies)) if why})
    return read_bodies(schema, bodies, spec.record_bytes, Violation("$", "syntax", "a body that its schema can read"))


@lru_cache(maxsize=_KEPT)
def _schema_of(document: bytes) -> AvroSchema | Violation | None:
    """As it is read; None for JSON; why it cannot be."""
    found = msgspec.json.decode(document, type=WriterSchema)
    if found.type == "JSON":
        return None
    if found.type != "AVRO":
        return Violation("$", "syntax", f"a schema of type AVRO or JSON; {found.type[:20]} is not read")
    try:
        references = [msgspec.json.decode(schema) for _, schema in found.references]
        return read_schema(with_referenced(msgspec.json.decode(found.schema), references))
    except SchemaError as error:
        return Violation("$", "damage", str(error))
    except Exception:  # whatever a schema that is none makes go wrong
        return Violation("$", "damage", "an Avro schema")


def _misfit(spec: SourceSpec, schema: AvroSchema) -> Violation | None:
    """As of files with a schema; upcasts may give what an older one lacks."""
    if spec.schema_version and spec.schema_version.upcasts:
        return None
    lacking = spec.lacking(schema.has)
    return Violation("$", "header", "fields " + ", ".join(lacking)) if lacking else None
