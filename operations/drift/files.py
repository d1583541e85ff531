"""Files that were built into a folder, against those that are built now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from operations.drift.differences import Difference, Kind, listed
from operations.drift.documents import apart

_OF_THE_USER = {"Secret": ("data", "stringData"), "ConfigMap": ("data", "binaryData")}  # filled in after the build


def compare_files(where: str, deployed: Mapping[str, str], wanted: Mapping[str, str], remedy: str) -> Iterator[Difference]:
    """Files by what they say: order of keys, comments and white space are no difference.

    What a Secret holds is never looked at; what a ConfigMap holds, config_maps.py compares.

    Args:
        where: the folder.
        deployed: text by name of the files that are there.
        wanted: text by name. One that is not there was left out on purpose: who has a cluster needs no manifests of one.
        remedy: what builds them again.
    """
    for name, text in sorted(wanted.items()):
        if name not in deployed:
            continue
        try:
            have = _documents(name, deployed[name])
        except (ValueError, yaml.YAMLError):
            yield _difference(where, name, "cannot be read", "as it is built", remedy)
            continue
        if places := list(apart(have, _documents(name, text))):
            before = listed(f"{place.path}: {place.before}" for place in places)
            yield _difference(where, name, before, listed(f"{place.path}: {place.after}" for place in places), remedy)


def _documents(name: str, text: str) -> Any:
    if name.endswith(".json"):
        return json.loads(text)
    if name.endswith((".yaml", ".yml")):
        return {_title(document): _without_values(document) for document in yaml.safe_load_all(text) if document}
    return {f"line {number}": line for number, line in enumerate(filter(None, map(str.rstrip, text.splitlines())), 1)}


def _title(document: Any) -> str:
    """A resource by kind and name: several in a file stand in any order."""
    if not isinstance(document, Mapping):
        raise ValueError
    metadata = document.get("metadata")
    return f"{document.get('kind', '')}/{metadata.get('name', '') if isinstance(metadata, Mapping) else ''}"


def _without_values(document: Mapping[str, Any]) -> dict[str, Any]:
    left_out = _OF_THE_USER.get(str(document.get("kind")), ())
    return {key: value for key, value in document.items() if key not in left_out}


def _difference(where: str, name: str, deployed: str, repository: str, remedy: str) -> Difference:
    return Difference(
        kind=Kind.TEMPLATES, what=f"file {name}", where=where, deployed=deployed, repository=repository, remedy=remedy
    )
