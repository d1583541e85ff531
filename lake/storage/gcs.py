"""Files in Google Cloud Storage, by google-cloud-storage.

Requests are tried again, with pauses that grow, on 408, 429, 500, 502, 503, 504 and broken connections, until a deadline. A write
with a condition may have been carried out although its answer was lost; then the next attempt is refused, and what lies there tells
by a mark of its own whether it was ours. So exactly one of many writers is told that it wrote.
"""

from __future__ import annotations

import functools
import io
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import uniform
from typing import Any, BinaryIO, cast

from contracts.errors import ComponentDownError, ConfigurationError
from contracts.units import SECOND_US
from lake.storage.base import A, B, StoredFile
from lake.storage.local import unshared_name

try:
    import google.auth.exceptions
    import requests
    import urllib3
    from google.api_core import exceptions as answers
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from google.cloud.storage.retry import DEFAULT_RETRY
    from requests.adapters import HTTPAdapter
except ImportError:
    raise ConfigurationError("gs:// needs google-cloud-storage: pip install headrace[gcs]") from None

EMULATOR = "STORAGE_EMULATOR_HOST"
DEADLINE_S = 120.0
READ_BYTES = 8 << 20  # of one request while a file is read piece by piece
MODIFIED = "headrace-modified-us"  # metadata of an object: when its content was made
_MARK = "headrace-write"  # metadata of an object: which write made it
_TIMEOUT_S = (10.0, 60.0)  # to connect; between two bytes
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 8.0
_THREADS = 16
_MAY_PASS = {408, 429, 500, 502, 503, 504}
_BROKEN = (
    ConnectionError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.TimeoutError,
    DataCorruption,
)
_REFUSED = {401: "the credentials are not accepted", 403: "no permission"}


def gcs_storage() -> GcsStorage:
    """The storage behind ``gs://``; one client per process.

    Raises:
        ConfigurationError: no credentials were found.
    """
    return _storage(os.getpid(), os.environ.get(EMULATOR))


@functools.cache
def _storage(_pid: int, emulator: str | None) -> GcsStorage:
    try:
        options = {"project": "headrace", "credentials": AnonymousCredentials()} if emulator else {}
        client = storage.Client(**options)
    except google.auth.exceptions.DefaultCredentialsError:
        raise ConfigurationError(
            "gs:// needs credentials: run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS; "
            f"for an emulator set {EMULATOR}"
        ) from None
    for scheme in ("http://", "https://"):  # as many connections as threads, and none of its own attempts
        client._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=2 * _THREADS, max_retries=0))
    client._bucket_metadata_cache = None  # it asks for the bucket in threads of its own, for traces that nobody takes
    return GcsStorage(client, emulator or "storage.googleapis.com")


@dataclass
class _Attempts:
    """Of one call: how many were made so far that may have been carried out without our knowing."""

    doubtful: int = 0


