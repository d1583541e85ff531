"""``headrace contract``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cli.console import json_option, plain_errors, print_json, project_option, stdout, table
from cli.contract_changes import check, diff
from cli.contract_exports import docs, export
from cli.contract_lint import lint, schema
from cli.contract_migrate import compare, migrate
from cli.contract_register import register
from contracts.spec.project import Project


@click.group()
def contract() -> None:
    """Contracts and source specs."""


for command in (lint, check, diff, export, register, docs, schema, migrate, compare):
    contract.add_command(command)


@contract.command("test", epilog="\b\nExample:\n  headrace contract test web --project examples/webshop")
@click.argument("sources", nargs=-1)
@project_option
@json_option
@plain_errors
def test(sources: tuple[str, ...], project: Path | None, as_json: bool) -> None:
    """Read the examples of SOURCES, or of all sources, as a job does, and hold them against what the specs say comes of them.

    Without SOURCES the examples of all recipes too. Exit code 1 where one comes out otherwise. Versions that are read through
    upcasts and have no example are named.
    """
    from operations.examples import (  # noqa: PLC0415 - brings the decoder, and so half a second
        run_examples,
        run_recipe_examples,
        without_examples,
    )

    loaded = Project.load(project)
    pairs = [loaded.source(name) for name in sources or loaded.source_names]
    results = [result for spec, found in pairs for result in run_examples(spec, found)]
    for name in () if sources else loaded.recipe_names:
        results += run_recipe_examples(loaded.recipe(name))
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
