"""Files in object stores: what is the same whichever store it is. The calls themselves: ``gcs``, ``s3``.

Requests are tried again, with pauses that grow, on answers that may pass and broken connections, until a deadline. A write
with a condition may have been carried out although its answer was lost; then the next attempt is refused, and what lies there tells
by a mark of its own whether it was ours. So exactly one of many writers is told that it wrote.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import uniform
from typing import BinaryIO, Protocol

from contracts.errors import ComponentDownError, ConfigurationError
from contracts.units import SECOND_US
from lake.storage.base import A, B, StoredFile
from lake.storage.local import unshared_name
from lake.storage.object_reader import open_object

DEADLINE_S = 120.0
TIMEOUT_S = (10.0, 60.0)  # to connect; between two bytes
THREADS = 16
GCS, S3 = "gs://", "s3://"
ABSENT = ""  # the state of what is not there
MAY_PASS = frozenset({408, 429, 500, 502, 503, 504})
_MODIFIED = "headrace-modified-us"  # metadata of an object: when its content was made
_MARK = "headrace-write"  # metadata of an object: which write made it
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 8.0


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says of an object.

    state: its generation or ETag. created_s: when it was put there, seconds since 1970. metadata: None where a listing has none.
    """

    location: str
    size_bytes: int
    updated_s: float
    state: str
    created_s: float
    metadata: Mapping[str, str] | None

    @property
    def stored(self) -> StoredFile:
        """As ``Storage`` lists it."""
        return StoredFile(self.location, self.size_bytes, self.updated_s)


class ConditionError(Exception):
    """The object is not in the state that a request named."""


class ArchivedError(ConfigurationError):
    """The store keeps the object where it cannot be read at once."""


class IncompleteError(ConnectionError):
    """An answer that has not as many bytes as were asked for."""


class ObjectService(Protocol):
    """The calls of one kind of store, each made once; they raise what the client library raises, one of ``errors``."""

    @property
    def scheme(self) -> str:
        """Such as ``gs://``."""
        ...

    @property
    def address(self) -> str:
        """Of the store, for people."""
        ...

    @property
    def no_state(self) -> str:
        """A state that no object ever has."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What ``failure`` is asked about."""
        ...

    def failure(self, error: Exception) -> str:
        """What may pass, in a few words.

        Raises:
            FileNotFoundError, ConditionError, ConfigurationError: what does not.
        """
        ...

    def get(self, bucket: str, key: str, start: int, size: int | None, state: str | None) -> bytes:
        """Some bytes of an object, of one state or of any; fewer at its end."""
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """What is there, with its metadata."""
        ...

    def put(self, bucket: str, key: str, content: bytes, metadata: Mapping[str, str], state: str | None) -> None:
        """Write an object if it is in this state (``ABSENT``: if there is none; None: whatever is there)."""
        ...

    def upload(self, bucket: str, key: str, file: Path, metadata: Mapping[str, str], deadline_s: float) -> None:
        """Write an object from a file; a large one in pieces, each of which may be tried several times."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; an error where there is none."""
        ...

    def list(self, bucket: str, prefix: str, delimiter: str | None) -> tuple[list[ObjectInfo], list[str]]:
        """All objects whose key begins so, and the prefixes up to a delimiter."""
        ...


@dataclass
class _Attempts:
    """Of one call: how many were made so far that may have been carried out without our knowing."""

    doubtful: int = 0


