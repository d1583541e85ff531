"""How much a file may hold, by its size: what a few bytes say to hold without end is damage, told once.

A record of real data takes more than a quarter of a byte, however it is compressed, and its text no more than a thousandth.
"""

from __future__ import annotations

from typing import BinaryIO

from contracts.codes import Violation

_FREE_RECORDS, _RECORDS_PER_BYTE = 100_000, 4
_FREE_AVRO_BYTES, _AVRO_BYTES_PER_BYTE = 8 << 20, 100
_FREE_BYTES, _BYTES_PER_BYTE = 64 << 20, 1_000


def record_limit(file: BinaryIO) -> int:
    """How many records a file may hold."""
    return _FREE_RECORDS + _RECORDS_PER_BYTE * _size_bytes(file)


def expansion_limit(file: BinaryIO) -> int:
    """How many bytes a file may become."""
    return _FREE_BYTES + _BYTES_PER_BYTE * _size_bytes(file)


def avro_limit(file: BinaryIO) -> int:
    """How many bytes the blocks of an Avro file may become: their codecs work on blocks, not on the whole."""
    return _FREE_AVRO_BYTES + _AVRO_BYTES_PER_BYTE * _size_bytes(file)


def too_many_records(limit: int) -> Violation:
    """Why reading ends."""
    return Violation("$", "damage", f"at most {limit} records in a file of this size")


def too_many_bytes(limit: int) -> Violation:
    """Why reading ends."""
    return Violation("$", "damage", f"at most {limit} bytes decompressed from a file of this size")


def _size_bytes(file: BinaryIO) -> int:
    at = file.tell()  # somebody may be reading it
    size = file.seek(0, 2)
    file.seek(at)
    return size
