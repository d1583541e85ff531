"""Subjects of a schema registry against the contracts of a project."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastavro.schema import SchemaParseException, parse_schema

from contracts.evolution.avro import avro_schema
from contracts.evolution.registered import RegisteredAvro, judge_registered
from contracts.spec.model import Contract
from operations.drift.differences import Difference, Kind, listed
from operations.drift.documents import apart

_WORDS = ("doc", "aliases")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A subject as a registry has it. versions: Avro, the oldest first. mode: of its own; None where it has none.

    deleted: whether it was there and was deleted, as far as the registry still knows.
    """

    versions: Sequence[RegisteredAvro] = ()
    mode: str | None = None
    deleted: bool = False


def compare_subjects(
    where: str, wanted: Mapping[str, Contract], subjects: Mapping[str, Subject], files: Mapping[str, str]
) -> Iterator[Difference]:
    """Subjects that were deleted, miss while others of the project are there, hold another schema, or another mode.

    Registering is a choice: where no dataset of the project is registered, none is missing.

    Args:
        where: the registry.
        wanted: contracts by subject.
        subjects: what it has of them.
        files: of the contracts, by subject.
    """
    registers = any(subject.versions or subject.deleted for subject in subjects.values())
    for name, contract in sorted(wanted.items()):
        subject = subjects.get(name, Subject())
        register = f"headrace contract register {contract.name}"

        def difference(deployed: str, should: str, remedy: str, *, name: str = name) -> Difference:
            return Difference(
                kind=Kind.REGISTRY, what=f"subject {name}", where=where, deployed=deployed, repository=should, remedy=remedy,
                file=files.get(name, ""),
            )  # fmt: skip

        if not subject.versions:
            if registers:
                yield difference("deleted" if subject.deleted else "not there", f"contract {contract.version}", register)
            continue
        verdict = judge_registered(contract, subject.versions)
        newest = subject.versions[-1]
        if not verdict.allowed:
            broken = listed(change.what for _, change in verdict.forbidden)
            check = f"headrace contract check {contract.name} --against-registry URL says what it breaks"
            yield difference(newest.name, f"contract {contract.version} breaks it: {broken}", check)
        elif places := list(apart(normal_form(newest.text), normal_form(json.dumps(avro_schema(contract))))):
            told = listed(place.told for place in places)
            yield difference(f"{newest.name} is another schema", f"contract {contract.version}: {told}", register)
        if subject.mode is not None and subject.mode != contract.compatibility:
            yield difference(f"held to {subject.mode}", contract.compatibility, register)


def normal_form(schema: str) -> Any:
    """An Avro schema with full names and without words: what registries rewrite is no difference.

    They strip namespaces of what is nested (confluentinc/terraform-provider-confluent#181) and white space (#573 there).
    """
    try:
        return _without_words(parse_schema(json.loads(schema), _force=True))
    except (SchemaParseException, ValueError):
        return schema


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _without_words(value) for key, value in schema.items() if key not in _WORDS and not key.startswith("__fastavro")
        }
    return [_without_words(each) for each in schema] if isinstance(schema, list) else schema
