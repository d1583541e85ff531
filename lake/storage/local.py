"""Files on a local or mounted disk."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from lake.storage.base import A, B, StoredFile


def unshared_name(key: str, kind: str) -> str:
    """A name that no other process or thread uses: two of them may well write the same bytes at once."""
    digest = xxhash.xxh3_64_hexdigest(os.fsencode(key))
    return f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}-{digest}.{kind}"


@dataclass(frozen=True)
class LocalStorage:
    """See ``Storage``.

    temporary: folder on the same file system for files that are not complete; None: hidden, beside their place.
    """

    temporary: Path | None = None

    def read(self, location: str, first: int | None = None) -> bytes:
        """See ``Storage``."""
        with open(location, "rb") as file:
            return file.read() if first is None else file.read(first)

    def open(self, location: str) -> BinaryIO:
        """See ``Storage``."""
        return open(location, "rb")

    def write(self, location: str, content: bytes) -> None:
        """See ``Storage``."""
        path = Path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{unshared_name(location, 'tmp')}")
        temporary.write_bytes(content)
        os.replace(temporary, path)

    def put_if_absent(self, location: str, content: bytes) -> bool:
        """See ``Storage``."""
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch(location, "put")
        temporary.write_bytes(content)
        try:
            os.link(temporary, location)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def update(self, location: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """See ``Storage``. A lock file beside it is held meanwhile."""
        path = Path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = change(path.read_bytes() if path.exists() else None)
            if made is not None:
                self.write(location, made)

    def check_conditions(self, location: str) -> None:
        """See ``Storage``. A file system keeps them."""

    def scratch(self, location: str, kind: str = "part") -> Path:
        """See ``Storage``."""
        if self.temporary is not None:
            return self.temporary / unshared_name(location, kind)
        path = Path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{unshared_name(location, kind)}")

    def upload(self, file: Path, location: str, modified_us: int | None = None) -> None:
        """See ``Storage``."""
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        if modified_us is not None:
            os.utime(file, ns=(modified_us * 1_000,) * 2)
        os.replace(file, location)

    def names(self, folder: str) -> list[str]:
        """See ``Storage``."""
        try:
            with os.scandir(folder) as entries:
                return [entry.path for entry in entries if not entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self, folder: str) -> list[str]:
        """See ``Storage``."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, folder: str) -> list[StoredFile]:
        """See ``Storage``."""
        found = []
        for place, _, names in os.walk(folder):
            for name in names:
                try:
                    found.append(self.stat(os.path.join(place, name)))
                except FileNotFoundError:
                    continue
        return sorted(found)

    def stat(self, location: str) -> StoredFile:
        """See ``Storage``."""
        status = os.stat(location)
        return StoredFile(location, status.st_size, status.st_mtime)

    def delete(self, location: str) -> bool:
        """See ``Storage``."""
        try:
            Path(location).unlink()
        except FileNotFoundError:
            return False
        return True

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See ``Storage``."""
        return [function(item) for item in items]
