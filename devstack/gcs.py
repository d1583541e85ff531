"""An emulator of Google Cloud Storage: fake-gcs-server, which honours generation preconditions, with objects as files on disk."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from devstack.component import Component, Start
from devstack.layout import Layout, Settings

BUCKET = "headrace"  # there from the beginning
_PROBE_TIMEOUT_S = 2.0


def gcs(layout: Layout, settings: Settings, *, binary: Path) -> Component:
    """The emulator. binary: fake-gcs-server."""
    port = settings.ports.gcs
    root = layout.data / "gcs"

    def prepare() -> Start:
        (root / BUCKET).mkdir(parents=True, exist_ok=True)
        return Start(command=command(binary, port, "-backend", "filesystem", "-filesystem-root", str(root)), start_id="gcs")

    return Component(
        name="gcs",
        ports={"gcs": port},
        url=f"http://localhost:{port}",
        log=layout.logs / "gcs.log",
        prepare=prepare,
        ready=lambda _: answers(port),
    )


def command(binary: Path, port: int, *more: str) -> list[str]:
    """The emulator on this port of 127.0.0.1."""
    options = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", f"http://127.0.0.1:{port}")
    return [str(binary), *options, "-log-level", "warn", *more]


def answers(port: int) -> bool:
    """Whether the emulator answers there; not only whether something listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/storage/v1/b", timeout=_PROBE_TIMEOUT_S) as answer:
            return b"storage#buckets" in answer.read()
    except OSError:
        return False
