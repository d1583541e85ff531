"""A login of a REST catalog comes from the environment, as pyiceberg names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.support.processes import ROOT

_OPEN = "from lake.catalogs import open_catalog; open_catalog('rest+http://127.0.0.1:{port}', warehouse='file:///lake/warehouse')"


def test_a_token_of_the_environment_goes_out_and_an_address_of_it_does_not_count() -> None:
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            body = json.dumps({"defaults": {}, "overrides": {}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = {"PYICEBERG_CATALOG__HEADRACE__TOKEN": "abc", "PYICEBERG_CATALOG__HEADRACE__URI": "http://127.0.0.1:1"}
        command = [sys.executable, "-c", _OPEN.format(port=server.server_port)]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert asked == [("/v1/config?warehouse=file%3A%2F%2F%2Flake%2Fwarehouse", "Bearer abc")]
