"""What an Airflow has, by its REST interface (version 2, of Airflow 3): DAGs, pools and import errors. Asks, and changes nothing.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from contracts.bounded_http import BoundedTransport, TooLargeError, read_bounded
from contracts.errors import ComponentDownError, ConfigurationError
from contracts.version import VERSION
from operations.drift.dags import AirflowDag, AirflowPool, AirflowState
from operations.drift.differences import without_secrets

ADDRESS = "HEADRACE_AIRFLOW_URL"
TOKEN, USER, PASSWORD = "HEADRACE_AIRFLOW_TOKEN", "HEADRACE_AIRFLOW_USER", "HEADRACE_AIRFLOW_PASSWORD"
_TIMEOUT_S, _MOST_BYTES = 20.0, 32 << 20
_PAGE, _MOST_PAGES = 100, 1_000  # Airflow gives no more at once unless api.maximum_page_limit says so


class AirflowRest:
    """Questions to one Airflow.

    Args:
        address: where its pages are, with a path where it has one.
        environ: holds the credentials: a token, or user and password; without any it is asked as one that lets everybody in.
        state_mark: what begins the line of a DAG's documentation that says of which description it was made.
        transport: what carries the requests; None: sockets.

    Raises:
        ConfigurationError: the address is no URL.
    """

    def __init__(
        self,
        address: str,
        state_mark: str,
        *,
        environ: Mapping[str, str] = os.environ,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.where = without_secrets(address).rstrip("/")
        try:
            url = httpx.URL(address.rstrip("/"))
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigurationError(f"Airflow's address {self.where!r}: expected http(s)://HOST:PORT, where its pages are")
        if url.userinfo:
            raise ConfigurationError(f"Airflow's address {self.where}: user and password belong into {USER} and {PASSWORD}")
        self._mark, self._environ, self._base = state_mark, environ, str(url)
        self._http = httpx.Client(
            headers={"User-Agent": f"headrace/{VERSION}", "Accept": "application/json", "Accept-Encoding": "identity"},
            transport=transport or BoundedTransport(url, timeout_s=_TIMEOUT_S, connections=1),
            follow_redirects=False,
        )

    def state(self, tag: str, detailed: Collection[str]) -> AirflowState:
        """What it has.

        Args:
            tag: only of DAGs with this tag.
            detailed: DAGs of which the description is asked for too.

        Raises:
            ComponentDownError: it does not answer, or not as Airflow does.
            ConfigurationError: it refuses who asks.
        """
        self._http.headers["Authorization"] = f"Bearer {self._token()}"
        dags = [_dag(entry) for entry in self._all("/dags", "dags", tags=tag, exclude_stale="false", order_by="dag_id")]
        dags = [self._detailed(dag) if dag.dag_id in detailed and not dag.is_stale else dag for dag in dags]
        try:
            pools = {
                str(pool["name"]): AirflowPool(int(pool["slots"]), bool(pool.get("include_deferred")))
                for pool in self._all("/pools", "pools", order_by="id")
            }
            errors = [(str(e["filename"]), _last_line(e.get("stack_trace"))) for e in self._all("/importErrors", "import_errors")]
        except (KeyError, TypeError, ValueError):
            raise self._odd() from None
        return AirflowState(where=self.where, dags=dags, pools=pools, import_errors=errors)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _odd(self) -> ComponentDownError:
        return ComponentDownError(f"Airflow at {self.where}: answers, but not as Airflow 3 does; is the address right?")

    def _detailed(self, dag: AirflowDag) -> AirflowDag:
        document = self._asked("GET", f"/api/v2/dags/{quote(dag.dag_id, safe='')}/details")
        if not isinstance(document, dict):
            raise self._odd()
        lines = str(document.get("doc_md") or "").splitlines()
        state = next((line.removeprefix(self._mark).strip() for line in lines if line.startswith(self._mark)), "")
        return AirflowDag(**{**vars(dag), "state": state})

    def _all(self, path: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        """Entries of all pages; the count that Airflow tells beside them was wrong before (apache/airflow#67550)."""
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            page = self._asked("GET", f"/api/v2{path}", {**query, "limit": str(_PAGE), "offset": str(len(seen))})
            entries = page.get(key) if isinstance(page, dict) else None
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise self._odd()
            fresh = [entry for entry in entries if json.dumps(entry, sort_keys=True) not in seen]
            seen |= {json.dumps(entry, sort_keys=True) for entry in fresh}
            yield from fresh
            if not fresh or len(entries) < _PAGE:
                return

    def _token(self) -> str:
        if token := self._environ.get(TOKEN):
            return token
        user, password = self._environ.get(USER), self._environ.get(PASSWORD)
        if bool(user) != bool(password):
            raise ConfigurationError(f"Airflow at {self.where}: {USER} and {PASSWORD} come together")
        given = {"username": user, "password": password} if user else None
        answer = self._asked("POST" if given else "GET", "/auth/token", body=given)
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise self._odd()
        return str(answer["access_token"])

    def _asked(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        try:
            with self._http.stream(method, f"{self._base}{path}", params=query, json=body) as response:
                received = read_bounded(response, _MOST_BYTES)
        except TooLargeError:
            raise ComponentDownError(f"Airflow at {self.where}: an answer of more than {_MOST_BYTES >> 20} MB") from None
        except httpx.RequestError as error:
            raise ComponentDownError(
                f"Airflow at {self.where} does not answer ({type(error).__name__}); is it running, and the address right?"
            ) from None
        if response.status_code in (401, 403):
            raise ConfigurationError(
                f"Airflow at {self.where}: it refuses who asks ({response.status_code}); set {TOKEN}, or {USER} and {PASSWORD}"
            )
        if not response.is_success:
            raise ComponentDownError(f"Airflow at {self.where}: answers {response.status_code} to {path}; is the address right?")
        try:
            return json.loads(received)
        except ValueError:
            raise self._odd() from None


def _dag(entry: Mapping[str, Any]) -> AirflowDag:
    return AirflowDag(
        dag_id=str(entry.get("dag_id")),
        is_paused=bool(entry.get("is_paused")),
        is_stale=bool(entry.get("is_stale")),
        tags=frozenset(str(tag.get("name")) for tag in entry.get("tags") or () if isinstance(tag, dict)),
        file=str(entry.get("relative_fileloc") or entry.get("fileloc") or ""),
    )


def _last_line(trace: Any) -> str:
    """What is wrong; the lines before say where."""
    lines = [line.strip() for line in str(trace or "").splitlines() if line.strip()]
    return without_secrets(lines[-1]) if lines else "it does not say why"
