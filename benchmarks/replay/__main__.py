"""``python -m benchmarks.replay``: ingest a day of web events, replay all of it, and compare the two in one run.

A replay without a change must give back the same table: the content hash of its branch is compared before a figure is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.ingest.measure import Measured, RunFailedError, run_measured
from benchmarks.ingest.sample import CACHE, Sample, make_sample
from lake.location import Lake
from lake.tables.iceberg import published_files
from lake.tables.publish import table_totals

_TABLE, _NAME = "validated.customer_event", "all-again"
_CORES = sorted(os.sched_getaffinity(0))[-1:]  # one worker, as both verbs have by default


class StatesDifferError(Exception):
    """The replay did not rebuild the table that the ingest made."""


@dataclass(frozen=True)
class Compared:
    """Both on the same records. rows: of the table."""

    records: int
    size_bytes: int
    rows: int
    ingest: Measured
    replay: Measured

    @property
    def ratio(self) -> float:
        """How many times as long the replay takes as the ingest did."""
        return self.replay.wall_s / self.ingest.wall_s


def compare(sample: Sample, work: Path) -> Compared:
    """Ingest and replay a sample.

    Args:
        sample: the events.
        work: folder for the lake and logs.

    Raises:
        RunFailedError: one of them failed.
        StatesDifferError: they gave different tables.
    """
    lake = Lake.at(str(work / "lake"))
    where = ["--lake", lake.root, "--project", "examples/webshop", "--json"]
    headrace = ["-m", "cli.main"]
    landing = [*headrace, "ingest", "web", "--input", str(sample.folder), "--window", "1h", *where]
    ingest = run_measured(landing, _CORES, work / "ingest.log")
    files = published_files(lake.load(_TABLE))
    start, end = (_moment(us) for us in (min(f.from_us for f in files), max(f.to_us for f in files)))
    asked = ["--dataset", "customer_event", "--start", start, "--end", end, "--source", "web"]
    approved = ["--approved-by", "benchmark", "--reason", "all of it"]
    replay = run_measured([*headrace, "replay", "run", _NAME, *asked, *approved, *where], _CORES, work / "replay.log")
    totals = [table_totals(Lake(lake.root, lake.catalog_url, branch).load(_TABLE)) for branch in (None, f"replay_{_NAME}")]
    if totals[0] != totals[1]:
        raise StatesDifferError(f"the replay's branch has {totals[1][0]:,} rows, the table {totals[0][0]:,}, or other content")
    return Compared(sample.events, sample.size_bytes, totals[0][0], ingest, replay)


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def lines(found: Compared) -> list[str]:
    """The figures as a table."""
    told = [f"{found.records:,} records ({found.size_bytes / 1e6:,.0f} MB), {found.rows:,} rows, one core; equal content hashes"]
    told.append(f"{'':8}{'wall':>10}{'CPU':>10}{'records/s':>12}{'peak':>10}")
    for name, one in (("ingest", found.ingest), ("replay", found.replay)):
        rate = found.records / one.wall_s
        told.append(f"{name:8}{one.wall_s:8.1f} s{one.cpu_s:8.1f} s{rate:12,.0f}{one.peak_bytes / 2**20:7,.0f} MB")
    told.append(f"a replay takes {found.ratio:.2f} times as long as the ingest did")
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1: one of them failed, or their tables differ."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay",
        description="Ingest web events, replay all of them onto a branch; the tables compared, then times and peak memory.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=5_000_000, help="about so many web events of one day")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    options = parser.parse_args(arguments)
    sample = make_sample(options.records, options.seed)
    work = CACHE / f"replay-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        found = compare(sample, work)
    except (RunFailedError, StatesDifferError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(*lines(found), sep="\n")
    figures = {"records": found.records, "rows": found.rows, "ratio": found.ratio}
    measured = {name: vars(one) for name, one in (("ingest", found.ingest), ("replay", found.replay))}
    (CACHE / "replay.json").write_text(json.dumps(figures | measured, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
