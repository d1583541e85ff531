"""What the pipeline needs of the place where files lie: little, so that a disk and a bucket can both give it.

A *location* is an absolute local path, or ``gs://bucket/key``, ``s3://bucket/key``. A file appears whole or not at all, and only
``write``, ``upload`` and ``update`` ever change one. Nothing is renamed in a bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, order=True)
class StoredFile:
    """A file as a listing shows it. updated_s: when it was last written, seconds since 1970."""

    location: str
    size_bytes: int
    updated_s: float


class Storage(Protocol):
    """Files of one kind of place. For several threads and processes at once.

    Every method raises FileNotFoundError where it needs a file that is not there, and, of a bucket, ComponentDownError where the
    store does not answer before a deadline, and ConfigurationError where it refuses: no such bucket, no permission.
    """

    def read(self, location: str, first: int | None = None) -> bytes:
        """The bytes of a file, or only the first so many."""
        ...

    def open(self, location: str) -> BinaryIO:
        """A file for reading piece by piece: seekable, of one state from beginning to end, in bounded memory."""
        ...

    def write(self, location: str, content: bytes) -> None:
        """Write a whole file, in place of what is there."""
        ...

    def put_if_absent(self, location: str, content: bytes) -> bool:
        """Write a whole file unless there is one; whether it was written. Of several at once exactly one writes."""
        ...

    def update(self, location: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a file by what a function makes of it (None: there is none), as if nobody else did so meanwhile.

        Args:
            location: the file.
            change: may be called several times; gives None to leave the file as it is.
        """
        ...

    def check_conditions(self, location: str) -> None:
        """Make sure that the place keeps to the conditions of ``put_if_absent`` and ``update``; of a bucket, once in a process.

        Args:
            location: a file that is there. It stays as it is.

        Raises:
            ConfigurationError: it does not.
        """
        ...

    def scratch(self, location: str, kind: str = "part") -> Path:
        """A local path that nobody else uses, to write what is then to be uploaded to a location."""
        ...

    def upload(self, file: Path, location: str, modified_us: int | None = None) -> None:
        """Put a local file to a location, in place of what is there. It is no longer at its own place afterwards.

        Args:
            file: from ``scratch``.
            location: where to.
            modified_us: when its content was made, microseconds; whoever takes the file in as input reads it.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Locations of the files that lie directly in a folder, in no order; none where there is no folder."""
        ...

    def folders(self, folder: str) -> list[str]:
        """Names of the folders that lie directly in a folder, in order."""
        ...

    def files(self, folder: str) -> list[StoredFile]:
        """All files in a folder and below, by location; those that vanish meanwhile may be missing."""
        ...

    def stat(self, location: str) -> StoredFile:
        """One file."""
        ...

    def delete(self, location: str) -> bool:
        """Delete a file; whether there was one."""
        ...

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The function of each item, in order, at the pace that suits the place: many small reads at once from a bucket."""
        ...
