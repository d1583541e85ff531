"""The client of Airflow where Airflow does not do as it was asked."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from contracts.errors import ComponentDownError
from devstack import airflow_api
from devstack.airflow_api import AirflowApi

MOST = 100  # entries, whatever is asked for


class LockedAirflow(BaseHTTPRequestHandler):
    """Its database is locked the first time: the backfill is begun, has no runs, and stays (apache/airflow#66726, #68705)."""

    backfills: dict[int, bool]  # whether it is open
    locked: int
    taken_back: bool

    def do_GET(self) -> None:
        if self.path.startswith("/auth"):
            return self.say(200, {"access_token": "t"})
        found = [{"id": number, "completed_at": None if is_open else "now"} for number, is_open in self.backfills.items()]
        query = {name: int(value) for name, (value,) in parse_qs(urlsplit(self.path).query).items() if name in ("offset", "limit")}
        page = found[query["offset"] :][: min(query["limit"], MOST)]
        return self.say(200, {"backfills": page})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if any(self.backfills.values()):
            return self.say(409, {"detail": "There is already a running backfill"})
        self.backfills[len(self.backfills)] = True
        if type(self).locked:
            type(self).locked -= 1
            return self.say(503, {"detail": "database is locked"})
        return self.say(200, {"id": max(self.backfills)})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.backfills[int(self.path.split("/")[-2])] = False
        self.say(*((404, {"detail": "Backfill not found"}) if self.taken_back else (200, {})))

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say(200, {})

    def say(self, status: int, document: Any) -> None:
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowApi]:
    monkeypatch.setattr(airflow_api, "_POLL_S", 0.01)
    LockedAirflow.backfills, LockedAirflow.locked, LockedAirflow.taken_back = {}, 2, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), LockedAirflow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield AirflowApi(f"http://localhost:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_backfill_that_could_not_be_written_does_not_refuse_the_next(api: AirflowApi) -> None:
    number = api.backfill("d", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert api.open_backfills("d") == {number} == {2}


def test_one_that_airflow_takes_back_between_two_looks_is_no_failure(api: AirflowApi) -> None:
    LockedAirflow.taken_back = True
    assert api.backfill("d", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z") == 2


def test_an_airflow_that_gives_no_answer_is_told(api: AirflowApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise httpx.ReadTimeout("")

    monkeypatch.setattr(httpx.Client, "request", never)
    with pytest.raises(ComponentDownError, match=r"gave no answer to GET /api/v2/dags \(ReadTimeout"):
        api.dag_ids()


@pytest.mark.parametrize(("asked_s", "tried_s", "waits_s"), [(600, 600, 0), (600, 1, 4), (2, 2, 3)])
def test_an_answer_is_given_some_seconds_after_the_try_began_that_asks(
    api: AirflowApi, asked_s: int, tried_s: int, waits_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("devstack.airflow_api.time.sleep", slept.append)
    now = datetime.now(UTC)
    asked, tried = ((now - timedelta(seconds=s)).isoformat() for s in (asked_s, tried_s))
    task = {"dag_id": "d", "dag_run_id": "r", "task_id": "t", "start_date": tried}
    api.answer({"created_at": asked, "task_instance": task}, "Approve")
    assert slept == [pytest.approx(waits_s, abs=0.5)]


def test_a_backfill_of_somebody_else_is_left_alone(api: AirflowApi) -> None:
    LockedAirflow.backfills[0] = True
    with pytest.raises(ComponentDownError, match="409"):
        api.backfill("d", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert api.open_backfills("d") == {0}


def test_lists_are_whole_though_airflow_gives_a_hundred_entries_at_once(api: AirflowApi) -> None:
    LockedAirflow.backfills |= dict.fromkeys(range(3 * MOST), True)
    assert api.open_backfills("d") == set(range(3 * MOST))
    LockedAirflow.backfills[3 * MOST] = True
    assert api.open_backfills("d") == set(range(3 * MOST + 1))
