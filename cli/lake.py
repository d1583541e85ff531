"""``headrace lake``: what lies in a lake, and its upkeep."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

import click

from cli.console import fail, json_option, lake_option, open_lake, plain_errors, print_json, project_option, stdout, table
from cli.lake_check import check, rebuild, repair
from cli.lake_upgrade import downgrade_lake, horizon_text, upgrade_lake
from cli.options import read_option
from lake.ledger.logs import log_files
from lake.raw.files import raw_files
from lake.tables.expire import expire_snapshots, orphans
from lake.tables.iceberg import LEDGER
from lake.upkeep import all_tables, compact, folded_tables, list_tables, settled_paths
from operations.copies import Copy, copies_of
from operations.deadletters.views import short_position
from quality.store import QUALITY
from runners.option_readers import duration


@click.group()
def lake() -> None:
    """Files and tables of a lake: list, check, repair, compact, expire, clean, upgrade; what became of an event."""


@lake.command("files", epilog="\b\nExample:\n  headrace lake files --verify")
@click.option("--verify", is_flag=True, help="Add up every row's hash again and compare; exit 1 if one differs.")
@click.option("--paths", metavar="TABLE", help="Only the data files of this table, one a line, for any reader of Parquet.")
@lake_option
@project_option
@json_option
@plain_errors
def files(verify: bool, paths: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Raw files per source, raw segments per log, and data files, rows, dropped rows and content hash per table.

    With --paths the files of the settled state: every row is in one of them, and none twice. They stay until lake expire.
    """
    opened, _ = open_lake(lake, project)
    if paths:
        found = settled_paths(opened, _chosen(all_tables(opened), paths)[0])
        print_json(found) if as_json else stdout.print("\n".join(found))
        return
    tables = list(list_tables(opened, verify=verify))
    logs = log_files(opened)
    sources: dict[str, list[int]] = {}
    for file in raw_files(opened):
        totals = sources.setdefault(file.source, [0, 0, 0, 0])
        for i, number in enumerate((1, file.records, file.size_bytes, int(file.damaged))):
            totals[i] += number
    if as_json:
        raw = {name: dict(zip(("files", "records", "bytes", "damaged"), t, strict=True)) for name, t in sources.items()}
        print_json({"raw": raw, "logs": logs, "tables": tables})
    else:
        if sources or not logs:
            stdout.print(table(("raw", "files", "records", "bytes", "damaged"), [(n, *t) for n, t in sorted(sources.items())]))
        if logs:
            cells = [
                (x.source, f"{x.topic}[{x.partition}]", x.segments, x.first_offset, x.end_offset, x.messages, x.size_bytes)
                for x in logs
            ]
            stdout.print(table(("raw", "log", "segments", "from", "to", "messages", "bytes"), cells))
        rows = [(t.table, t.files, t.rows, t.dropped, t.size_bytes, t.content_hash or "", _verdict(t.verified)) for t in tables]
        stdout.print(table(("table", "files", "rows", "dropped", "bytes", "content_hash", ""), rows))
        for behind in (t for t in tables if t.settled_age_s):
            stdout.print(f"{behind.table}: settled but for the last {behind.settled_age_s:,.0f} s")
        for mixed in (t for t in tables if len(t.revisions) > 1):
            named = "; ".join(mixed.revisions)
            stdout.print(f"{mixed.table}: rows of several revisions ({named}). A replay reads all by the newest.")
    if any(t.verified is False for t in tables):
        fail("a table's files do not give the content hash that its snapshot claims", 1)


def _verdict(verified: bool | None) -> str:
    return "" if verified is None else "verified" if verified else "DIFFERS"


