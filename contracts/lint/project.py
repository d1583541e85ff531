"""Lint of a project: all its files, each by itself and with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from contracts.codes import Code
from contracts.errors import ConfigurationError
from contracts.lint.contract import look, strange_columns
from contracts.lint.findings import Finding, Severity
from contracts.lint.quality import reference_problems
from contracts.spec.destination import Destination, check_destination
from contracts.spec.documents import ProblemsError, place_of
from contracts.spec.files.destination import read_destination
from contracts.spec.files.recipe import read_recipe
from contracts.spec.files.source import read_source
from contracts.spec.files.suppressions import SuppressionsFile, suppression_files
from contracts.spec.model import Contract, name_and_major
from contracts.spec.odcs import read_contract
from contracts.spec.project import BUILT_IN_DATASETS, PROJECT_FILE, Project
from contracts.spec.source import SourceSpec, check_source, shares_raw, warnings_of
from contracts.spec.yaml_files import Document, read_yaml

_Loaded = list[tuple[Any, Document]]


def lint(project: Project, names: Sequence[str], today: date) -> list[Finding]:
    """What is wrong with the files of a project.

    Args:
        project: whose files are looked at, and the shipped contracts that they use.
        names: of sources, destinations, datasets and recipes, or paths; empty for all.
        today: deprecations that end before it have run out.

    Raises:
        ConfigurationError: a name names nothing.
    """
    found = _Linter(project, today).findings()
    if not names:
        return found
    wanted = {path for name in names for path in _named(project, name)}
    return [finding for finding in found if finding.path in wanted]


def _named(project: Project, name: str) -> list[Path]:
    own = (*project.sources, *project.destinations, *project.recipes)
    files = _files((*own, *project.datasets, BUILT_IN_DATASETS))
    there = [path for path in files if name in (path.stem, path.stem.partition(".v")[0]) or path == Path(name).absolute()]
    if not there and Path(name).is_file():
        there = [Path(name).absolute()]
    if not there:
        known = ", ".join(sorted({path.stem for path in files}))
        raise ConfigurationError(
            f"no source, destination, dataset or recipe {name!r}; there is: {known}. Choose a project with --project DIR."
        )
    return there


def _files(folders: Sequence[Path]) -> list[Path]:
    return [path.absolute() for folder in folders for path in sorted(folder.glob("*.yaml")) if path.name != PROJECT_FILE]


class _Linter:
    def __init__(self, project: Project, today: date) -> None:
        self._project, self._today = project, today
        self._found: list[Finding] = []

    def findings(self) -> list[Finding]:
        """Everything, by file and line."""
        contracts = self._load(_files(self._project.datasets), read_contract)
        own = {(contract.name, contract.major) for contract, _ in contracts}
        sources = self._load(_files(self._project.sources), read_source)
        destinations = self._load(_files(self._project.destinations), read_destination)
        recipes = self._load(_files(self._project.recipes), read_recipe)
        self._load(suppression_files(self._project.policies), SuppressionsFile.read)
        used = {(spec.dataset, spec.version) for spec, _ in [*sources, *destinations]}
        contracts += self._shipped(used - own)
        by_key: dict[tuple[str, int], Contract] = {}
        for contract, document in contracts:
            by_key.setdefault((contract.name, contract.major), contract)
            for place, told, code, severity in look(
                contract, document, self._today, self._project.consumers.get(contract.dataset, ())
            ):
                self._tell(document, place, told, code, severity)
        self._consumers(by_key)
        for contract, document in contracts:
            for place, told, code, severity in reference_problems(contract, document.value, self._anywhere):
                self._tell(document, place, told, code, severity)
        self._fit(sources, by_key, check_source, warnings_of)
        by_name = {spec.name: spec for spec, _ in sources}
        for spec, document in sources:
            if spec.raw:
                owner = by_name.get(spec.raw)
                there = [f"raw: there is no source {spec.raw} in this project"] if owner is None else shares_raw(spec, owner)
                for told in there:
                    self._tell(document, ("raw",), told, "fit", Severity.ERROR)
            self._unmapped(spec, by_key.get((spec.dataset, spec.version)), document)
        self._fit(destinations, by_key, check_destination, lambda destination, contract: [])
        self._names(contracts, lambda contract: f"{contract.name}.v{contract.major}", "contract")
        self._names(sources, lambda spec: spec.name, "source")
        self._names(destinations, lambda destination: destination.name, "destination")
        self._names(recipes, lambda recipe: recipe.name, "recipe")
        self._repairs(recipes)
        fed = {(spec.dataset, spec.version) for spec, _ in sources}
        for contract, document in contracts:
            if (contract.name, contract.major) not in fed and document.path.parent != BUILT_IN_DATASETS:
                self._tell(document, ("name",), f"name: no source feeds {contract.name} {contract.major}; add one", "unfed")
        return sorted(dict.fromkeys(self._found))

    def _anywhere(self, dataset: str) -> Contract | None:
        """A contract by its dataset, also one that no source or destination uses; None where there is none that can be read."""
        name, major = name_and_major(dataset)
        for folder in (*self._project.datasets, BUILT_IN_DATASETS):
            path = folder / f"{name}.v{major}.yaml"
            if path.is_file():
                with suppress(ConfigurationError):
                    return read_contract(path)[0]
        return None

    def _tell(self, document: Document, place: Any, told: str, code: str, severity: Severity = Severity.WARNING) -> None:
        self._found.append(Finding(document.path, document.line(place), told, code, severity))

    def _load(self, files: Sequence[Path], read: Callable[[Path], tuple[Any, Document]]) -> _Loaded:
        loaded: _Loaded = []
        for path in files:
            try:
                loaded.append(read(path))
            except ProblemsError as error:
                for problem in error.problems:
                    elsewhere = ": the environment has no " in problem.told  # not known here; it is where the file is used
                    told = f"{problem.told}; set it where the destination is used" if elsewhere else problem.told
                    self._found.append(Finding(path, problem.line, told, "load", Severity.NOTE if elsewhere else Severity.ERROR))
            except ConfigurationError as error:
                line, told = _unread(str(error), path)
                self._found.append(Finding(path, line, told, "load", Severity.ERROR))
        return loaded

    def _shipped(self, wanted: set[tuple[str, int]]) -> _Loaded:
        paths = [BUILT_IN_DATASETS / f"{name}.v{major}.yaml" for name, major in sorted(wanted)]
        return self._load([path for path in paths if path.is_file()], read_contract)

    def _consumers(self, contracts: dict[tuple[str, int], Contract]) -> None:
        """Those that the project file names."""
        for dataset, consumers in self._project.consumers.items():
            assert self._project.file is not None
            document, place = read_yaml(self._project.file, "project file"), ("consumers", dataset)
            name, major = name_and_major(dataset)
            known = [contract for key, contract in contracts.items() if key == (name, major)]
            for contract in known:
                for told in strange_columns(contract, consumers):
                    self._tell(document, place, told, "consumers", Severity.ERROR)
            folders = (*self._project.datasets, BUILT_IN_DATASETS)
            if not any(True for folder in folders for _ in folder.glob(f"{name}.v{major}.yaml")):
                told = f"consumers: there is no contract of a dataset {dataset}; correct its name"
                self._tell(document, place, told, "consumers")

    def _repairs(self, recipes: _Loaded) -> None:
        """Whose letters a recipe may repair: it repairs none of what has another name."""
        codes = sorted(map(str, Code))
        for recipe, document in recipes:
            if recipe.dataset and self._anywhere(recipe.dataset) is None:
                told = f"dataset: there is no contract of a dataset {recipe.dataset}; correct its name"
                self._tell(document, ("dataset",), told, "fit", Severity.ERROR)
            for place, given, known in (("sources", recipe.sources, self._project.source_names), ("codes", recipe.codes, codes)):
                for name in given:
                    if name not in known:
                        told = f"{place}: there is no {place[:-1]} {name}; there is: {', '.join(known)}"
                        self._tell(document, (place,), told, "fit", Severity.ERROR)

    def _fit(
        self,
        loaded: _Loaded,
        contracts: dict[tuple[str, int], Contract],
        check: Callable[[Any, Contract], list[str]],
        warn: Callable[[Any, Contract], list[str]],
    ) -> None:
        for spec, document in loaded:
            contract = contracts.get((spec.dataset, spec.version))
            if contract is None:
                self._missing(spec, document)
                continue
            for told in check(spec, contract):
                self._tell(document, place_of(told), told, "fit", Severity.ERROR)
            for told in warn(spec, contract):
                self._tell(document, place_of(told), told, "meaning")

    def _unmapped(self, spec: SourceSpec, contract: Contract | None, document: Document) -> None:
        if contract is None:
            return
        unmapped = [c.name for c in contract.columns if c.name not in spec.columns and c.name not in contract.computed]
        if unmapped:
            told = f"columns: not mapped, always null: {', '.join(unmapped)}"
            self._tell(document, ("columns",), told, "unmapped", Severity.NOTE)

    def _missing(self, spec: SourceSpec | Destination, document: Document) -> None:
        try:
            self._project.contract_path(spec.dataset, spec.version)
        except ConfigurationError as error:
            self._tell(document, ("dataset",), f"dataset: {error}", "fit", Severity.ERROR)

    def _names(self, loaded: _Loaded, name_of: Callable[[Any], str], kind: str) -> None:
        by_name: dict[str, list[Document]] = defaultdict(list)
        for one, document in loaded:
            by_name[name_of(one)].append(document)
            if document.path.stem != name_of(one):
                told = f"the file is looked for as {name_of(one)}.yaml, and is {document.path.name}; rename it"
                self._tell(document, (), told, "case" if document.path.stem.lower() == name_of(one) else "file-name")
        for name, documents in by_name.items():
            for later in documents[1:]:
                told = f"{kind} {name} is in {documents[0].path} too, and only that file is read; keep one"
                self._tell(later, (), told, "twice", Severity.ERROR)


def _unread(text: str, path: Path) -> tuple[int, str]:
    """Line and sentence of a message of the YAML reader."""
    told = text.partition(f"{path}: ")[2] or text
    words = told.replace(":", " ").split()
    lines = [int(after) for before, after in pairwise(words) if before == "line" and after.isdigit()]
    return (lines[0] if lines else 1), told
