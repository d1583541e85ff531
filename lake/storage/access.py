"""Who may read what a process writes: its user alone, or the user's group too. Others never.

The umask decides it, since pyiceberg, pyarrow, SQLite, Kafka and Flink write files as well. Processes inherit it and
``HEADRACE_FILES``, by which workers that a cluster starts are told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ENV_FILES = "HEADRACE_FILES"
GROUP = "group"
_PRIVATE_UMASK, _GROUP_UMASK = 0o077, 0o007


def keep_private(files: str | None = None) -> None:
    """Set it for this process and those that it starts. files: ``private`` or ``group``; None: as ``HEADRACE_FILES`` says."""
    if files is not None:
        os.environ[ENV_FILES] = files
    os.umask(_GROUP_UMASK if _shared(os.environ) else _PRIVATE_UMASK)


def make_root(folder: Path) -> None:
    """Make the folder that all others are in. With ``group`` what is made in it belongs to its group, whoever makes it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        folder.mkdir(exist_ok=True)  # fails where it is no folder
        return
    if _shared(os.environ):
        folder.chmod(0o2770)


def _shared(environ: Mapping[str, str]) -> bool:
    return environ.get(ENV_FILES) == GROUP
