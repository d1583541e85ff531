"""Which folders an input leaves out, wherever it lies; and objects behind one such as ``gs://bucket/prefix``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from lake.storage.base import StoredFile
from lake.storage.places import location_of, object_storage

HIDDEN_FOLDER = "a hidden or unfinished folder by its name"
NOT_ENTERED = "a folder; name it to read what is in it"
_MAGIC = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[[^\]]+\]")


@dataclass
class ObjectInputs:
    """files: objects, each with the time when its content was made, microseconds. left_out: folders, and why."""

    files: list[tuple[StoredFile, int]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def is_hidden_folder(name: str) -> bool:
    """Whether it is one of a writer at work, as Spark's _temporary."""
    return name.startswith((".", "_"))


def not_entered(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    """Of the folders that a glob found, those out of which it found no file."""
    entered = {folder for file in files for folder in _folders_above(file)}
    return sorted(set(folders) - entered)


def object_inputs(pattern: str) -> ObjectInputs:
    """Objects, and folders that are left out. One listing, whatever is asked for; from S3 also the metadata of each.

    As with local inputs: an object by its name, else all in the folder of that name and below (but for hidden folders), else a
    glob. ``*`` does not reach over a ``/``, ``**`` does.

    Raises:
        ConfigurationError: no such bucket, or the store refuses.
        ComponentDownError: it does not answer.
    """
    pattern = location_of(pattern, "input")
    storage = object_storage(pattern)
    literal = _MAGIC.split(pattern, maxsplit=1)[0]
    found = {one.location: one for one in storage.beginning_with(literal.rstrip("/"))}
    wanted, left_out = _wanted(pattern, literal, found)
    objects = [found[location] for location in wanted]
    times = storage.modified_us(objects)
    return ObjectInputs([(one.stored, time) for one, time in zip(objects, times, strict=True)], left_out)


def _wanted(pattern: str, literal: str, found: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Of the locations that were found, those that are asked for; and the folders that are left out, and why."""
    if pattern in found:  # also one whose name looks like a glob
        return [pattern], {}
    if literal != pattern:
        expression = re.compile(_expression(pattern))
        matches = [location for location in found if expression.fullmatch(location)]
        folders = (folder for location in found for folder in _folders_above(location) if expression.fullmatch(folder))
        return matches, dict.fromkeys(not_entered(folders, matches), NOT_ENTERED)
    root = pattern.rstrip("/") + "/"
    hidden = {location: _hidden_folder_of(location, root) for location in found if location.startswith(root)}
    return [location for location, folder in hidden.items() if folder is None], dict.fromkeys(
        filter(None, hidden.values()), HIDDEN_FOLDER
    )


def _folders_above(location: str) -> Iterator[str]:
    while "/" in location:
        location = location.rpartition("/")[0]
        yield location


def _hidden_folder_of(location: str, root: str) -> str | None:
    """The uppermost hidden folder below a root that it lies in; None where it lies in none."""
    parts = location.removeprefix(root).split("/")[:-1]
    first = next((i for i, part in enumerate(parts) if is_hidden_folder(part)), None)
    return None if first is None else root + "/".join(parts[: first + 1])


def _expression(glob: str) -> str:
    """A glob as a regular expression."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]+\])", glob)
    made = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(made.get(p) or (_class(p) if _CLASS.fullmatch(p) else re.escape(p)) for p in parts)


def _class(text: str) -> str:
    """``[a-z]`` or ``[!a-z]``."""
    inside = text[1:-1].replace("\\", r"\\")
    return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
