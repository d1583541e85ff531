"""Temporary folders that are gone after their run, however it ended.

Beam leaves folders of its own in ``/tmp``: one for each pipeline whose graph was not built to its end, one for each submission, and
all of them where the process is killed. So a run gives Beam a folder, as ``tempfile`` and to processes that it starts, and removes
that. The folder of a process that was killed is removed by the next run: it is locked as long as its process lives.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "headrace-run-"
_YOUNG_S = 60  # between its creation and its lock a folder belongs to nobody


@contextmanager
def removed_folder() -> Iterator[Path]:
    """A folder that is removed after the block; before it, those that killed processes of this user left."""
    place = Path(tempfile.gettempdir())
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    held = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


@contextmanager
def temporary_files_removed() -> Iterator[None]:
    """What this process, and those that it starts, put into the temporary folder during the block is removed after it."""
    before, told = tempfile.tempdir, os.environ.get("TMPDIR")
    with removed_folder() as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
            if told is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = told


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another run has removed it just now
            found = folder.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG_S:
                continue
            held = _locked(folder)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def _locked(folder: Path) -> int | None:
    """A handle that keeps the folder for this process; None where another one has it, or it is no folder."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
