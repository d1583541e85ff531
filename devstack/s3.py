"""A stand-in for S3: moto's server, which keeps conditions on writes. Its objects are in memory and end with it."""

from __future__ import annotations

import importlib.util
import sys
import urllib.request

from contracts.errors import ConfigurationError
from devstack.component import Component, Start
from devstack.layout import Layout, Settings

BUCKET = "headrace"  # there as soon as it is ready
_PROBE_TIMEOUT_S = 2.0


def s3(layout: Layout, settings: Settings) -> Component:
    """The stand-in, run by the interpreter that runs this."""
    port = settings.ports.s3

    def prepare() -> Start:
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask_cors") is None:
            raise ConfigurationError("the stand-in for S3 needs moto: pip install 'moto[server,s3]'")
        return Start(command=command(port), start_id="s3")

    return Component(
        name="s3",
        ports={"s3": port},
        url=f"http://localhost:{port}",
        log=layout.logs / "s3.log",
        prepare=prepare,
        ready=lambda _: answers(port) and _make_bucket(port),
    )


def command(port: int) -> list[str]:
    """The server on this port of 127.0.0.1."""
    return [sys.executable, "-m", "devstack.moto_server", str(port)]


def answers(port: int) -> bool:
    """Whether moto answers there; not only whether something listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=_PROBE_TIMEOUT_S) as answer:
            return bool(answer.read())
    except OSError:
        return False


def _make_bucket(port: int) -> bool:
    """Make the bucket; one that is there stays as it is."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT_S):
            return True
    except OSError:
        return False


def variables(address: str) -> dict[str, str]:
    """What lets ``s3://`` mean it."""
    return {"AWS_ENDPOINT_URL_S3": address, "AWS_ACCESS_KEY_ID": "dev", "AWS_SECRET_ACCESS_KEY": "dev", "AWS_REGION": "us-east-1"}
