"""``headrace``: the verbs."""

from __future__ import annotations

import importlib
import os
import sys
from io import StringIO

import click
from click.shell_completion import CompletionItem

from contracts.logs import ENV_FORMAT, ENV_LEVEL, FORMATS, LEVELS, LogOptions, configure
from contracts.text import printable
from contracts.version import VERSION
from lake.storage import keep_private

_EPILOG = """\b
Exit codes: 0 the ledger adds up; 1 the data said no (all good output is written all the same);
2 wrong use; 3 a component is down; 4 a fault of ours.
"""
_FAULT = 4


# Verb, and what it does in a few words. Its module is loaded when it is asked for: Beam takes a second to import.
_VERBS = {
    "airflow": "DAGs for Airflow from the schedules of a project: build, validate, show.",
    "changes": "What changed between two moments: contracts, specs, versions, options, volume, what people did.",
    "contract": "Contracts and source specs: lint, test, compare, export, register.",
    "deadletter": "Rejected records: list, explain, count, read again, export, close.",
    "deliver": "Rows to a destination: in order, within its limits, each accounted for.",
    "drift": "What is deployed against what the repository says: DAGs, jobs, topics, tables, registry, templates.",
    "ingest": "Land files, check every record, fold the good ones into tables.",
    "job": "Streaming jobs on Flink: list, look, stop, cancel, supervise.",
    "lake": "Files and tables of a lake: list, check, repair, compact, expire, clean, upgrade; what became of an event.",
    "quality": "Rules about partitions: judge them by hand, and a page of what came of them.",
    "reconcile": "What should be at a destination against what it has, id by id.",
    "replay": "Rebuild windows from raw on a branch: plan, run, diff, promote, roll back.",
    "stack": "A local Kafka and Flink for development and tests: start, look, stop.",
    "status": "The last runs, and what became of their records.",
    "template": "Pipelines as templates for Dataflow and Kubernetes: list, build, validate, run.",
}


class _Verbs(click.Group):
    """Loads a verb's module only when that verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command = getattr(importlib.import_module(f"cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=_VERBS, ctx=ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of verbs by their names: no module is loaded for it."""
        verbs = [CompletionItem(name, help=told) for name, told in sorted(_VERBS.items()) if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_VERBS.items()))


@click.group(cls=_Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="headrace")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    help=f"From which level on log lines go to stderr. [{ENV_LEVEL}; default: warning, in workers info]",
)
@click.option(
    "--log-format", type=click.Choice(FORMATS), help=f"Lines of text, or a JSON object a line. [{ENV_FORMAT}; default: text]"
)
def main(log_level: str | None, log_format: str | None) -> None:
    """The data pipeline layer of a Customer Data Platform: raw events in, validated tables and explained dead letters out."""
    given = LogOptions.of()
    configure(LogOptions(log_level or given.level, log_format or given.form))
    keep_private()


def _told(error: click.ClickException) -> str:
    """What click says of an error."""
    told = StringIO()
    error.show(told)
    return told.getvalue()


def _fault(error: Exception) -> str:
    """What to send us. No message of the exception: it may quote a value."""
    from cli.fault import write_fault  # noqa: PLC0415 - not needed as long as all goes well

    file = write_fault(error, sys.argv[1:], main)
    where = f"send us {file}, which holds no data" if file else "report it; no file could be written that says more"
    return f"headrace: a fault of ours ({type(error).__name__}). What was committed stays. Please {where}."


def run() -> None:
    """The console script. Ctrl-C ends with 130 and one line; everything that was committed stays, and a second run goes on."""
    configure(LogOptions.of())  # before a verb's module imports what has something to say
    try:
        code = main(standalone_mode=False)
    except click.Abort:
        click.echo("headrace: stopped. What was committed stays; run the same command again to go on.", err=True)
        code = 130
    except click.ClickException as error:
        click.echo(printable(_told(error), keep="\n"), err=True, nl=False)
        code = error.exit_code
    except BrokenPipeError:  # the reader of our output went away, as ``head`` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except Exception as error:  # never exit 1, which means that the data said no
        click.echo(_fault(error), err=True)
        code = _FAULT
    raise SystemExit(code or 0)


if __name__ == "__main__":
    run()
