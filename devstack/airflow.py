"""Airflow: API server, scheduler, DAG processor and triggerer, a process each, on SQLite, of an environment of its own.

Nothing listens but the API server, on loopback. Airflow's servers of log files listen on all addresses, so they are left out: all
processes write into one folder, and the API server reads it there. Who reaches loopback is its administrator.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from contracts.errors import ComponentDownError, ConfigurationError
from devstack.component import Component, Start
from devstack.layout import Layout, Settings

ENVIRONMENT = "HEADRACE_STACK_AIRFLOW"  # folder of the environment with Airflow
API = "airflow-api"
PROCESSES = (API, "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
DEADLINE_S = 300.0  # to be ready: it makes a database first, and imports for a quarter of a minute
_ROOT = Path(__file__).parents[1]
_COMMANDS = {
    API: ("api-server",),
    "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
    "airflow-dag-processor": ("dag-processor",),
    "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
}
_HEALTH = {"airflow-scheduler": "scheduler", "airflow-dag-processor": "dag_processor", "airflow-triggerer": "triggerer"}
_PLUGIN = "from templates.airflow.plugin import HeadracePlugin  # noqa: F401\n"
_PROBE_TIMEOUT_S = 5.0
_DATABASE, _WAITING = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", ("connect_args", "connect_args_async")
# After so many seconds a scheduler that is only slow takes its tasks for orphans, and may end by it: SQLite locks no rows, and of a
# StaleDataError there Airflow 3.3 goes no way back (apache/airflow#63926 mended another place of it).
_BELIEVED_GONE = "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD"


def airflow(layout: Layout, settings: Settings) -> tuple[Component, ...]:
    """Its processes, in the order in which they are of use."""
    return tuple(_component(layout, settings.ports.airflow, name) for name in PROCESSES)


def home(layout: Layout) -> Path:
    """Database, logs, plugins."""
    return layout.data / "airflow"


def dags_folder(layout: Layout) -> Path:
    """Where it looks for DAGs; ``headrace airflow build --out FOLDER/NAME`` puts a project's there."""
    return home(layout) / "dags"


def address(port: int) -> str:
    """Of pages and API."""
    return f"http://localhost:{port}"


def binary(environ: Mapping[str, str] = os.environ) -> Path:
    """The command ``airflow``.

    Raises:
        ConfigurationError: its environment is not there.
    """
    folder = Path(environ.get(ENVIRONMENT) or _ROOT / ".cache" / "airflow-venv")
    if not (folder / "bin" / "airflow").is_file():
        raise ConfigurationError(
            f"no Airflow in {folder}; make airflow makes that environment, or {ENVIRONMENT} names the folder of another one"
        )
    return folder / "bin" / "airflow"


def _component(layout: Layout, port: int, name: str) -> Component:
    def prepare() -> Start:
        command = binary()
        _migrate(layout, port, command)
        return Start(command=[str(command), *_COMMANDS[name]], start_id=name)

    return Component(
        name=name,
        ports={"airflow": port} if name == API else {},
        url=address(port) if name == API else "",
        log=layout.logs / f"{name}.log",
        prepare=prepare,
        ready=lambda _: _ready(port, name),
        env=variables(layout, port),
    )


def variables(layout: Layout, port: int) -> dict[str, str]:
    """The settings of all its processes."""
    base = f"http://127.0.0.1:{port}"
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    manager = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
    given = {
        ("core", "load_examples"): "False",
        ("core", "dags_folder"): str(dags_folder(layout)),
        ("core", "plugins_folder"): str(home(layout) / "plugins"),
        ("core", "parallelism"): "2",  # it forks as many workers; by default 32
        ("core", "execution_api_server_url"): f"{base}/execution/",
        ("core", "auth_manager"): manager,
        ("core", "simple_auth_manager_all_admins"): "True",
        ("api", "host"): "127.0.0.1",
        ("api", "port"): str(port),
        ("api", "base_url"): address(port),
        ("api", "workers"): "1",
        ("api_auth", "jwt_secret_cmd"): f"cat {shlex.quote(str(_secret(layout)))}",
        ("dag_processor", "refresh_interval"): "5",
        ("scheduler", "enable_health_check"): "False",
        ("scheduler", "scheduler_health_check_threshold"): os.environ.get(_BELIEVED_GONE, "120"),
        ("usage_data_collection", "enabled"): "False",
        ("workers", "execution_api_timeout"): "60",
    }
    if _DATABASE not in os.environ:
        given |= {("database", f"sql_alchemy_{name}"): f"devstack.airflow_sqlite.{name.upper()}" for name in _WAITING}
    return {
        "AIRFLOW_HOME": str(home(layout)),
        "SPT_NOENV": "1",  # titles of its processes leave their environment readable, by which the stack finds them
        "PYTHONPATH": path,
        "HEADRACE_COMMAND": os.environ.get("HEADRACE_COMMAND") or f"{sys.executable} -m cli.main",
        **{f"AIRFLOW__{section.upper()}__{key.upper()}": value for (section, key), value in given.items()},
    }


def _secret(layout: Layout) -> Path:
    """The file of the secret by which its processes know each other."""
    return home(layout) / "secret"


def _migrate(layout: Layout, port: int, command: Path) -> None:
    """Make the database, once: four processes ask for it at the same moment."""
    folder = home(layout)
    for each in (folder / "plugins", dags_folder(layout)):
        each.mkdir(parents=True, exist_ok=True)
    (folder / "plugins" / "headrace_plugin.py").write_text(_PLUGIN, "utf-8")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "migrated"
        if done.exists():
            return
        _secret(layout).touch(0o600)
        _secret(layout).write_text(secrets.token_hex(32), "utf-8")
        ended = subprocess.run(
            [str(command), "db", "migrate"], env={**os.environ, **variables(layout, port)}, capture_output=True, check=False
        )
        if ended.returncode:
            (layout.logs / "airflow-migrate.log").write_bytes(ended.stdout + ended.stderr)
            raise ComponentDownError(f"Airflow's database was not made; see {layout.logs / 'airflow-migrate.log'}")
        done.touch()


def _ready(port: int, name: str) -> bool:
    health = health_of(port)
    return bool(health) if name == API else health.get(_HEALTH[name], {}).get("status") == "healthy"


def health_of(port: int) -> dict[str, dict[str, str]]:
    """What Airflow says of its parts; empty where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=_PROBE_TIMEOUT_S) as answer:
            found: dict[str, dict[str, str]] = json.load(answer)
            return found
    except (OSError, ValueError):
        return {}
