"""``headrace contract lint`` and ``schema``: the files of a project, checked without anything that runs, and their schemas."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from cli.console import plain_errors, print_json, project_option, stdout
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.text import json_text

KINDS = ("source", "contract", "destination", "project", "suppressions", "recipe")
_LINT = """\b
Examples:
  headrace contract lint --project examples/webshop
  headrace contract lint web --project examples/webshop
  headrace contract lint --strict --format github
  headrace contract lint --format sarif > lint.sarif"""
_SCHEMA = """\b
Examples:
  headrace contract schema source
  headrace contract schema --write schemas"""


@click.command("lint", epilog=_LINT)
@click.argument("names", nargs=-1)
@click.option(
    "--format", "form", type=click.Choice(["text", "github", "sarif", "json"]), default="text", show_default=True, help="Output."
)
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings too.")
@click.option(
    "--today", type=click.DateTime(["%Y-%m-%d"]), help="Day on which deprecations are judged; today where it is left out."
)
@project_option
@plain_errors
def lint(names: tuple[str, ...], form: str, strict: bool, today: datetime | None, project: Path | None) -> None:
    """Check every contract, source, destination and recipe of a project, offline; all problems at once, with file, line and remedy.

    NAMES are sources, destinations, datasets, recipes or paths; all where none is given. Paths are shown from the working
    directory on. Exit code 1 where there are errors.
    """
    from contracts.lint.findings import Severity  # noqa: PLC0415 - the models of files bring pydantic
    from contracts.lint.project import lint as lint_project  # noqa: PLC0415
    from contracts.lint.reports import as_json, github_lines, sarif, text_lines  # noqa: PLC0415

    found = lint_project(Project.load(project), names, (today or datetime.now(UTC)).date())
    folder = Path.cwd()
    if form == "sarif":
        print_json(sarif(found, folder))
    elif form == "json":
        print_json(as_json(found, folder))
    else:
        for line in (text_lines if form == "text" else github_lines)(found, folder):
            stdout.print(line)
    refused = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    if any(finding.severity in refused for finding in found):
        raise click.exceptions.Exit(1)


@click.command("schema", epilog=_SCHEMA)
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option("--write", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder that all of them are written to.")
@plain_errors
def schema(kind: str | None, folder: Path | None) -> None:
    """Print the JSON Schema of a kind of file, or write all of them: editors complete and check files by it."""
    from contracts.spec.files.schemas import file_schema  # noqa: PLC0415 - the models of files bring pydantic

    if (kind is None) == (folder is None):
        raise ConfigurationError(f"give one of {', '.join(KINDS)}, or --write DIR for all of them")
    if kind:
        print_json(file_schema(kind))
        return
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    for each in KINDS:
        path = folder / f"{each}.schema.json"
        path.write_text(json_text(file_schema(each)) + "\n", "utf-8")
        stdout.print(str(path))
