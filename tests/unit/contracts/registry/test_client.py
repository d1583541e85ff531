"""The client of a schema registry: what is an answer, what is asked again, and what is never taken for "no such schema"."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from contracts.errors import ConfigurationError, RegistryDownError
from contracts.registry.answers import IncompatibleError, MissingError
from contracts.registry.client import RegistryClient
from contracts.spec.destination import Secret
from contracts.spec.model import Compatibility
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from tests.support.schema_registry import SchemaRegistry, schema_registry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
WIDER = {**ORDER, "fields": [*ORDER["fields"], {"name": "total", "type": "int"}]}  # type: ignore[misc]
OPTIONAL = {**ORDER, "fields": [*ORDER["fields"], {"name": "total", "type": ["null", "int"], "default": None}]}  # type: ignore[misc]


@pytest.fixture
def server() -> Iterator[SchemaRegistry]:
    with schema_registry() as found:
        yield found


def client(server: SchemaRegistry, *, patience_s: float = 5.0, pauses: list[float] | None = None, **given: Any) -> RegistryClient:
    sleep = (lambda _: None) if pauses is None else pauses.append
    return RegistryClient(Registry(url=server.url, timeout_s=1.0, **given), patience_s=patience_s, sleep=sleep)


def test_a_schema_is_found_by_its_id_and_by_its_guid(server: SchemaRegistry) -> None:
    number = server.put("orders-value", ORDER)
    by_id = client(server).schema(f"id-{number}")
    assert (by_id.type, by_id.references) == ("AVRO", ())
    assert client(server).schema(f"guid-{server.guid(number)}") == by_id
    assert client(server).subjects_of(f"id-{number}") == {"orders-value": 1}


def test_an_id_that_the_registry_has_not_is_told_apart_from_a_path_that_it_has_not(server: SchemaRegistry) -> None:
    with pytest.raises(MissingError):
        client(server).schema("id-17")
    with pytest.raises(ConfigurationError, match="is the path right"):
        RegistryClient(Registry(url=f"{server.url}/elsewhere"), patience_s=0).schema("id-17")


def test_a_registry_without_guids_has_none_of_them(server: SchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apicurio 3 answers 404 without a body there: nothing to wait for."""
    known = server.answer
    monkeypatch.setattr(server, "answer", lambda m, path, q, b: (404, None) if "/guids/" in path else known(m, path, q, b))
    with pytest.raises(MissingError):
        client(server).schema("guid-550e8400-e29b-41d4-a716-446655440000")


@pytest.mark.parametrize("fault", [500, 502, 503, 504, 429, 408, "hang", "html", "reset"])
def test_what_may_be_better_later_is_asked_again(server: SchemaRegistry, fault: int | str) -> None:
    number = server.put("orders-value", ORDER)
    server.script = [fault, fault]
    assert client(server, patience_s=30.0).schema(f"id-{number}").type == "AVRO"
    assert len(server.asked) == 3


@pytest.mark.parametrize("fault", [500, 429, "html"])
def test_a_registry_that_stays_down_is_never_taken_for_a_missing_schema(server: SchemaRegistry, fault: int | str) -> None:
    server.put("orders-value", ORDER)
    server.script = [fault] * 1000
    with pytest.raises(RegistryDownError, match=server.url):
        client(server, patience_s=0.05).schema("id-1")


def test_nobody_at_the_address_is_down() -> None:
    with pytest.raises(RegistryDownError, match="cannot be reached"):
        RegistryClient(Registry(url="http://127.0.0.1:1"), patience_s=0).schema("id-1")


def test_a_registry_that_says_when_to_ask_again_is_asked_then(server: SchemaRegistry) -> None:
    number = server.put("orders-value", ORDER)
    server.script, server.headers, pauses = [429], {"Retry-After": "7"}, list[float]()
    client(server, pauses=pauses).schema(f"id-{number}")
    assert pauses == [7.0]


