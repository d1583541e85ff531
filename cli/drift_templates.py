"""Templates for ``headrace drift``: what was built into a folder, against what ``headrace template build`` builds now."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from operations.drift.config_maps import compare_config_maps, project_files
from operations.drift.differences import Difference, Kind, Looked, NotCompared
from operations.drift.files import compare_files
from templates.build.catalog import TEMPLATES, Template
from templates.build.files import DEPLOY, IMAGE_SPEC, dataflow_files, kubernetes_files, submit_name
from templates.build.flex import Target
from templates.build.kubernetes import FOLDER

BUILT = Path("build/templates")  # where ``headrace template build`` writes
_MADE_BY = "# Made by: "
_BUCKET = re.compile(r"\bgs://[a-z0-9]\S*(?=/[a-z]+-[^/\s]+\.json)")


def look_at_templates(folder: Path, project: Project) -> Iterator[Difference | Looked | NotCompared]:
    """Compare templates. folder: with a folder for each. project: whose files ConfigMaps hold.

    Raises:
        ConfigurationError: there is no such folder, or no template in it.
    """
    found = False
    for template in TEMPLATES.values():
        place = folder / template.name
        if (place / IMAGE_SPEC).is_file():
            found = True
            yield from _dataflow(template, place)
        if (place / submit_name(template)).is_file():
            found = True
            yield from _kubernetes(template, place, project)
    if not found:
        raise ConfigurationError(f"{folder}: no template was built there; headrace template build NAME --out {folder} builds one")


def _dataflow(template: Template, place: Path) -> Iterator[Difference | Looked | NotCompared]:
    there = _texts(place)
    try:
        image = str(json.loads(there[IMAGE_SPEC])["image"])
        bucket = _BUCKET.search(there.get(DEPLOY, ""))
        target = Target(image, bucket[0] if bucket else None)
        wanted = dataflow_files(template, target)
    except (ValueError, KeyError, TypeError, ConfigurationError) as error:
        yield _unreadable(place / IMAGE_SPEC, error)
        return
    remedy = f"headrace template build {template.name} --image {image}" + (f" --bucket {bucket[0]}" if bucket else "")
    yield Looked(kind=Kind.TEMPLATES, where=str(place), things=len(wanted))
    yield from compare_files(str(place), there, wanted, remedy + f" --out {place.parent}")


def _kubernetes(template: Template, place: Path, project: Project) -> Iterator[Difference | Looked | NotCompared]:
    if not FOLDER.is_dir():
        why = "manifests are part of a clone of the code, not of an installed package"
        yield NotCompared(kind=Kind.TEMPLATES, where=str(place), why=why)
        return
    there = _texts(place)
    name = submit_name(template)
    words = _made_by(there[name])
    try:
        image = words[words.index("--image") + 1]
        pairs = [word.partition("=") for flag, word in pairwise(words) if flag == "-p"]
        wanted = kubernetes_files(template, image, {key: value for key, _, value in pairs})
    except (ValueError, IndexError, ConfigurationError) as error:
        yield _unreadable(place / name, error)
        return
    yield Looked(kind=Kind.TEMPLATES, where=str(place), things=len(wanted))
    yield from compare_files(str(place), there, wanted, f"{shlex.join(words)} --out {place.parent}")
    files = project_files(project)
    for each in sorted(wanted.keys() & there.keys()):
        yield from compare_config_maps(place / each, there[each], wanted[each], files)


def _made_by(text: str) -> list[str]:
    """The command that stands at the head of a manifest."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(_MADE_BY)), None)
    if first is None:
        return []
    told = [lines[first].removeprefix(_MADE_BY)]
    for line in lines[first + 1 :]:
        if not told[-1].endswith("\\") or not line.startswith("#"):
            break
        told.append(line.removeprefix("#").strip())
    try:
        return shlex.split(" ".join(part.removesuffix("\\") for part in told))
    except ValueError:
        return []


def _texts(place: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8", "replace") for path in sorted(place.iterdir()) if path.is_file()}


def _unreadable(path: Path, error: Exception) -> Difference:
    why = str(error).splitlines()[0] if isinstance(error, ConfigurationError) else "it does not say how it was built"
    return Difference(
        kind=Kind.TEMPLATES, what=f"file {path.name}", where=str(path.parent), deployed="not as it was built", repository=why,
        remedy="build it again: headrace template build",
    )  # fmt: skip
