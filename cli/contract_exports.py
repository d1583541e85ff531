"""``headrace contract export`` and ``docs``: contracts for other systems, and for people to look through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import pyarrow as pa

from cli.console import plain_errors, project_option, stderr
from contracts.catalogue.entries import gather
from contracts.catalogue.page import render
from contracts.compiler.schemas import arrow_type, json_schema
from contracts.errors import ConfigurationError
from contracts.evolution.avro import avro_schema
from contracts.evolution.ddl import DatabaseName, ddl
from contracts.evolution.iceberg import iceberg_schema
from contracts.evolution.impact import contract_files, contracts_called
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from contracts.text import json_text

_DDL = tuple(f"ddl-{database}" for database in get_args(DatabaseName))
_FORMATS = ("jsonschema", "avro", "arrow", "iceberg", *_DDL)
_EXPORT = """\b
Examples:
  headrace contract export web --format jsonschema --project examples/webshop
  headrace contract export order --format avro
  headrace contract export order.v1 --format ddl-postgresql"""


@click.command("export", epilog=_EXPORT)
@click.argument("name")
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="jsonschema", show_default=True, help="Which schema.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it there; else to stdout.")
@project_option
@plain_errors
def export(name: str, kind: str, output: Path | None, project: Path | None) -> None:
    """Give a contract as a schema of another system. NAME is a dataset (of several versions the newest), or a source.

    jsonschema: of one payload record of a source, for whoever sends it; of a dataset, if one source alone feeds it. All others: of
    the dataset's rows. arrow: in words; in a FILE as the message that Arrow's readers take.
    """
    loaded = Project.load(project)
    if kind == "jsonschema":
        spec, found = _source(loaded, name)
        if spec.text:
            raise ConfigurationError(f"source {spec.name} is CSV; JSON Schema describes JSON payloads only")
        _write(json_text(json_schema(found, spec)) + "\n", output)
        return
    contract = _contract(loaded, name)
    if kind == "arrow":
        schema = _arrow_schema(contract)
        _write(schema.serialize().to_pybytes() if output else f"{schema.to_string(show_field_metadata=False)}\n", output)
        return
    if kind in _DDL:
        _write(next(ddl(contract, database) for database in get_args(DatabaseName) if kind == f"ddl-{database}"), output)
        return
    makers: dict[str, Callable[[Contract], dict[str, Any]]] = {"avro": avro_schema, "iceberg": iceberg_schema}
    _write(json.dumps(makers[kind](contract), indent=2, ensure_ascii=True) + "\n", output)


def _contract(project: Project, name: str) -> Contract:
    """The contract of a dataset's name, with or without its major version; or of a source's."""
    if matching := contracts_called(project, name):
        return max((load_contract(path) for path in matching), key=lambda contract: contract.major)
    if name in project.source_names or "/" in name or name.endswith((".yaml", ".yml")):
        return project.source(name)[1]
    there = ", ".join([*(path.stem for path in contract_files(project)), *project.source_names])
    raise ConfigurationError(f"no dataset or source {name!r}; there is: {there}. Choose a project with --project DIR.")


def _source(project: Project, name: str) -> tuple[SourceSpec, Contract]:
    """A source; or the one that feeds a dataset of this name."""
    if name in project.source_names or not contracts_called(project, name):
        return project.source(name)
    feeding = project.sources_of(_contract(project, name).dataset)
    if len(feeding) != 1:
        there = f"one of {', '.join(feeding)}" if feeding else "a source, but none feeds it"
        raise ConfigurationError(f"{name} is a dataset; JSON Schema is of the payloads of a source: give {there}")
    return project.source(feeding[0])


def _arrow_schema(contract: Contract) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                column.name,
                arrow_type(column),
                nullable=not (column.required or column.name == contract.event_id),
                metadata={"description": column.description} if column.description else None,
            )
            for column in contract.columns
        ],
        metadata={"dataset": contract.name, "version": contract.version},
    )


def _write(content: str | bytes, output: Path | None) -> None:
    if output is None:
        assert isinstance(content, str)
        click.echo(content, nl=False)
        return
    try:
        output.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written: {error.strerror}") from None
    stderr.print(f"written: {output}")


@click.command("docs", epilog="\b\nExample:\n  headrace contract docs --output build/catalogue --project examples/webshop")
@click.option(
    "--output", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where to write index.html."
)
@click.option("--title", default="Data catalogue", show_default=True, help="Of the page.")
@project_option
@plain_errors
def docs(output: Path, title: str, project: Path | None) -> None:
    """Write the catalogue: one page with all datasets, their fields, owners, readers and versions. It needs no network.

    Earlier versions are read from git where the project lies in a repository.
    """
    catalogue = gather(Project.load(project), title)
    output.mkdir(parents=True, exist_ok=True)
    _write(render(catalogue), output / "index.html")
