"""What the catalogue shows of each dataset: plain values, gathered from contracts, sources, destinations and git."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.evolution.changes import Change
from contracts.evolution.columns import type_text
from contracts.evolution.datasets import contract_changes
from contracts.evolution.history import GitHistory
from contracts.evolution.impact import Reader, Surroundings, contract_files
from contracts.evolution.row_rules import rule_text
from contracts.spec.destination import Destination
from contracts.spec.model import Column, ColumnType, Contract, Deprecation
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from contracts.spec.yaml_files import read_yaml
from contracts.text import json_text, printable
from contracts.units import DAY_S, HOUR_S

MASK = "•••"
_OPEN = (None, "public")  # classifications whose sample values are shown
_MOST_SAMPLES = 5
_MOST_VERSIONS = 20


@dataclass(frozen=True, kw_only=True)
class FieldEntry:
    """One column. rules: each in words. readers: sources not among them, those are in filled_by."""

    name: str
    type: str
    required: bool
    computed: bool
    description: str
    rules: tuple[str, ...]
    labels: tuple[str, ...]
    deprecated: str
    filled_by: tuple[Reader, ...]
    readers: tuple[Reader, ...]


@dataclass(frozen=True, kw_only=True)
class VersionEntry:
    """One version. changes: since the one before it."""

    version: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Rows of declared examples, personal data masked."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset."""

    contract: Contract
    own: bool
    fields: tuple[FieldEntry, ...]
    rules: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    topics: tuple[tuple[str, str], ...]
    sources: tuple[SourceSpec, ...]
    destinations: tuple[Destination, ...]
    consumers: tuple[Reader, ...]
    versions: tuple[VersionEntry, ...]
    samples: Samples | None
    deprecated: str


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything. notes: what could not be looked at."""

    title: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def gather(project: Project, title: str) -> Catalogue:
    """Look through a project.

    Raises:
        ConfigurationError: a contract cannot be read.
    """
    surroundings = Surroundings.of(project)
    notes = list(surroundings.notes)
    try:
        git = GitHistory(project.root, "HEAD")
    except ConfigurationError as error:
        git = None
        notes.append(f"no earlier versions: {str(error).partition(';')[0]}")
    paths = contract_files(project)
    entries = [_entry(path, project, surroundings, git, notes) for path in paths]
    ordered = sorted(entries, key=lambda entry: (entry.contract.name, -entry.contract.major))
    return Catalogue(
        title=title, entries=tuple(ordered), notes=tuple(dict.fromkeys(note.replace(f"{project.root}/", "") for note in notes))
    )


def _entry(path: Path, project: Project, surroundings: Surroundings, git: GitHistory | None, notes: list[str]) -> Entry:
    contract = load_contract(path)
    key = (contract.name, contract.major)
    sources = tuple(spec for spec in surroundings.sources if (spec.dataset, spec.version) == key)
    destinations = tuple(each for each in surroundings.destinations if (each.dataset, each.version) == key)
    history: Sequence[Contract] = ()
    if git is not None and git.holds(path):
        try:
            found = git.contracts(path)
        except ConfigurationError as error:
            notes.append(str(error).splitlines()[0])
        else:
            history = found.contracts
            notes += [f"{path.stem}: {note}" for note in found.notes]
    return Entry(
        contract=contract,
        own=any(path.is_relative_to(folder) for folder in project.datasets),
        fields=tuple(_field(column, contract, surroundings) for column in contract.columns),
        rules=tuple(rule_text(rule) for rule in contract.rules),
        places=tuple(_places(contract)),
        topics=_topics(path),
        sources=sources,
        destinations=destinations,
        consumers=tuple(reader for reader in surroundings.readers(contract, None) if reader.kind == "consumer"),
        versions=_versions(contract, history),
        samples=_samples(contract, sources),
        deprecated=_ends(contract.deprecated),
    )


def _field(column: Column, contract: Contract, surroundings: Surroundings) -> FieldEntry:
    around = surroundings.readers(contract, column.name)
    named = (
        ("", column.classification),
        ("identifies ", column.identifier),
        ("in ", column.unit),
        ("for ", ", ".join(column.purpose)),
        ("region ", column.region),
        ("kept ", column.retention),
        ("leaves as ", column.handling),
    )
    return FieldEntry(
        name=column.name,
        type=type_text(column),
        required=column.required,
        computed=column.name in contract.computed,
        description=column.description,
        rules=tuple(_rules(column)),
        labels=tuple(f"{before}{value}" for before, value in named if value),
        deprecated=_ends(column.deprecated),
        filled_by=tuple(reader for reader in around if reader.kind == "source"),
        readers=tuple(reader for reader in around if reader.kind in ("destination", "consumer", "rule")),
    )


def _rules(column: Column) -> list[str]:
    limits = (
        ("at least {} characters", column.min_length),
        ("at most {} characters", column.max_length),
        ("at least {}", column.minimum),
        ("at most {}", column.maximum),
        ("format {}", column.format),
        ("pattern {}", column.pattern),
        ("one of {}", ", ".join(column.enum) or None),
        ("no value where it is {}", ", ".join(f'"{token}"' for token in sorted(column.null_tokens)) or None),
        ("also takes {}", ", ".join(sorted(column.accept)) or None),
    )
    return [said.format(value) for said, value in limits if value is not None] + (
        ["differs between retries"] if column.transport else []
    )


def _ends(deprecation: Deprecation | None, today: date | None = None) -> str:
    if deprecation is None:
        return ""
    over = deprecation.until < (today or datetime.now(UTC).date())
    text = f"went away after {deprecation.until}" if over else f"goes away after {deprecation.until}"
    return (
        text + (f"; use {deprecation.use}" if deprecation.use else "") + (f". {deprecation.reason}" if deprecation.reason else "")
    )


def _places(contract: Contract) -> list[tuple[str, str]]:
    horizon = contract.deduplication.horizon_s
    found = [
        ("Id", contract.event_id + (f", computed from {', '.join(contract.event_id_from)}" if contract.event_id_from else "")),
        ("Window time", ", ".join(contract.window_time) or "when it was received"),
        ("Order", ", ".join(contract.order)),
        ("Partition key", ", ".join(contract.partition_key)),
        (
            "Repeats are one event",
            "for ever" if horizon is None else f"for {_time_text(horizon)}" if horizon else "within one minute",
        ),
        ("Fields without a column", contract.unknown_policy),
        ("Changes keep", contract.compatibility),
    ]
    return [(name, value) for name, value in found if value]


def _time_text(seconds: int) -> str:
    unit, length = next(
        (unit, length)
        for unit, length in (("day", DAY_S), ("hour", HOUR_S), ("minute", 60), ("second", 1))
        if seconds % length == 0
    )
    return f"{seconds // length} {unit}{'' if seconds == length else 's'}"


def _topics(path: Path) -> tuple[tuple[str, str], ...]:
    """Kafka servers that the contract names (ODCS ``servers``): where the dataset's messages are."""
    servers = read_yaml(path, "contract").value.get("servers") or ()
    found = []
    for server in servers if isinstance(servers, list) else ():
        if isinstance(server, dict) and server.get("type") == "kafka":
            more = {str(p.get("property")): p.get("value") for p in server.get("customProperties") or () if isinstance(p, dict)}
            topic = str(server.get("topic") or more.get("topic") or server.get("server") or "")
            told = [f"at {server['host']}" if server.get("host") else "", f"as {server['format']}" if server.get("format") else ""]
            told.append(f"kept {more['retention']}" if more.get("retention") else "")
            found.append((topic, ", ".join(filter(None, told))))
    return tuple(found)


