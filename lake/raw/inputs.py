"""Inputs: files behind paths, folders, globs and buckets, and copies of them that are whole."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from contracts.errors import ConfigurationError
from lake.storage import is_object, local_path, storage_of
from lake.storage.inputs import HIDDEN_FOLDER, NOT_ENTERED, is_hidden_folder, not_entered, object_inputs
from lake.storage.objects import ArchivedError
from lake.storage.places import location_of

_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """One file to land.

    mtime_us: its generation time at its origin. named: asked for by its own name, so that it is read whatever that is. refused: why
    it is not to be read, as a landing.
    """

    uri: str
    size_bytes: int
    mtime_us: int
    named: bool = False
    refused: tuple[Literal["ignored", "unreadable"], str] | None = None


def expand_inputs(patterns: tuple[str, ...]) -> list[InputFile]:
    """Files behind paths, folders (recursively, but for hidden folders) and globs, wherever they lie; the oldest first, each once.

    What a folder or a glob leaves out, and links out of it, is among them, as refused.

    Raises:
        ConfigurationError: a pattern finds nothing, all such are named; or is a URI of another kind.
    """
    found: dict[str, InputFile] = {}
    missing: list[str] = []
    for pattern in patterns:
        try:
            if is_object(pattern):
                files = list(_objects(location_of(pattern, "input")))
            else:
                files = list(_local_files(local_path(pattern, "input")))
        except ValueError as error:  # of pathlib, for a glob such as a/**.json
            raise ConfigurationError(f"input {pattern}: not a glob: {error}") from None
        if not files:
            missing.append(pattern)
        for file in files:
            if file.uri not in found or file.named:
                found[file.uri] = file
    if missing:
        raise ConfigurationError("no file found for " + ", ".join(missing) + "; give a path, a folder or a glob in quotes")
    return sorted(found.values(), key=lambda file: (file.mtime_us, file.uri))


def _objects(pattern: str) -> Iterator[InputFile]:
    inputs = object_inputs(pattern)
    for blob, modified_us in inputs.files:
        yield InputFile(blob.location, blob.size_bytes, modified_us, named=blob.location == pattern)
    for folder, why in inputs.left_out.items():
        yield InputFile(folder, 0, 0, refused=("ignored", why))


def _local_files(pattern: str) -> Iterator[InputFile]:
    path = Path(pattern).expanduser().absolute()
    if os.path.isdir(path):
        yield from _files_in(path)
    elif os.path.lexists(path):
        yield _local_input(path, named=True)
    else:
        anchor = Path(path.anchor)
        literal = next((i for i, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts) - 1)
        root = Path(*path.parts[:literal])
        matches = list(anchor.glob(str(path.relative_to(anchor))))
        files = [match for match in matches if not os.path.isdir(match)]
        yield from (_inside(file, root) for file in files)
        folders = (str(match) for match in matches if os.path.isdir(match))
        for folder in not_entered(folders, map(str, files)):
            yield _left_out(Path(folder), NOT_ENTERED)


def _files_in(root: Path) -> Iterator[InputFile]:
    unreadable: list[Path] = []  # folders; told when they are landed
    for folder, folders, names in os.walk(root, onerror=lambda error: unreadable.append(Path(error.filename))):
        kept = []
        for name in folders:
            if is_hidden_folder(name):
                yield _left_out(Path(folder, name), HIDDEN_FOLDER)
            elif os.path.islink(Path(folder, name)):
                yield _left_out(Path(folder, name), "a symbolic link to a folder; name it to read what is in it")
            else:
                kept.append(name)
        folders[:] = kept
        for name in names:
            yield _inside(Path(folder, name), root)
    yield from map(_local_input, unreadable)


def _left_out(path: Path, why: str) -> InputFile:
    return replace(_local_input(path), refused=("ignored", why))


def _inside(path: Path, root: Path) -> InputFile:
    """A file below a root, refused where a symbolic link leads out of it: whoever may write there may not read everything."""
    file = _local_input(path)
    if path.is_symlink() or any(parent.is_symlink() for parent in path.parents if root in parent.parents):
        target, real_root = path.resolve(), root.resolve()
        if real_root not in target.parents:
            return replace(file, refused=("unreadable", "a symbolic link that leads out of the folder; name it to read it"))
    return file


def _local_input(path: Path, *, named: bool = False) -> InputFile:
    try:
        status = path.stat()
    except OSError:
        return InputFile(str(path), 0, 0, named)  # told when it is landed
    return InputFile(str(path), status.st_size, status.st_mtime_ns // 1000, named)


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


def copy_input(file: InputFile, target: Path, stopped: Callable[[], bool] = lambda: False) -> Copied | None:
    """Copy and hash an input; None where it changed meanwhile, or nobody wants it any more, by ``stopped``.

    Raises:
        InputError: it cannot be read.
    """
    if is_object(file.uri):
        return _copy_object(file, target, stopped)
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
            if stopped():
                return None
            digest.update(piece)
            out.write(piece)
    with _reading():
        after = os.stat(file.uri)
    same = (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    return Copied(digest.hexdigest(), after.st_mtime_ns // 1000) if same else None


def _copy_object(file: InputFile, target: Path, stopped: Callable[[], bool]) -> Copied | None:
    """As ``copy_input``, of one state of an object: it cannot change while it is read, but it can be replaced."""
    digest = hashlib.sha256()
    with _reading():
        source = storage_of(file.uri).open(file.uri)
    with source, target.open("wb") as out:
        try:
            while piece := source.read(_COPY_BYTES):
                if stopped():
                    return None
                digest.update(piece)
                out.write(piece)
        except FileNotFoundError:  # this state was replaced; the next attempt finds another, or nothing
            return None
        except ArchivedError:
            raise InputError("unreadable", "it is archived; restore it first, or leave it out") from None
    return Copied(digest.hexdigest(), file.mtime_us)


def _read(source: BinaryIO) -> bytes:
    with _reading():
        return source.read(_COPY_BYTES)
