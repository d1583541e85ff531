"""Who takes part: the job, what it is held against in Python (loop, row job), and peers, each in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.ingest.compare import Content, content_of_batches, content_of_files
from benchmarks.ingest.outcome import Result, result_of_lake, result_of_loop, result_of_row_job

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".cache/peers-venv/bin/python"  # made by `make peers`
_BATCH_ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to do the work.

    arguments: for ``python``, from sample and output folder. partial: measured on the first events only. does_less: than the job,
    in words. packages: whose versions are told. python: the interpreter.
    """

    name: str
    title: str
    cores: int
    arguments: Callable[[Path, Path], list[str]]
    partial: bool = False
    does_less: str = ""
    packages: tuple[str, ...] = ()
    python: Path = Path(sys.executable)


@dataclass(frozen=True, kw_only=True)
class Own(Contestant):
    """One whose output must be the job's, or the bench ends."""

    result: Callable[[Path], Result]


@dataclass(frozen=True, kw_only=True)
class Peer(Contestant):
    """One whose output may differ, and is then shown as different.

    content: reads the output. without: columns of the contract that it does not make.
    """

    content: Callable[[Path], Content] = content_of_files
    without: tuple[str, ...] = ()

    def is_installed(self) -> bool:
        """Whether its environment is there."""
        return self.python.exists()


def _job(workers: int) -> Callable[[Path, Path], list[str]]:
    def arguments(sample: Path, output: Path) -> list[str]:
        verb = ["-m", "cli.main", "ingest", "web", "--input", str(sample), "--lake", str(output)]
        return [*verb, "--project", "examples/webshop", "--window", "1h", "--workers", str(workers), "--max-rejected", "100%"]

    return arguments


def _loop(processes: int) -> Callable[[Path, Path], list[str]]:
    module = "benchmarks.ingest.bare_loop"
    return lambda sample, output: ["-m", module, str(sample), str(output), "--processes", str(processes)]


def _peer(name: str, *options: str) -> Callable[[Path, Path], list[str]]:
    return lambda sample, output: ["-m", f"benchmarks.peers.{name}", str(sample), str(output), *options]


def content_of_duckdb(output: Path) -> Content:
    """What dlt has loaded."""
    with duckdb.connect(str(output / "loaded.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        letters: pa.Table = connection.sql("select code, raw from shop.dead_letters").to_arrow_table()
        rows = connection.sql("select * from shop.events").to_arrow_reader(_BATCH_ROWS)
        return content_of_batches(rows, letters)


def versions(contestant: Contestant) -> dict[str, str]:
    """Versions of its packages in its environment."""
    if contestant.python == Path(sys.executable):
        return {name: version(name) for name in contestant.packages}
    code = f"from importlib.metadata import version\nfor name in {contestant.packages}: print(name, version(name))"
    told = subprocess.run([contestant.python, "-c", code], capture_output=True, text=True, check=True).stdout
    return dict(line.split() for line in told.splitlines())


_NO_LAKE = "no raw layer, ledger, positions, Iceberg commit or letters of conflicts"
_SQL = f"{_NO_LAKE}; depth by counting brackets"

JOB = Own(
    name="job", title="`headrace ingest`", cores=1, arguments=_job(1), result=result_of_lake, packages=("apache-beam", "pyarrow")
)
LOOP = Own(
    name="loop", title="bare loop", cores=1, arguments=_loop(1), result=result_of_loop,
    does_less="no Beam, Iceberg or catalog; knows this dataset", packages=("msgspec", "pyarrow"),
)  # fmt: skip
ROW_JOB = Own(
    name="row_job", title="row job in Beam", cores=1, partial=True, result=result_of_row_job, packages=("apache-beam",),
    arguments=lambda s, o: ["-m", "benchmarks.ingest.row_job", str(s), str(o)],
    does_less="no raw layer, ledger, positions or Iceberg commit; files unsorted",
)  # fmt: skip
JOB_2 = Own(name="job_2", title="`headrace ingest --workers 2`", cores=2, arguments=_job(2), result=result_of_lake)
LOOP_2 = Own(
    name="loop_2", title="bare loop, two processes", cores=2, arguments=_loop(2), result=result_of_loop, does_less=LOOP.does_less
)
DUCKDB_1 = Peer(
    name="duckdb_1", title="DuckDB, one thread", cores=1, arguments=_peer("duckdb", "--threads", "1"), does_less=_SQL,
    packages=("duckdb",),
)  # fmt: skip
DUCKDB = Peer(name="duckdb", title="DuckDB", cores=2, arguments=_peer("duckdb"), does_less=_SQL, packages=("duckdb",))
POLARS = Peer(
    name="polars", title="polars", cores=2, arguments=_peer("polars"), python=PEERS_PYTHON, without=("unknown_fields",),
    does_less=f"{_NO_LAKE}; rejects without their line; no unknown fields; consent as a struct of known categories",
    packages=("polars",),
)  # fmt: skip
PYSPARK = Peer(
    name="pyspark", title="PySpark `local[2]`", cores=2, arguments=_peer("pyspark"), python=PEERS_PYTHON, does_less=_SQL,
    packages=("pyspark",),
)  # fmt: skip
DLT = Peer(
    name="dlt", title="dlt into DuckDB", cores=2, arguments=_peer("dlt"), python=PEERS_PYTHON,
    content=content_of_duckdb, does_less=f"{_SQL}; one table without order", packages=("dlt", "duckdb"),
)  # fmt: skip
DLT_AS_IT_COMES = replace(
    DLT, name="dlt_as_it_comes", title="dlt with its defaults", arguments=_peer("dlt", "--as-it-comes"), partial=True
)
OWN = (JOB, LOOP, ROW_JOB, JOB_2, LOOP_2)
PEERS = (DUCKDB, POLARS, PYSPARK, DLT, DLT_AS_IT_COMES)
CONTESTANTS: tuple[Contestant, ...] = (*OWN, *PEERS)
