"""A schema registry for tests: it speaks Confluent's REST API, rejects what is incompatible, and fails on demand.

In memory, on a free port of 127.0.0.1.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

_PROMOTED = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}}
_SPACE = UUID(int=0)


class SchemaRegistry:
    """The registry and its faults.

    schemas: by id. subjects: by name, ids of their versions. script: what the next answers are instead: a status, "hang", "reset"
    or "html". down: every answer is 503. login: what it wants as Authorization. asked: paths, in order.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.deleted: set[str] = set()
        self.modes: dict[str, str] = {}
        self.script: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.down = False
        self.login: str | None = None
        self.asked: list[str] = []
        self.url = ""

    def put(self, subject: str, schema: Any, kind: str = "AVRO", references: list[dict[str, Any]] | None = None) -> int:
        """Register a schema whatever is there; its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        document = {"schema": text, "schemaType": kind, "references": references or []}
        number = next((n for n, known in self.schemas.items() if known == document), len(self.schemas) + 1)
        self.schemas[number] = document
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def guid(self, number: int) -> UUID:
        """The GUID of a schema."""
        return uuid5(_SPACE, self.schemas[number]["schema"])

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:  # noqa: PLR0911 - a table
        """Status and document."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match method, *parts:
            case "GET", "schemas", "types":
                return 200, ["AVRO", "JSON", "PROTOBUF"]
            case "GET", "schemas", "ids", number:
                found = self.schemas.get(int(number))
                return (200, found) if found else _missing(40403, "Schema")
            case "GET", "schemas", "ids", number, "versions":
                versions = [
                    {"subject": s, "version": ids.index(int(number)) + 1} for s, ids in self.subjects.items() if int(number) in ids
                ]
                return (200, versions) if int(number) in self.schemas else _missing(40403, "Schema")
            case "GET", "schemas", "guids", guid:
                chosen = next((n for n in self.schemas if str(self.guid(n)) == guid), None)
                return (200, self.schemas[chosen]) if chosen else _missing(40403, "Schema")
            case "GET", "subjects":
                return 200, sorted(self.subjects.keys() - self.deleted)
            case _, "subjects", subject, "versions", *version:
                return self._subject(method, subject, version, query, body)
            case _, "config", subject:
                if method == "PUT":
                    self.modes[subject] = body["compatibility"]
                    return 200, body
                return (200, {"compatibilityLevel": self.modes[subject]}) if subject in self.modes else _missing(40408, "Mode")
            case "POST", "compatibility", "subjects", subject, "versions", *latest:
                if subject not in self.subjects:
                    return _missing(40401, "Subject")
                asked_about = self.subjects[subject][-1:] if latest else self.subjects[subject]  # whatever the mode, as Apicurio
                why = self._misfits(subject, json.loads(body["schema"]), asked_about)
                return 200, {"is_compatible": not why, "messages": why}
        return 404, None

    def _subject(  # noqa: PLR0911 - as above
        self, method: str, subject: str, version: list[str], query: str, body: Any
    ) -> tuple[int, Any]:
        if method == "POST":
            try:
                schema = json.loads(body["schema"])
            except ValueError:
                return 422, {"error_code": 42201, "message": "Invalid schema"}
            ids = self.subjects.get(subject, [])
            against = ids if self.modes.get(subject, "").endswith("TRANSITIVE") else ids[-1:]
            if why := self._misfits(subject, schema, against):
                return 409, {"error_code": 409, "message": f"Schema being registered is incompatible: {why}"}
            return 200, {"id": self.put(subject, body["schema"], body.get("schemaType", "AVRO"))}
        if subject not in self.subjects or (subject in self.deleted and "deleted=true" not in query):
            return _missing(40401, "Subject")
        ids = self.subjects[subject]
        if not version:
            return 200, list(range(1, len(ids) + 1))
        if int(version[0]) > len(ids):
            return _missing(40402, "Version")
        number = ids[int(version[0]) - 1]
        return 200, {"subject": subject, "version": int(version[0]), "id": number, **self.schemas[number]}

    def _misfits(self, subject: str, schema: Any, against: list[int]) -> list[str]:
        mode = self.modes.get(subject, "BACKWARD")
        found: list[str] = []
        for number in against:
            before = json.loads(self.schemas[number]["schema"])
            if mode.startswith(("BACKWARD", "FULL")):
                found += _unreadable(schema, before, "")
            if mode.startswith(("FORWARD", "FULL")):
                found += _unreadable(before, schema, "")
        return found


def _missing(code: int, what: str) -> tuple[int, Any]:
    return 404, {"error_code": code, "message": f"{what} not found"}


def _unreadable(reader: Any, writer: Any, path: str) -> list[str]:
    """Why a reader cannot read what a writer writes: the rules of Avro's "Schema Resolution" that the tests need."""
    if isinstance(writer, list):
        return [why for branch in writer for why in _unreadable(reader, branch, path)]
    if isinstance(reader, list):
        tried = [_unreadable(branch, writer, path) for branch in reader]
        return [] if [] in tried else [f"MISSING_UNION_BRANCH at {path or '/'}"]
    kinds = [kind["type"] if isinstance(kind, dict) else kind for kind in (reader, writer)]
    if kinds[0] != kinds[1]:
        return [] if kinds[0] in _PROMOTED.get(kinds[1], set()) else [f"TYPE_MISMATCH at {path or '/'}"]
    if kinds[0] == "enum":
        lacking = set(writer["symbols"]) - set(reader["symbols"])
        return [f"MISSING_ENUM_SYMBOLS at {path}"] if lacking and "default" not in reader else []
    if kinds[0] != "record":
        return []
    written = {field["name"]: field for field in writer["fields"]}
    found: list[str] = []
    for field in reader["fields"]:
        if field["name"] in written:
            found += _unreadable(field["type"], written[field["name"]]["type"], f"{path}/{field['name']}")
        elif "default" not in field:
            found.append(f"READER_FIELD_MISSING_DEFAULT_VALUE: {field['name']}")
    return found


@contextmanager
def schema_registry() -> Iterator[SchemaRegistry]:
    """A registry that runs while the block does."""
    registry = SchemaRegistry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            parts = urlsplit(self.path)
            registry.asked.append(parts.path)
            fault = 503 if registry.down else registry.script.pop(0) if registry.script else None
            if fault == "hang":
                time.sleep(3)
            if fault == "reset":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if registry.login and self.headers.get("Authorization") != registry.login:
                fault = 401
            kind = "application/vnd.schemaregistry.v1+json"
            if isinstance(fault, int):
                status, document = fault, {"error_code": fault * 100 + 1, "message": "on demand"}
            else:
                status, document = registry.answer(self.command, parts.path, parts.query, body)
            content = b"" if document is None else json.dumps(document).encode()
            if fault == "html":
                content, kind = b"<html>sign in</html>", "text/html"
            self.send_response(status)
            for name, value in registry.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = respond

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
