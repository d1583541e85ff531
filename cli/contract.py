"""``headrace contract``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cli.console import json_option, plain_errors, print_json, project_option, stdout, table
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


@contract.command("test", epilog="\b\nExample:\n  headrace contract test web --project examples/webshop")
@click.argument("sources", nargs=-1)
@project_option
@json_option
@plain_errors
def test(sources: tuple[str, ...], project: Path | None, as_json: bool) -> None:
    """Read the examples of SOURCES, or of all sources, as a job does, and hold them against what the specs say comes of them.

    Exit code 1 where one comes out otherwise. Versions that are read through upcasts and have no example are named.
    """
    from operations.examples import run_examples, without_examples  # noqa: PLC0415 - brings the decoder, and so half a second

    loaded = Project.load(project)
    pairs = [loaded.source(name) for name in sources or loaded.source_names]
    results = [result for spec, found in pairs for result in run_examples(spec, found)]
    unshown = [(spec.name, version) for spec, _ in pairs for version in without_examples(spec)]
    if as_json:
        print_json({"examples": [asdict(r) for r in results], "versions_without_example": [list(pair) for pair in unshown]})
    else:
        rows = [(r.source, r.name, "as expected" if not r.problems else "\n".join(r.problems)) for r in results]
        if rows:
            stdout.print(table(("source", "example", "result"), rows))
        failed = sum(bool(r.problems) for r in results)
        stdout.print(f"{len(results)} examples, {failed} not as expected" if results else "no examples")
        for source, version in unshown:
            stdout.print(f"warning: {source}: version {version} is read through upcasts, and no example shows how")
    if any(r.problems for r in results):
        raise click.exceptions.Exit(1)


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
