"""Programs of Beam that a run needs and that pip does not bring: Prism, and the job server for Flink.

Each is named by an environment variable, or lies in the folder of downloads, where ``headrace stack up`` puts it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from contracts.errors import ConfigurationError

FLINK_MINOR = "1.19"
BEAM_FLINK_RUNNER = "2.70.0"
PRISM = "2.77.0"
REVISION = "loopback"  # of what is made here of Flink, the job server and Prism; pieces of another one are not used

JOB_SERVER_FOLDER, JOB_SERVER_JAR = f"job-server-{FLINK_MINOR}-{BEAM_FLINK_RUNNER}-{REVISION}", "flink-job-server.jar"
PRISM_FOLDER, PRISM_BINARY = f"prism-{PRISM}-{REVISION}", "prism"
JAR_VARIABLE, PRISM_VARIABLE = "HEADRACE_JOB_SERVER_JAR", "HEADRACE_PRISM"
_ENV_HOME, _ENV_DOWNLOADS = "HEADRACE_STACK_HOME", "HEADRACE_STACK_DOWNLOADS"


def stack_home(environ: Mapping[str, str] = os.environ) -> Path:
    """``$HEADRACE_STACK_HOME``, else ``.cache/stack`` of the clone, else ``~/.cache/headrace/stack``."""
    if given := environ.get(_ENV_HOME):
        return Path(given).expanduser().absolute()
    clone = Path(__file__).parents[1]
    cache = clone / ".cache" if (clone / "Makefile").is_file() else Path.home() / ".cache" / "headrace"
    return cache / "stack"


def downloads_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """``$HEADRACE_STACK_DOWNLOADS``, else ``downloads`` of the stack's home."""
    given = environ.get(_ENV_DOWNLOADS)
    return Path(given).expanduser().absolute() if given else stack_home(environ) / "downloads"


def job_server_jar(downloads: Path | None = None) -> Path:
    """Beam's Flink job server: ``$HEADRACE_JOB_SERVER_JAR``, else that of the downloads; it need not be there."""
    given = os.environ.get(JAR_VARIABLE)
    return Path(given).absolute() if given else (downloads or downloads_folder()) / JOB_SERVER_FOLDER / JOB_SERVER_JAR


def prism(downloads: Path | None = None) -> Path:
    """Beam's Prism: ``$HEADRACE_PRISM``, else that of the downloads; it need not be there."""
    given = os.environ.get(PRISM_VARIABLE)
    return Path(given).absolute() if given else (downloads or downloads_folder()) / PRISM_FOLDER / PRISM_BINARY


def find_job_server(given: str | None = None) -> str:
    """The job server's jar: as given, else where it should be; never one that Beam downloads unchecked.

    Raises:
        ConfigurationError: there is none.
    """
    jar = Path(given) if given else job_server_jar()
    if not jar.is_file():
        raise ConfigurationError(
            f"no Beam job server, which submits to Flink, at {jar}: run headrace stack up --only job-server "
            f"(needs a JDK and Maven), or name a jar of yours in {JAR_VARIABLE}"
        )
    return str(jar)


def find_prism() -> str:
    """The Prism binary.

    Raises:
        ConfigurationError: there is none. Beam would download one, which nobody has checked and which listens on all interfaces.
    """
    binary = prism()
    if not binary.is_file():
        raise ConfigurationError(
            f"no Prism, which runs topics on this machine, at {binary}: run headrace stack up --only prism (needs Go), "
            f"or name a binary of yours in {PRISM_VARIABLE}"
        )
    return str(binary)
