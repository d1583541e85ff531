"""The schemas of messages that name one: in memory, in the lake, in the registry, asked in this order. No Beam in here.

A registry that is down is never the messages' fault: who asks gets RegistryDownError, and may ask again. Only an answer that says
that an id does not exist makes a dead letter.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from contracts.errors import ConfigurationError, RegistryDownError
from contracts.registry.answers import MissingError
from contracts.registry.client import RegisteredSchema, RegistryClient
from contracts.spec.registry import Registry
from lake.formats.framed import WriterSchema
from lake.formats.framing import Framed, framing_of, landed_schema, schema_header
from lake.location import Lake
from lake.raw.schemas import SchemaPointer, encode_schema, find_pointer, fingerprint_of, put_schema, read_schema_file
from transforms.read.messages import Headers, MessageBatch

_ASK_S = 2.0  # how long a question of a stream is asked again before its messages are given back
_KEPT_KEYS, _KEPT_BYTES = 10_000, 64 << 20
_MISSING_S = 60.0  # for how long an id that the registry has not is not asked for again
_AGAIN_S = (0.3, 1.0)  # a registry of several machines may not have everywhere what a producer has just registered
_MOST_AGAIN = 10  # ids: of a topic full of others there is nothing to wait for
_TELL_EVERY_S = 30.0
_DEFAULT_NAME = Registry(url="").name
_log = logging.getLogger(__name__)
T = TypeVar("T")


class WriterSchemas:
    """See the module. For one thread at a time.

    Args:
        lake: where schemas are kept beside what is landed.
        registry: None where only the lake is asked.
        patience_s: how long a question to the registry is asked again; None for as long as a stream may be held up.
        client: of the registry, for tests.
        clock: seconds.
        sleep: between two questions.
    """

    def __init__(
        self,
        lake: Lake,
        registry: Registry | None,
        *,
        patience_s: float | None = None,
        client: RegistryClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lake, self._registry, self._client = lake, registry, client
        self._patience_s = _ASK_S if patience_s is None else patience_s
        self._clock, self._sleep = clock, sleep
        self._found: OrderedDict[str, SchemaPointer] = OrderedDict()
        self._documents: OrderedDict[str, bytes] = OrderedDict()
        self._missing: dict[str, float] = {}
        self._subjects: dict[str, dict[str, int]] = {}  # as asked for again
        self._sought: set[tuple[str, str]] = set()  # (key, topic) of those
        self._held_bytes = 0
        self._compare_from = float("-inf")
        self._down_since: float | None = None
        self._told_at = float("-inf")

    @property
    def down_s(self) -> float:
        """For how long the registry has not answered; 0 where it does."""
        return 0.0 if self._down_since is None else self._clock() - self._down_since

    def land(self, batch: MessageBatch, topic: str) -> None:
        """Give every message of a batch the header that names its schema. Every schema is in the lake then.

        Raises:
            RegistryDownError: it does not answer, and the lake has not all of them.
        """
        headers = batch.headers or [()] * len(batch.values)
        framings = [framing_of(value, own) for value, own in zip(batch.values, headers, strict=True)]
        found = self._find_all(framed.key for framed in framings if isinstance(framed, Framed))
        batch.headers = [
            (*own, self._header(framed.key, found.get(framed.key), topic)) if isinstance(framed, Framed) else own
            for own, framed in zip(headers, framings, strict=True)
        ]
        batch.schemas = {one.fingerprint: self._document(one.fingerprint) for one in found.values()}

    def of_landed(self, batch: MessageBatch, topic: str) -> None:
        """Give a batch the schemas that its messages name; those without one are looked up as if they were landed now.

        Raises:
            RegistryDownError: it does not answer, or there is none, and a message was landed before its source had a wire format.
        """
        headers: list[Headers] = list(batch.headers or [()] * len(batch.values))
        batch.schemas, unnamed = {}, dict[int, tuple[str, bool]]()
        for index, own in enumerate(headers):
            named = landed_schema(own)
            if named and named[0]:
                batch.schemas[named[0]] = self._document(named[0])
            elif isinstance(framed := framing_of(batch.values[index], own), Framed):
                unnamed[index] = framed.key, named is not None
        for index, (key, was_unknown) in unnamed.items():
            try:
                found = self._find_all([key]).get(key)
            except (RegistryDownError, ConfigurationError):
                if not was_unknown:
                    raise
                found = None  # it was a dead letter when it was landed, and is one without the registry
            if found:
                headers[index] = (*headers[index], self._header(key, found, topic))
                batch.schemas[found.fingerprint] = self._document(found.fingerprint)
        batch.headers = headers

    def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            self._client.close()

    # --- inside

    def _find_all(self, keys: Iterable[str]) -> dict[str, SchemaPointer]:
        """What these stand for, but for those that the registry says it has not."""
        found: dict[str, SchemaPointer] = {}
        fresh: list[str] = []
        for key in dict.fromkeys(keys):
            if self._clock() < self._missing.get(key, float("-inf")):
                continue
            one = self._known(key) or self._ask(key)
            if one is None:
                fresh.append(key)
            else:
                found[key] = one
        for pause_s in _AGAIN_S if len(fresh) <= _MOST_AGAIN else ():
            if fresh:
                self._sleep(pause_s)
                found |= {key: one for key in fresh if (one := self._ask(key))}
                fresh = [key for key in fresh if key not in found]
        if len(self._missing) > _KEPT_KEYS:
            self._missing.clear()
        self._missing |= dict.fromkeys(fresh, self._clock() + _MISSING_S)
        return found

    def _known(self, key: str, *, just_asked: bool = False) -> SchemaPointer | None:
        """As met before, by this reader or in the lake."""
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        pointer = find_pointer(self._lake, self._name, key)
        if pointer is None:
            return None
        if not just_asked:
            self._compare(key, pointer)
        self._found[key] = pointer
        if len(self._found) > _KEPT_KEYS:
            self._found.popitem(last=False)
        return pointer

    def _ask(self, key: str) -> SchemaPointer | None:
        """As the registry has it, kept in the lake; None where it has no such id."""
        try:
            schema = self._asked(lambda client: client.schema(key))
            subjects = self._asked(lambda client: client.subjects_of(key))
        except MissingError:
            return None
        put_schema(self._lake, self._name, key, _written(schema), subjects)
        return self._known(key, just_asked=True)

    def _asked(self, question: Callable[[RegistryClient], T]) -> T:
        if self._registry is None:
            raise ConfigurationError("messages name schemas that are not in the lake: headrace.yaml needs registry: {url: …}")
        try:
            answer = question(self._open(self._registry))
        except (RegistryDownError, ConfigurationError) as error:
            self._tell_down(error)
            raise
        if self._down_since is not None:
            _log.warning("registry %s: answers again after %.0f s", self._registry.url, self.down_s)
            self._down_since, self._told_at = None, float("-inf")
        return answer

    def _open(self, registry: Registry) -> RegistryClient:
        if self._client is None:
            self._client = RegistryClient(registry, patience_s=self._patience_s)
        return self._client

    def _tell_down(self, error: Exception) -> None:
        now = self._clock()
        self._down_since = now if self._down_since is None else self._down_since
        if now >= self._told_at + _TELL_EVERY_S:
            self._told_at = now
            _log.warning("%s: waiting for it since %.0f s; no message is rejected for it", error, self.down_s)

    def _compare(self, key: str, kept: SchemaPointer) -> None:
        """Look once whether the registry still says the same of an id that was met before."""
        if self._registry is None or self._clock() < self._compare_from:
            return
        try:
            now = fingerprint_of(encode_schema(_written(self._open(self._registry).schema(key))))
        except MissingError:  # deleted there: what was kept holds
            return
        except (RegistryDownError, ConfigurationError):
            self._compare_from = self._clock() + _TELL_EVERY_S
            return
        if now != kept.fingerprint:
            _log.error(
                "registry %s: %s was another schema when it was first met (%.12s, now %.12s). The first stays, so messages that "
                "were written with the new one may be rejected or misread. If the registry was set up anew, give it another name "
                "in headrace.yaml (registry: {name: …}), so that its ids begin anew",
                self._registry.url, key, kept.fingerprint, now,
            )  # fmt: skip

    def _document(self, fingerprint: str) -> bytes:
        if fingerprint in self._documents:
            self._documents.move_to_end(fingerprint)
            return self._documents[fingerprint]
        document = self._documents[fingerprint] = read_schema_file(self._lake, fingerprint)
        self._held_bytes += len(document)
        while self._held_bytes > _KEPT_BYTES and len(self._documents) > 1:
            self._held_bytes -= len(self._documents.popitem(last=False)[1])
        return document

    def _header(self, key: str, found: SchemaPointer | None, topic: str) -> tuple[str, bytes]:
        return schema_header("", None) if found is None else schema_header(found.fingerprint, self._version(key, found, topic))

    def _version(self, key: str, found: SchemaPointer, topic: str) -> str | None:
        """Which version of its subject a schema is; None where nobody knows."""
        subjects = self._subjects.get(key, found.subjects)
        chosen = subject_of(subjects, topic, self._document(found.fingerprint))
        if chosen is None and (key, topic) not in self._sought:  # registered for this topic after it was met in another
            self._sought.add((key, topic))
            with contextlib.suppress(RegistryDownError, ConfigurationError, MissingError):
                subjects = self._subjects[key] = self._asked(lambda client: client.subjects_of(key))
            chosen = subject_of(subjects, topic, self._document(found.fingerprint))
        return None if chosen is None else str(subjects[chosen])

    @property
    def _name(self) -> str:
        return self._registry.name if self._registry else _DEFAULT_NAME


def subject_of(subjects: Mapping[str, int], topic: str, document: bytes) -> str | None:
    """Under which of these subjects a schema was used for a topic, by the naming strategies that Confluent documents."""
    name = _record_name(document) if f"{topic}-value" not in subjects else ""
    named = [subject for subject in (f"{topic}-value", f"{topic}-{name}", name) if subject in subjects]
    return named[0] if named else next(iter(subjects), None) if len(subjects) == 1 else None


def _record_name(document: bytes) -> str:
    try:
        schema = msgspec.json.decode(msgspec.json.decode(document, type=WriterSchema).schema)
        name, namespace = str(schema["name"]), schema.get("namespace")
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return ""
    return f"{namespace}.{name}" if namespace and "." not in name else name


def _written(schema: RegisteredSchema) -> WriterSchema:
    return WriterSchema(schema.type, schema.schema, tuple((one.name, one.schema) for one in schema.references))
