"""What the machine must have before anything is fetched or started: a JDK, and what builds or fetches the missing pieces."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from contracts.errors import ConfigurationError
from devstack.cdp.component import missing_packages
from devstack.versions import JDK_AT_LEAST

_TIMEOUT_S = 30
_NEED_JAVA = {"kafka", "flink", "job-server", "registry"}
_INSTALL = {
    "javac": f"a JDK {JDK_AT_LEAST} or newer, not the runtime alone: apt-get install openjdk-{JDK_AT_LEAST}-jdk-headless",
    "mvn": "Maven: apt-get install maven",
    "go": "Go 1.21 or newer: apt-get install golang-go, or https://go.dev/dl",
}


def check(components: Collection[str], *, tools: Collection[str], downloads: Path, need_bytes: int) -> None:
    """Look for everything that these components need, and name all that is missing.

    Args:
        components: what ``--only`` names.
        tools: commands that the pieces not fetched yet need.
        downloads: where they go.
        need_bytes: free space that they need there.

    Raises:
        ConfigurationError: something is missing; one sentence each, with how to install it.
    """
    problems = []
    if not sys.platform.startswith("linux"):
        problems.append("the local stack needs Linux (WSL 2 and a Linux container will do)")
    if _NEED_JAVA & set(components) and (problem := _java_problem()):
        problems.append(problem)
        tools = set(tools) - {"javac"}  # comes with it
    commands = {tool: javac() if tool == "javac" else tool for tool in sorted(tools)}
    absent = {tool: name for tool, name in commands.items() if shutil.which(name) is None}
    problems += [f"{name} is not on PATH; install {_INSTALL[tool]}" for tool, name in absent.items()]
    if "cdp" in components and (problem := missing_packages()):
        problems.append(problem)
    free = shutil.disk_usage(_existing(downloads)).free
    if free < need_bytes:
        problems.append(
            f"{downloads}: {free >> 20:,} MB are free, {need_bytes >> 20:,} MB are needed; "
            "make room, or set HEADRACE_STACK_DOWNLOADS to a folder elsewhere"
        )
    if problems:
        raise ConfigurationError("\n".join(problems))


def java() -> str:
    """The java command, as Beam looks for it too: of ``$JAVA_HOME``, else of PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else shutil.which("java") or "java"


def javac() -> str:
    """The compiler beside the java command."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "javac") if home else shutil.which("javac") or "javac"


def _java_problem() -> str | None:
    command = java()
    where = f"JAVA_HOME={os.environ['JAVA_HOME']}" if os.environ.get("JAVA_HOME") else "PATH"
    install = f"install a JDK {JDK_AT_LEAST} or newer: apt-get install openjdk-{JDK_AT_LEAST}-jdk-headless"
    if shutil.which(command) is None:
        return f"no java in {where}; {install}"
    version = _java_version(command)
    if version is None:
        return f"{command} does not say its version; {install}"
    if version < JDK_AT_LEAST:
        return f"{command} is Java {version}; {install}, or set JAVA_HOME to one"
    return None


@functools.cache
def _java_version(command: str) -> int | None:
    try:
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else None


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
