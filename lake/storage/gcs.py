"""The calls of Google Cloud Storage, by google-cloud-storage."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from contracts.errors import ConfigurationError
from lake.storage.objects import GCS, MAY_PASS, THREADS, TIMEOUT_S, ConditionError, ObjectInfo, ObjectStorage

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
_ERRORS = (
    answers.GoogleAPICallError,
    InvalidResponse,
    google.auth.exceptions.GoogleAuthError,
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


def gcs_storage() -> ObjectStorage:
    """The storage behind ``gs://``; one client per process.

    Raises:
        ConfigurationError: no credentials were found.
    """
    return _storage(os.getpid(), os.environ.get(EMULATOR))


@functools.cache
def _storage(_pid: int, emulator: str | None) -> ObjectStorage:
    try:
        options = {"project": "headrace", "credentials": AnonymousCredentials()} if emulator else {}
        client = storage.Client(**options)
    except google.auth.exceptions.DefaultCredentialsError:
        raise ConfigurationError(
            "gs:// needs credentials: run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS; "
            f"for an emulator set {EMULATOR}"
        ) from None
    for scheme in ("http://", "https://"):  # as many connections as threads, and none of its own attempts
        client._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=2 * THREADS, max_retries=0))
    client._bucket_metadata_cache = None  # it asks for the bucket in threads of its own, for traces that nobody takes
    return ObjectStorage(GcsService(client, emulator or "storage.googleapis.com"))


@dataclass(frozen=True, eq=False)
class GcsService:
    """See ``ObjectService``. The state of an object is its generation."""

    client: Any
    address: str
    scheme: ClassVar[str] = GCS
    no_state: ClassVar[str] = "1"
    errors: ClassVar[tuple[type[Exception], ...]] = _ERRORS

    def failure(self, error: Exception) -> str:
        """See ``ObjectService``."""
        if isinstance(error, InvalidResponse):
            error = answers.from_http_response(error.response)
        auth = google.auth.exceptions
        if isinstance(error, auth.GoogleAuthError) and not (error.retryable or isinstance(error, auth.TransportError)):
            raise ConfigurationError(f"object storage: {_REFUSED[401]} ({type(error).__name__})") from None
        if not isinstance(error, answers.GoogleAPICallError):
            return type(error).__name__
        code = int(error.code or 0)
        if code in MAY_PASS:
            return f"HTTP {code}"
        if code == 404:
            raise FileNotFoundError(2, "no such object") from None
        if code == 412:
            raise ConditionError from None
        if code in _REFUSED:
            raise ConfigurationError(f"object storage: {_REFUSED[code]}: {error.message}") from None
        raise error

    def get(self, bucket: str, key: str, start: int, size: int | None, state: str | None) -> bytes:
        """See ``ObjectService``."""
        span = {} if size is None else {"start": start, "end": start + size - 1}
        blob = self._blob(bucket, key, None if state is None else int(state))
        with suppress(answers.RequestRangeNotSatisfiable):
            return bytes(blob.download_as_bytes(**span, raw_download=True, retry=None, timeout=TIMEOUT_S))
        return b""

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """See ``ObjectService``."""
        blob = self._blob(bucket, key)
        blob.reload(retry=None, timeout=TIMEOUT_S)
        return _info(blob)

    def put(self, bucket: str, key: str, content: bytes, metadata: Mapping[str, str], state: str | None) -> None:
        """See ``ObjectService``."""
        blob = self._blob(bucket, key)
        blob.metadata = metadata
        blob.upload_from_string(
            content,
            content_type="application/octet-stream",
            if_generation_match=None if state is None else int(state or 0),
            retry=None,
            timeout=TIMEOUT_S,
        )

    def upload(self, bucket: str, key: str, file: Path, metadata: Mapping[str, str], deadline_s: float) -> None:
        """See ``ObjectService``."""
        blob = self._blob(bucket, key)
        blob.metadata = metadata
        blob.upload_from_filename(str(file), retry=DEFAULT_RETRY.with_timeout(deadline_s), timeout=TIMEOUT_S)

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectService``."""
        self._blob(bucket, key).delete(retry=None, timeout=TIMEOUT_S)

    def list(self, bucket: str, prefix: str, delimiter: str | None) -> tuple[list[ObjectInfo], list[str]]:
        """See ``ObjectService``."""
        found = self.client.list_blobs(bucket, prefix=prefix, delimiter=delimiter, retry=None, timeout=TIMEOUT_S)
        return [_info(blob) for blob in found], list(found.prefixes)

    def _blob(self, bucket: str, key: str, generation: int | None = None) -> Any:
        return self.client.bucket(bucket).blob(key, generation=generation)


def _info(blob: Any) -> ObjectInfo:
    return ObjectInfo(
        location=f"{GCS}{blob.bucket.name}/{blob.name}",
        size_bytes=int(blob.size),
        updated_s=blob.updated.timestamp(),
        state=str(blob.generation),
        created_s=blob.time_created.timestamp(),
        metadata=blob.metadata or {},
    )
