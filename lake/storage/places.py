"""Locations, and the storage that is behind one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from contracts.errors import ConfigurationError
from lake.storage.base import Storage
from lake.storage.local import LocalStorage
from lake.storage.objects import GCS, S3, ObjectStorage

_OBJECTS = (GCS, S3)


def is_object(location: str) -> bool:
    """Whether it lies in a bucket."""
    return location.startswith(_OBJECTS)


def local_path(location: str, what: str) -> str:
    """The path behind a path or ``file://`` URI.

    Raises:
        ConfigurationError: it is empty, or another kind of URI.
    """
    if location.startswith("file://"):
        return unquote(urlsplit(location).path)
    if "://" in location:
        raise ConfigurationError(f"{what} {location}: only local paths, file://, gs:// and s3:// are supported")
    if not location:
        raise ConfigurationError(f"{what}: an empty path; is a shell variable not set?")
    return location


def location_of(uri: str, what: str) -> str:
    """The location behind a path, a ``file://``, ``gs://`` or ``s3://`` URI.

    Raises:
        ConfigurationError: it is empty, names no bucket, or is another kind of URI.
    """
    if not is_object(uri):
        return local_path(uri, what)
    scheme = uri[: uri.index("//") + 2]
    if not uri.removeprefix(scheme).partition("/")[0]:
        raise ConfigurationError(f"{what} {uri}: names no bucket; expected {scheme}BUCKET/PREFIX")
    return uri


def storage_of(location: str, temporary: Path | None = None) -> Storage:
    """The storage of a location.

    Args:
        location: a local path or the URI of an object.
        temporary: local: folder for files that are not complete, on the same file system.

    Raises:
        ConfigurationError: of an object, and the client library is not installed, or finds no credentials.
    """
    return object_storage(location) if is_object(location) else LocalStorage(temporary)


def object_storage(location: str) -> ObjectStorage:
    """The storage of an object.

    Raises:
        ConfigurationError: the client library is not installed, or finds no credentials.
    """
    # Only who needs it has the library.
    if location.startswith(S3):
        from lake.storage.s3 import s3_storage  # noqa: PLC0415

        return s3_storage()
    from lake.storage.gcs import gcs_storage  # noqa: PLC0415

    return gcs_storage()