@dataclass(frozen=True, eq=False)
class ObjectStorage:
    """See ``Storage``."""

    service: ObjectService
    deadline_s: float = DEADLINE_S
    _conditional: set[str] = field(default_factory=set)  # buckets that were seen to keep conditions

    def read(self, location: str, first: int | None = None) -> bytes:
        """See ``Storage``."""
        return self._get(location, 0, first, None)[:first]

    def open(self, location: str) -> BinaryIO:
        """See ``Storage``."""
        found = self.info(location)

        def read(start: int, size: int) -> bytes:
            return self._get(location, start, size, found.state, exactly=True)

        return open_object(found.size_bytes, read)

    def write(self, location: str, content: bytes) -> None:
        """See ``Storage``."""
        self._put(location, content, None)

    def put_if_absent(self, location: str, content: bytes) -> bool:
        """See ``Storage``."""
        return self._put(location, content, ABSENT)

    def update(self, location: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """See ``Storage``."""
        deadline = time.monotonic() + self.deadline_s
        while time.monotonic() < deadline:
            try:
                state = self.info(location).state
                known: bytes | None = self._get(location, 0, None, state)
            except FileNotFoundError:
                state, known = ABSENT, None
            made = change(known)
            if made is None or self._put(location, made, state):
                return
        raise ComponentDownError(f"{location}: others kept changing it for {self.deadline_s:.0f} s; try again")

    def check_conditions(self, location: str) -> None:
        """See ``Storage``."""
        bucket = self._split(location)[0]
        if bucket in self._conditional:
            return
        content = self.read(location)
        for state, header in ((ABSENT, "If-None-Match"), (self.service.no_state, "If-Match")):
            if self._put(location, content, state):
                raise ConfigurationError(
                    f"{location}: {self.service.address} writes over what is there although told not to ({header} is ignored), "
                    "so that two writers would destroy each other's files; a lake needs a store that keeps conditions on writes"
                )
        self._conditional.add(bucket)

    def scratch(self, location: str, kind: str = "part") -> Path:
        """See ``Storage``."""
        return Path(tempfile.gettempdir()) / f"headrace-{unshared_name(location, kind)}"

    def upload(self, file: Path, location: str, modified_us: int | None = None) -> None:
        """See ``Storage``."""
        bucket, key = self._split(location)
        metadata = {} if modified_us is None else {_MODIFIED: str(modified_us)}
        self._call(location, lambda: self.service.upload(bucket, key, file, metadata, self.deadline_s))
        file.unlink()

    def names(self, folder: str) -> list[str]:
        """See ``Storage``."""
        return [found.location for found in self._listed(folder, "/")[0]]

    def folders(self, folder: str) -> list[str]:
        """See ``Storage``."""
        return sorted(prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in self._listed(folder, "/")[1])

    def files(self, folder: str) -> list[StoredFile]:
        """See ``Storage``."""
        return sorted(found.stored for found in self._listed(folder)[0])

    def stat(self, location: str) -> StoredFile:
        """See ``Storage``."""
        return self.info(location).stored

    def delete(self, location: str) -> bool:
        """See ``Storage``."""
        bucket, key = self._split(location)
        try:
            self._call(location, lambda: self.service.delete(bucket, key))
        except FileNotFoundError:
            return False
        return True

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See ``Storage``."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(function, items))

    def info(self, location: str) -> ObjectInfo:
        """An object, with its metadata.

        Raises:
            FileNotFoundError: there is none.
        """
        bucket, key = self._split(location)
        return self._call(location, lambda: self.service.head(bucket, key))

    def beginning_with(self, location: str) -> list[ObjectInfo]:
        """All objects whose location begins with this one."""
        return self._listed_prefix(location, *self._split(location))[0]

    def modified_us(self, objects: Iterable[ObjectInfo]) -> list[int]:
        """When the content of each was made, microseconds: as its metadata say, else when it was put there.

        Asks for metadata where a listing had none. An object that vanished meanwhile was put there when the listing says.
        """

        def of(found: ObjectInfo) -> int:
            if found.metadata is None:
                with suppress(FileNotFoundError):
                    found = self.info(found.location)
            recorded = (found.metadata or {}).get(_MODIFIED, "")
            return int(recorded) if recorded.isdecimal() else round(found.created_s * SECOND_US)

        return self.map(of, objects)

    def _get(self, location: str, start: int, size: int | None, state: str | None, exactly: bool = False) -> bytes:
        bucket, key = self._split(location)

        def get() -> bytes:
            content = self.service.get(bucket, key, start, size, state)
            if exactly and len(content) != size:
                raise IncompleteError
            return content

        try:
            return self._call(location, get)
        except ConditionError:  # this state was replaced
            raise FileNotFoundError(2, "no such state of the object") from None

    def _put(self, location: str, content: bytes, state: str | None) -> bool:
        """Write an object if it is in this state; whether it was written."""
        (bucket, key), mark, attempts = self._split(location), secrets.token_hex(8), _Attempts()
        try:
            self._call(location, lambda: self.service.put(bucket, key, content, {_MARK: mark}, state), attempts)
        except (ConditionError, FileNotFoundError) as error:  # not found: a state was named, and the object is gone
            if not state and isinstance(error, FileNotFoundError):
                raise
            if not attempts.doubtful:
                return False
            with suppress(FileNotFoundError):
                return (self.info(location).metadata or {}).get(_MARK) == mark
            return False
        return True

    def _listed(self, folder: str, delimiter: str | None = None) -> tuple[list[ObjectInfo], list[str]]:
        return self._listed_prefix(folder, *self._split(folder.rstrip("/") + "/"), delimiter)

    def _listed_prefix(
        self, location: str, bucket: str, prefix: str, delimiter: str | None = None
    ) -> tuple[list[ObjectInfo], list[str]]:
        try:
            found, prefixes = self._call(location, lambda: self.service.list(bucket, prefix, delimiter))
        except FileNotFoundError:
            raise ConfigurationError(
                f"{location}: there is no bucket {bucket} at {self.service.address}; make it, or name another"
            ) from None
        return [one for one in found if not one.location.endswith("/")], prefixes  # some tools make empty objects for folders

    def _split(self, location: str) -> tuple[str, str]:
        """Bucket and key."""
        bucket, _, key = location.removeprefix(self.service.scheme).partition("/")
        return bucket, key

    def _call(self, location: str, call: Callable[[], A], attempts: _Attempts | None = None) -> A:
        """Make a request until it is answered.

        Raises:
            FileNotFoundError: there is no such object.
            ConditionError: it is in another state.
            ConfigurationError: the store refuses.
            ComponentDownError: no answer before the deadline.
        """
        attempts = attempts or _Attempts()
        deadline, pause = 0.0, _FIRST_PAUSE_S
        while True:
            try:
                return call()
            except IncompleteError:
                failure = "an incomplete answer"
            except self.service.errors as error:
                failure = self._passing(location, error)
            attempts.doubtful += 1
            deadline = deadline or time.monotonic() + self.deadline_s  # since the first failure: a large upload takes its time
            if time.monotonic() + pause > deadline:
                raise ComponentDownError(
                    f"object storage {self.service.address}: no answer for {location} in {self.deadline_s:.0f} s ({failure}); "
                    "is it reachable? Then run it again."
                )
            time.sleep(uniform(pause / 2, pause))  # spreads rivals; no result depends on it
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _passing(self, location: str, error: Exception) -> str:
        """What may pass of an error, in a few words; what does not is raised, with the location."""
        try:
            return self.service.failure(error)
        except ConfigurationError as refusal:
            raise type(refusal)(f"{location}: {refusal}") from None
