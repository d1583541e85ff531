"""Airflow for tests: the interpreter of its own environment, and what it says when a script of ours runs in it.

``make airflow`` makes the environment; ``HEADRACE_AIRFLOW_PYTHON`` names another one. Without one these tests are skipped, and with
CI=true ``make test`` fails because of it (tests/support/doctor.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).with_name("in_airflow")


def airflow_python() -> Path:
    """The interpreter; skips where there is none."""
    path = Path(os.environ.get("HEADRACE_AIRFLOW_PYTHON") or ROOT / ".cache" / "airflow-venv" / "bin" / "python")
    if not path.exists():
        pytest.skip("no environment with Airflow: make airflow")
    return path


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a process in Airflow's environment: no settings but ours, nothing outside of ``home``."""
    (home / "plugins").mkdir(parents=True, exist_ok=True)
    (home / "plugins" / "headrace_plugin.py").write_text("from templates.airflow.plugin import HeadracePlugin  # noqa: F401\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW", "HEADRACE_"))}
    return {
        **own,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": str(ROOT),
        "HEADRACE_COMMAND": f"{sys.executable} -m cli.main",
        **more,
    }


def in_airflow(script: str, home: Path, *arguments: str, **more: str) -> Any:
    """The JSON that one of the scripts prints as its last line."""
    done = subprocess.run(
        [str(airflow_python()), str(SCRIPTS / f"{script}.py"), *arguments],
        env=environment(home, **more), cwd=home, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout.splitlines()[-1])


Json = Mapping[str, Any]
