"""What a ConfigMap of a manifest holds, against the files of the repository that have the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from contracts.spec.project import Project
from operations.drift.differences import Difference, Kind, NotCompared, listed
from operations.drift.documents import Apart, apart

_OF_A_PLACE = "headrace.yaml"  # its lake, catalog and cluster are those of the cluster's network
_WORDS = ("description", "doc")  # steer nothing


def project_files(project: Project) -> dict[str, list[str]]:
    """Texts of the project's specs and contracts, by the name of their file. Several folders may have one of a name."""
    found: dict[str, list[str]] = {}
    for folder in dict.fromkeys((*project.sources, *project.destinations, *project.datasets)):
        for path in sorted(folder.glob("*.yaml")):
            if path.name != _OF_A_PLACE:
                found.setdefault(path.name, []).append(path.read_text("utf-8", "replace"))
    return found


def compare_config_maps(
    place: Path, deployed: str, built: str, files: Mapping[str, Sequence[str]]
) -> Iterator[Difference | NotCompared]:
    """Values of ConfigMaps that are files: what they say, not how they are written. Nothing where there is no ConfigMap.

    Args:
        place: the manifest.
        deployed: its text.
        built: as it was built. Its values are a sample, which a user replaces by the project's files; until then none is compared.
        files: as ``project_files`` finds them.
    """
    try:
        maps, sample = _maps(deployed), _maps(built)
    except (ValueError, yaml.YAMLError):
        return  # that it cannot be read is told of the file
    for name, values in sorted(maps.items()):
        if values == sample.get(name):
            why = f"ConfigMap {name} has the sample's values; put the files of the project into it"
            yield NotCompared(kind=Kind.TEMPLATES, where=str(place), why=why)
            continue
        for key in sorted(values.keys() - {_OF_A_PLACE}):
            yield from _value(place, name, key, values[key], files.get(key, ()))


def _value(place: Path, name: str, key: str, text: Any, wanted: Sequence[str]) -> Iterator[Difference]:
    def difference(deployed: str, repository: str, remedy: str) -> Difference:
        return Difference(
            kind=Kind.TEMPLATES, what=f"{key} of ConfigMap {name}", where=str(place), deployed=deployed, repository=repository,
            remedy=remedy,
        )  # fmt: skip

    put = f"put {key} of the project into ConfigMap {name} of {place.name}, and kubectl apply -f {place}"
    if not wanted:
        yield difference("there", "in no folder of the project", f"take it out of {place.name}, and kubectl apply -f {place}")
        return
    try:
        have = yaml.safe_load(str(text))
    except yaml.YAMLError:
        yield difference("cannot be read", f"{key} of the project", put)
        return
    found: list[list[Apart]] = []
    for each in wanted:
        try:
            found.append([one for one in apart(have, yaml.safe_load(each)) if one.path.rpartition(".")[2] not in _WORDS])
        except yaml.YAMLError:
            continue  # the commands that read it say so
    if found and (places := min(found, key=len)):
        before, after = (listed(f"{one.path}: {side}" for one, side in zip(places, sides, strict=True)) for sides in (
            [one.before for one in places], [one.after for one in places]))  # fmt: skip
        yield difference(before, after, put)


def _maps(text: str) -> dict[str, dict[str, Any]]:
    """Values of ConfigMaps by name."""
    found = {}
    for document in yaml.safe_load_all(text):
        if isinstance(document, Mapping) and document.get("kind") == "ConfigMap":
            metadata, data = document.get("metadata"), document.get("data")
            name = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
            found[str(name)] = {str(key): value for key, value in data.items()} if isinstance(data, Mapping) else {}
    return found
