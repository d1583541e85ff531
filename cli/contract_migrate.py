"""``headrace contract migrate`` and ``compare``: from one major of a contract to the next."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.console import json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from contracts.errors import ConfigurationError, DataError


@click.command("migrate", epilog="\b\nExample:\n  headrace contract migrate order --to 2")
@click.argument("name")
@click.option("--to", "major", type=click.IntRange(2), required=True, metavar="MAJOR", help="The new major; its contract is there.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there; else to stdout.")
@lake_option
@project_option
@plain_errors
def migrate(name: str, major: int, output: Path | None, lake: str | None, project: Path | None) -> None:
    """Write the steps from a contract's former major to MAJOR: write both, backfill, compare, move the readers, end the old one.

    Each step is a command with the names of this project, and says how it is taken back. Nothing is changed.
    """
    from contracts.spec.project import Project  # noqa: PLC0415
    from operations.majors import playbook  # noqa: PLC0415 - brings the lake

    loaded = Project.load(project)
    new, old = loaded.contract(name, major), loaded.contract(name, major - 1)
    opened = None
    with contextlib.suppress(ConfigurationError):
        opened, _ = open_lake(lake, project)
    written = playbook(loaded, old, new, opened, datetime.now(UTC).date()).text
    if output is None:
        stdout.print(written)
    else:
        output.write_text(written, "utf-8")


@click.command("compare", epilog="\b\nExample:\n  headrace contract compare order --from 1 --to 2")
@click.argument("name")
@click.option("--from", "before", type=click.IntRange(1), required=True, metavar="MAJOR", help="The old one.")
@click.option("--to", "after", type=click.IntRange(1), required=True, metavar="MAJOR", help="The new one.")
@lake_option
@project_option
@json_option
@plain_errors
def compare(name: str, before: int, after: int, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Hold the table of a new major against that of the old one: ids that are missing, and columns of one name that differ.

    Exit code 1 where an id of the old table is missing in the new one, or a value differs.
    """
    from operations.majors import compare_majors  # noqa: PLC0415 - brings the lake

    opened, loaded = open_lake(lake, project)
    old, new = loaded.contract(name, before), loaded.contract(name, after)
    found = compare_majors(opened, old, new)
    if as_json:
        print_json(asdict(found))
    else:
        columns = ("ids in both", f"only in {found.old}", f"only in {found.new}")
        stdout.print(table(columns, [(found.both, found.only_old, found.only_new)]))
        for column, count in found.differing.items():
            stdout.print(f"{column}: differs in {count:,} rows")
        if found.examples:
            stdout.print(f"missing, such as: {', '.join(found.examples)}; their dead letters say why")
    if not found.agrees:
        raise DataError(f"{found.new} does not say what {found.old} says: {found.only_old:,} ids are missing, "
                        f"{len(found.differing)} columns differ")  # fmt: skip
