"""The subjects of a project's contracts, and what the registry has: see subjects.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from contracts.errors import ConfigurationError
from contracts.registry.client import RegistryClient
from contracts.registry.subjects import avro_versions
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from operations.drift.differences import Difference, Kind, Looked, NotCompared
from operations.drift.subjects import Subject, compare_subjects

_PATIENCE_S = 10.0


def look_at_subjects(
    project: Project, registry: Registry, subject_of: Callable[[Contract], str]
) -> Iterator[Difference | Looked | NotCompared]:
    """Compare subjects.

    Args:
        project: the repository. Of its contracts those that its sources fill.
        registry: which has them.
        subject_of: where the schema of a contract is registered.

    Raises:
        RegistryDownError: it does not answer.
        ConfigurationError: it refuses who asks, or is none.
    """
    wanted: dict[str, Contract] = {}
    for source in project.source_names:
        try:
            contract = project.source(source)[1]
        except ConfigurationError:
            continue  # told with the tables
        wanted[subject_of(contract)] = contract
    client = RegistryClient(registry, patience_s=_PATIENCE_S)
    try:
        live = set(client.subjects())
        deleted = set(client.subjects(deleted=True)) - live
        found = {}
        for name in wanted:
            versions = avro_versions(client, name) if name in live else None
            mode = client.compatibility(name) if name in live else None
            found[name] = Subject(versions=versions.avro if versions else (), mode=mode, deleted=name in deleted)
            for version in versions.others if versions else ():
                why = f"version {version.number} of subject {name} is not Avro, or refers to other schemas"
                yield NotCompared(kind=Kind.REGISTRY, where=registry.url, why=why)
    finally:
        client.close()
    files = {name: str(project.contract_path(contract.name, contract.major)) for name, contract in wanted.items()}
    yield Looked(kind=Kind.REGISTRY, where=registry.url, things=len(wanted))
    yield from compare_subjects(registry.url, wanted, found, files)
