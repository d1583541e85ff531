"""One seeded population with known truth: what the webshop's sources deliver, defects included.

    python -m examples.webshop.generate --output /tmp/webshop --records 60000 --seed 7

writes web events (JSON lines), batches of the mobile SDK, the CRM's contacts (CSV), orders (Avro) and `truth.parquet`
with the expected outcome of every record. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random

from examples.webshop.contacts import write_contacts
from examples.webshop.files import set_mtime
from examples.webshop.mobile import write_mobile
from examples.webshop.orders import write_orders
from examples.webshop.people import Calendar, Population
from examples.webshop.sessions import Shop
from examples.webshop.truth import Truth
from examples.webshop.web import write_web

START = date(2026, 11, 1)
RECORDS_MIN = 3_000
Write = Callable[[Shop, Path, int, Random, Truth], None]
SOURCES: tuple[tuple[str, float, Write], ...] = (  # share of the records; orders last: the others place them
    ("web", 0.6, write_web),
    ("mobile", 0.2, write_mobile),
    ("crm", 0.1, write_contacts),
    ("orders", 0.1, write_orders),
)


def generate(output: Path, records: int = 60_000, seed: int = 7, start: date = START, days: int = 3) -> Truth:
    """Write some `records` records into the folder and say what was written.

    Raises:
        FileExistsError: the folder has content that is not of this generator.
    """
    truth_path = output / "truth.parquet"
    _clear(output, truth_path)
    shop = Shop(Population(seed, records), Calendar(start, days))
    truth = Truth(truth_path)
    for source, share, write in SOURCES:
        directory = output / source
        directory.mkdir()
        write(shop, directory, int(records * share), Random(f"{seed}:{source}"), truth)
    truth.close()
    set_mtime(truth_path, shop.calendar.end_ms)
    return truth


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.webshop.generate",
        description=(__doc__ or "").split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, default=argparse.SUPPRESS, metavar="DIR", help="folder to write into")
    parser.add_argument("--records", type=int, default=60_000, help=f"about so many records, at least {RECORDS_MIN}")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another population")
    parser.add_argument("--start", type=date.fromisoformat, default=START, help="first day")
    parser.add_argument("--days", type=int, default=3, help="number of days")
    options = parser.parse_args(arguments)
    if options.records < RECORDS_MIN:
        parser.error(f"--records must be at least {RECORDS_MIN}")
    if options.days < 1:
        parser.error("--days must be at least 1")
    gc.set_threshold(500_000)  # nothing here is cyclic, and the population is large
    started_s = time.monotonic()
    try:
        truth = generate(options.output, options.records, options.seed, options.start, options.days)
    except FileExistsError as error:
        parser.error(str(error))
    taken_s = time.monotonic() - started_s
    print(*truth.summary(), sep="\n", file=sys.stderr)
    rate = truth.outcomes.total() / taken_s
    print(f"{rate:,.0f} records/s; the truth is in {options.output}/truth.parquet", file=sys.stderr)
    return 0


def _clear(output: Path, truth_path: Path) -> None:
    """Make the folder, or empty it if an earlier run filled it."""
    output.mkdir(parents=True, exist_ok=True)
    if truth_path.exists():
        for source, _, _ in SOURCES:
            shutil.rmtree(output / source, ignore_errors=True)
    elif any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty and has no truth.parquet: name another folder")


if __name__ == "__main__":
    sys.exit(main())
