"""Airflow's REST API, as far as the demo and the tests speak it; each call of its command line costs ten seconds of CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from contracts.errors import ComponentDownError

ENDED = frozenset({"success", "failed"})
_TIMEOUT_S = 180.0  # a busy machine took more than 60
_POLL_S = 1.0
_PAGE = 100  # as many entries as Airflow gives at once, whatever is asked for (api.maximum_page_limit)
_BUSY, _BUSY_S = 503, 60.0
_STANDS_S = 5.0


class AirflowApi:
    """A client of the local Airflow, where everybody is its administrator. address: ``http://localhost:PORT``."""

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=address.replace("localhost", "127.0.0.1"), timeout=_TIMEOUT_S, trust_env=False)
        self._http.headers["Authorization"] = f"Bearer {_checked(self._asked('GET', '/auth/token'))['access_token']}"

    def get(self, path: str, **query: Any) -> Any:
        """The document at a path below ``/api/v2``.

        Raises:
            ComponentDownError: it gave no answer, or refused.
        """
        return _checked(self._asked("GET", f"/api/v2{path}", params=query))

    def listed(self, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
        """All entries of a list, page by page. name: of the list in the document."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=_PAGE, offset=len(found), **query)[name]
            found += page
            if len(page) < _PAGE:
                return found

    def send(self, method: str, path: str, document: Any, before_again: Callable[[], None] = lambda: None) -> Any:
        """Send a document; the answer's. On SQLite Airflow answers 503 where another of its processes writes: sent again.

        Args:
            method: of the request.
            path: below ``/api/v2``.
            document: sent as JSON.
            before_again: what is done before it is sent again.

        Raises:
            ComponentDownError: it gave no answer, or refused; with Airflow's words.
        """
        until = time.monotonic() + _BUSY_S
        while (answer := self._asked(method, f"/api/v2{path}", json=document)).status_code == _BUSY:
            if time.monotonic() > until:
                break
            time.sleep(_POLL_S)
            before_again()
        return _checked(answer)

    def _asked(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise ComponentDownError(
                f"Airflow at {self._http.base_url} gave no answer to {method} {path} ({type(error).__name__}, limit "
                f"{_TIMEOUT_S:.0f} s); is it running, or the machine too busy?"
            ) from None

    def dag_ids(self) -> set[str]:
        """DAGs that it has read and that are there."""
        return {dag["dag_id"] for dag in self.listed("/dags", "dags")}

    def unpause(self, dag_id: str) -> None:
        """Let it run."""
        self.send("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": False})

    def make_pools(self, pools: Mapping[str, Mapping[str, Any]]) -> None:
        """Those of ``pools.json`` that are not there."""
        known = {pool["name"] for pool in self.listed("/pools", "pools")}
        for name, pool in pools.items():
            if name not in known:
                self.send("POST", "/pools", {"name": name, **pool})

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Run it by hand; the run's id. logical_date: of a run of an interval; all else are its params."""
        at = conf.pop("logical_date", None)
        made = self.send("POST", f"/dags/{quote(dag_id)}/dagRuns", {"logical_date": at, "conf": conf})
        return str(made["dag_run_id"])

    def backfill(self, dag_id: str, first: str, last: str, **more: Any) -> int:
        """As ``airflow backfill create``: the intervals that begin between the two, both included.

        A backfill that Airflow begins and cannot write to its end stays open without runs, and refuses all later ones of its DAG
        (apache/airflow#68705): it is cancelled.
        """
        before = self.open_backfills(dag_id)
        given = {"max_active_runs": 1, "reprocess_behavior": "none", "run_backwards": False, "dag_run_conf": {}, **more}

        def cancel_what_was_begun() -> None:
            for begun in self.open_backfills(dag_id) - before:
                try:
                    self.send("PUT", f"/backfills/{begun}/cancel", None)
                except ComponentDownError:
                    if begun in self.open_backfills(dag_id):  # else Airflow has taken it back itself
                        raise

        document = {"dag_id": dag_id, "from_date": first, "to_date": last, **given}
        return int(self.send("POST", "/backfills", document, cancel_what_was_begun)["id"])

    def open_backfills(self, dag_id: str) -> set[int]:
        """Those that are not complete; Airflow takes one of a DAG at a time."""
        found = self.listed("/backfills", "backfills", dag_id=dag_id)
        return {each["id"] for each in found if each["completed_at"] is None}

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Its runs, the oldest first."""
        return self.listed(f"/dags/{quote(dag_id)}/dagRuns", "dag_runs", order_by="id")

    def tasks(self, dag_id: str, run_id: str = "~") -> list[dict[str, Any]]:
        """Task instances of a run, or of all."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='~')}/taskInstances"
        return self.listed(path, "task_instances", order_by="id")

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State by task; of a mapped one by ``task[index]``."""
        return {
            one["task_id"] if one["map_index"] < 0 else f"{one['task_id']}[{one['map_index']}]": one["state"]
            for one in self.tasks(dag_id, run_id)
        }

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Let tasks of a run run again, with what follows them."""
        self.send(
            "POST",
            f"/dags/{quote(dag_id)}/clearTaskInstances",
            {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False, "include_downstream": True},
        )

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """As a user who marks a task."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{task_id}"
        self.send("PATCH", path, {"new_state": state})

    def waiting(self) -> list[dict[str, Any]]:
        """Questions that no person has answered."""
        found = self.listed("/dags/~/dagRuns/~/hitlDetails", "hitl_details", response_received=False)
        return [one for one in found if one["task_instance"]["state"] == "awaiting_input"]

    def answer(self, question: Mapping[str, Any], chosen: str, **given: str) -> None:
        """Answer one, some seconds after it was asked, as a person does.

        Airflow takes an answer within a second or two for a failure of the task, and asks again (apache/airflow#72716).
        """
        task = question["task_instance"]
        begun = [question["created_at"], task["start_date"]]  # the latter anew by each try
        asked = max(datetime.fromisoformat(at) for at in begun if at)
        time.sleep(max(0.0, _STANDS_S - (datetime.now(UTC) - asked).total_seconds()))
        path = f"/dags/{quote(task['dag_id'])}/dagRuns/{quote(task['dag_run_id'])}/taskInstances/{task['task_id']}/-1/hitlDetails"
        self.send("PATCH", path, {"chosen_options": [chosen], "params_input": given})

    def events(self) -> list[dict[str, Any]]:
        """Events of assets, the oldest first."""
        return self.listed("/assets/events", "asset_events", order_by="timestamp")

    def wait_run(self, dag_id: str, run_id: str, within_s: float) -> str:
        """The state in which a run ends."""
        return str(wait_until(lambda: next(r["state"] for r in self.runs(dag_id) if r["dag_run_id"] == run_id), ENDED, within_s))


def wait_until(state: Callable[[], Any], wanted: Any, within_s: float) -> Any:
    """Ask until the answer is among the wanted ones; gives it.

    Raises:
        ComponentDownError: it was not, in time.
    """
    until = time.monotonic() + within_s
    while (found := state()) not in wanted:
        if time.monotonic() > until:
            raise ComponentDownError(f"Airflow: waited {within_s:.0f} s, and it is {found!r}")
        time.sleep(_POLL_S)
    return found


def _checked(answer: httpx.Response) -> Any:
    """The document of an answer; None where it has none. Raises ComponentDownError: it is a refusal."""
    if answer.is_error:
        asked = answer.request
        raise ComponentDownError(f"Airflow refused {asked.method} {asked.url.path}: {answer.status_code} {answer.text[:500]}")
    return answer.json() if answer.content else None
