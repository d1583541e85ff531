"""Files of a lake that appear whole: put-if-absent."""

from __future__ import annotations

import os

from lake.location import Lake


def put_if_absent(lake: Lake, location: str | os.PathLike[str], content: bytes) -> bool:
    """Write a whole file that appears at once, unless there is one; whether it was written."""
    return lake.storage.put_if_absent(os.fspath(location), content)