@lake.command("compact", epilog="\b\nExample:\n  headrace lake compact --to 1d")
@read_option("--to", "DURATION", "1d", duration, "Length of the merged ranges.")
@click.option("--table", "only", metavar="NAME", help="Only this table, such as validated.customer_event.")
@lake_option
@project_option
@json_option
@plain_errors
def compact_tables(to: int, only: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Merge small data files. Rows and content hashes stay as they are; safe beside running jobs. Of the ledger all small files."""
    opened, _ = open_lake(lake, project)
    done = []
    for name in _chosen([*folded_tables(opened), *sorted({LEDGER, QUALITY} & {*all_tables(opened)})], only):
        before, after = compact(opened, name, to_s=to, run_id=f"compact-{secrets.token_hex(3)}")
        done.append((name, before, after))
    if as_json:
        print_json([{"table": name, "files_before": before, "files_after": after} for name, before, after in done])
    else:
        stdout.print(table(("table", "files before", "files after"), done))


@lake.command("expire", epilog="\b\nExample:\n  headrace lake expire --older-than 7d")
@read_option("--older-than", "DURATION", "7d", duration, "Keep younger snapshots.")
@click.option("--table", "only", metavar="NAME", help="Only this table, such as validated.customer_event.")
@lake_option
@project_option
@json_option
@plain_errors
def expire(older_than: int, only: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Forget old snapshots of the tables, and delete the files that only they named. The current state stays, and so do raw files.

    Keep more than the longest query takes, and more than the time from a checkpoint or savepoint to the job that starts from it.
    """
    opened, _ = open_lake(lake, project)
    done = [(name, expire_snapshots(opened, name, keep_s=older_than)) for name in _chosen(all_tables(opened), only)]
    if as_json:
        print_json([{"table": name, "snapshots": e.snapshots, "files": e.files, "bytes": e.size_bytes} for name, e in done])
    else:
        cells = [(name, e.snapshots, e.files, e.size_bytes) for name, e in done]
        stdout.print(table(("table", "snapshots expired", "files deleted", "bytes"), cells))


def _chosen(names: list[str], only: str | None) -> list[str]:
    if only and only not in names:
        fail(f"no table {only!r}; there is: {', '.join(names)}", 2)
    return [only] if only else names


@lake.command("clean", epilog="\b\nExample:\n  headrace lake clean --older-than 1d --dry-run")
@read_option("--older-than", "DURATION", "1d", duration, "Spare younger files.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@lake_option
@project_option
@json_option
@plain_errors
def clean(older_than: int, dry_run: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Delete files that crashed or overtaken runs left behind and that no snapshot names. Raw files are never touched."""
    opened, _ = open_lake(lake, project)
    found = list(orphans(opened, older_than))
    size = sum(file.size_bytes for file in found)
    if not dry_run:
        opened.storage.map(opened.storage.delete, [file.location for file in found])
    if as_json:
        names = [file.location.removeprefix(f"{opened.root}/") for file in found]
        print_json({"files": names, "bytes": size, "deleted": not dry_run})
        return
    stdout.print(f"{len(found):,} files, {size:,} bytes {'would be' if dry_run else 'were'} deleted")


@lake.command("why", epilog="\b\nExample:\n  headrace lake why 0f9a6c1e-1111-4222-8333-444455556666")
@click.argument("event_id", metavar="EVENT_ID")
@click.option("--dataset", metavar="NAME", help="Only this one.")
@lake_option
@project_option
@json_option
@plain_errors
def why(event_id: str, dataset: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Every copy of an event id: published, or dropped and for which other one, late, or a dead letter; and where each came from.

    Exit 1 where none is known.
    """
    opened, _ = open_lake(lake, project)
    found = copies_of(opened, event_id, dataset)
    if as_json:
        print_json(found)
    elif found.copies:
        cells = []
        for c in found.copies:
            place = f"{c.input}:{c.position}" if c.input else short_position(f"{c.raw_file}:{c.position}")
            cells.append((c.dataset, c.state, _moment(c.at), c.source, place, _reason(c)))
        stdout.print(table(("dataset", "state", "window time", "source", "position", "why"), cells))
        for name, seconds in found.horizon_s.items():
            if name in {c.dataset for c in found.copies}:
                stdout.print(f"{name}: deduplication horizon {horizon_text(seconds)}", markup=False)
    if not found.copies:
        fail(f"no copy of {event_id!r} in {', '.join(found.looked_in)}", 1)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def _reason(copy: Copy) -> str:
    if copy.copy_of is None:
        return ""
    content = "same content" if copy.same_content else "other content"
    verb = "copy" if copy.state == "dropped" else "the next sweep drops it: copy"
    return f"{verb} of {_moment(copy.copy_of)}, {content}"


for _command in (check, downgrade_lake, rebuild, repair, upgrade_lake):
    lake.add_command(_command)
