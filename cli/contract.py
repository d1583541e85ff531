"""``headrace contract``."""

from __future__ import annotations

import click

from cli.contract_changes import check, diff
from cli.contract_exports import export


@click.group()
def contract() -> None:
    """Contracts and source specs."""


for command in (check, diff, export):
    contract.add_command(command)
