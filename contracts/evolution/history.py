"""Earlier states of a project's files, as git holds them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from contracts.errors import ConfigurationError
from contracts.evolution.changes import version_numbers
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract

T = TypeVar("T")
_GIT_S = 60.0


@dataclass(frozen=True)
class History:
    """A contract's earlier versions, the oldest first. notes: what could not be looked at, one sentence each."""

    contracts: tuple[Contract, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class GitHistory:
    """What a repository holds at a commit and before it.

    folder: somewhere in the working tree. ref: a branch, tag or commit, as the user wrote it.
    """

    folder: Path
    ref: str
    commit: str = field(init=False)
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        """Find the repository and the commit.

        Raises:
            ConfigurationError: there is no git, no repository, or no such commit.
        """
        inside = self.folder if self.folder.is_dir() else self.folder.parent
        self.root = inside
        top = self._run("rev-parse", "--show-toplevel")
        if top is None:
            raise ConfigurationError(
                f"{inside}: git finds no repository that it may read ({self._why}); run this in a clone, or compare two files: "
                "headrace contract diff A B"
            )
        self.root = Path(top.decode().rstrip("\n"))
        commit = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self.ref}^{{commit}}")
        if commit is None:
            raise ConfigurationError(
                f"git knows no commit {self.ref!r}; fetch it first (git fetch), or give a branch, tag or commit that git log shows"
            )
        self.commit = commit.decode().strip()

    @property
    def shallow(self) -> bool:
        """Whether the clone has been cut, so that older versions cannot be seen."""
        return (self._run("rev-parse", "--is-shallow-repository") or b"").strip() == b"true"

    def holds(self, path: Path) -> bool:
        """Whether a path lies in the repository's working tree."""
        return path.resolve().is_relative_to(self.root.resolve())

    def read(self, path: Path, load: Callable[[Path], T]) -> T | None:
        """A file as it was at the commit; None where it was not there.

        Raises:
            ConfigurationError: it was there, and cannot be read.
        """
        text = self._text(self.commit, self._inside(path))
        return None if text is None else self._loaded(text, path.name, self.commit, load)

    def files(self, folder: Path, ending: str) -> list[Path]:
        """Files of a folder at the commit, by where they would be in the working tree."""
        inside = self._inside(folder)
        listed = self._run(
            "ls-tree", "-z", "--name-only", "--end-of-options", self.commit, *([f"{inside}/"] if inside != "." else [])
        )
        names = (listed or b"").decode("utf-8", "surrogateescape").split("\0")
        return [self.root / name for name in names if name.endswith(ending)]

    def contracts(self, path: Path) -> History:
        """Every version that a contract had up to the commit; of each version number its last state, which is what was held to."""
        notes: list[str] = []
        states: dict[str, Contract] = {}
        for commit, inside in self._commits(path):  # the newest first
            text = self._text(commit, inside)
            if text is None:
                continue
            try:
                contract = self._loaded(text, Path(inside).name, commit, load_contract)
            except ConfigurationError as error:
                if commit == self.commit:
                    raise
                notes.append(f"not looked at, since it cannot be read: {str(error).splitlines()[0].rstrip(':')}")
                continue
            states.setdefault(contract.version, contract)
        if self.shallow:
            notes.append("the clone is shallow, so older versions are not looked at; fetch them (git fetch --unshallow)")
        contracts = list(reversed(states.values()))
        last = contracts[-1:]  # of the commit itself, whatever its number
        return History((*sorted(contracts[:-1], key=lambda c: version_numbers(c.version)), *last), tuple(notes))

    def _commits(self, path: Path) -> list[tuple[str, str]]:
        """Commits that changed a file, each with where it lay then; first of all the commit that is asked about."""
        inside = self._inside(path)
        log = self._run("log", "--follow", "--format=%x01%H", "--name-only", "-z", self.commit, "--", inside)
        found = [(self.commit, inside)] if self._text(self.commit, inside) is not None else []
        for entry in (log or b"").decode("utf-8", "surrogateescape").split("\x01"):
            commit, _, name = entry.partition("\0")
            name = name.strip("\0\n")
            if commit and name:
                found.append((commit, name))
        return found

    def _text(self, commit: str, inside: str) -> bytes | None:
        return self._run("cat-file", "blob", f"{commit}:{inside}")

    def _loaded(self, text: bytes, name: str, commit: str, load: Callable[[Path], T]) -> T:
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            path = Path(folder) / name
            path.write_bytes(text)
            try:
                return load(path)
            except ConfigurationError as error:
                raise ConfigurationError(str(error).replace(str(path), f"{name} at {commit[:10]}")) from None

    def _inside(self, path: Path) -> str:
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def _run(self, *arguments: str) -> bytes | None:
        """What git prints; None where it says no."""
        environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
        command: Sequence[str] = ("git", "-C", str(self.root), *arguments)
        try:
            done = subprocess.run(command, capture_output=True, timeout=_GIT_S, check=False, env=environment)
        except FileNotFoundError:
            raise ConfigurationError(
                "--against-git needs git, which is not on PATH; install it, or use contract diff A B"
            ) from None
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"git {arguments[0]} did not end within {_GIT_S:.0f} s") from None
        self._why = next(iter(done.stderr.decode("utf-8", "replace").splitlines()), "").removeprefix("fatal: ")
        return done.stdout if done.returncode == 0 else None

    _why: str = field(default="", init=False, repr=False)
