"""Queries in a process of their own: ``python -m quality.sql_child``, which quality/sql_process.py starts and talks to.

What it has is bounded by the kernel, whatever the engine heeds: address space, processor time and time of each step. It has no
variables of the program that started it, reaches nothing but its pipes and its own folder, and ends with who started it.

For each query come a message, the columns of the table as an empty Arrow stream, and, once the columns that are needed were
answered, the rows as another. A message is eight bytes of length, and JSON.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

SPILLED_MB = 4_096
_BEYOND_MB = 1_024  # of address space above what the engine may hold: it asks for more than it uses, 600 when it spills
_ROWS_AT_ONCE = 200_000
_STAGED = "_rows_in_any_order"
_STABLE = frozenset({"error"})  # though the engine says that it is not
_UNSTABLE = frozenset({"reservoir_quantile", "version", "current_user", "session_user", "user", "current_role", "current_catalog"})
_CLOCK = frozenset({"current_timestamp", "current_date", "current_time", "localtime", "localtimestamp"})
_TABLES = frozenset({"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"})


class Refused(Exception):
    """What is wrong with a query, in words without values of records."""


def main() -> None:
    """Answer queries until whoever asks is gone."""
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    folder = sys.argv[1]
    try:
        while (request := received(asked)) is not None:
            if not request["bounded"]:
                _bound(request["memory_mb"])
            _serve(request, folder, asked, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def send(to: BinaryIO, message: Mapping[str, Any]) -> None:
    """Send a message."""
    body = json.dumps(message).encode()
    to.write(len(body).to_bytes(8, "big") + body)
    to.flush()


def received(where: BinaryIO) -> dict[str, Any] | None:
    """The next message; None where nobody is there any more."""
    size = where.read(8)
    body = where.read(int.from_bytes(size, "big")) if len(size) == 8 else b""
    return json.loads(body) if body else None


def _bound(memory_mb: int) -> None:
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core has rows in it
    try:
        with open("/proc/self/statm") as file:
            own = int(file.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:  # no Linux: there the kernel does not bound it
        return
    most = own + ((memory_mb + _BEYOND_MB) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _serve(request: Mapping[str, Any], folder: str, asked: BinaryIO, told: BinaryIO) -> None:
    rows: pa.RecordBatchReader | None = None
    answer: dict[str, Any]
    schema = pa.ipc.open_stream(asked).read_all().schema
    try:
        with closing(_connection(request["memory_mb"], folder)) as connection:
            with _limited(request):
                columns = _check(connection, request, schema)
            send(told, {"columns": columns})
            rows = pa.ipc.open_stream(asked)
            _fill(connection, request, rows)
            with _limited(request):
                found = _value(connection.execute(request["query"]))
        answer = {"kind": type(found).__name__, "value": None if found is None else str(found)}
    except Refused as error:
        answer = {"refused": str(error)}
    except (duckdb.OutOfMemoryException, MemoryError):
        answer = {"memory": True}
    except duckdb.Error as error:
        answer = {"engine": str(error)}
    for _ in rows or ():  # the rest of what is sent
        pass
    send(told, answer)


@contextmanager
def _limited(request: Mapping[str, Any]) -> Iterator[None]:
    """The kernel ends this process where a step takes longer: no handler, so nothing has to heed it."""
    limits = ((signal.ITIMER_PROF, request["processor_s"]), (signal.ITIMER_REAL, request["time_s"]))
    for timer, seconds in limits:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in limits:
            signal.setitimer(timer, 0)


def _connection(memory_mb: int, folder: str) -> Any:
    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
            "memory_limit": f"{memory_mb}MB", "threads": 1, "temp_directory": folder,
            "max_temp_directory_size": f"{SPILLED_MB}MB",
        },
    )  # fmt: skip
    for setting in ("python_enable_replacements = false", "TimeZone = 'UTC'", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


def _check(connection: Any, request: Mapping[str, Any], schema: pa.Schema) -> list[str]:
    """Make the tables, and see whether it is one SELECT about them. No row is known yet, so that what is wrong can be told in full.

    Returns:
        The columns that it may name, and those of the place.

    Raises:
        Refused: it is not.
    """
    try:
        statements = connection.extract_statements(request["query"])
        if [statement.type.name for statement in statements] != ["SELECT"]:
            raise Refused("it is not one SELECT")
        text: str = connection.execute("SELECT json_serialize_sql(?)", [statements[0].query]).fetchall()[0][0]
        if other := not_of_the_rows(connection, json.loads(text), request["table"]):
            raise Refused(f"{other} does not follow from the rows of the partition")
        columns = list(dict.fromkeys([*request["order_by"], *columns_of(text, schema.names)]))
        connection.register("_schema", pa.schema([schema.field(name) for name in columns]).empty_table())
        for name in (request["table"], _STAGED):
            connection.execute(f"CREATE TABLE {_quoted(name)} AS SELECT * FROM _schema")
        connection.unregister("_schema")
        connection.execute(f"EXPLAIN {statements[0].query}").fetchall()
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise Refused(str(error).splitlines()[0].rstrip(".!")) from None
    return columns


def not_of_the_rows(connection: Any, tree: Any, own: str = "") -> str | None:
    """What a query asks that follows from the clock, from chance or from the engine; None where nothing does. own: its table."""
    odd = connection.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'").fetchall()
    unstable = {name for (name,) in odd} - _STABLE | _UNSTABLE | _CLOCK
    return next(filter(None, (_of_engine(node, unstable, own.lower()) for node in _nodes(tree))), None)


def _of_engine(node: Mapping[str, Any], unstable: Set[str], own: str) -> str | None:
    if node.get("sample"):
        return "a sample"
    kind, called = node.get("type"), str(node.get("function_name", "")).lower()
    if called in unstable:
        return f"{called}()"
    if kind == "TABLE_FUNCTION":
        table = str(node["function"].get("function_name", "")).lower()
        return None if table in _TABLES else f"{table}()"
    if kind == "BASE_TABLE":
        name, schema = str(node["table_name"]).lower(), str(node["schema_name"]).lower()
        is_odd = schema not in ("", "main") or name.startswith(("duckdb_", "pragma_", "sqlite_", "pg_"))
        return name if is_odd and name != own else None
    names: list[str] = node["column_names"] if kind == "COLUMN_REF" else []
    return names[0] if len(names) == 1 and names[0].lower() in _CLOCK else None


def columns_of(text: str, known_names: Sequence[str]) -> list[str]:
    """The columns that a query may name; all, where it may mean all. May be too many, never too few.

    Args:
        text: the query as ``json_serialize_sql`` has it.
        known_names: of all columns.
    """
    names = {name.lower(): name for name in known_names}
    tree = json.loads(text)
    named: set[str] = set()
    every = bool(tree["error"]) or "NATURAL" in text or "POSITIONAL" in text
    for node in _nodes(tree):
        every |= node.get("class") == "STAR"
        told = node["column_names"] if node.get("class") == "COLUMN_REF" else node.get("using_columns") or ()
        known = {names[part.lower()] for part in told if part.lower() in names}
        named |= known
        every |= bool(told) and not known  # a whole row by its name, or something that a query made
    return [name for name in names.values() if every or name in named]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _fill(connection: Any, request: Mapping[str, Any], rows: pa.RecordBatchReader) -> None:
    for part in _chunks(rows):
        with _limited(request):
            connection.register("_part", part)
            connection.execute(f"INSERT INTO {_STAGED} SELECT * FROM _part")
            connection.unregister("_part")
    with _limited(request):
        order = ", ".join(request["order_by"])
        connection.execute(f"INSERT INTO {_quoted(request['table'])} SELECT * FROM {_STAGED} ORDER BY {order}")
        connection.execute(f"DROP TABLE {_STAGED}")


def _chunks(rows: pa.RecordBatchReader) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in rows:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _value(result: Any) -> Any:
    found = result.fetchmany(2)
    if len(found) != 1 or len(found[0]) != 1:
        count = "no row" if not found else f"{len(found[0])} columns" if len(found) == 1 else "several rows"
        raise Refused(f"it gives {count} in place of one value")
    value = found[0][0]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, bool | int | float | Decimal | str):
        raise Refused(f"it gives a {type(value).__name__} in place of a number or text")
    return value


if __name__ == "__main__":
    main()
