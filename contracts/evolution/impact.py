"""Who reads a column: sources that fill it, destinations that it leaves for, consumers and rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from contracts.errors import ConfigurationError
from contracts.evolution.row_rules import rule_text
from contracts.spec.destination import CONSENT_COLUMN, Destination
from contracts.spec.files.destination import load_destination
from contracts.spec.files.source import load_source
from contracts.spec.model import Consumer, Contract
from contracts.spec.project import BUILT_IN_DATASETS, BUILT_IN_DESTINATIONS, PROJECT_FILE, Project
from contracts.spec.source import SourceSpec


@dataclass(frozen=True)
class Reader:
    """Who has to do with a column. how: a few words."""

    kind: Literal["source", "destination", "consumer", "rule", "place"]
    name: str
    how: str


@dataclass(frozen=True)
class Surroundings:
    """What a project has around its contracts. named: consumers by contract, of the project file. notes: what cannot be read."""

    sources: Sequence[SourceSpec] = ()
    destinations: Sequence[Destination] = ()
    named: Mapping[str, Sequence[Consumer]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, project: Project) -> Surroundings:
        """Everything that can be read; what cannot is told, since it is not what was asked about."""
        notes: list[str] = []
        sources, destinations = [], []
        for path in yaml_files(project.sources):
            try:
                sources.append(load_source(path))
            except ConfigurationError as error:
                if project.file is not None:  # without a project, the working directory may hold any YAML
                    notes.append(str(error).splitlines()[0].rstrip(":"))
        for path in yaml_files((*project.destinations, *([] if project.file is None else [BUILT_IN_DESTINATIONS]))):
            try:
                destinations.append(load_destination(path))
            except ConfigurationError as error:
                if not path.is_relative_to(BUILT_IN_DESTINATIONS) and project.file is not None:
                    notes.append(str(error).splitlines()[0].rstrip(":"))
        return cls(sources, destinations, project.consumers, tuple(f"readers are not looked for in it: {note}" for note in notes))

    def readers(self, contract: Contract, column: str | None) -> list[Reader]:
        """Who has to do with a column, or with the dataset as a whole (None)."""
        return [*self._sources(contract, column), *self._destinations(contract, column), *self._consumers(contract, column)] + (
            list(_within(contract, column)) if column else []
        )

    def _sources(self, contract: Contract, column: str | None) -> Iterator[Reader]:
        for spec in self.sources:
            if (spec.dataset, spec.version) != (contract.name, contract.major):
                continue
            if column is None:
                yield Reader("source", spec.name, "feeds it")
            elif paths := spec.columns.get(column):
                yield Reader("source", spec.name, f"fills it from {', '.join(map(str, paths))}")

    def _destinations(self, contract: Contract, column: str | None) -> Iterator[Reader]:
        for destination in self.destinations:
            if (destination.dataset, destination.version) != (contract.name, contract.major):
                continue
            how = ["gets its rows"] if column is None else []
            for placement in destination.placements:
                if placement.column == column:
                    how.append(f"sends it as {placement.path}")
                if placement.when and placement.when.column == column:
                    how.append(f"decides by it about {placement.path}")
            how += ["filters by it" for condition in destination.only if condition.column == column]
            how += [f"needs its {', '.join(destination.consent)}"] if column == CONSENT_COLUMN and destination.consent else []
            if how:
                yield Reader("destination", destination.name, ", ".join(dict.fromkeys(how)))

    def _consumers(self, contract: Contract, column: str | None) -> Iterator[Reader]:
        known = {consumer.name for consumer in contract.consumers}
        others = [consumer for consumer in self.named.get(contract.dataset, ()) if consumer.name not in known]
        for consumer in (*contract.consumers, *others):
            if column is None or not consumer.columns or column in consumer.columns:
                where = consumer.contact or ("" if consumer.name in known else PROJECT_FILE)
                told = f" ({where})" if where else ""
                yield Reader("consumer", consumer.name, f"reads {'it' if consumer.columns and column else 'the dataset'}{told}")


def _within(contract: Contract, column: str) -> Iterator[Reader]:
    """What the contract itself does with a column."""
    for rule in contract.rules:
        if column in rule.columns:
            yield Reader("rule", contract.name, rule_text(rule))
    for name, columns in (
        ("eventId", (contract.event_id, *contract.event_id_from)),
        ("windowTime", contract.window_time),
        ("receivedAt", (contract.received_at,)),
        ("order", contract.order),
        ("partitionKey", contract.partition_key),
    ):
        if column in columns:
            yield Reader("place", name, "of the contract goes by it")


def yaml_files(folders: Sequence[Path]) -> list[Path]:
    """YAML files of folders; of those with one name the first, as names are looked up."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.name != PROJECT_FILE:
                found.setdefault(path.name, path)
    return list(found.values())


def contracts_called(project: Project, name: str) -> list[Path]:
    """Files of contracts by a name, of all versions, or by name and version, as of files (order.v2) or datasets (order_v2)."""
    return [
        path
        for path in contract_files(project)
        if name in (path.stem, path.stem.rpartition(".v")[0], path.stem.replace(".v1", "").replace(".v", "_v"))
    ]


def contract_files(project: Project) -> list[Path]:
    """Contracts of a project, its own before those that ship with Headrace."""
    return [path for path in yaml_files((*project.datasets, BUILT_IN_DATASETS)) if ".v" in path.stem]
