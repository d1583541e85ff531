"""The process that answers queries (quality/sql_child.py), as whoever asks sees it.

A process of its own since nothing else bounds an engine inside this one: some of its functions heed neither a memory limit nor an
interrupt. One answers any number of queries; where it was ended, the next query starts another.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, BinaryIO, cast

import pyarrow as pa

MEMORY_MB = 512
PROCESSOR_S = 30.0
TIME_S = 120.0  # of the clock, for each step: reading what spilled, or a busy machine
_STARTS_S = 120.0
_GRACE_S = 10.0
_INHERITED = ("LD_LIBRARY_PATH", "PYTHONHOME")
_READ: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text == "True", "int": int, "float": float, "Decimal": Decimal, "str": str,
}  # fmt: skip


Read = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Table:
    """What a query sees. name: of the rows. order_by: columns that order them."""

    name: str
    schema: pa.Schema
    order_by: Sequence[str]


class QueryError(Exception):
    """A query that gives no answer; the message names no value of a record."""


class EngineError(QueryError):
    """What the engine says of rows, as it says it: it may name values of records."""


class _Ended(Exception):
    """The process is no more."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    folder: str
    served: int = 0


class Queries:
    """Where queries are asked; a context, at whose end the process is gone. Not for several threads at once."""

    def __init__(self) -> None:
        self._child: _Child | None = None

    def __enter__(self) -> Queries:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and remove what it spilled."""
        child, self._child = self._child, None
        if child is not None:
            child.process.kill()
            child.process.wait()
            for pipe in (child.process.stdin, child.process.stdout):
                with suppress(BrokenPipeError):  # what was not sent any more
                    cast(BinaryIO, pipe).close()
            shutil.rmtree(child.folder, ignore_errors=True)

    def answer(self, query: str, table: Table, read: Read) -> Any:
        """The one value that a query gives: a number, a text, or None.

        Args:
            query: one SELECT.
            table: what it sees.
            read: gives the rows, with these columns.

        Raises:
            QueryError: it gives none.
            EngineError: it gives none for these rows.
        """
        child = self._child = self._child or _started()
        try:
            told = _told(child, query, table, read)
        except _Ended:
            child.process.kill()
            ended = child.process.wait()
            self.close()
            raise QueryError(_why(ended)) from None
        except BaseException:  # what is half said to the child cannot be taken up again
            self.close()
            raise
        return _value(told)


def _told(child: _Child, query: str, table: Table, read: Read) -> Mapping[str, Any]:
    request = {
        "query": query, "table": table.name, "order_by": table.order_by, "memory_mb": MEMORY_MB, "processor_s": PROCESSOR_S,
        "time_s": TIME_S, "bounded": child.served > 0,
    }  # fmt: skip
    until_s = _STARTS_S * (not child.served) + TIME_S + _GRACE_S
    child.served += 1
    asked = cast(BinaryIO, child.process.stdin)
    try:
        body = json.dumps(request).encode()
        asked.write(len(body).to_bytes(8, "big") + body)
        _send_rows(asked, table.schema, ())
        told = _received(child, until_s)
        if "columns" not in told:
            return told
        wanted = pa.schema([table.schema.field(name) for name in told["columns"]])
        _send_rows(asked, wanted, (rows.cast(wanted) for rows in read(told["columns"])))
        return _received(child, 3 * TIME_S + _GRACE_S)
    except BrokenPipeError:
        raise _Ended from None


def _started() -> _Child:
    folder = tempfile.mkdtemp(prefix="headrace-sql-")  # nobody else may look into it
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "ARROW_DEFAULT_MEMORY_POOL": "system"}
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "quality.sql_child", folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env=environment,
        )  # fmt: skip
    except BaseException:  # the folder has nobody else who would remove it
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _Child(process, folder)


def _send_rows(to: BinaryIO, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> None:
    with pa.ipc.new_stream(to, schema) as stream:
        for batch in rows:
            stream.write_batch(batch)
    to.flush()


def _received(child: _Child, within_s: float) -> Mapping[str, Any]:
    """The next message. Where the kernel does not end the process in time, it is ended here."""
    until = time.monotonic() + within_s
    size = int.from_bytes(_bytes(child, 8, until), "big")
    found: Mapping[str, Any] = json.loads(_bytes(child, size, until))
    return found


def _bytes(child: _Child, count: int, until: float) -> bytes:
    where = cast(BinaryIO, child.process.stdout).fileno()
    waiting, found = select.poll(), b""  # not select: it knows no descriptor above 1,023
    waiting.register(where, select.POLLIN)
    while len(found) < count:
        is_there = waiting.poll(max(until - time.monotonic(), 0) * 1_000)
        more = os.read(where, count - len(found)) if is_there else b""
        if not more:
            raise _Ended
        found += more
    return found


def _why(ended: int) -> str:
    if ended == -signal.SIGPROF:
        return f"it took more than {PROCESSOR_S:g} seconds of processor time"
    if ended in (-signal.SIGALRM, -signal.SIGKILL):
        return f"it took more than {TIME_S:g} seconds, or the system ended it"
    return f"its process ended with {ended}, as one does that needs more than {MEMORY_MB} MB of memory"


def _value(told: Mapping[str, Any]) -> Any:
    if "refused" in told:
        raise QueryError(told["refused"])
    if "memory" in told:
        raise QueryError(f"it needs more than {MEMORY_MB} MB of memory for these rows")
    if "engine" in told:
        raise EngineError(told["engine"])
    return None if told["value"] is None else _READ[told["kind"]](told["value"])
