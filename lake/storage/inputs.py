"""Objects behind an input such as ``gs://bucket/prefix``: one object, what lies below a prefix, or a glob."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lake.storage.base import StoredFile
from lake.storage.places import GCS, location_of

_MAGIC = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[[^\]]+\]")


def object_inputs(pattern: str) -> Iterator[tuple[StoredFile, int]]:
    """Objects, each with the time when its content was made, microseconds. One listing, whatever is asked for.

    As with local inputs: an object by its name, else all in the folder of that name and below (but for hidden folders), else a
    glob. ``*`` does not reach over a ``/``, ``**`` does.

    Raises:
        ConfigurationError: no such bucket, or the store refuses.
        ComponentDownError: it does not answer.
    """
    from lake.storage.gcs import gcs_storage, modified_us, stored  # noqa: PLC0415 - only who needs it has the library

    pattern = location_of(pattern, "input")
    literal = _MAGIC.split(pattern, maxsplit=1)[0]
    is_glob = literal != pattern
    found = {blob.location: (blob, modified_us(b)) for b in gcs_storage().blobs(literal.rstrip("/")) if (blob := stored(b))}
    if pattern in found:  # also one whose name looks like a glob
        yield found[pattern]
        return
    folder = pattern.rstrip("/") + "/"
    wanted = re.compile(_expression(pattern)) if is_glob else None
    for location, told in found.items():
        if wanted is not None:
            if wanted.fullmatch(location):
                yield told
        elif location.startswith(folder) and not _is_hidden(location.removeprefix(folder)):
            yield told


def _is_hidden(path: str) -> bool:
    """Whether it lies in a folder of a writer at work, as Spark's _temporary."""
    return any(part.startswith((".", "_")) for part in path.split("/")[:-1])


def _expression(glob: str) -> str:
    """A glob as a regular expression."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]+\])", glob.removeprefix(GCS))
    made = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.escape(GCS) + "".join(made.get(p) or (_class(p) if _CLASS.fullmatch(p) else re.escape(p)) for p in parts)


def _class(text: str) -> str:
    """``[a-z]`` or ``[!a-z]``."""
    inside = text[1:-1].replace("\\", r"\\")
    return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
