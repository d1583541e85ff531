"""Airflow's REST interface; answers as 3.3.2 gives them, cut short."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contracts.errors import ComponentDownError, ConfigurationError, HeadraceError
from operations.drift.airflow_rest import AirflowRest
from operations.drift.dags import AirflowPool, AirflowState

Handler = Callable[[httpx.Request], httpx.Response]


def dag(name: str, **more: Any) -> dict[str, Any]:
    tags = [{"name": "headrace", "dag_id": name, "dag_display_name": name}, {"name": "shop", "dag_id": name}]
    files = {"relative_fileloc": "shop/headrace_dags.py", "fileloc": "/opt/dags/shop/headrace_dags.py"}
    return {"dag_id": name, "is_paused": False, "is_stale": False, "tags": tags, **files, **more}


class Airflow:
    """Answers; notes what it was asked."""

    def __init__(self, dags: list[dict[str, Any]], limit: int = 100, errors: list[dict[str, Any]] | None = None) -> None:
        self.dags, self.limit, self.errors = dags, limit, errors or []
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t0"})
        if path.endswith("/details"):
            return httpx.Response(200, json={"doc_md": "About\n\nOwner: data\nState: abc123"})
        query = request.url.params
        for end, key, entries in (
            ("/dags", "dags", self.dags),
            ("/pools", "pools", [{"name": "default_pool", "slots": 128, "include_deferred": False}]),
            ("/importErrors", "import_errors", self.errors),
        ):
            if path == f"/api/v2{end}":
                first = int(query["offset"])
                page = entries[first : first + min(int(query["limit"]), self.limit)]
                return httpx.Response(200, json={key: page, "total_entries": 7 * len(entries)})
        return httpx.Response(404, json={"detail": "Not Found"})


def state(handler: Handler, environ: dict[str, str] | None = None, *detailed: str) -> AirflowState:
    rest = AirflowRest("http://airflow:8080", "State: ", environ=environ or {}, transport=httpx.MockTransport(handler))
    try:
        return rest.state("headrace", detailed)
    finally:
        rest.close()


def test_what_it_has() -> None:
    errors = [{"filename": "a.py", "stack_trace": 'Traceback:\n  File "x"\nValueError: no\n', "bundle_name": "dags-folder"}]
    airflow = Airflow([dag("shop.a"), dag("shop.b", is_paused=True, is_stale=True)], errors=errors)
    found = state(airflow, None, "shop.a", "shop.b")
    a, b = found.dags
    assert (a.dag_id, a.tags, a.file, a.state) == ("shop.a", {"headrace", "shop"}, "shop/headrace_dags.py", "abc123")
    assert (b.is_paused, b.is_stale, b.state) == (True, True, "")
    assert found.pools == {"default_pool": AirflowPool(128)}
    assert found.import_errors == [("a.py", "ValueError: no")]


def test_all_pages_are_read_whatever_count_is_told() -> None:
    """apache/airflow#67550: total_entries counted an import error once for each DAG of its file."""
    airflow = Airflow([dag(f"shop.{n}") for n in range(250)])
    assert len(state(airflow).dags) == 250


def test_nothing_is_changed() -> None:
    airflow = Airflow([dag("shop.a")])
    state(airflow, {"HEADRACE_AIRFLOW_TOKEN": "mine"}, "shop.a")
    assert {request.method for request in airflow.asked} == {"GET"}
    assert {request.headers["authorization"] for request in airflow.asked} == {"Bearer mine"}


def test_user_and_password_get_a_token() -> None:
    airflow = Airflow([])
    state(airflow, {"HEADRACE_AIRFLOW_USER": "me", "HEADRACE_AIRFLOW_PASSWORD": "hunter2"})
    assert airflow.asked[0].method == "POST" and json.loads(airflow.asked[0].content) == {"username": "me", "password": "hunter2"}
    with pytest.raises(ConfigurationError, match="come together"):
        state(airflow, {"HEADRACE_AIRFLOW_USER": "me"})


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (401, "{}", ConfigurationError, "HEADRACE_AIRFLOW_TOKEN"),
        (403, "{}", ConfigurationError, "refuses who asks"),
        (503, "{}", ComponentDownError, "503"),
        (404, "Airflow 2", ComponentDownError, "is the address right"),
        (200, "<html>", ComponentDownError, "not as Airflow 3"),
        (200, "[]", ComponentDownError, "not as Airflow 3"),
        (302, "", ComponentDownError, "302"),
    ],
)
def test_an_answer_that_is_none(status: int, body: str, kind: type[HeadraceError], told: str) -> None:
    with pytest.raises(kind, match=told):
        state(lambda _: httpx.Response(status, text=body))


def test_no_answer() -> None:
    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    with pytest.raises(ComponentDownError, match="http://airflow:8080 does not answer"):
        state(refused)


@pytest.mark.parametrize("address", ["airflow:8080", "", "ftp://x", "http://", "http://[::1", "http://me:hunter2@airflow"])
def test_an_address_that_is_none_is_told_without_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        AirflowRest(address, "State: ", environ={})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("error", [{"stack_trace": "ValueError: no"}, {"filename": "a.py", "stack_trace": None}])
def test_an_import_error_without_its_file_is_no_answer_of_airflow(error: dict[str, Any]) -> None:
    if "filename" in error:
        assert state(Airflow([], errors=[error])).import_errors == [("a.py", "it does not say why")]
        return
    with pytest.raises(ComponentDownError, match="not as Airflow 3 does"):
        state(Airflow([], errors=[error]))


def test_a_password_in_an_import_error_is_not_told() -> None:
    error = {"filename": "a.py", "stack_trace": "ValueError: bad URL postgres://ada:hunter2@db/x"}
    assert "hunter2" not in str(state(Airflow([], errors=[error])).import_errors)


def test_details_of_another_shape_are_no_answer_of_airflow() -> None:
    def odd(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[1]) if request.url.path.endswith("/details") else Airflow([dag("shop.a")])(request)

    with pytest.raises(ComponentDownError, match="not as Airflow 3 does"):
        state(odd, {}, "shop.a")
