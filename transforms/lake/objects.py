"""Files of a lake that appear whole: put-if-absent, and names for what is not complete yet."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import xxhash

from transforms.lake.location import Lake


def temporary_path(lake: Lake, key: bytes, kind: str) -> Path:
    """A name that no other process or thread uses: two of them may well write the same bytes at once."""
    name = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}-{xxhash.xxh3_64_hexdigest(key)}"
    return lake.temporary / f"{name}.{kind}"


def put_if_absent(lake: Lake, path: Path, content: bytes) -> bool:
    """Write a whole file that appears at once, unless there is one; whether it was written."""
    temporary = temporary_path(lake, os.fsencode(path), "put")
    temporary.write_bytes(content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