@dataclass(frozen=True, eq=False)
class GcsStorage:
    """See ``Storage``."""

    client: Any
    address: str
    deadline_s: float = DEADLINE_S

    def read(self, location: str, first: int | None = None) -> bytes:
        """See ``Storage``."""
        if first is not None:
            return self.read_range(location, None, 0, first)
        blob = self._blob(location)
        return bytes(self._call(location, lambda: blob.download_as_bytes(raw_download=True, retry=None, timeout=_TIMEOUT_S)))

    def read_range(self, location: str, generation: int | None, start: int, size: int) -> bytes:
        """Bytes [start, start + size) of an object, or of one state of it; fewer at its end."""
        blob = self._blob(location, generation)

        def read() -> bytes:
            end = start + size - 1
            return bytes(blob.download_as_bytes(start=start, end=end, raw_download=True, retry=None, timeout=_TIMEOUT_S))

        with suppress(answers.RequestRangeNotSatisfiable):
            return self._call(location, read)
        return b""

    def open(self, location: str) -> BinaryIO:
        """See ``Storage``."""
        blob = self._fetched(location)
        raw = _ObjectReader(self, location, int(blob.generation), int(blob.size))
        return cast(BinaryIO, io.BufferedReader(raw, buffer_size=min(READ_BYTES, max(raw.size, 1))))

    def write(self, location: str, content: bytes) -> None:
        """See ``Storage``."""
        self._put(location, content, None)

    def put_if_absent(self, location: str, content: bytes) -> bool:
        """See ``Storage``."""
        return self._put(location, content, 0)

    def update(self, location: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """See ``Storage``."""
        deadline = time.monotonic() + self.deadline_s
        while time.monotonic() < deadline:
            try:
                generation = int(self._fetched(location).generation)
                known: bytes | None = self._read_state(location, generation)
            except FileNotFoundError:
                generation, known = 0, None
            made = change(known)
            if made is None or self._put(location, made, generation):
                return
        raise ComponentDownError(f"{location}: others kept changing it for {self.deadline_s:.0f} s; try again")

    def scratch(self, location: str, kind: str = "part") -> Path:
        """See ``Storage``."""
        return Path(tempfile.gettempdir()) / f"headrace-{unshared_name(location, kind)}"

    def upload(self, file: Path, location: str, modified_us: int | None = None) -> None:
        """See ``Storage``."""
        blob = self._blob(location)
        if modified_us is not None:
            blob.metadata = {MODIFIED: str(modified_us)}
        retry = DEFAULT_RETRY.with_timeout(self.deadline_s)  # of its pieces: a large file need not begin anew
        self._call(location, lambda: blob.upload_from_filename(str(file), retry=retry, timeout=_TIMEOUT_S))
        file.unlink()

    def names(self, folder: str) -> list[str]:
        """See ``Storage``."""
        return [_location(blob) for blob in self._listed(folder, delimiter="/")[0]]

    def folders(self, folder: str) -> list[str]:
        """See ``Storage``."""
        return sorted(prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in self._listed(folder, delimiter="/")[1])

    def files(self, folder: str) -> list[StoredFile]:
        """See ``Storage``."""
        return sorted(stored(blob) for blob in self._listed(folder)[0])

    def stat(self, location: str) -> StoredFile:
        """See ``Storage``."""
        return stored(self._fetched(location))

    def blobs(self, location: str) -> list[Any]:
        """All objects whose location begins with this one; with their metadata."""
        bucket, key = _split(location)
        return self._listed_prefix(location, bucket, key)[0]

    def delete(self, location: str) -> bool:
        """See ``Storage``."""
        try:
            self._call(location, lambda: self._blob(location).delete(retry=None, timeout=_TIMEOUT_S))
        except FileNotFoundError:
            return False
        return True

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See ``Storage``."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(function, items))

    def _put(self, location: str, content: bytes, generation: int | None) -> bool:
        """Write an object if it has this generation (0: there is none; None: whatever is there); whether it was written."""
        blob, mark, attempts = self._blob(location), secrets.token_hex(8), _Attempts()
        blob.metadata = {_MARK: mark}

        def put() -> None:
            blob.upload_from_string(
                content,
                content_type="application/octet-stream",
                if_generation_match=generation,
                retry=None,
                timeout=_TIMEOUT_S,
            )

        try:
            self._call(location, put, attempts)
        except answers.PreconditionFailed:
            if not attempts.doubtful:
                return False
            with suppress(FileNotFoundError):
                return bool((self._fetched(location).metadata or {}).get(_MARK) == mark)
            return False
        return True

    def _read_state(self, location: str, generation: int) -> bytes:
        blob = self._blob(location, generation)
        return bytes(self._call(location, lambda: blob.download_as_bytes(raw_download=True, retry=None, timeout=_TIMEOUT_S)))

    def _listed(self, folder: str, delimiter: str | None = None) -> tuple[list[Any], list[str]]:
        bucket, key = _split(folder.rstrip("/") + "/")
        return self._listed_prefix(folder, bucket, key, delimiter)

    def _listed_prefix(self, location: str, bucket: str, key: str, delimiter: str | None = None) -> tuple[list[Any], list[str]]:
        def listed() -> tuple[list[Any], list[str]]:
            found = self.client.list_blobs(bucket, prefix=key, delimiter=delimiter, retry=None, timeout=_TIMEOUT_S)
            blobs = [blob for blob in found if not blob.name.endswith("/")]  # some tools make empty objects for folders
            return blobs, list(found.prefixes)

        try:
            return self._call(location, listed)
        except FileNotFoundError:
            raise ConfigurationError(
                f"{location}: there is no bucket {bucket} at {self.address}; make it, or name another"
            ) from None

    def _fetched(self, location: str) -> Any:
        blob = self._blob(location)
        self._call(location, lambda: blob.reload(retry=None, timeout=_TIMEOUT_S))
        return blob

    def _blob(self, location: str, generation: int | None = None) -> Any:
        bucket, key = _split(location)
        return self.client.bucket(bucket).blob(key, generation=generation)

    def _call(self, location: str, call: Callable[[], A], attempts: _Attempts | None = None) -> A:
        """Make a request until it is answered.

        Raises:
            FileNotFoundError: there is no such object.
            ConfigurationError: the store refuses.
            ComponentDownError: no answer before the deadline.
        """
        attempts = attempts or _Attempts()
        deadline, pause = 0.0, _FIRST_PAUSE_S
        while True:
            try:
                return call()
            except (answers.GoogleAPICallError, InvalidResponse, google.auth.exceptions.GoogleAuthError, *_BROKEN) as error:
                failure = _failure(error)
            attempts.doubtful += 1
            deadline = deadline or time.monotonic() + self.deadline_s  # since the first failure: a large upload takes its time
            if time.monotonic() + pause > deadline:
                raise ComponentDownError(
                    f"object storage {self.address}: no answer for {location} in {self.deadline_s:.0f} s ({failure}); "
                    "is it reachable? Then run it again."
                )
            time.sleep(uniform(pause / 2, pause))  # spreads rivals; no result depends on it
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _failure(error: Exception) -> str:
    """What may pass, in a few words.

    Raises:
        FileNotFoundError, ConfigurationError, GoogleAPICallError: what does not.
    """
    if isinstance(error, InvalidResponse):
        error = answers.from_http_response(error.response)
    auth = google.auth.exceptions
    if isinstance(error, auth.GoogleAuthError) and not (error.retryable or isinstance(error, auth.TransportError)):
        raise ConfigurationError(f"object storage: {_REFUSED[401]} ({type(error).__name__})") from None
    if not isinstance(error, answers.GoogleAPICallError):
        return type(error).__name__
    code = int(error.code or 0)
    if code in _MAY_PASS:
        return f"HTTP {code}"
    if code == 404:
        raise FileNotFoundError(2, "no such object") from None
    if code in _REFUSED:
        raise ConfigurationError(f"object storage: {_REFUSED[code]}: {error.message}") from None
    raise error


class _ObjectReader(io.RawIOBase):
    """One state of an object, read in ranges."""

    def __init__(self, storage: GcsStorage, location: str, generation: int, size: int) -> None:
        self._storage, self._location, self._generation, self.size = storage, location, generation, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(READ_BYTES), b""))

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), READ_BYTES, self.size - self._at)
        if size <= 0:
            return 0
        data = self._storage.read_range(self._location, self._generation, self._at, size)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def modified_us(blob: Any) -> int:
    """When an object's content was made, microseconds: as its metadata say, else when it was put there."""
    recorded = (blob.metadata or {}).get(MODIFIED, "")
    return int(recorded) if recorded.isdecimal() else round(blob.time_created.timestamp() * SECOND_US)


def _split(location: str) -> tuple[str, str]:
    """Bucket and key."""
    bucket, _, key = location.removeprefix("gs://").partition("/")
    return bucket, key


def _location(blob: Any) -> str:
    return f"gs://{blob.bucket.name}/{blob.name}"


def stored(blob: Any) -> StoredFile:
    """As a listing shows it."""
    return StoredFile(_location(blob), int(blob.size), blob.updated.timestamp())
