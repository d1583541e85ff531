"""What is wrong with a file that a user wrote: sentences with the line, all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.spec.yaml_files import Document, Place


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. told: ``key: what is wrong; what to do``."""

    line: int
    told: str


class ProblemsError(ConfigurationError):
    """A file that cannot be used, with its problems one by one."""

    def __init__(self, what: str, path: Path, problems: Iterable[Problem]) -> None:
        self.path, self.problems = path, tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n  - ".join([f"{what} {path}:", *(f"{path.name}:{p.line}: {p.told}" for p in self.problems)]))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[str]]:
        return ConfigurationError, (str(self),)


def refuse(what: str, document: Document, found: Sequence[str | tuple[str, Place]]) -> None:
    """Raise where something does not fit.

    Args:
        what: the file is, in the words of messages.
        document: of the file.
        found: sentences, with the place in the file, or beginning with its key.
    """
    if found:
        placed = [one if isinstance(one, tuple) else (one, place_of(one)) for one in found]
        raise ProblemsError(what, document.path, [Problem(document.line(place), told) for told, place in placed])


def place_of(told: str) -> Place:
    """Where a sentence says that it is of: ``columns: kind: …``, ``columns.kind: …`` or ``filter[0]: …``."""
    keys, steps = told.split(": "), []
    for key in keys[:-1]:
        if " " in key:
            break
        steps += [int(step) if step.isdigit() else step for step in key.replace("]", "").replace("[", ".").split(".")]
    return tuple(steps)
