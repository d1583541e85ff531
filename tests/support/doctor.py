"""``make doctor``: what the tests need beside Python packages, what is here, and how to install the rest.

``--check`` (``make test``) names what is missing: tests that need it are skipped locally; under ``CI=true`` that is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """Something that tests start. command: prints its version. required: today's tests need it."""

    name: str
    command: tuple[str, ...]
    install: str
    needed_by: str
    required: bool = True


TOOLS = (
    Tool(
        "Python 3.11",
        (sys.executable, "--version"),
        "apt-get install python3.11 python3.11-venv, or pyenv install 3.11",
        "everything",
    ),
    Tool("git", ("git", "--version"), "apt-get install git", "the packaging tests"),
    Tool("make", ("make", "--version"), "apt-get install make", "make test itself"),
    Tool(
        "JDK 17",
        ("java", "-version"),
        "apt-get install openjdk-17-jdk-headless",
        "headrace stack: Kafka and Flink",
    ),
    Tool("Maven", ("mvn", "--version"), "apt-get install maven", "headrace stack: fetching them"),
    Tool(
        "Go",
        ("go", "version"),
        "apt-get install golang-go, or go.dev/dl",
        "headrace stack: Beam's Prism runner, the storage emulator",
    ),
)


AIRFLOW = Tool(
    "Airflow",
    (
        os.environ.get("HEADRACE_AIRFLOW_PYTHON") or ".cache/airflow-venv/bin/python",
        "-c",
        "from importlib.metadata import version; print(version('apache-airflow'))",
    ),
    "make airflow",
    "DAGs and operators",
)
TOOLS = (*TOOLS, AIRFLOW)


def version_of(tool: Tool) -> str | None:
    """The first line that the tool says about itself; None where it is not there."""
    if shutil.which(tool.command[0]) is None:
        return None
    done = subprocess.run(tool.command, capture_output=True, text=True, check=False)
    first = (done.stdout or done.stderr).splitlines()[0]
    return re.sub(r"\x1b\[[0-9;]*m", "", first) if done.returncode == 0 else None


def missing_tools() -> list[Tool]:
    """Tools that the tests need and that are not here."""
    return [tool for tool in TOOLS if tool.required and version_of(tool) is None]


def main() -> None:
    """Print the list; with ``--check`` only what is missing."""
    missing = missing_tools()
    if "--check" not in sys.argv:
        for tool in TOOLS:
            found = version_of(tool)
            print(f"{'ok     ' if found else 'missing'}  {tool.name:12} {found or tool.install}  (for {tool.needed_by})")
        print("Python packages: make dev installs exactly those of requirements/*.lock")
    for tool in missing:
        print(f"missing: {tool.name}, for {tool.needed_by}; {tool.install}", file=sys.stderr)
    sys.exit(1 if missing and os.environ.get("CI") == "true" else 0)


if __name__ == "__main__":
    main()