def test_who_asks_is_told_by_reference_and_never_in_messages_or_logs(
    server: SchemaRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("REGISTRY_USER", "reader")
    (tmp_path / "password").write_text("hunter2\n")
    server.login = "Basic cmVhZGVyOmh1bnRlcjI="
    given = {"user": Secret("env", "REGISTRY_USER"), "password": Secret("file", str(tmp_path / "password"))}
    assert client(server, **given).subjects() == []
    monkeypatch.setenv("REGISTRY_USER", "somebody-else")
    with pytest.raises(ConfigurationError, match="refuses who asks") as refused:
        client(server, **given).subjects()
    for text in (str(refused.value), caplog.text, repr(Registry(url=server.url, **given))):
        assert "hunter2" not in text and "cmVhZGVy" not in text
    server.login = "Bearer t0ken"
    monkeypatch.setenv("TOKEN", "t0ken")
    assert client(server, token=Secret("env", "TOKEN")).subjects() == []


def test_a_schema_that_earlier_versions_do_not_allow_is_refused_with_the_reason(server: SchemaRegistry) -> None:
    asked = client(server)
    first = asked.register("orders-value", json.dumps(ORDER), "AVRO")
    assert asked.register("orders-value", json.dumps(ORDER), "AVRO") == first
    assert asked.misfits("orders-value", json.dumps(WIDER), "AVRO", None) == ["READER_FIELD_MISSING_DEFAULT_VALUE: total"]
    assert asked.misfits("nothing-value", json.dumps(WIDER), "AVRO", None) == []
    with pytest.raises(IncompatibleError, match="total"):
        asked.register("orders-value", json.dumps(WIDER), "AVRO")
    assert asked.register("orders-value", json.dumps(OPTIONAL), "AVRO") != first
    assert [one.number for one in asked.versions("orders-value")] == [1, 2]
    assert asked.compatibility("orders-value") is None
    asked.set_compatibility("orders-value", "FULL_TRANSITIVE")
    assert asked.compatibility("orders-value") == "FULL_TRANSITIVE"


@pytest.mark.parametrize(("mode", "taken"), [("BACKWARD", True), ("BACKWARD_TRANSITIVE", False)])
def test_what_a_registry_says_beforehand_is_what_it_does(server: SchemaRegistry, mode: Compatibility, taken: bool) -> None:
    asked = client(server)
    for schema in (WIDER, ORDER):
        server.put("orders-value", schema)
    after = json.dumps({**ORDER, "fields": [*ORDER["fields"], {"name": "total", "type": "string", "default": ""}]})
    asked.set_compatibility("orders-value", mode)
    assert (asked.misfits("orders-value", after, "AVRO", mode) == []) is taken
    if taken:
        assert asked.register("orders-value", after, "AVRO") == 3
    else:
        with pytest.raises(IncompatibleError):
            asked.register("orders-value", after, "AVRO")


def test_references_come_with_a_schema_each_once_and_before_who_needs_them(server: SchemaRegistry) -> None:
    country = {"type": "enum", "name": "Country", "symbols": ["DE"]}
    address = {"type": "record", "name": "Address", "fields": [{"name": "country", "type": "Country"}]}
    order = {"type": "record", "name": "Order", "fields": [{"name": "to", "type": "Address"}, {"name": "at", "type": "Country"}]}
    server.put("country", country)
    server.put("address", address, references=[{"name": "Country", "subject": "country", "version": 1}])
    wanted = [{"name": "Country", "subject": "country", "version": 1}, {"name": "Address", "subject": "address", "version": 1}]
    number = server.put("orders-value", order, references=wanted[::-1])
    server.deleted.add("country")  # softly: who refers to it still finds it
    assert [one.name for one in client(server).schema(f"id-{number}").references] == ["Country", "Address"]


@pytest.mark.parametrize(
    ("references", "answer", "told"),
    [
        ([{"subject": "x"}], (200, {}), "a reference without name, subject and version"),
        (["x"], (200, {}), "a reference without name, subject and version"),
        ([{"name": "a", "subject": "s", "version": "new"}], (200, {}), "a reference without name, subject and version"),
        ([{"name": "a", "subject": "s", "version": 1}], (200, []), "subject s has no schema as version 1"),
        (
            [{"name": "a", "subject": "s", "version": 1}],
            (404, {"error_code": 40401}),
            "refers to version 1 of subject s, which is not",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_holds_up_and_rejects_nothing(references: Any, answer: tuple[int, Any], told: str) -> None:
    def asked(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/schemas/ids/"):
            return httpx.Response(200, json={"schema": '"string"', "references": references})
        return httpx.Response(answer[0], json=answer[1])

    asks = RegistryClient(Registry(url="http://localhost"), patience_s=0, transport=httpx.MockTransport(asked))
    with pytest.raises(RegistryDownError, match=told):
        asks.schema("id-1")


def test_references_in_a_circle_end(server: SchemaRegistry) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        schema = {"type": "record", "name": name, "fields": [{"name": "x", "type": ["null", other]}]}
        server.put(name, schema, references=[{"name": other, "subject": other, "version": 1}])
    assert len(client(server).schema("id-1").references) == 2


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "registry: expected a mapping with url"),
        ("http://x", "expected a mapping with url"),
        ({"url": "http://me:hunter2@x:8081"}, "user and password go to credentials"),
        ({"url": "ftp://x"}, "not a URL such as"),
        ({"url": "https://x", "name": "Über"}, "registry.name"),
        ({"url": "https://x", "credentials": {"user": "me", "password": "hunter2"}}, "never the value itself"),
        ({"url": "https://x", "credentials": "hunter2"}, "registry.credentials: expected"),
        ({"url": "http://x", "credentials": {"token": "env:T"}}, "use https://"),
        ({"url": "https://x", "ca": "nowhere.pem"}, "no such file"),
        ({"url": "https://x", "timeout": "soon"}, "no duration"),
    ],
)
def test_a_wrong_registry_is_told_without_its_secrets(document: Any, told: str, tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text(yaml.safe_dump({"registry": document}))
    with pytest.raises(ConfigurationError) as raised:
        Project.load(tmp_path)
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_registry_is_read_as_it_is_written(tmp_path: Path) -> None:
    document = {
        "url": "http://localhost:8081/",
        "credentials": {"token": "env:T"},
        "name": "main",
        "patience": "5m",
        "timeout": "2s",
    }
    (tmp_path / "headrace.yaml").write_text(yaml.safe_dump({"registry": document}))
    found = Project.load(tmp_path).registry
    assert found is not None
    assert (found.url, found.name, found.token) == ("http://localhost:8081", "main", Secret("env", "T"))
    assert (found.patience_s, found.timeout_s) == (300.0, 2.0)
