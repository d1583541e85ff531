"""An object read piece by piece: in ranges, all of one state."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO, cast

READ_BYTES = 8 << 20  # of one request


def open_object(size: int, read: Callable[[int, int], bytes]) -> BinaryIO:
    """A seekable file of an object.

    Args:
        size: of the object.
        read: gives the bytes at a place, as many as are asked for.
    """
    return cast(BinaryIO, io.BufferedReader(_ObjectReader(size, read), buffer_size=min(READ_BYTES, max(size, 1))))


class _ObjectReader(io.RawIOBase):
    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size, self._read_range = size, read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(READ_BYTES), b""))

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), READ_BYTES, self._size - self._at)
        if size <= 0:
            return 0
        buffer[:size] = self._read_range(self._at, size)
        self._at += size
        return size
