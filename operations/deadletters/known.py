"""Whether the names of a selection mean anything: a misspelt one selects nothing, which must not pass for nothing to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from contracts.errors import ConfigurationError
from contracts.spec.model import name_and_major
from contracts.spec.project import Project
from lake.location import Lake
from operations.deadletters.close import count_selected
from operations.deadletters.selection import LetterSelection
from operations.deadletters.states import STATES


def refuse_unknown(lake: Lake, project: Project, selection: LetterSelection) -> None:
    """Refuse sources and datasets that neither the project nor any letter knows. Of what is in the project no letter is read.

    Raises:
        ConfigurationError: there is one; names the nearest.
    """
    sources = {*project.source_names, *project.destination_names}
    _refuse("source", selection.sources, sources.__contains__, lambda: sources | _of_letters(lake, "source"))
    _refuse("dataset", selection.datasets, lambda name: _has_contract(project, name), lambda: _of_letters(lake, "dataset"))


def _refuse(kind: str, names: Iterable[str], known: Callable[[str], bool], every: Callable[[], set[str]]) -> None:
    unknown = [name for name in names if not known(name)]
    if not unknown:
        return
    there = sorted(every())
    for name in unknown:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is: {', '.join(there) or 'none'}."
            raise ConfigurationError(f"--{kind} {name}: neither the project nor a dead letter is of it; {hint}")


def _has_contract(project: Project, dataset: str) -> bool:
    try:
        project.contract_path(*name_and_major(dataset))
    except ConfigurationError:
        return False
    return True


def _of_letters(lake: Lake, column: str) -> set[str]:
    return set(count_selected(lake, LetterSelection(states=STATES), column))
