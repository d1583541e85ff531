"""``make demo``: make the sample, ingest its four sources, and show what became of every record.

Does nothing that a user could not do with ``headrace``; the commands are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from cli.console import LEDGER_COLUMNS, balance, ledger_cells, load_project, progress, stdout, table
from contracts.spec.project import Project
from examples.webshop.generate import main as generate
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from operations.deadletters.selection import LetterSelection
from operations.deadletters.views import find_letters, first_violation, short_position
from pipelines.ingest.files import ingest_files
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport

HERE = Path(__file__).parent
SOURCES = ("web", "mobile", "crm", "orders")
EXPLAINED = (("web", "bad_timestamp"), ("crm", "bad_pattern"), ("orders", "cross_field"))
RECORDS = 60_000


def main() -> None:
    """Run the demo; exit 1 where a ledger does not add up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS, help="size of the sample")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="where the sample lies")
    parser.add_argument("--lake", type=Path, default=HERE / "lake", help="where the lake lies")
    options = parser.parse_args()
    started = time.monotonic()
    _sample(options.data, options.records)
    reports = [_ingest(options.data / source, options.lake, source) for source in SOURCES]
    stdout.print()
    _show(reports)
    example = _explain(Lake.at(str(options.lake)))
    _next_commands(_shown(options.data), _shown(options.lake), example)
    seconds = time.monotonic() - started
    stdout.print(f"\n{seconds:.0f} s; the lake is {_shown(options.lake)}, the truth {_shown(options.data)}/truth.parquet")
    sys.exit(0 if all(report.ledger.balanced for report in reports) else 1)


def _sample(folder: Path, records: int) -> None:
    if (folder / "truth.parquet").exists():
        stdout.print(f"sample: {_shown(folder)} is there already")
        return
    stdout.print(f"sample: generating {records:,} records with known truth into {_shown(folder)}")
    generate(["--output", str(folder), "--records", str(records)])


def _ingest(folder: Path, lake: Path, source: str) -> IngestReport:
    options = IngestOptions(source=source, input=(str(folder),), lake=str(lake), allow_damaged=True)
    stdout.print(f"$ headrace ingest {source} --input {_shown(folder)} --lake {_shown(lake)} --allow-damaged", style="dim")
    with progress() as show:
        report = ingest_files(options, load_project(HERE), show)
    assert isinstance(report, IngestReport)
    if not report.manifest["ingested_files"]:
        stdout.print(f"  {source}: already landed; nothing to do")
    return report


def _show(reports: list[IngestReport]) -> None:
    rows = [(r.source, *ledger_cells(r.ledger), balance(r.ledger)) for r in reports]
    total = sum((r.ledger for r in reports), LedgerEntry())
    stdout.print(table(("source", *LEDGER_COLUMNS, ""), [*rows, ("all", *ledger_cells(total), balance(total))]))
    stdout.print()
    codes = sorted(total.codes.items(), key=lambda item: (-item[1], item[0]))
    stdout.print(table(("dead letters by code", "records"), codes))
    stdout.print()
    datasets = {name: found for r in reports for name, found in r.manifest["datasets"].items()}
    cells = [(d["table"], d["rows"], d["content_hash"]) for d in datasets.values()]
    stdout.print(table(("table", "rows", "content_hash"), cells))


def _explain(lake: Lake) -> str:
    """Show three; gives the id of the first."""
    stdout.print("\nThree of the dead letters, explained:", style="bold")
    selections = [LetterSelection(sources=(source,), codes=(code,)) for source, code in EXPLAINED]
    letters = [letter for selection in selections for letter in find_letters(lake, Project.load(HERE), selection, 1)]
    rows = [
        (x["dead_letter_id"][:12], f"{x['source']} {short_position(x['position'])}", x["code"], first_violation(x)) for x in letters
    ]
    stdout.print(table(("id", "position", "code", "path: expected"), rows))
    return rows[0][0] if rows else "ID"


def _next_commands(data: str, lake: str, example: str) -> None:
    where_ = f"--project {_shown(HERE)}"
    if lake != _shown(HERE / "lake"):
        where_ += f" --lake {lake}"
    stdout.print("\nTry next (source .venv/bin/activate first):", style="bold")
    for command in (
        "make demo                                     # again: already landed, no hash changes",
        f"headrace deadletter list --code bad_timestamp {where_}",
        f"headrace deadletter show {example} --reveal {where_}",
        f"headrace lake files --verify {where_}",
        f"headrace status {where_}",
        f"headrace ingest web --input {data}/web --allow-damaged --json {where_}",
    ):
        stdout.print(f"  {command}")


def _shown(path: Path) -> str:
    """A path as the user would type it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


if __name__ == "__main__":
    main()
