"""Questions to a schema registry, each with a deadline, and each asked again for a while before it is called down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from contracts.bounded_http import BoundedTransport, TooLargeError, read_bounded
from contracts.errors import ConfigurationError, RegistryDownError
from contracts.registry.answers import AgainError, Answer, IncompatibleError, MissingError, decoded, failure, judged
from contracts.spec.model import Compatibility
from contracts.spec.registry import Registry
from contracts.version import VERSION

_MOST_BYTES = 32 << 20
UNTOLD = "it does not say why"
_MOST_REFERENCES = 100
_MEDIA = "application/vnd.schemaregistry.v1+json"
_CCOMPAT, _NATIVE = "/apis/ccompat/", "/apis/registry/v3"  # where Apicurio answers as Confluent does, and as itself
_backoff = wait_random_exponential(multiplier=0.2, max=5.0)


class Reference(NamedTuple):
    """A schema that another one names. name: as it names it."""

    name: str
    schema: str


class RegisteredSchema(NamedTuple):
    """A schema as it was registered. type: AVRO, JSON, PROTOBUF. references: all that it needs, in an order that can be read."""

    type: str
    schema: str
    references: tuple[Reference, ...] = ()


class Version(NamedTuple):
    """One version of a subject."""

    number: int
    schema: RegisteredSchema


class RegistryClient:
    """One registry. For one thread at a time.

    All methods raise RegistryDownError where it does not answer while it is waited for, and ConfigurationError where it refuses who
    asks, or is none.

    Args:
        registry: where.
        patience_s: how long a question is asked again.
        transport: what carries the requests; None: sockets.
        sleep: between two attempts.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        patience_s: float,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
        self._registry, self._patience_s, self._sleep = registry, patience_s, sleep
        self._http = httpx.Client(
            headers={
                "User-Agent": f"headrace/{VERSION}",
                "Accept": f"{_MEDIA}, application/json",
                "Accept-Encoding": "identity",
                **_authorization(registry),
            },
            transport=transport or _transport(registry),
            follow_redirects=False,
        )

    def check(self) -> None:
        """Whether it is a registry, and answers."""
        self._asked("GET", "/schemas/types")

    # --- what a message needs

    def schema(self, key: str) -> RegisteredSchema:
        """The schema that a message names: ``id-17``, ``guid-<uuid>``, or ``global-17`` by Apicurio's own numbers.

        Raises:
            MissingError: there is none.
        """
        kind, _, number = key.partition("-")
        if kind == "global":
            return self._native(number)
        if kind == "id":
            return self._schema(self._asked("GET", f"/schemas/ids/{number}").document)
        try:
            return self._schema(self._asked("GET", f"/schemas/guids/{number}").document)
        except ConfigurationError:  # as of a registry that knows no such ids, which is no reason to wait for it
            self._asked("GET", "/schemas/types")
            raise MissingError("a registry that knows no GUIDs") from None

    def subjects_of(self, key: str) -> dict[str, int]:
        """The versions of subjects that an id stands for; none where the registry does not say."""
        kind, _, number = key.partition("-")
        if kind != "id":
            return {}
        try:
            document = self._asked("GET", f"/schemas/ids/{number}/versions").document
            return {str(entry["subject"]): int(entry["version"]) for entry in document}
        except (MissingError, ConfigurationError, TypeError, KeyError, ValueError):
            return {}

    # --- what a person wants to know

    def subjects(self, *, deleted: bool = False) -> list[str]:
        """The names of all subjects. deleted: also of those that were deleted and that the registry still remembers."""
        return sorted(map(str, self._asked("GET", "/subjects?deleted=true" if deleted else "/subjects").document or ()))

    def versions(self, subject: str) -> list[Version]:
        """The versions of a subject, the oldest first; none of one that is not there, or was deleted."""
        try:
            numbers = self._asked("GET", f"/subjects/{_quoted(subject)}/versions").document or ()
        except MissingError:
            return []
        found = (self._asked("GET", f"/subjects/{_quoted(subject)}/versions/{number}").document for number in sorted(numbers))
        return [Version(int(document["version"]), self._schema(document)) for document in found]

    def compatibility(self, subject: str) -> str | None:
        """The mode that a subject has of its own; None where it has none."""
        try:
            document = self._asked("GET", f"/config/{_quoted(subject)}").document
        except MissingError:
            return None
        return str(document.get("compatibilityLevel") or document.get("compatibility") or "") or None

    def set_compatibility(self, subject: str, mode: Compatibility) -> None:
        """Have the registry hold a subject to a mode."""
        self._asked("PUT", f"/config/{_quoted(subject)}", {"compatibility": mode})

    def misfits(self, subject: str, schema: str, kind: str, mode: str | None) -> list[str]:
        """Why the registry would not take a schema as the next version; none where it would.

        mode: what ``compatibility`` says of the subject. Asked about all versions, Apicurio compares with each of them, though the
        mode be not transitive. Asked about the latest, registries compare with that alone, though the mode be transitive.

        Source: Apicurio 3.0.9, tests/stack/contracts/test_real_registry.py; confluentinc/schema-registry#1682.
        """
        body = _body(schema, kind)
        versions = "versions/latest" if mode and not mode.endswith("_TRANSITIVE") else "versions"
        try:
            path = f"/compatibility/subjects/{_quoted(subject)}/{versions}?verbose=true"
            document = self._asked("POST", path, body).document
        except MissingError:  # the first version of a subject goes together with all others
            return []
        if document.get("is_compatible"):
            return []
        return [str(message) for message in document.get("messages") or ()] or [UNTOLD]

    def register(self, subject: str, schema: str, kind: str) -> int:
        """Register a schema, or find it; its id.

        Raises:
            IncompatibleError: earlier versions do not allow it.
        """
        return int(self._asked("POST", f"/subjects/{_quoted(subject)}/versions", _body(schema, kind)).document["id"])

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- inside

    def _schema(self, document: Any) -> RegisteredSchema:
        if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
            raise RegistryDownError(f"registry {self._registry.url}: its answer holds no schema; is something before it?")
        found: dict[str, Reference] = {}
        self._follow(document.get("references") or (), found, ())
        return RegisteredSchema(str(document.get("schemaType") or "AVRO").upper(), document["schema"], tuple(found.values()))

    def _follow(self, references: Sequence[Any], found: dict[str, Reference], open_: tuple[str, ...]) -> None:
        """What these references name, and what that names in turn, each once; a circle ends where it closes."""
        for reference in references:
            try:
                name, subject, number = str(reference["name"]), str(reference["subject"]), int(reference["version"])
            except (KeyError, TypeError, ValueError):
                raise RegistryDownError(f"registry {self._registry.url}: a reference without name, subject and version") from None
            key = f"{subject} {number}"
            if key in found or key in open_ or len(found) >= _MOST_REFERENCES:
                continue
            try:
                document = self._asked("GET", f"/subjects/{_quoted(subject)}/versions/{number}?deleted=true").document
            except MissingError:  # the id is there: what it names is gone, and may be put back
                raise RegistryDownError(
                    f"registry {self._registry.url}: a schema refers to version {number} of subject {subject}, which is not there"
                ) from None
            if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
                raise RegistryDownError(f"registry {self._registry.url}: subject {subject} has no schema as version {number}")
            self._follow(document.get("references") or (), found, (*open_, key))
            found[key] = Reference(name, str(document["schema"]))

    def _native(self, number: str) -> RegisteredSchema:
        """By Apicurio's global number, with all that it names put into it."""
        base, ccompat, _ = self._registry.url.partition(_CCOMPAT)
        if not ccompat:
            raise MissingError("only Apicurio knows global numbers")
        address = f"{base}{_NATIVE}/ids/globalIds/{number}?references=DEREFERENCE&returnArtifactType=true"
        try:
            answer = self._asked("GET", address)
        except ConfigurationError as error:  # it answers 404 with other codes than Confluent's
            if "(404)" in str(error):
                raise MissingError(number) from None
            raise
        kind = answer.headers.get("x-registry-artifacttype", "AVRO").upper()
        return RegisteredSchema(kind, answer.body.decode("utf-8", "replace"))

    def _asked(self, method: str, path: str, body: Any = None) -> Answer:
        """The answer to a question that is asked until there is one, or patience ends."""
        attempts = Retrying(
            retry=retry_if_exception_type(AgainError),
            stop=stop_after_delay(self._patience_s),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return attempts(self._once, method, path, body)
        except AgainError as error:
            raise RegistryDownError(f"registry {self._registry.url}: {error}") from None

    def _once(self, method: str, path: str, body: Any) -> Answer:
        url = path if "://" in path else self._registry.url + path
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": _MEDIA}
        try:
            with self._http.stream(method, url, content=content, headers=headers) as response:
                received = read_bounded(response, _MOST_BYTES)
                answer = Answer(response.status_code, decoded(received), received, response.headers)
        except TooLargeError:
            raise ConfigurationError(f"registry {self._registry.url}: an answer of more than {_MOST_BYTES >> 20} MB") from None
        except httpx.RequestError as error:
            raise failure(error) from None
        return judged(self._registry.url, answer)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after_s = error.after_s if isinstance(error, AgainError) else None
    return _backoff(state) if after_s is None else after_s


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _body(schema: str, kind: str) -> dict[str, str]:
    return {"schema": schema} if kind == "AVRO" else {"schema": schema, "schemaType": kind}


def _transport(registry: Registry) -> httpx.BaseTransport:
    ca = None if registry.ca is None else str(registry.ca)
    try:
        return BoundedTransport(httpx.URL(registry.url), timeout_s=registry.timeout_s, connections=1, ca=ca)
    except OSError:  # of ssl, too
        raise ConfigurationError(f"registry.ca: {ca}: holds no certificates as PEM; workers need the file too") from None


def _authorization(registry: Registry) -> dict[str, str]:
    if registry.token is not None:
        return {"Authorization": f"Bearer {registry.token.read()}"}
    if registry.user is None or registry.password is None:
        return {}
    request = httpx.Request("GET", registry.url)
    flow = httpx.BasicAuth(registry.user.read(), registry.password.read()).auth_flow(request)
    return {"Authorization": next(flow).headers["Authorization"]}


__all__ = ["IncompatibleError", "MissingError", "Reference", "RegisteredSchema", "RegistryClient", "Version"]
