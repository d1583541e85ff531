"""Locations, and the storage that is behind one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from contracts.errors import ConfigurationError
from lake.storage.base import Storage
from lake.storage.local import LocalStorage

GCS = "gs://"


def is_object(location: str) -> bool:
    """Whether it lies in a bucket."""
    return location.startswith(GCS)


def local_path(location: str, what: str) -> str:
    """The path behind a path or ``file://`` URI.

    Raises:
        ConfigurationError: it is empty, or another kind of URI.
    """
    if location.startswith("file://"):
        return unquote(urlsplit(location).path)
    if "://" in location:
        raise ConfigurationError(f"{what} {location}: only local paths, file:// and gs:// are supported so far")
    if not location:
        raise ConfigurationError(f"{what}: an empty path; is a shell variable not set?")
    return location


def location_of(uri: str, what: str) -> str:
    """The location behind a path, a ``file://`` or a ``gs://`` URI.

    Raises:
        ConfigurationError: it is empty, names no bucket, or is another kind of URI.
    """
    if not is_object(uri):
        return local_path(uri, what)
    if not uri.removeprefix(GCS).partition("/")[0]:
        raise ConfigurationError(f"{what} {uri}: names no bucket; expected gs://BUCKET/PREFIX")
    return uri


def storage_of(location: str, temporary: Path | None = None) -> Storage:
    """The storage of a location.

    Args:
        location: a local path or ``gs://`` URI.
        temporary: local: folder for files that are not complete, on the same file system.

    Raises:
        ConfigurationError: gs:// and the client library is not installed, or finds no credentials.
    """
    if not is_object(location):
        return LocalStorage(temporary)
    from lake.storage.gcs import gcs_storage  # noqa: PLC0415 - only who needs it has the library

    return gcs_storage()
