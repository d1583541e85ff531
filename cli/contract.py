"""``headrace contract``."""

from __future__ import annotations

from pathlib import Path

import click

from cli.console import json_option, plain_errors, print_json, project_option, stdout
from contracts.compiler.schemas import json_schema
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.source import warnings_of


@click.group()
def contract() -> None:
    """Contracts and source specs."""


@contract.command("check", epilog="\b\nExample:\n  headrace contract check web --project examples/webshop")
@click.argument("source")
@project_option
@json_option
@plain_errors
def check(source: str, project: Path | None, as_json: bool) -> None:
    """Read a source spec and its contract, and say everything that does not fit. SOURCE is a name or a path."""
    spec, found = Project.load(project).source(source)
    unmapped = [c.name for c in found.columns if c.name not in spec.columns and c.name not in found.computed]
    warnings = warnings_of(spec, found)
    if as_json:
        told = {"source": spec.name, "dataset": found.name, "version": found.version, "mapped": sorted(spec.columns)}
        print_json({**told, "unmapped": unmapped, "warnings": warnings})
        return
    stdout.print(f"{spec.name}: fits {found.name} {found.version}; {len(spec.columns)} columns mapped")
    if unmapped:
        stdout.print("not mapped, always null: " + ", ".join(unmapped))
    for warning in warnings:
        stdout.print(f"warning: {warning}")


@contract.command("export", epilog="\b\nExample:\n  headrace contract export web --format jsonschema --project examples/webshop")
@click.argument("source")
@click.option("--format", "kind", type=click.Choice(["jsonschema"]), default="jsonschema", show_default=True, help="Which schema.")
@project_option
@plain_errors
def export(source: str, kind: str, project: Path | None) -> None:
    """Print the schema of one payload record of SOURCE, for whoever sends it."""
    spec, found = Project.load(project).source(source)
    if kind == "jsonschema" and spec.text:
        raise ConfigurationError(f"source {spec.name} is CSV; JSON Schema describes JSON payloads only")
    print_json(json_schema(found, spec))
