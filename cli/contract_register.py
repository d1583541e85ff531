"""``headrace contract register``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.console import json_option, plain_errors, print_json, project_option, stderr, stdout
from contracts.errors import ConfigurationError, DataError
from contracts.spec.files.registry import registry_at
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from contracts.spec.registry import Registry

_PATIENCE_S = 20.0


@click.command(
    "register", epilog="\b\nExample:\n  headrace contract register customer_event --registry http://localhost:24490/apis/ccompat/v7"
)
@click.argument("name")
@click.option("--registry", "url", metavar="URL", help="Of the registry's Confluent API; else that of headrace.yaml.")
@click.option(
    "--subject",
    metavar="NAME",
    help="Where it is registered.  [default: that of the topic of rows, headrace.validated.NAME-value; of a source NAME-value]",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["avro", "jsonschema"]),
    default="avro",
    show_default=True,
    help="Of the rows as Avro, or of the payloads of the source NAME as JSON Schema.",
)
@click.option("--dry-run", is_flag=True, help="Only ask whether the registry would take it.")
@project_option
@json_option
@plain_errors
def register(
    name: str, url: str | None, subject: str | None, kind: str, dry_run: bool, project: Path | None, as_json: bool
) -> None:
    """Register the schema of a contract, and have the registry hold the subject to the contract's compatibility.

    NAME is a dataset (of several versions the newest); with --format jsonschema a source. Registering the same again
    changes nothing. Exit code 1 where the registry refuses it, with its reasons.
    """
    from cli.registration import register_schema  # noqa: PLC0415 - brings an HTTP client

    loaded = Project.load(project)
    registry = chosen_registry(loaded, url)
    contract, schema, stem = _schema(loaded, name, kind)
    done = register_schema(
        registry, subject or f"{stem}-value", schema, "AVRO" if kind == "avro" else "JSON", contract.compatibility,
        dry_run=dry_run, patience_s=_PATIENCE_S,
    )  # fmt: skip
    if as_json:
        print_json(done)
    else:
        _show(done)
    for warning in done.warnings:
        stderr.print(f"warning: {warning}")
    if done.reasons:
        raise DataError(f"subject {done.subject}: the registry does not take this as the next version: {'; '.join(done.reasons)}")


def chosen_registry(project: Project, url: str | None) -> Registry:
    """The registry that was asked for, or the project's.

    Raises:
        ConfigurationError: there is none, or the URL is none.
    """
    if url is None:
        if project.registry is None:
            raise ConfigurationError("no registry: give --registry URL, or a project whose headrace.yaml names one (--project DIR)")
        return project.registry
    if project.registry is not None and project.registry.url == url.rstrip("/"):
        return project.registry  # with its credentials, which go nowhere else
    return registry_at(url)


def _schema(project: Project, name: str, kind: str) -> tuple[Contract, dict[str, Any], str]:
    """The contract, its schema, and what the subject is named after."""
    if kind == "jsonschema":
        from contracts.compiler.schemas import json_schema  # noqa: PLC0415 - brings pyarrow

        spec, contract = project.source(name)
        if spec.text:
            raise ConfigurationError(f"source {spec.name} is CSV; JSON Schema describes JSON payloads only")
        return contract, json_schema(contract, spec), spec.name
    from contracts.evolution.avro import avro_schema  # noqa: PLC0415 - brings Avro's own library
    from contracts.evolution.impact import contract_files  # noqa: PLC0415 - as above

    files = [path for path in contract_files(project) if name in (path.stem, path.stem.rpartition(".v")[0])]
    if not files:
        there = ", ".join(path.stem for path in contract_files(project))
        raise ConfigurationError(f"no dataset {name!r}; there is: {there}. Choose a project with --project DIR.")
    contract = max(map(load_contract, files), key=lambda found: found.major)
    return contract, avro_schema(contract), _stem(contract)


def subject_of(contract: Contract) -> str:
    """Where the schema of a contract's rows is registered, unless another subject is asked for."""
    return f"{_stem(contract)}-value"


def _stem(contract: Contract) -> str:
    return f"headrace.validated.{contract.dataset}"


def _show(done: Any) -> None:
    if done.reasons:
        return
    what = f"subject {done.subject}"
    if done.dry_run:
        stdout.print(f"{what}: would be taken, held to {done.compatibility}")
    else:
        stdout.print(f"{what}: schema id {done.schema_id}, version {done.version}, held to {done.compatibility}")
