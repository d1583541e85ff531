"""One cluster's REST interface as HTTP: requests, repeats, and what an answer that is none means."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from contracts.errors import ComponentDownError, ConfigurationError, HeadraceError, UnknownJobError
from runners.flink.failures import first_line

_PAUSES_S = (0.2, 1.0)  # between the tries of a GET
_LATER = (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS)  # that a proxy says
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a cluster's address is never asked of a proxy


@dataclass(frozen=True)
class FlinkHttp:
    """Requests to one cluster. GETs are tried three times.

    address: HOST:PORT, or an http(s) URL. timeout_s: of one request.
    """

    address: str
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Check the address.

        Raises:
            ConfigurationError: it is neither HOST:PORT nor a URL.
        """
        try:
            parts = urlsplit(self.url)
            fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or "://" in self.address)
        except ValueError:
            fine = False
        if not fine:
            raise ConfigurationError(f"Flink's REST address {self.address!r}: expected HOST:PORT or http(s)://HOST:PORT")

    @property
    def url(self) -> str:
        """The address as a URL."""
        return (self.address if "://" in self.address else f"http://{self.address}").rstrip("/")

    def _get(self, path: str) -> Any:
        for pause_s in _PAUSES_S:
            with contextlib.suppress(ComponentDownError):
                return self._send("GET", path, None)
            time.sleep(pause_s)
        return self._send("GET", path, None)

    def _listed(self, path: str, key: str) -> list[Any]:
        """The list that stands in a document, as every Flink has it."""
        document = self._get(path)
        found = document.get(key) if isinstance(document, dict) else None
        if not isinstance(found, list):
            raise self._no_flink()
        return found

    def _send(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if data else {})
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with _OPENER.open(request, timeout=self.timeout_s) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, _read(error)) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            message = f"Flink at {self.address} does not answer ({reason}); is it running, and the address right?"
            raise ComponentDownError(message) from None
        try:
            return json.loads(text)
        except ValueError:
            raise self._no_flink() from None

    def _no_flink(self) -> ComponentDownError:
        """Something answers that is no Flink: a proxy before a cluster that is not up has answers of its own."""
        return ComponentDownError(f"{self.address} answers, but not as Flink's REST interface does; is the address right?")

    def _refused(self, code: int, text: bytes) -> HeadraceError:
        try:
            message = first_line(json.loads(text)["errors"])
        except (ValueError, KeyError, TypeError):
            if code == http.client.NOT_FOUND:  # not Flink's words, so nothing is told of a job
                return self._no_flink()
            message = f"HTTP {code}"
        if code in _LATER:
            return ComponentDownError(f"Flink at {self.address} cannot answer now: {message}")
        if code == http.client.NOT_FOUND:
            return UnknownJobError(f"Flink at {self.address}: {message}")
        if code >= http.client.INTERNAL_SERVER_ERROR:
            return ComponentDownError(f"Flink at {self.address} cannot answer now: {message}")
        return ConfigurationError(f"Flink at {self.address} refuses: {message}")


def _read(error: urllib.error.HTTPError) -> bytes:
    """What is said with a refusal; nothing, where it was cut off."""
    try:
        return error.read()
    except (OSError, http.client.HTTPException):
        return b""
