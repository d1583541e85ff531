"""What a subject holds that contracts can be compared with."""

from __future__ import annotations

from typing import NamedTuple

from contracts.evolution.registered import RegisteredAvro
from contracts.registry.client import RegistryClient, Version


class AvroVersions(NamedTuple):
    """The versions of a subject. avro: those that stand for themselves, the oldest first. others: the rest."""

    avro: list[RegisteredAvro]
    others: list[Version]


def avro_versions(client: RegistryClient, subject: str) -> AvroVersions:
    """The versions of a subject; none of one that is not there."""
    versions = client.versions(subject)
    avro = [v for v in versions if v.schema.type == "AVRO" and not v.schema.references]
    return AvroVersions(
        [RegisteredAvro(f"registry version {version.number}", version.schema.schema) for version in avro],
        [version for version in versions if version not in avro],
    )
