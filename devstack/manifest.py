"""The manifest of a fetched piece: size, time and SHA-256 of each file, to see before every use that nothing has changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

NAME = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Note every file that is there now."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME):
        stat = path.stat()
        files[str(path.relative_to(folder))] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256(path)}
    (folder / NAME).write_text(json.dumps({"files": files}, indent=1), "utf-8")


def damage(folder: Path) -> str | None:
    """Why a piece cannot be used; None if it is whole.

    A file with the size and the time of the manifest counts as unchanged; one with another time, as in a restored copy, is hashed.
    """
    try:
        files = json.loads((folder / NAME).read_text("utf-8"))["files"]
        return next((problem for name, noted in files.items() if (problem := _file_damage(folder, name, noted))), None)
    except FileNotFoundError:
        return "its manifest is missing" if folder.exists() else "not here yet"
    except (ValueError, KeyError, TypeError):
        return "its manifest is damaged"


def _file_damage(folder: Path, name: str, noted: dict[str, int | str]) -> str | None:
    path = folder / name
    if not path.is_file():
        return f"{name} is missing"
    stat = path.stat()
    unchanged = stat.st_size == noted["size"] and (stat.st_mtime_ns == noted["mtime_ns"] or sha256(path) == noted["sha256"])
    return None if unchanged else f"{name} is damaged"


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
