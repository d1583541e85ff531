"""``headrace``: the verbs."""

from __future__ import annotations

import os

import click

from pipelines.cli.contract import contract
from pipelines.cli.deadletter import deadletter
from pipelines.cli.ingest import ingest
from pipelines.cli.lake import lake
from pipelines.cli.status import status
from pipelines.version import VERSION

_EPILOG = """\b
Exit codes: 0 the ledger adds up; 1 the data said no (all good output is written all the same);
2 wrong use; 3 a component is down.
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="headrace")
def main() -> None:
    """The data pipeline layer of a Customer Data Platform: raw events in, validated tables and explained dead letters out."""


for command in (ingest, deadletter, lake, status, contract):
    main.add_command(command)


def run() -> None:
    """The console script. Ctrl-C ends with 130 and one line; everything that was committed stays, and a second run goes on."""
    try:
        code = main(standalone_mode=False)
    except click.Abort:
        click.echo("headrace: stopped. What was committed stays; run the same command again to go on.", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:  # the reader of our output went away, as ``head`` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    raise SystemExit(code or 0)


if __name__ == "__main__":
    run()
