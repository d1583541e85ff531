"""``registry`` of ``headrace.yaml``. Reference: docs/guides/avro-and-registries.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from contracts.errors import ConfigurationError
from contracts.spec.destination import Secret
from contracts.spec.files.base import FileModel, Read, Worded, duration_s, wrong, wrong_at
from contracts.spec.registry import Registry

_URL = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?(?:/[^\s?#]*)?")
_LOOPBACK = re.compile(r"http://((.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\])([:/].*)?", re.IGNORECASE)
_SECRET = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)")


def _url(text: Any) -> str:
    if not isinstance(text, str) or not _URL.fullmatch(text):
        shown = "" if "@" in str(text) else f"{text!r} is "  # it may hold a password: not repeated
        raise wrong(f"{shown}not a URL such as https://registry.example:8081; user and password go to credentials")
    return text.rstrip("/")


def _secret(text: Any) -> Secret:
    if not isinstance(text, str) or not _SECRET.fullmatch(text):
        raise wrong("expected env:NAME or file:PATH, never the value itself")
    kind, _, name = text.partition(":")
    return Secret("env" if kind == "env" else "file", name)


def _seconds(given: Any) -> float:
    seconds = duration_s(given)
    if seconds is None:
        raise wrong(f"{given!r} is no duration such as 10s or 5m")
    return float(seconds)


_Secret = Annotated[Secret, Read(_secret, {"type": "string", "examples": ["env:REGISTRY_PASSWORD"]})]
_Duration = Annotated[float, Read(_seconds, {"type": "string", "examples": ["10s", "5m"]})]


def registry_at(url: str) -> Registry:
    """A registry without credentials.

    Raises:
        ConfigurationError: that is no URL.
    """
    try:
        return Registry(url=_url(url))
    except PydanticCustomError as error:
        raise ConfigurationError(f"--registry: {error.message()}") from None


class CredentialsFile(FileModel):
    """As whom a registry is asked: user and password, or a token."""

    user: _Secret | None = Field(default=None, description="Reference, such as `env:REGISTRY_USER`.")
    password: _Secret | None = Field(default=None, description="The same.")
    token: _Secret | None = Field(default=None, description="The same; instead of user and password.")

    @model_validator(mode="after")
    def _one_way(self) -> CredentialsFile:
        if self.model_fields_set not in ({"user", "password"}, {"token"}):
            raise wrong("expected {user: env:NAME, password: env:NAME} or {token: env:NAME}")
        return self


class RegistryFile(FileModel):
    """The schema registry of a project."""

    url: Annotated[str, Read(_url, {"type": "string", "examples": ["https://registry.example:8081"]})] = Field(
        description="Base of the API, as Confluent's. Apicurio's ends with `/apis/ccompat/v7`."
    )
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$"), Worded("expected lower case letters, digits, _ and -")] = Field(
        default="default", description="Under which its ids are kept in the lake. A registry that was set up anew needs another."
    )
    credentials: Annotated[CredentialsFile, Worded("expected {user: env:NAME, password: env:NAME} or {token: env:NAME}")] | None = (
        Field(
            default=None,
            description="`{user: …, password: …}` or `{token: …}`; each `env:NAME` or `file:PATH`. Not over `http://` to another "
            "machine.",
        )
    )
    ca: str | None = Field(
        default=None,
        description="A file with the certificates, as PEM, that it is trusted by.",
        json_schema_extra={"shown": "the system's"},
    )
    timeout: _Duration = Field(default=5.0, description="Of a request.", json_schema_extra={"shown": "`5s`"})
    patience: _Duration = Field(
        default=60.0,
        description="How long a run with an end, or a replay, waits for a registry that is down.",
        json_schema_extra={"shown": "`1m`"},
    )

    @model_validator(mode="after")
    def _guarded(self) -> RegistryFile:
        if self.credentials and self.url.startswith("http://") and not _LOOPBACK.fullmatch(self.url):
            told = "is http://, so whoever is on the way reads the credentials; use https://"
            wrong_at("registry", [(told, ("url",))])
        return self

    def compiled(self, root: Path) -> Registry:
        """What the rest of the code reads; paths are relative to the root.

        Raises:
            ConfigurationError: there is no such file of certificates.
        """
        given = self.credentials
        if self.ca and not (root / self.ca).is_file():
            told = "no such file; name a PEM file with the certificates that the registry is trusted by"
            raise ConfigurationError(f"{root / 'headrace.yaml'}: registry.ca: {self.ca}: {told}")
        return Registry(
            url=self.url, name=self.name, timeout_s=self.timeout, patience_s=self.patience,
            ca=root / self.ca if self.ca else None, user=given.user if given else None,
            password=given.password if given else None, token=given.token if given else None,
        )  # fmt: skip
