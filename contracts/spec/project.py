"""The project file: where a user's lake, contracts and sources lie, outside this code base."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.destination import Destination, check_destination
from contracts.spec.documents import refuse
from contracts.spec.model import Consumer, Contract, dataset_name, name_and_major
from contracts.spec.recipes import Recipe
from contracts.spec.registry import Registry
from contracts.spec.schedules import Schedules
from contracts.spec.source import SourceSpec, check_source, shares_raw
from contracts.spec.suppressions import Suppressions

# The models of files bring pydantic, a tenth of a second: they are read where a file is.

PROJECT_FILE = "headrace.yaml"
REPLAY_LIMITS: Mapping[str, Any] = MappingProxyType(
    {"maxRows": 10_000_000, "maxWindows": 744, "maxAge": "90d"}
)  # above them: approval
LOCAL_FLINK = "localhost:28081"
BUILT_IN_DATASETS = Path(__file__).parents[1] / "datasets"
BUILT_IN_DESTINATIONS = Path(__file__).parents[1] / "destinations"


@dataclass(frozen=True)
class Project:
    """What ``headrace.yaml`` says, with absolute paths. Without such a file: the built-in datasets and the given folder.

    file: the project file, None without one. lake: URI or path of the lake; catalog: SQLAlchemy URL of the Iceberg catalog, None
    for SQLite inside the lake. flink: REST address of the Flink cluster, HOST:PORT. destinations: folders with destinations.
    policies: folders with ``suppressions/*.yaml``. replay: limits above which a replay needs an approval, see
    docs/guides/replay.md. files: who may read what is written, ``private`` or ``group``. consumers: who reads a dataset, beside
    those that its contract names. registry: where schemas of messages are, see docs/guides/avro-and-registries.md. schedules: when
    what runs, see docs/guides/airflow.md.
    """

    root: Path
    file: Path | None = None
    lake: str | None = None
    catalog: str | None = None
    flink: str | None = None
    datasets: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    destinations: tuple[Path, ...] = ()
    policies: tuple[Path, ...] = ()
    replay: Mapping[str, Any] = field(default_factory=dict)
    files: str | None = None
    registry: Registry | None = None
    consumers: Mapping[str, tuple[Consumer, ...]] = field(default_factory=dict)
    schedules: Schedules | None = None

    @classmethod
    def load(cls, folder: Path | None = None) -> Project:
        """Read ``headrace.yaml`` of this folder; without one, look from the working directory upwards.

        Raises:
            ConfigurationError: the given folder has no project file, or it cannot be read.
        """
        path = _project_file(folder)
        if path is None:
            here = Path.cwd()
            return cls(root=here, sources=(here / "sources", here), destinations=(here / "destinations", here))
        if not path.exists():
            raise ConfigurationError(f"no project file {path}; create it or give another --project")
        from contracts.spec.files.project import ProjectFile  # noqa: PLC0415

        file, root = ProjectFile.read(path)[0], path.parent.absolute()
        return cls(
            root=root,
            file=root / path.name,
            lake=str(root / file.lake) if file.lake and "://" not in file.lake else file.lake,
            catalog=_catalog_url(root, file.catalog),
            flink=file.flink,
            datasets=tuple(root / entry for entry in file.datasets),
            sources=tuple(root / entry for entry in file.sources or ("sources",)),
            destinations=tuple(root / entry for entry in file.destinations or ("destinations",)),
            policies=tuple(root / entry for entry in file.policies or ("policies",)),
            replay=file.replay.model_dump(exclude_unset=True),
            files=file.files,
            consumers={dataset: tuple(one.compiled() for one in those) for dataset, those in file.consumers.items()},
            registry=file.registry.compiled(root) if file.registry else None,
            schedules=file.schedules.compiled(root.name) if file.schedules else None,
        )

    def lake_location(self, given: str | None) -> str:
        """The lake that was asked for, or the project's.

        Raises:
            ConfigurationError: neither names one.
        """
        location = given or self.lake
        if location is None:
            raise ConfigurationError("no lake: give --lake URI, or a project whose headrace.yaml names one (--project DIR)")
        return location

    def flink_address(self, given: str | None = None) -> str:
        """REST address of the Flink cluster: as asked for, else the project's, else FLINK_REST, else that of the local stack."""
        return given or self.flink or os.environ.get("FLINK_REST") or LOCAL_FLINK

    def suppressions(self, contract: Contract) -> Suppressions:
        """Ids of a dataset that must never come back.

        Raises:
            ConfigurationError: a file cannot be read; nothing may run without knowing them.
        """
        from contracts.spec.files.suppressions import load_suppressions  # noqa: PLC0415

        return load_suppressions(self.policies, contract)

    @property
    def source_names(self) -> list[str]:
        """Names of the project's sources."""
        return _names(self.sources)

    @property
    def destination_names(self) -> list[str]:
        """Names of the destinations: the project's, and those that are built in."""
        return _names((*self.destinations, BUILT_IN_DESTINATIONS))

    def sources_of(self, dataset: str) -> list[str]:
        """Names of the project's sources that feed a dataset."""
        from contracts.spec.files.source import load_source  # noqa: PLC0415

        specs = {name: load_source(self._source_path(name)) for name in _names(self.sources)}
        return [name for name, spec in specs.items() if (spec.dataset, spec.version) == name_and_major(dataset)]

    def contract(self, name: str, major: int) -> Contract:
        """The contract of a dataset; a user's own file wins over a built-in one.

        Raises:
            ConfigurationError: there is none; names what there is.
        """
        from contracts.spec.odcs import load_contract  # noqa: PLC0415

        contract = load_contract(self.contract_path(name, major))
        return replace(contract, consumers=(*contract.consumers, *self.consumers.get(contract.dataset, ())))

    def contract_path(self, name: str, major: int) -> Path:
        """The file of a dataset's contract.

        Raises:
            ConfigurationError: there is none; names what there is.
        """
        folders = (*self.datasets, BUILT_IN_DATASETS)
        for folder in folders:
            path = folder / f"{name}.v{major}.yaml"
            if path.is_file():
                return path
        known = sorted({p.stem for folder in folders for p in folder.glob("*.v*.yaml")})
        looked = ", ".join(map(str, folders))
        raise ConfigurationError(f"no contract {name}.v{major}.yaml in {looked}; there is: {', '.join(known)}")

    def source(self, name_or_path: str) -> tuple[SourceSpec, Contract]:
        """A source spec, by name or as a path, with its contract, checked against each other.

        Raises:
            ConfigurationError: it is not there (names the nearest), or does not fit its contract.
        """
        from contracts.spec.files.source import read_source  # noqa: PLC0415

        spec, document = read_source(self._source_path(name_or_path))
        contract = self.contract(spec.dataset, spec.version)
        problems = check_source(spec, contract)
        if spec.raw:
            try:
                owner = read_source(self._source_path(spec.raw))[0]
            except ConfigurationError as error:
                problems.append(f"raw: {str(error).splitlines()[0]}")
            else:
                problems += shares_raw(spec, owner)
                spec = replace(spec, raw_dataset=dataset_name(owner.dataset, owner.version))
        refuse("source spec", document, problems)
        return spec, contract

    def destination(self, name_or_path: str) -> tuple[Destination, Contract]:
        """A destination, by name or as a path, with its contract, checked against each other.

        Raises:
            ConfigurationError: it is not there (names the nearest), or does not fit its contract.
        """
        from contracts.spec.files.destination import read_destination  # noqa: PLC0415

        destination, document = read_destination(_named("destination", name_or_path, (*self.destinations, BUILT_IN_DESTINATIONS)))
        contract = self.contract(destination.dataset, destination.version)
        refuse("destination", document, check_destination(destination, contract))
        return destination, contract

    def recipe(self, name_or_path: str) -> Recipe:
        """A recipe, by name or as a path.

        Raises:
            ConfigurationError: it is not there (names the nearest), or is not as it should be.
        """
        from contracts.spec.files.recipe import load_recipe  # noqa: PLC0415

        return load_recipe(_named("recipe", name_or_path, self.recipes))

    @property
    def recipes(self) -> tuple[Path, ...]:
        """Folders with recipes."""
        return (self.root / "recipes",)

    @property
    def recipe_names(self) -> list[str]:
        """Names of the project's recipes."""
        return _names(self.recipes)

    def _source_path(self, name_or_path: str) -> Path:
        return _named("source", name_or_path, self.sources)


def _project_file(folder: Path | None) -> Path | None:
    """The file of this folder, or this file; without one, the nearest from the working directory upwards, if any."""
    if folder is None:
        here = Path.cwd()
        return next((p / PROJECT_FILE for p in (here, *here.parents) if (p / PROJECT_FILE).is_file()), None)
    return folder / PROJECT_FILE if folder.is_dir() else folder


def _names(folders: Sequence[Path]) -> list[str]:
    return sorted({p.stem for folder in folders for p in folder.glob("*.yaml")} - {"headrace"})


def _named(kind: str, name_or_path: str, folders: Sequence[Path]) -> Path:
    """The file of a source or destination; the first folder that has one wins."""
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        return Path(name_or_path)
    for folder in folders:
        if (path := folder / f"{name_or_path}.yaml").is_file():
            return path
    known = _names(folders)
    near = difflib.get_close_matches(name_or_path, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is: {', '.join(known) or 'none'}."
    looked = ", ".join(map(str, folders))
    raise ConfigurationError(f"no {kind} {name_or_path!r} in {looked}; {hint} Choose a project with --project DIR.")


def _catalog_url(root: Path, url: str | None) -> str | None:
    """The catalog's URL; the relative path of a SQLite file is relative to the project, as all its paths."""
    prefix, relative = "sqlite:///", (url or "").removeprefix("sqlite:///")
    return f"{prefix}{root / relative}" if url and url.startswith(prefix) and not relative.startswith("/") else url
