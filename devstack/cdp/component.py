"""The CDP endpoint as a component of the stack. Imports nothing of the extra ``cdp``."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import urllib.request
from pathlib import Path

from contracts.errors import ConfigurationError
from devstack.component import Component, Start
from devstack.layout import Layout, Settings

DEFAULT_KEY_NAME, WRITE_KEY = "dev", "dev-write-key"
_ROOT = Path(__file__).parents[2]  # what devstack is imported from
_PROBE_TIMEOUT_S = 2.0


def cdp(layout: Layout, settings: Settings) -> Component:
    """The endpoint, run by the interpreter that runs this."""
    port = settings.ports.cdp

    def prepare() -> Start:
        data = layout.data / "cdp"
        command = [sys.executable, "-m", "devstack.cdp", "--port", str(port), "--data", str(data)]
        return Start(command=[*command, "--write-key", f"{DEFAULT_KEY_NAME}={WRITE_KEY}"], start_id="cdp")

    return Component(
        name="cdp",
        ports={"cdp": port},
        url=f"http://localhost:{port}",
        log=layout.logs / "cdp.log",
        prepare=prepare,
        ready=lambda _: answers(port),
        env={"PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))},
    )


def missing_packages() -> str | None:
    """What is not installed and how to install it; None if all of it is."""
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    return f"the CDP endpoint needs {' and '.join(missing)}: pip install 'headrace[cdp]'" if missing else None


def check_installed() -> None:
    """Look for the packages of the extra.

    Raises:
        ConfigurationError: one is missing.
    """
    if problem := missing_packages():
        raise ConfigurationError(problem)


def answers(port: int) -> bool:
    """Whether the endpoint answers there; not only whether something listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_control/counters", timeout=_PROBE_TIMEOUT_S) as answer:
            return "events_accepted" in json.load(answer)
    except (OSError, ValueError):
        return False
