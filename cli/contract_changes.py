"""``headrace contract check`` and ``diff``: whether contracts may change as they do, and what changed, in words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cli.console import lake_option, open_lake, plain_errors, print_json, project_option, stdout
from cli.contract_register import chosen_registry, subject_of
from contracts.errors import ConfigurationError
from contracts.evolution.datasets import contract_changes
from contracts.evolution.history import GitHistory
from contracts.evolution.impact import Surroundings, contract_files, contracts_called, yaml_files
from contracts.evolution.registered import judge_registered
from contracts.evolution.reports import Checked, changelog, document, github_report, text_report
from contracts.evolution.specs import destination_changes, source_changes
from contracts.evolution.verdicts import judge
from contracts.spec.files.destination import load_destination
from contracts.spec.files.source import load_source
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from contracts.spec.registry import Registry
from lake.kept_contracts import kept_contracts

if TYPE_CHECKING:
    from contracts.registry.client import RegisteredSchema

T = TypeVar("T")
_PATIENCE_S = 20.0
_CHECK = """\b
Examples:
  headrace contract check --against-git origin/main
  headrace contract check order --against-git v1.2.0 --format github
  headrace contract check --against-lake --lake build/lake --project examples/webshop"""
_GIT = "A branch, tag or commit: against its state of each file, and earlier ones."


@click.command("check", epilog=_CHECK)
@click.argument("names", nargs=-1)
@click.option("--against-git", "ref", metavar="REF", help=_GIT)
@click.option("--against-lake", "by_lake", is_flag=True, help="Against the contracts that the lake's tables were filled by.")
@click.option("--against-registry", "registry", metavar="URL", help="Against the Avro schemas that a schema registry holds.")
@click.option("--format", "form", type=click.Choice(["text", "github", "json"]), default="text", show_default=True, help="Output.")
@lake_option
@project_option
@plain_errors
def check(
    names: tuple[str, ...],
    ref: str | None,
    by_lake: bool,
    registry: str | None,
    form: str,
    lake: str | None,
    project: Path | None,
) -> None:
    """Whether contracts may change as they do, under their mode. NAMES: datasets, or files; all, where none is given.

    Exit 1 where a change breaks what the mode promises, or where the version does not tell it.
    """
    if sum((ref is not None, by_lake, registry is not None)) != 1:
        raise ConfigurationError(
            "against what? give one of --against-git REF, --against-lake and --against-registry URL; headrace contract lint says "
            "what is wrong with files as they are"
        )
    loaded = Project.load(project)
    files = _chosen(loaded, names)
    surroundings = Surroundings.of(loaded)
    if ref is not None:
        found = list(_against_git(loaded, files, ref, everything=not names))
    elif by_lake:
        opened, _ = open_lake(lake, project)
        found = [
            _against(path, _with_named(loaded, contract), kept_contracts(opened, contract.dataset)) for path, contract in files
        ]
        found = [checked for checked in found if names or not checked.is_new]
    else:
        found = _against_registry(chosen_registry(loaded, registry), files)
        found = [checked for checked in found if names or not checked.is_new]
    _show(found, surroundings, form, loaded.root)
    if not all(checked.allowed for checked in found):
        sys.exit(1)


def _show(found: Sequence[Checked], surroundings: Surroundings, form: str, root: Path) -> None:
    if form == "json":
        print_json([document(checked, surroundings.readers) for checked in found])
        return
    for checked in found:
        for line in (
            github_report(checked, surroundings.readers, Path.cwd())
            if form == "github"
            else text_report(checked, surroundings.readers)
        ):
            stdout.print(line)
    if form == "text":
        for note in surroundings.notes:
            stdout.print(f"note: {note}")
        if not found:
            stdout.print(f"no contracts in {root}")


def _chosen(project: Project, names: Sequence[str]) -> list[tuple[Path, Contract]]:
    """The contracts that are named, or all."""
    known = contract_files(project)
    chosen: list[Path] = []
    for name in names:
        if name.endswith((".yaml", ".yml")) or "/" in name:
            chosen.append(Path(name))
            continue
        matching = contracts_called(project, name)
        if not matching:
            there = ", ".join(path.stem for path in known) or "none"
            raise ConfigurationError(f"no contract {name!r}; there is: {there}. Choose a project with --project DIR.")
        chosen += matching
    return [(path, load_contract(path)) for path in chosen or known]


def _with_named(project: Project, contract: Contract) -> Contract:
    """As a run has it: with the consumers that the project file names."""
    return replace(contract, consumers=(*contract.consumers, *project.consumers.get(contract.dataset, ())))


def _against(path: Path, after: Contract, earlier: Sequence[Contract], notes: Sequence[str] = ()) -> Checked:
    if not earlier:
        return Checked(path=path, name=path.stem, is_new=True, notes=notes)
    return Checked(path=path, name=path.stem, verdict=judge(after, earlier), notes=notes)


def _against_git(project: Project, files: Sequence[tuple[Path, Contract]], ref: str, *, everything: bool) -> Iterator[Checked]:
    git = GitHistory(project.root, ref)
    for path, contract in files:
        if not git.holds(path):
            if not everything:
                raise ConfigurationError(f"{path} is not in the repository {git.root}; it cannot be compared with {ref}")
            continue
        history = git.contracts(path)
        yield _against(path, contract, history.contracts, history.notes)
    if everything:
        yield from _gone(project, git)
        yield from _specs(project, git)


def _against_registry(registry: Registry, files: Sequence[tuple[Path, Contract]]) -> list[Checked]:
    """Subjects as ``contract register`` names them."""
    from contracts.registry.client import RegistryClient  # noqa: PLC0415 - brings an HTTP client
    from contracts.registry.subjects import avro_versions  # noqa: PLC0415 - as above

    client = RegistryClient(registry, patience_s=_PATIENCE_S)
    found = []
    try:
        for path, contract in files:
            earlier, others = avro_versions(client, subject_of(contract))
            notes = [f"version {v.number} of subject {subject_of(contract)} is not compared: {_why_not(v.schema)}" for v in others]
            verdict = judge_registered(contract, earlier) if earlier else None
            found.append(Checked(path=path, name=path.stem, verdict=verdict, is_new=verdict is None, notes=notes))
    finally:
        client.close()
    return found


def _why_not(schema: RegisteredSchema) -> str:
    return "it refers to other schemas" if schema.type == "AVRO" else f"it is {schema.type}, not Avro"


def _gone(project: Project, git: GitHistory) -> Iterator[Checked]:
    """Contracts that were there and are not."""
    today = datetime.now(UTC).date()
    for folder in filter(git.holds, project.datasets):
        for path in git.files(folder, ".yaml"):
            if not path.exists() and ".v" in path.stem and (gone := git.read(path, load_contract)):
                in_time = gone.deprecated is not None and gone.deprecated.until < today
                yield Checked(path=path, name=path.stem, gone=gone, gone_in_time=in_time)


def _specs(project: Project, git: GitHistory) -> Iterator[Checked]:
    """Sources and destinations that are told of."""
    for path in filter(git.holds, yaml_files(project.sources)):
        if (pair := _pair(git, path, load_source)) and (told := source_changes(*pair)):
            yield Checked(path=path, name=path.stem, specs=told)
    for path in filter(git.holds, yaml_files(project.destinations)):
        if (ends := _pair(git, path, load_destination)) and (told := destination_changes(*ends)):
            yield Checked(path=path, name=path.stem, specs=told)


def _pair(git: GitHistory, path: Path, load: Callable[[Path], T]) -> tuple[T, T] | None:
    """A file as it was and as it is; None where one of them is not there or cannot be read, which is for contract lint to say."""
    try:
        before = git.read(path, load)
        return None if before is None else (before, load(path))
    except ConfigurationError:
        return None


@click.command("diff", epilog="\b\nExample:\n  headrace contract diff old/order.v1.yaml new/order.v1.yaml")
@click.argument("before")
@click.argument("after", required=False)
@click.option("--against-git", "ref", metavar="REF", help="Compare the contract BEFORE as it is with its state at REF.")
@project_option
@plain_errors
def diff(before: str, after: str | None, ref: str | None, project: Path | None) -> None:
    """What changed between two contracts, as a changelog. BEFORE and AFTER are files; with --against-git one name or file."""
    if (after is None) == (ref is None):
        raise ConfigurationError("between what? give two files, or one contract and --against-git REF")
    if after is not None:
        old, new = load_contract(Path(before)), load_contract(Path(after))
        for line in changelog(old, new, contract_changes(old, new)):
            stdout.print(line)
        return
    loaded = Project.load(project)
    assert ref is not None
    for path, contract in _chosen(loaded, [before]):
        earlier = GitHistory(path.absolute().parent, ref).read(path, load_contract)
        if earlier is None:
            stdout.print(f"{path.stem}: new, {ref} does not have it")
            continue
        for line in changelog(earlier, contract, contract_changes(earlier, contract)):
            stdout.print(line)
