"""``headrace contract export`` and ``docs``: contracts for other systems, and for people to look through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import pyarrow as pa

from cli.console import plain_errors, project_option, stderr
from contracts.compiler.schemas import arrow_type, json_schema
from contracts.errors import ConfigurationError
from contracts.evolution.avro import avro_schema
from contracts.evolution.ddl import DatabaseName, ddl
from contracts.evolution.iceberg import iceberg_schema
from contracts.evolution.impact import contract_files, yaml_files
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
    known = contract_files(project)
    matching = [path for path in known if name in (path.stem, path.stem.rpartition(".v")[0])]
    if matching:
        return max((load_contract(path) for path in matching), key=lambda contract: contract.major)
    if name in _source_names(project) or "/" in name or name.endswith((".yaml", ".yml")):
        return project.source(name)[1]
    raise ConfigurationError(
        f"no dataset or source {name!r}; there is: {', '.join([*(path.stem for path in known), *_source_names(project)])}. "
        "Choose a project with --project DIR."
    )


def _source(project: Project, name: str) -> tuple[SourceSpec, Contract]:
    """A source; or the one that feeds a dataset of this name."""
    if name in _source_names(project) or not any(name in (p.stem, p.stem.rpartition(".v")[0]) for p in contract_files(project)):
        return project.source(name)
    feeding = project.sources_of(name.rpartition(".v")[0] or name)
    if len(feeding) != 1:
        there = f"one of {', '.join(feeding)}" if feeding else "a source, but none feeds it"
        raise ConfigurationError(f"{name} is a dataset; JSON Schema is of the payloads of a source: give {there}")
    return project.source(feeding[0])


def _source_names(project: Project) -> list[str]:
    return [path.stem for path in yaml_files(project.sources)]


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
