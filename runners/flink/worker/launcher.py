"""Writes the executable that ``--environment_config={"command": …}`` names.

Beam starts a command without arguments of ours and in any working directory, so all that it must know stands in a small file:
the interpreter, the boot script, and glibc's allocator settings, which have to be in the environment before Python starts.

On a machine of its own: ``python -m runners.flink.worker.launcher FOLDER`` with the interpreter that shall run the workers.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from runners.allocator import ENVIRONMENT
from runners.flink.worker import boot

NAME = "flink-worker"


def write_launcher(folder: Path, python: str | None = None) -> Path:
    """Write the launcher, unless it is there already.

    Args:
        folder: for the file; created.
        python: interpreter of the workers, None for this one. It must have the packages that the pipeline uses.

    Returns:
        The absolute path to give as ``command``.
    """
    exports = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
    command = " ".join(shlex.quote(str(word)) for word in (python or sys.executable, "-P", Path(boot.__file__).absolute()))
    text = f'#!/bin/sh\n# Starts one Beam SDK worker; written by headrace.\nexport {exports}\nexec {command} "$@"\n'
    path = folder.absolute() / NAME
    if not path.exists() or path.read_text("utf-8") != text or not os.access(path, os.X_OK):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{NAME}.{os.getpid()}.tmp")
        temporary.write_text(text, "utf-8")
        readable = temporary.stat().st_mode & 0o444
        temporary.chmod(readable | readable >> 2 | 0o200)  # for whom it may be read, it may be run
        temporary.replace(path)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m runners.flink.worker.launcher FOLDER")
    print(write_launcher(Path(sys.argv[1])))
