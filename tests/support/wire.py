"""One event stream in three versions of its schema, as messages that name them: Avro and JSON, ids in front and in headers."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro

from contracts.registry.client import RegistryClient
from contracts.spec.registry import Registry
from tests.support.kafka import Record

START = datetime(2025, 6, 1, 12, tzinfo=UTC)
_FIRST = [
    {"name": "id", "type": "string"},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["track", "page"]}},
    {"name": "name", "type": ["null", "string"], "default": None},
    {"name": "user", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
]
_SECOND = {"name": "locale", "type": ["null", "string"], "default": None}
_THIRD = {
    "name": "library",
    "type": [
        "null",
        {
            "type": "record",
            "name": "Library",
            "fields": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"}],
        },
    ],
    "default": None,
}
VERSIONS: list[dict[str, Any]] = [
    {"type": "record", "name": "Event", "namespace": "org.shop", "fields": fields}
    for fields in (_FIRST, [*_FIRST, _SECOND], [*_FIRST, _SECOND, _THIRD])
]
JSON_SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": True}
SOURCE = """
source: shop
dataset: customer_event
version: 1
format: {format}
wire_format: confluent
columns:
  event_id: id
  event_type: kind
  event_name: name
  user_id: user
  original_timestamp: at
  locale: locale
  library: library.name
  library_version: library.version
optional: [locale, library, library_version]
"""


def project(folder: Path, url: str, format: str = "avro") -> Path:
    """A project that reads such a stream with a registry."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headrace.yaml").write_text(f"registry: {{url: '{url}', patience: 1s}}\n")
    (folder / "sources").mkdir(exist_ok=True)
    (folder / "sources" / "shop.yaml").write_text(SOURCE.format(format=format))
    return folder


def events(count: int) -> list[dict[str, Any]]:
    """Events of the newest version; what an older one has not is null in every third."""
    found = []
    for n in range(count):
        event: dict[str, Any] = {
            "id": f"e-{n:04}", "kind": ("track", "page")[n % 2], "user": f"u-{n % 7}", "name": None if n % 2 else "Product Viewed",
            "at": START + timedelta(seconds=n, microseconds=n), "locale": None, "library": None,
        }  # fmt: skip
        if n % 3 > 0:
            event["locale"] = "de-DE"
        if n % 3 > 1:
            event["library"] = {"name": "web", "version": f"{n}.0"}
        found.append(event)
    return found


def client(url: str) -> RegistryClient:
    """A client of a registry for tests."""
    return RegistryClient(Registry(url=url), patience_s=20.0)


def register(url: str, topic: str) -> tuple[list[int], int]:
    """The ids of the three versions, and of the JSON Schema, registered for a topic; the mode is BACKWARD_TRANSITIVE."""
    asked = client(url)
    subject = f"{topic}-value"
    first = asked.register(subject, json.dumps(VERSIONS[0]), "AVRO")
    asked.set_compatibility(subject, "BACKWARD_TRANSITIVE")
    ids = [first, *(asked.register(subject, json.dumps(schema), "AVRO") for schema in VERSIONS[1:])]
    plain = asked.register(f"{topic}-json-value", json.dumps(JSON_SCHEMA), "JSON")
    asked.close()
    return ids, plain


def mixed(found: Sequence[Mapping[str, Any]], ids: Sequence[int], plain: int) -> list[Record]:
    """Each event in the oldest version that holds it: as Avro with its id in front, or in a header, or as JSON."""
    records = []
    for n, event in enumerate(found):
        version = n % 3
        kept = {field["name"]: event[field["name"]] for field in VERSIONS[version]["fields"]}
        headers: tuple[tuple[str, bytes | None], ...] = ()
        if n % 4 == 3:
            value = framed(plain, json.dumps(kept, default=lambda at: at.isoformat()).encode())
        elif n % 4 == 2:
            value, headers = avro(VERSIONS[version], kept), (("__value_schema_id", framed(ids[version], b"")),)
        else:
            value = framed(ids[version], avro(VERSIONS[version], kept))
        records.append(Record(value, _ms(n), n % 2, headers=headers))
    return records


def newest(found: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> list[Record]:
    """Each event in the newest version."""
    return [Record(framed(ids[-1], avro(VERSIONS[-1], event)), _ms(n), n % 2) for n, event in enumerate(found)]


def framed(number: int, content: bytes) -> bytes:
    """A body behind its id."""
    return b"\0" + number.to_bytes(4, "big") + content


def avro(schema: Any, record: Any) -> bytes:
    """The body of a record."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def _ms(n: int) -> int:
    return int((START + timedelta(seconds=n)).timestamp() * 1000)