def _versions(contract: Contract, history: Sequence[Contract]) -> tuple[VersionEntry, ...]:
    """The newest first; what the file says that git does not have yet is the newest."""
    chain = [*history, contract] if not history or history[-1] != contract else list(history)
    if len(chain) > 1 and chain[-2].version == contract.version:
        chain[-2:] = [contract]
    found = [
        VersionEntry(version=after.version, changes=tuple(contract_changes(before, after)) if before else ())
        for before, after in zip([None, *chain], chain, strict=False)
    ]
    return tuple(reversed(found))[:_MOST_VERSIONS]


def _samples(contract: Contract, sources: Sequence[SourceSpec]) -> Samples | None:
    examples = [dict(example.row) for spec in sources for example in spec.examples if example.row][:_MOST_SAMPLES]
    columns = tuple(column.name for column in contract.columns if any(column.name in row for row in examples))
    if not columns:
        return None
    rows = tuple(tuple(_shown(row.get(name), contract.by_name[name]) for name in columns) for row in examples)
    return Samples(columns=columns, rows=rows)


def _shown(value: Any, column: Column) -> str:
    """A value; masked where it is personal, names somebody, or may hold anything."""
    if value is None:
        return ""
    if column.classification not in _OPEN or column.identifier or column.type is ColumnType.JSON:
        return MASK
    return printable(value if isinstance(value, str) else json_text(value, indent=None))
