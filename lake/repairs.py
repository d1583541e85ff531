"""Repairs that were applied to raw records.

They are inputs of a lake, like the records themselves: whoever reads these again, such as a replay, repairs them again.

``repairs/source=S/<first>-<last>.json``: numbered documents, each put if absent, that say which recipe repairs which positions. Of
several that repair a rejected record the first holds by which it is accepted. Small documents are merged: the whole is there
before its parts go, and who lists them takes, of those that begin at the same number, the longest.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import ConfigurationError
from contracts.spec.recipes import Recipe
from contracts.units import utc_text
from lake.ledger.outcomes import runs_of
from lake.location import Lake
from lake.raw.positions import Ints, Positions

MERGE_AT = 64  # small documents
MERGED_BYTES = 4 << 20  # a document of this size is merged with no other
_NAME = re.compile(r"(\d{8})-(\d{8})\.json$")
_FIELDS = ("number", "recipe", "digest", "does", "by", "at", "reason", "token", "always", "above")
Wanted = Mapping[str, Ints]  # positions by raw file or log


@dataclass(frozen=True)
class Repair:
    """One recipe applied to some positions. number: of two for a position the lower holds. runs: by raw file or log.

    digest: what tells recipes apart. does: their texts and steps. by, at, reason: who did it, when and why. always: it holds of
    records that are acceptable too, such as those that lost against another, on top of what made them so; else of rejected ones
    alone. above: the newest repair that was known when it was made. Of two that always hold, the later comes on top of the earlier
    only if it knew it: where a rival was faster, that one holds.
    """

    number: int
    recipe: str
    digest: str
    does: Mapping[str, Any]
    runs: Mapping[str, tuple[int, ...]]
    by: str
    at: str
    reason: str | None = None
    token: str = ""
    always: bool = False
    above: int = 0


@dataclass(frozen=True)
class Repairs:
    """All repairs of a source, the first ones first. One number a run of positions is held."""

    listed: Sequence[Repair] = ()
    _positions: dict[str, list[tuple[int, Positions]]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for place, repair in enumerate(self.listed):
            for raw_file, runs in repair.runs.items():
                self._positions.setdefault(raw_file, []).append((place, Positions.of(runs)))

    def __bool__(self) -> bool:
        return bool(self.listed)

    @property
    def newest(self) -> int:
        """The number of the last one; 0 where there is none."""
        return max((repair.number for repair in self.listed), default=0)

    def at(self, raw_file: str, positions: Ints) -> Iterator[tuple[Repair, npt.NDArray[np.bool_]]]:
        """The repairs of some positions, the first ones first, and which of the positions each is of."""
        for place, repaired in self._positions.get(raw_file, ()):
            mask = repaired.ranks(positions + 1) > repaired.ranks(positions)
            if mask.any():
                yield self.listed[place], mask


NO_REPAIRS = Repairs()


class Kept(NamedTuple):
    """What became of repairs. others: positions that a rival repaired first by another recipe, by its name and raw file or log."""

    added: int
    others: dict[str, dict[str, Ints]]


def read_repairs(lake: Lake, source: str) -> Repairs:
    """The repairs of a source; of one whose raw layer is shared, its own alone.

    Raises:
        ConfigurationError: a document is damaged; to go on without it would take repaired rows back.
    """
    storage, folder = lake.storage, _folder(lake, source)
    while True:
        names = effective_documents(storage.names(folder))
        try:
            documents = storage.map(storage.read, names)
        except FileNotFoundError:  # merged with others since it was listed
            continue
        return Repairs([one for name, content in zip(names, documents, strict=True) for one in _decoded(name, content)])


def keep_repairs(
    lake: Lake,
    source: str,
    recipe: Recipe,
    positions: Wanted,
    *,
    by: str,
    reason: str | None = None,
    always: bool = False,
    above: int = 0,
) -> Kept:
    """Put repairs on record that are not there yet: if absent, by position.

    Args:
        lake: where.
        source: whose records.
        recipe: repairs them.
        positions: which; few enough for one document.
        by: who.
        reason: why, in their words.
        always: see Repair.
        above: see Repair; later ones are those of rivals.
    """
    now = utc_text(datetime.now(UTC), "milliseconds")
    while True:
        names = effective_documents(lake.storage.names(_folder(lake, source)))
        known = read_repairs(lake, source)
        new, others = _absent(known, recipe, positions, always, above)
        if not new:
            return Kept(0, others)
        number = max((_span(name)[1] for name in names), default=0) + 1
        runs = {raw_file: runs_of(own) for raw_file, own in new.items()}
        repair = Repair(
            number, recipe.name, recipe.digest, recipe.written, runs, by, now, reason, secrets.token_hex(8), always, above
        )  # token: of two that put a document under a number one is told that it was not the first
        if _put(lake, source, repair):
            _merge(lake, source)
            return Kept(sum(map(len, new.values())), others)


def repaired_sources(lake: Lake) -> list[str]:
    """Sources with repairs."""
    folders = lake.storage.folders(lake.at_key("repairs"))
    return [folder.removeprefix("source=") for folder in folders if folder.startswith("source=")]


def repair_faults(lake: Lake, source: str) -> Iterator[tuple[str, bool]]:
    """Documents of a source that are not as they were written, and whether they are gone altogether.

    Numbers have no gap, so a document that is missing between others is found; one after the last is not.
    """
    storage, reached = lake.storage, 0
    for name in effective_documents(storage.names(_folder(lake, source))):
        first, last = _span(name)
        if first > reached + 1:
            yield f"{_folder(lake, source)}/{reached + 1:08d}-{first - 1:08d}.json", True
        reached = last
        try:
            numbers = [one.number for one in _decoded(name, storage.read(name))]
        except FileNotFoundError:  # merged with others since it was listed
            continue
        except ConfigurationError:
            numbers = []
        if set(numbers) != set(range(first, last + 1)):
            yield name, False


def effective_documents(locations: Sequence[str]) -> list[str]:
    """Of documents that overlap those that are read: each number once."""
    listed = sorted((name for name in locations if _NAME.search(name)), key=lambda name: (_span(name)[0], -_span(name)[1]))
    found, reached = [], 0
    for name in listed:
        if _span(name)[1] > reached:
            found.append(name)
            reached = _span(name)[1]
    return found


def _absent(
    known: Repairs, recipe: Recipe, positions: Wanted, always: bool, above: int
) -> tuple[dict[str, Ints], dict[str, dict[str, Ints]]]:
    """Positions that this does not repair yet, and see ``Kept``."""
    new: dict[str, Ints] = {}
    others: dict[str, dict[str, Ints]] = {}
    for raw_file, own in positions.items():
        missing = np.ones(len(own), dtype=bool)
        for repair, mask in known.at(raw_file, own):
            if (repair.digest, bool(repair.always)) == (recipe.digest, always):
                missing &= ~mask
            elif repair.number > above and (mask & missing).any():
                others.setdefault(repair.recipe, {}).setdefault(raw_file, own[mask & missing])
        if missing.any():
            new[raw_file] = own[missing]
    return new, others


def _put(lake: Lake, source: str, repair: Repair) -> bool:
    """Put a document; False where a rival was faster, or the number lies in a document that was merged meanwhile."""
    where = f"{_folder(lake, source)}/{repair.number:08d}-{repair.number:08d}.json"
    if not lake.storage.put_if_absent(where, _encoded([repair])):
        return False
    return any(one.token == repair.token for one in read_repairs(lake, source).listed)


def _merge(lake: Lake, source: str) -> None:
    """Put small neighbours together, where there are many. Of rivals that do it at once both write the same."""
    storage = lake.storage
    files = {file.location: file.size_bytes for file in storage.files(_folder(lake, source))}
    names = effective_documents(list(files))
    if len(names) < MERGE_AT:
        return
    try:
        for group in _groups(names, files):
            repairs = [one for name in group for one in json.loads(storage.read(name))["repairs"]]
            where = f"{_folder(lake, source)}/{_span(group[0])[0]:08d}-{_span(group[-1])[1]:08d}.json"
            storage.put_if_absent(where, json.dumps({"repairs": repairs}).encode())
            for name in group:
                storage.delete(name)
    except FileNotFoundError:  # a rival was faster
        return
    for name in files.keys() - set(names):  # parts of a merger that was killed, or what a rival will put again
        storage.delete(name)


def _groups(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Neighbours that are merged: with what they take together below the bound."""
    group: list[str] = []
    size = 0
    for name in names:
        if group and size + sizes[name] > MERGED_BYTES:
            if len(group) > 1:
                yield group
            group, size = [], 0
        group.append(name)
        size += sizes[name]
    if len(group) > 1:
        yield group


def _folder(lake: Lake, source: str) -> str:
    return lake.at_key(f"repairs/source={source}")


def _span(name: str) -> tuple[int, int]:
    match = _NAME.search(name)
    assert match
    return int(match[1]), int(match[2])


def _encoded(repairs: Sequence[Repair]) -> bytes:
    documents = [
        {name: getattr(one, name) for name in _FIELDS} | {"runs": {raw_file: list(runs) for raw_file, runs in one.runs.items()}}
        for one in repairs
    ]
    return json.dumps({"repairs": documents}).encode()


def _decoded(name: str, content: bytes) -> list[Repair]:
    try:
        return [_repair(one) for one in json.loads(content)["repairs"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        told = f"{name}: is damaged, and says which records were repaired; bring it back from a backup, then give the command again"
        raise ConfigurationError(told) from None


def _repair(document: Mapping[str, Any]) -> Repair:
    if not isinstance(document["number"], int):
        raise TypeError
    known = {name: document.get(name) for name in _FIELDS} | {"above": document.get("above") or 0}  # none of versions before
    return Repair(**known, runs={raw_file: tuple(runs) for raw_file, runs in document["runs"].items()})
