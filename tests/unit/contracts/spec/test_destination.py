"""Reading destinations: references to the environment and to secrets, and every problem of a file in one message."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigurationError
from contracts.spec.destination import DIALECTS, Condition, Destination, Limits, Placement, Secret, check_destination
from contracts.spec.files.destination import load_destination
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.project import BUILT_IN_DESTINATIONS, Project
from tests.support.documents import everything_contract

KEY = "wk-4f1d0c-secret"
DOCUMENT: dict[str, Any] = {
    "destination": "cdp", "dataset": "events", "type": "segment", "endpoint": "https://api.example.com/v1/batch",
    "credentials": {"write_key": "env:CDP_KEY"}, "consent": [], "columns": {"id": "messageId"},
}  # fmt: skip


def loaded(folder: Path, **change: Any) -> Destination:
    """A small destination with changes, from a file; None takes a key away."""
    path = folder / "cdp.yaml"
    document = {key: value for key, value in (DOCUMENT | change).items() if value is not None}
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return load_destination(path)


def told(folder: Path, **change: Any) -> list[str]:
    """Its problems, one a line."""
    with pytest.raises(ConfigurationError) as error:
        loaded(folder, **change)
    first, *problems = str(error.value).splitlines()
    assert first == f"destination {folder / 'cdp.yaml'}:"
    return [re.sub(r"^  - cdp\.yaml:\d+: ", "", problem) for problem in problems]


def path(text: str) -> PayloadPath:
    return PayloadPath.parse(text)


def test_what_a_destination_does_not_say_has_a_default(tmp_path: Path) -> None:
    assert loaded(tmp_path) == Destination(
        name="cdp", dataset="events", version=1, type="segment", endpoint="https://api.example.com/v1/batch",
        write_key=Secret("env", "CDP_KEY"), consent=(), placements=(Placement("id", path("messageId")),),
    )  # fmt: skip


def test_everything_that_a_destination_says_is_read(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        description="To the CDP.", version=2, type="rudderstack", consent=["analytics", "ads"], allow_http=True,
        export="http://cdp:8080/export", probe={"type": "track", "event": "Probe", "anonymousId": "p"},
        credentials={"write_key": "file:/run/keys/cdp"}, constants={"context.library.name": "headrace", "n": 2, "live": True},
        columns={"id": "messageId", "kind": [{"when": {"kind": ["a", 7, True]}, "path": "event"}, "type"], "count": "a\\.b.c"},
        filter=[{"column": "kind", "in": ["a", 1]}, {"column": "flag", "not_in": [True]}, {"column": "code", "in": "A1"}],
        limits={
            "requests_per_s": 2.5, "in_flight": 8, "batch_events": 10, "batch_bytes": 1000, "event_bytes": 100, "linger_s": 2,
            "timeout_s": 3, "patience_s": 4.5, "queue_age_s": 60,
        },
    )  # fmt: skip
    assert (found.name, found.description, found.version, found.type) == ("cdp", "To the CDP.", 2, "rudderstack")
    assert (found.consent, found.export) == (("analytics", "ads"), "http://cdp:8080/export")
    assert found.write_key == Secret("file", "/run/keys/cdp")
    assert (found.probe, found.probe_id) == ({"type": "track", "event": "Probe", "anonymousId": "p"}, "headrace-probe-cdp")
    assert found.placements == (
        Placement("id", path("messageId")),
        Placement("kind", path("event"), Condition("kind", frozenset({"a", "7", "true"}))),
        Placement("kind", path("type")),
        Placement("count", PayloadPath(("a.b", "c"))),
    )
    assert found.constants == {path("context.library.name"): "headrace", path("n"): 2, path("live"): True}
    assert found.only == (
        Condition("kind", frozenset({"a", "1"})),
        Condition("flag", frozenset({"true"}), negated=True),
        Condition("code", frozenset({"A1"})),
    )
    assert found.limits == Limits(
        requests_per_s=2.5, in_flight=8, batch_events=10, batch_bytes=1000, event_bytes=100, linger_s=2, timeout_s=3,
        patience_s=4.5, queue_age_s=60,
    )  # fmt: skip
    assert set(found.paths) == {*(p.path for p in found.placements), *found.constants}


WHOLE = ("in_flight", "batch_events", "batch_bytes", "event_bytes")
PARTS = ("requests_per_s", "linger_s", "timeout_s", "patience_s", "queue_age_s")
NO_CONDITIONS: list[Any] = [
    "a",
    {},
    {"kind": "a"},
    {"kind": []},
    {"kind": ["a"], "flag": [True]},
    {"kind": [None]},
    {"kind": [1.5]},
]
PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"destnation": "x"}, "no key 'destnation'; known: allow_http, columns, consent, constants, credentials, dataset,"),
    *(({key: None}, f"{key}: missing") for key in ("destination", "dataset", "type", "endpoint", "credentials", "columns")),
    ({"columns": {}}, "columns: missing"),
    ({"consent": None}, "consent: missing; name the categories that must be true, or [] where none is needed"),
    ({"destination": "My CDP"}, "destination: 'My CDP' is not lower case letters, digits, _ and -"),
    ({"destination": "../cdp"}, "destination: '../cdp' is not lower case letters, digits, _ and -"),
    ({"type": "mixpanel"}, f"type: 'mixpanel'; known: {', '.join(DIALECTS)}"),
    *(({"version": bad}, f"version: {bad!r} is not a major version such as 1") for bad in (0, "1", 1.5, True)),
    *(
        ({"consent": bad}, "consent: expected a list of categories such as [analytics, marketing]")
        for bad in ("analytics", [1], [""], {"analytics": True}, [["ads"]])
    ),
    *(
        ({key: bad}, f"{key}: {bad!r} is not a URL such as https://api.segment.io/v1/batch")
        for key in ("endpoint", "export")
        for bad in ("api.segment.io", "ftp://x/y", "https://", "https://a b/c")
    ),
    *(
        ({"probe": bad}, "probe: expected an event such as {type: track, event: Headrace Probe, userId: headrace-probe}")
        for bad in ("track", {}, {"type": "track"}, {"userId": "u"}, ["track"])
    ),
    ({"probe": {"type": "page", "userId": "u", "messageId": "m"}}, "probe: messageId is headrace-probe- and the"),
    ({"probe": {"type": "page", "userId": "u", "traits": {}}}, "probe: expected texts, whole numbers, true or false"),
    ({"endpoint": "${CDP_NOWHERE}/v1"}, "endpoint: the environment has no CDP_NOWHERE"),
    ({"export": "http://${CDP_A}/${CDP_B}"}, "export: the environment has no CDP_A, CDP_B"),
    ({"columns": ["id"]}, "columns: expected a mapping of contract columns to paths in the event"),
    ({"columns": {"id": {"path": "x"}}}, "columns.id: expected a path, or {when: {event_type: [track]}, path: event}"),
    ({"columns": {"id": {"when": {"kind": ["a"]}, "paths": "x"}}}, "columns.id: expected a path, or {when:"),
    *(({"columns": {"id": bad}}, f"columns.id: {bad!r} is not a path such as context.page.url") for bad in ("", "a..b", 7, None)),
    ({"columns": {"id": "^.sentAt"}}, "columns.id: '^.sentAt': an event that is sent has no envelope of its own"),
    *(
        (
            {"columns": {"id": {"when": bad, "path": "x"}}},
            "columns.id: when: expected one column and a list of its values, {event_type: [track]}",
        )
        for bad in NO_CONDITIONS
    ),
    ({"constants": ["a"]}, "constants: expected a mapping of paths in the event to values"),
    *(
        ({"constants": {"a": bad}}, "constants.a: expected a text, a number, true or false")
        for bad in (None, [1], {"b": 1}, float("nan"), float("inf"))
    ),
    ({"constants": {"a..b": 1}}, "constants.a..b: 'a..b' is not a path such as context.page.url"),
    ({"constants": {"messageId": "x"}}, "constants.messageId: a column goes there too"),
    ({"columns": {"id": "message.id"}, "constants": {"message": "x"}}, "constants.message: a column goes there too"),
    ({"constants": {"a": 1, "a.b": 2}}, "constants.a: another constant goes below it"),
    ({"filter": "track"}, "filter: expected a list such as [{column: event_type, in: [track]}]"),
    *(
        ({"filter": [bad]}, "filter[0]: expected {column: event_type, in: [track, identify]} or not_in: […]")
        for bad in (
            "track", {"column": "kind"}, {"in": ["a"]}, {"column": "kind", "in": ["a"], "not_in": ["b"]},
            {"column": "kind", "in": []}, {"column": "kind", "in": None}, {"column": "kind", "in": [1.5]},
            {"column": "kind", "not_in": ["a", {"b": 1}]},
        )
    ),
    ({"limits": [1]}, "limits: expected a mapping with some of batch_bytes, batch_events, event_bytes, in_flight, linger_s,"),
    ({"limits": {"rate": 1}}, "limits: expected a mapping with some of batch_bytes,"),
    *(
        ({"limits": {key: bad}}, f"limits.{key}: {bad!r} is not a positive whole number")
        for key in WHOLE
        for bad in (0, -1, 1.5, "4", True, None, 10**9)
    ),
    *(
        ({"limits": {key: bad}}, f"limits.{key}: {bad!r} is not a positive number")
        for key in PARTS
        for bad in (0, -0.5, "4", True, None, 1e9)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "problem"), PROBLEMS)
def test_a_problem_is_a_sentence(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    found = told(tmp_path, **change)
    assert len(found) == 1 and found[0].startswith(problem), found


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = told(
        tmp_path, destination="A B", type="x", version=0, consent="ads", endpoint="x", columns={"id": "a..b"}, constants=["a"],
        credentials="k", limits={"in_flight": 0}, filter=[1],
    )  # fmt: skip
    assert [problem.partition(":")[0] for problem in found] == [
        "destination", "type", "endpoint", "credentials", "consent", "columns.id", "version", "constants", "limits.in_flight",
        "filter[0]",
    ]  # fmt: skip


def test_a_file_that_is_no_destination_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "cdp.yaml"
    for content, problem in [
        (None, "no such file"),
        (b"a: [\nb: }", "not valid YAML at line 2"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"- a", "expected a mapping with destination, dataset, type, endpoint and columns"),
        (b"", "expected a mapping"),
    ]:
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigurationError) as error:
            load_destination(file)
        assert str(error.value).startswith(f"destination {file}: {problem}")


def test_urls_take_their_parts_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_HOST", "cdp.example.com:8443")
    monkeypatch.delenv("CDP_PATH", raising=False)
    assert (
        loaded(tmp_path, endpoint="https://${CDP_HOST}/${CDP_PATH:-v1/batch}").endpoint == "https://cdp.example.com:8443/v1/batch"
    )
    monkeypatch.setenv("CDP_PATH", "v2")
    assert loaded(tmp_path, endpoint="https://${CDP_HOST}/${CDP_PATH:-v1/batch}").endpoint == "https://cdp.example.com:8443/v2"
    monkeypatch.setenv("CDP_PATH", "")
    assert loaded(tmp_path, endpoint="https://${CDP_HOST}/${CDP_PATH:-v1}").endpoint == "https://cdp.example.com:8443/v1"
    assert loaded(tmp_path, endpoint="https://${CDP_HOST}/${CDP_PATH:-}").endpoint == "https://cdp.example.com:8443/"


@pytest.mark.parametrize(
    "credentials",
    [KEY, {"write_key": KEY}, {"write_key": f"vault:{KEY}"}, {"write_key": f"env {KEY}"}, {"write_key": "env:"},
     {"key": f"env:{KEY}"}, [KEY], {"write_key": "env:A", "password": KEY}, {"write_key": [KEY]}],
)  # fmt: skip
def test_what_may_be_a_key_is_never_repeated(tmp_path: Path, credentials: Any) -> None:
    (problem,) = told(tmp_path, credentials=credentials)
    assert problem == (
        "credentials: expected {write_key: env:NAME} or {write_key: file:/path}, a reference and never the key itself"
    )


@pytest.mark.parametrize("key", ["endpoint", "export"])
@pytest.mark.parametrize(
    "url",
    [f"https://{KEY}@cdp.example.com/v1", f"https://user:{KEY}@cdp.example.com/v1", f"https://user:{KEY}@", f"//u:{KEY}@h/v1"],
)
def test_a_url_with_a_password_is_refused_without_repeating_it(tmp_path: Path, key: str, url: str) -> None:
    (problem,) = told(tmp_path, **{key: url})
    assert problem.startswith(f"{key}: ") and KEY not in problem


def test_a_password_that_the_environment_puts_into_a_url_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_HOST", f"user:{KEY}@cdp.example.com")
    (problem,) = told(tmp_path, endpoint="https://${CDP_HOST}/v1")
    assert "a URL holds no user or password" in problem and KEY not in problem


@pytest.mark.parametrize("key", ["endpoint", "export"])
@pytest.mark.parametrize(
    "url", ["ftp://${CDP_TOKEN}/x", "https://h/a b/${CDP_TOKEN}", "http://h/${CDP_TOKEN}", "https://h:x/${CDP_TOKEN}"]
)
def test_what_the_environment_gives_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, url: str) -> None:
    monkeypatch.setenv("CDP_TOKEN", KEY)
    (problem,) = told(tmp_path, **{key: url})
    assert repr(url) in problem and KEY not in problem


def test_what_the_environment_gives_is_in_no_text_of_a_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_TOKEN", KEY)
    found = loaded(tmp_path, endpoint="https://h/${CDP_TOKEN}", export="https://h/${CDP_TOKEN}/export")
    assert found.export == f"https://h/{KEY}/export" and found.export_shown == "https://h/${CDP_TOKEN}/export"
    assert KEY not in repr(found)


NEAR = ["localhost", "LOCALHOST:8080", "cdp.localhost", "127.0.0.1:24480", "127.9.9.9", "[::1]:80"]
FAR = ["cdp", "cdp:8080", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "0.0.0.0", "[::]", "[fe80::1]", "127.1"]


def test_the_write_key_leaves_this_machine_by_https_only(tmp_path: Path) -> None:
    for host in NEAR:
        assert loaded(tmp_path, endpoint=f"http://{host}/v1").endpoint == f"http://{host}/v1"
    for host in FAR:
        for key in ("endpoint", "export"):
            (problem,) = told(tmp_path, **{key: f"http://{host}/v1"})
            assert problem.startswith(f"{key}: 'http://{host}/v1' is http://") and problem.endswith("or say allow_http: true")
            loaded(tmp_path, **{key: f"https://{host}/v1"})
            loaded(tmp_path, allow_http=True, **{key: f"http://{host}/v1"})
    assert told(tmp_path, endpoint="http://cdp/v1", allow_http="yes")[0].startswith("allow_http: 'yes' is not true or false")


def test_secrets_are_read_where_they_are_used_and_are_in_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_KEY", KEY)
    found = loaded(tmp_path)
    assert found.write_key.read() == KEY
    assert KEY not in repr(found)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert Secret("file", str(file)).read() == KEY


@pytest.mark.parametrize("text", [f"{KEY}\n", f"{KEY}\r\n", f" {KEY} "])
def test_a_newline_around_a_key_is_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "key").write_text(text, newline="")
    monkeypatch.setenv("CDP_KEY", text)
    assert Secret("env", "CDP_KEY").read() == Secret("file", str(tmp_path / "key")).read() == KEY


def test_a_secret_that_is_not_there_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        monkeypatch.delenv("CDP_KEY", raising=False) if value is None else monkeypatch.setenv("CDP_KEY", value)
        with pytest.raises(ConfigurationError, match="credentials: the environment has no CDP_KEY; workers need it too"):
            Secret("env", "CDP_KEY").read()
    binary, empty = tmp_path / "binary", tmp_path / "empty"
    binary.write_bytes(b"\xff" + KEY.encode())
    empty.write_text("\n")
    for file, why in ((tmp_path / "none", "FileNotFoundError"), (binary, "UnicodeDecodeError"), (empty, "it is empty")):
        with pytest.raises(ConfigurationError) as error:
            Secret("file", str(file)).read()
        assert str(error.value) == f"credentials: {file} cannot be read ({why})" and KEY not in str(error.value)


CONTRACT = replace(
    everything_contract(), columns=(*everything_contract().columns, Column(name="consent", type=ColumnType.BOOLEAN_MAP))
)


def problems(contract: Contract = CONTRACT, **change: Any) -> list[str]:
    plain = Destination(
        name="cdp", dataset="everything", version=1, type="segment", endpoint="https://h/x", write_key=Secret("env", "K"),
        consent=(), placements=(Placement("id", path("messageId")),),
    )  # fmt: skip
    return check_destination(replace(plain, **change), contract)


def test_a_destination_that_fits_its_contract_has_no_problems() -> None:
    columns = tuple(Placement(c.name, path(f"x.{c.name}")) for c in CONTRACT.columns)
    assert problems(placements=columns, consent=("ads",), only=(Condition("kind", frozenset("a")),)) == []


def test_what_does_not_fit_the_contract_is_a_sentence() -> None:
    mapped = Placement("id", path("messageId"))
    when = Condition("kinds", frozenset("a"))
    assert problems(placements=(mapped, Placement("e_mail", path("email")), Placement("code", path("c"), when)), only=(when,)) == [
        "columns: everything has no column 'e_mail'",
        "columns: when: everything has no column 'kinds'",
        "filter: everything has no column 'kinds'",
    ]
    unmapped = "columns: id is not mapped; the destination knows repeats by it"
    assert problems(placements=(Placement("kind", path("type")),)) == [unmapped]
    assert problems(placements=(replace(mapped, when=Condition("kind", frozenset("a"))),)) == [unmapped]
    assert problems(version=2) == ["version: 2, but the contract found is 1.0.0"]


@pytest.mark.parametrize("below", ["context.code", "context"])
def test_what_holds_no_object_has_nothing_below_it(below: str) -> None:
    """It would lose its own value, or the other one."""
    mapped = (Placement("id", path("messageId")), Placement("kind", path("context")))
    assert problems(placements=(*mapped, Placement("code", path(below)))) == (
        ["columns.kind: others go below context, which only columns that hold objects can take in"] if "." in below else []
    )
    (problem,) = problems(placements=mapped, constants={path("context.library"): "x"})
    assert problem.startswith("columns.kind: others go below context")
    (problem,) = problems(placements=(mapped[0], Placement("list", path("context")), Placement("code", path("context.code"))))
    assert problem.startswith("columns.list: others go below context")
    assert problems(placements=(mapped[0], Placement("details", path("context")), Placement("code", path("context.code")))) == []


@pytest.mark.parametrize("kind", [None, ColumnType.STRING, ColumnType.JSON])
def test_consent_that_the_contract_has_no_map_for_is_refused(kind: ColumnType | None) -> None:
    """A category of it would never be true, and nothing ever delivered."""
    columns = tuple(c for c in CONTRACT.columns if c.name != "consent")
    contract = replace(CONTRACT, columns=(*columns, Column(name="consent", type=kind)) if kind else columns)
    (problem,) = problems(contract, consent=("ads",))
    assert problem.startswith(
        "consent: everything has no column consent of physicalType map<string,boolean>, so nothing would ever"
    )
    assert problems(contract) == []


@pytest.mark.parametrize("name", sorted(file.stem for file in BUILT_IN_DESTINATIONS.glob("*.yaml")))
def test_destinations_that_ship_fit_their_contracts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUDDERSTACK_DATA_PLANE", "https://plane.example.com")
    (tmp_path / "headrace.yaml").write_text("lake: lake\n")
    destination, contract = Project.load(tmp_path).destination(name)
    assert destination.name == name and contract.name == destination.dataset
