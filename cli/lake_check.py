"""``headrace lake check | repair | rebuild-catalog``: whether a lake fits together, and what is done where it does not."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from pathlib import Path

import click

from cli.console import advise, json_option, lake_option, open_lake, plain_errors, print_json, project_option, say, stdout, table
from contracts.units import us_text
from operations.busy import refuse_if_busy
from operations.catalog import Registered, rebuild_catalog
from operations.check.check import check_lake
from operations.check.findings import Checked
from operations.repair import take_out_lost


@click.command("check", epilog="\b\nExample:\n  headrace lake check --verify")
@click.option("--verify", is_flag=True, help="Read all files too, and compare their hashes.")
@lake_option
@project_option
@json_option
@plain_errors
def check(verify: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Whether it fits together: catalog, metadata, data files, raw files, their index, ledger, repairs, receipts. Changes nothing.

    Exit 1 where something is missing or changed; the last column says what to do. What is orphaned only takes room.
    """
    opened, found = open_lake(lake, project)
    checked = check_lake(opened, found, verify=verify, report=say)
    print_json({"sound": checked.sound, **asdict(checked)}) if as_json else _print_checked(checked)
    if not checked.sound:
        raise SystemExit(1)


def _print_checked(checked: Checked) -> None:
    stdout.print(table(("looked at", ""), sorted(checked.looked_at.items())))
    for finding in checked.findings:
        more = f", … ({finding.count:,})" if finding.count > len(finding.names) else ""
        stdout.print(f"{finding.part}: {finding.state}: {finding.what}: {', '.join(finding.names)}{more}")
        advise(f"  → {finding.remedy}")
    stdout.print("sound: nothing is missing or changed" if checked.sound else "not sound: something is missing or changed")


@click.command("rebuild-catalog", epilog="\b\nExample:\n  headrace lake rebuild-catalog")
@click.option("--known-too", is_flag=True, help="Also tables that the catalog knows, for a catalog that was restored from a copy.")
@click.option("--use", "chosen", multiple=True, metavar="TABLE=FILE", help="This metadata file of a table; may be given again.")
@lake_option
@project_option
@json_option
@plain_errors
def rebuild(known_too: bool, chosen: tuple[str, ...], lake: str | None, project: Path | None, as_json: bool) -> None:
    """Register tables that the catalog does not know, each by the newest of its metadata files: for a catalog that is lost.

    Rows, hashes, branches and tags are those of the files. Stop its jobs first. May be killed and given again.
    """
    opened, _ = open_lake(lake, project)
    refuse_if_busy(opened, replays_too=False)
    done = list(rebuild_catalog(opened, known_too=known_too, chosen=dict(map(_use, chosen))))
    if as_json:
        print_json(done)
    else:
        cells = [(d.table, d.rows, d.content_hash or "", d.now, _registered(d)) for d in done]
        stdout.print(table(("table", "rows", "content_hash", "metadata file", ""), cells))
        for d in done:
            if d.passed_over:
                names = ", ".join(d.passed_over)
                advise(f"{d.table}: {names} passed over, a manifest list is gone; headrace lake check tells what is lost")


@click.command("repair", epilog="\b\nExample:\n  headrace lake repair")
@lake_option
@project_option
@json_option
@plain_errors
def repair(lake: str | None, project: Path | None, as_json: bool) -> None:
    """Take data files that are gone or cut (lake check) out of the tables.

    The ledger tells their records as lost, until a replay makes the rows again.

    Stop its jobs first. May be killed and given again.
    """
    opened, found = open_lake(lake, project)
    refuse_if_busy(opened)
    done = list(take_out_lost(opened, found, f"repair-{secrets.token_hex(3)}"))
    if as_json:
        print_json(done)
        return
    cells = [(d.table, d.files, d.rows, ", ".join(f"{us_text(low)} to {us_text(high)}" for low, high in d.ranges)) for d in done]
    stdout.print(table(("table", "files taken out", "rows", "to replay"), cells))


def _use(given: str) -> tuple[str, str]:
    name, equals, file = given.partition("=")
    if not (name and equals and file):
        raise click.BadParameter(
            f"{given!r}: expected TABLE=FILE, such as validated.order=00042-….metadata.json", param_hint="--use"
        )
    return name, file


def _registered(done: Registered) -> str:
    if not done.changed:
        return "known"
    return "registered" if done.was is None else f"instead of {done.was}"
