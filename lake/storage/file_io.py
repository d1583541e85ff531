"""Iceberg's metadata, manifests and data files in a bucket, by the same client and the same attempts as everything else.

pyiceberg takes a class by its name, in the catalog property ``py-io-impl``. Other readers of the tables never see it. Its own ways
are pyarrow's file systems: for ``gs://`` without anonymous credentials, as an emulator needs, or a limit for attempts; for ``s3://``
with regions and credentials that are found by other rules than boto3's.
"""

from __future__ import annotations

import io
import tempfile
from types import TracebackType
from typing import Any

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from lake.storage.places import storage_of

_SMALL_BYTES = 4 << 20
_HELD_BYTES = 32 << 20  # of a file that is being written, in memory; the rest on disk


class ObjectFileIO(FileIO):
    """pyiceberg's view of files in a bucket."""

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        return _ObjectInput(location)

    def new_output(self, location: str) -> OutputFile:
        """A file to write."""
        return _ObjectOutput(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file, if it is there."""
        where = location if isinstance(location, str) else location.location
        storage_of(where).delete(where)


class _ObjectInput(InputFile):
    def __len__(self) -> int:
        return storage_of(self.location).stat(self.location).size_bytes

    def exists(self) -> bool:
        try:
            len(self)
        except FileNotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> InputStream:
        storage = storage_of(self.location)
        head = storage.read(self.location, first=_SMALL_BYTES)  # nearly every file is smaller: one request
        return io.BytesIO(head) if len(head) < _SMALL_BYTES else storage.open(self.location)


class _ObjectOutput(OutputFile):
    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return _ObjectInput(self.location)

    def create(self, overwrite: bool = False) -> OutputStream:
        return _Upload(self.location, overwrite)


class _Upload(io.RawIOBase):
    """What is written, until it is closed: then the object appears, whole. After an error in a ``with`` block it does not."""

    def __init__(self, location: str, overwrite: bool) -> None:
        self._location, self._overwrite = location, overwrite
        self._held = tempfile.SpooledTemporaryFile(_HELD_BYTES)  # noqa: SIM115 - closed in close

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._held.tell()

    def write(self, data: Any) -> int:
        return self._held.write(data)

    def close(self) -> None:
        """Upload it.

        Raises:
            FileExistsError: there is one already, and it must not be overwritten.
        """
        if self.closed:
            return
        try:
            with self._held:
                self._held.seek(0)
                self._store(self._held.read())
        finally:
            super().close()

    def _store(self, content: bytes) -> None:
        storage = storage_of(self._location)
        if self._overwrite:
            storage.write(self._location, content)
        elif not storage.put_if_absent(self._location, content):
            raise FileExistsError(f"{self._location}: is there already")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._held.close()
            super().close()
            return
        self.close()

    def __del__(self) -> None:
        """Forgotten without being closed: nothing is uploaded."""
        self._held.close()
