"""moto's server with one write at a time: by itself it looks at a condition and writes in two steps, and two writers may pass.

python -m devstack.moto_server PORT
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from threading import Lock
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


def main(port: int) -> None:
    """Serve on this port of 127.0.0.1 until it is ended."""
    application, writing = DomainDispatcherApplication(create_backend_app), Lock()

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)  # type: ignore[no-any-return]
        with writing:
            return list(application(environ, start_response))

    run_simple("127.0.0.1", port, serve, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
