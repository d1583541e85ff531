"""A reader: a clone in which ``make demo`` was given, and a ``headrace`` that is imported once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.pages import COMMANDS_S, ROOT
from tests.support.warm_headrace import warm

_NOT_CLONED = {"build", "dist"}
_COMPILED = shutil.ignore_patterns("__pycache__")
_MADE = shutil.ignore_patterns("data", "lake", "lake-stream", "__pycache__")


@dataclass(frozen=True)
class Clone:
    """A clone after ``make demo``, what lies beside it, and what the demo said."""

    folder: Path
    said: str

    @property
    def webshop(self) -> Path:
        return self.folder / "examples" / "webshop"

    @property
    def lake(self) -> Path:
        return self.webshop / "lake"

    def renew(self) -> None:
        """Put the lake back as the demo left it: its tables name files by absolute path, so it keeps its place."""
        kept = self.folder.parent / "lake"
        if not kept.exists():
            shutil.copytree(self.lake, kept, symlinks=True)
            return
        shutil.rmtree(self.lake)
        shutil.copytree(kept, self.lake, symlinks=True)


@pytest.fixture(scope="package")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of this one, with the demo's full sample."""
    folder = tmp_path_factory.mktemp("readers") / "clone"
    folder.mkdir()
    for part in ROOT.iterdir():  # copies, since what a page writes may lie anywhere
        if part.is_file():
            shutil.copy(part, folder)
        elif part.name not in _NOT_CLONED and not part.name.startswith("."):
            shutil.copytree(part, folder / part.name, ignore=_MADE if part.name == "examples" else _COMPILED)
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "140"}
    command = [sys.executable, "-m", "examples.webshop.demo"]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=COMMANDS_S)
    made = Clone(folder, done.stdout)
    made.renew()
    return made


@pytest.fixture(scope="package")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where ``headrace`` is the real one, but imported once."""
    with warm(tmp_path_factory.mktemp("bin")) as found:
        yield found
