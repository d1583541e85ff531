"""Messages that name the schema that they were written with: by an id in front of the payload, or in a header.

Source: Confluent's documentation, "Wire format", and the header ids of its serializers; Apicurio's documentation of its serdes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from contracts.codes import Violation

SCHEMA_HEADER = "headrace.schema"  # what landing adds: the schema's fingerprint and its version, or nothing where none was found
_ID_HEADER = "__value_schema_id"
_APICURIO = (("apicurio.value.contentId", "id"), ("apicurio.value.globalId", "global"))
_ID, _GUID = 0, 1  # the byte in front
_ID_BYTES, _GUID_BYTES, _APICURIO_BYTES = 4, 16, 8
_MOST_ID = 2**31 - 1  # Java's: of a larger one Confluent says no such path, which is also said of a wrong URL
_UNFRAMED = Violation("$", "syntax", "a byte 0 and a schema id of 4 bytes, then a body")
_BAD_HEADER = Violation("$", "syntax", "a schema id in the header that is one")
Headers = Sequence[tuple[str, bytes | None]]


class Framed(NamedTuple):
    """key: of the schema, see ``RegistryClient.schema``. start: where the body begins."""

    key: str
    start: int


def framing_of(value: bytes, headers: Headers) -> Framed | Violation:
    """Which schema a message names, or why that cannot be told. Of several headers of a name the last counts."""
    found = dict(headers)
    if (told := found.get(_ID_HEADER)) is not None:
        key = _key(told)
        return _BAD_HEADER if key is None or key[1] != len(told) else Framed(key[0], 0)
    for name, kind in _APICURIO:
        if (told := found.get(name)) is not None:
            number = int.from_bytes(told, "big", signed=True)
            return Framed(f"{kind}-{number}", 0) if len(told) == _APICURIO_BYTES and 0 < number <= _MOST_ID else _BAD_HEADER
    key = _key(value)
    return _UNFRAMED if key is None else Framed(*key)


def is_plain(value: bytes, headers: Headers) -> bool:
    """Whether a message names no schema, and what it holds may be text."""
    return value[:1] not in (b"", b"\x00", b"\x01") and not any(name in dict(headers) for name in (_ID_HEADER, *dict(_APICURIO)))


def landed_schema(headers: Headers) -> tuple[str, str | None] | None:
    """(fingerprint, version) of the schema that landing found for a message, ("", None) where it found none; None of others."""
    told = next((value for name, value in reversed(headers) if name == SCHEMA_HEADER), None)
    if told is None:
        return None
    fingerprint, _, version = told.decode("ascii", "replace").partition(" ")
    return fingerprint, version or None


def schema_header(fingerprint: str, version: str | None) -> tuple[str, bytes]:
    """The header that landing adds."""
    return SCHEMA_HEADER, (f"{fingerprint} {version}" if version else fingerprint).encode("ascii")


def _key(data: bytes) -> tuple[str, int] | None:
    """(key, place after it) of an id as it stands in front or in a header."""
    if data[:1] == bytes([_ID]) and len(data) > _ID_BYTES:
        number = int.from_bytes(data[1 : 1 + _ID_BYTES], "big")
        return (f"id-{number}", 1 + _ID_BYTES) if number <= _MOST_ID else None
    if data[:1] == bytes([_GUID]) and len(data) > _GUID_BYTES:
        return f"guid-{UUID(bytes=data[1 : 1 + _GUID_BYTES])}", 1 + _GUID_BYTES
    return None
