"""Inputs: files behind paths, folders, globs and buckets, and copies of them that are whole."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from contracts.errors import ConfigurationError
from lake.storage import is_object, local_path, storage_of
from lake.storage.inputs import object_inputs

_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """One file to land. mtime_us: its generation time at its origin."""

    uri: str
    size_bytes: int
    mtime_us: int


def expand_inputs(patterns: tuple[str, ...]) -> list[InputFile]:
    """Files behind paths, folders (recursively, but for hidden folders) and globs, local or ``gs://``; the oldest first, each once.

    Raises:
        ConfigurationError: a pattern finds nothing, all such are named; or is a URI of another kind.
    """
    found: dict[str, InputFile] = {}
    missing: list[str] = []
    for pattern in patterns:
        try:
            if is_object(pattern):
                files = [InputFile(found.location, found.size_bytes, modified_us) for found, modified_us in object_inputs(pattern)]
            else:
                files = [_local_input(path) for path in _local_files(local_path(pattern, "input"))]
        except ValueError as error:  # of pathlib, for a glob such as a/**.json
            raise ConfigurationError(f"input {pattern}: not a glob: {error}") from None
        if not files:
            missing.append(pattern)
        found.update((file.uri, file) for file in files)
    if missing:
        raise ConfigurationError("no file found for " + ", ".join(missing) + "; give a path, a folder or a glob in quotes")
    return sorted(found.values(), key=lambda file: (file.mtime_us, file.uri))


def _local_files(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser().absolute()
    if os.path.isdir(path):
        unreadable: list[Path] = []  # folders; told when they are landed
        files: list[Path] = []
        for folder, folders, names in os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename))):
            folders[:] = [name for name in folders if not name.startswith((".", "_"))]  # of writers at work, as Spark's _temporary
            files += [Path(folder, name) for name in names]
        return files + unreadable
    if os.path.lexists(path):
        return [path]
    anchor = Path(path.anchor)
    return [p for p in anchor.glob(str(path.relative_to(anchor))) if not os.path.isdir(p)]


def _local_input(path: Path) -> InputFile:
    try:
        status = path.stat()
    except OSError:
        return InputFile(str(path), 0, 0)  # told when it is landed
    return InputFile(str(path), status.st_size, status.st_mtime_ns // 1000)


@dataclass(frozen=True)
class Copied:
    """digest: SHA-256 of the bytes. mtime_us: their time at their origin."""

    digest: str
    mtime_us: int


class InputError(Exception):
    """The input, not the lake, cannot be read."""

    def __init__(self, status: Literal["vanished", "unreadable"], detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError("vanished", "it was listed, and was gone when it was opened") from None
    except OSError as error:
        raise InputError("unreadable", (error.strerror or "input/output error").lower()) from None


def copy_input(file: InputFile, target: Path) -> Copied | None:
    """Copy and hash an input; None where it changed meanwhile.

    Raises:
        InputError: it cannot be read.
    """
    if is_object(file.uri):
        return _copy_object(file, target)
    digest = hashlib.sha256()
    with _reading():
        before = os.stat(file.uri)
        if stat.S_ISDIR(before.st_mode):
            os.listdir(file.uri)
            raise InputError("unreadable", "it is a folder")
        if not stat.S_ISREG(before.st_mode):  # opening a pipe would wait for its other end
            raise InputError("unreadable", "it is not a regular file")
        source = open(file.uri, "rb")  # noqa: SIM115 - closed below
    with source, target.open("wb") as out:
        while piece := _read(source):
            digest.update(piece)
            out.write(piece)
    with _reading():
        after = os.stat(file.uri)
    same = (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    return Copied(digest.hexdigest(), after.st_mtime_ns // 1000) if same else None


def _copy_object(file: InputFile, target: Path) -> Copied | None:
    """As ``copy_input``, of one state of an object: it cannot change while it is read, but it can be replaced."""
    digest = hashlib.sha256()
    with _reading():
        source = storage_of(file.uri).open(file.uri)
    with source, target.open("wb") as out:
        try:
            while piece := source.read(_COPY_BYTES):
                digest.update(piece)
                out.write(piece)
        except FileNotFoundError:  # this state was replaced; the next attempt finds another, or nothing
            return None
    return Copied(digest.hexdigest(), file.mtime_us)


def _read(source: BinaryIO) -> bytes:
    with _reading():
        return source.read(_COPY_BYTES)
