"""Rules that are a query: DuckDB over the rows of a partition, in this process, shut off from everything else.

No files, no network, no extensions, no variables of this program; bounded memory and time. What goes wrong in a query is a verdict.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from functools import partial
from types import ModuleType
from typing import Any

import pyarrow as pa

from contracts.compiler.schemas import row_schema
from contracts.errors import ConfigurationError
from contracts.spec.files.quality import PLACEHOLDERS
from contracts.spec.model import Contract
from contracts.spec.quality import QualityRule, RuleKind
from contracts.units import us_to_datetime
from quality.measure import PLACE, Measure
from quality.verdicts import Partition, RuleVerdict, Verdict

MEMORY_MB = 512
TIMEOUT_S = 30.0
_STAGED = "_rows_in_any_order"
_ROWS_AT_ONCE = 200_000
_PLACEHOLDER = re.compile(rf"\$?\{{({'|'.join(PLACEHOLDERS)})\}}")
# Words of DuckDB's messages; whatever else stands in one may be a value of a record.
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a addition after all allocate an and argument as at be beyond boolean by byte can cannot cast casting character column "
        "conversion convert could data date decimal division does double end error expected expression failed field for format "
        "found from function given greater in index input integer interval invalid is it json least less list literal logarithm "
        "malformed map may memory more most multiplication must negative no not null number of on one only or order out overflow "
        "parse position precision range returned returns root row rows scalar scale should single size source square string "
        "struct subqueries subquery subtraction take than that the this time timestamp to too type unexpected use used value "
        "values when with zero zone",
    )
)


class QueryError(Exception):
    """A query that gives no answer; the message names no value of a record."""


def require_duckdb(contract: Contract) -> None:
    """Complain where a contract has rules of type sql and DuckDB is not installed.

    Raises:
        ConfigurationError: it is not.
    """
    rule = next((rule for rule in contract.quality.rules if rule.kind is RuleKind.SQL), None)
    if rule is not None:
        try:
            _duckdb()
        except ImportError:
            raise ConfigurationError(
                f"contract {contract.name}: the quality rule {rule.name} is of type sql and needs DuckDB, which is not installed. "
                "Install it: pip install 'headrace[quality]'"
            ) from None


def _duckdb() -> ModuleType:
    import duckdb  # noqa: PLC0415  an extra, and 50 ms that only contracts with a query pay

    return duckdb


class Sql(Measure):
    """``sql``: a query that gives one value of the rows of the partition.

    The rows are read for this query alone, only the columns that it may name, and lie in DuckDB in the order of their places: what
    depends on order depends on the set of rows.
    """

    def look(self, rows: pa.RecordBatch) -> None:
        """See Measure."""

    def verdict(self) -> RuleVerdict:
        """See Measure."""
        contract, partition = self.context.contract, self.context.partition
        read = partial(self.context.view.batches, from_us=partition.from_us, to_us=partition.to_us)
        try:
            observed = answer(query_of(self.rule, contract, partition), contract, read)
        except QueryError as error:
            return self.told(Verdict.ERROR, None, f"The query cannot be judged by: {error}.")
        if observed is None:
            empty = self.told(Verdict.SKIPPED, None, "There are no rows, and of none the query gives no value.")
            return self.told(Verdict.FAILED, None, "The query gives no value (NULL).") if self.rows else empty
        assert self.rule.expected is not None
        if isinstance(observed, str):  # it may be a value of a record: told only where the contract says it
            known = observed in self.rule.expected.values
            shown = observed if known else "another text"
            return self.compared(observed, "The query gives what is named" if known else "The query gives another text", shown)
        return self.compared(
            observed, f"The query gives {observed:,}" if isinstance(observed, int) else f"The query gives {observed}"
        )


def query_of(rule: QualityRule, contract: Contract, partition: Partition) -> str:
    """The query of a rule, its placeholders filled in."""
    given = {
        "table": _quoted(contract.name),
        "object": _quoted(contract.name),
        "column": _quoted(rule.column or ""),
        "property": _quoted(rule.column or ""),
        "from": f"TIMESTAMPTZ '{us_to_datetime(partition.from_us).isoformat()}'",
        "to": f"TIMESTAMPTZ '{us_to_datetime(partition.to_us).isoformat()}'",
    }
    return _PLACEHOLDER.sub(lambda match: given[match[1]], rule.query)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def answer(query: str, contract: Contract, read: Callable[[Sequence[str]], Iterable[pa.RecordBatch]]) -> Any:
    """The one value that a query gives.

    Args:
        query: one SELECT.
        contract: names the table and its columns.
        read: gives the rows of the partition, with these columns.

    Raises:
        QueryError: it gives none.
    """
    duckdb = _duckdb()
    with closing(_connection(duckdb)) as connection:
        timer = threading.Timer(TIMEOUT_S, connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            columns = _check(duckdb, connection, query, contract)
            _fill(connection, contract, columns, read(columns))
            return _value(connection.execute(query))
        except duckdb.InterruptException:
            raise QueryError(f"it took longer than {TIMEOUT_S:.0f} seconds") from None
        except duckdb.OutOfMemoryException:
            raise QueryError(f"it needs more than {MEMORY_MB} MB of memory for these rows") from None
        except duckdb.Error as error:
            raise QueryError(without_values(str(error), contract)) from None
        finally:
            timer.cancel()


def _connection(duckdb: ModuleType) -> Any:
    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
            "memory_limit": f"{MEMORY_MB}MB", "threads": 1,
        },
    )  # fmt: skip
    for setting in ("python_enable_replacements = false", "TimeZone = 'UTC'", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


def _check(duckdb: ModuleType, connection: Any, query: str, contract: Contract) -> list[str]:
    """Make the tables, and see whether it is one SELECT about them. No row is known yet, so that what is wrong can be told in full.

    Returns:
        The columns that it may name, and those of the place.

    Raises:
        QueryError: it is not.
    """
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise QueryError(_first_line(error)) from None
    if [statement.type.name for statement in statements] != ["SELECT"]:
        raise QueryError("it is not one SELECT")
    columns = columns_of(connection, statements[0].query, contract)
    connection.register("_schema", _schema(contract, columns).empty_table())
    for name in (contract.name, _STAGED):
        connection.execute(f"CREATE TABLE {_quoted(name)} AS SELECT * FROM _schema")
    connection.unregister("_schema")
    try:
        connection.execute(f"EXPLAIN {statements[0].query}").fetchall()
    except duckdb.Error as error:
        raise QueryError(_first_line(error)) from None
    return columns


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".!")


def columns_of(connection: Any, query: str, contract: Contract) -> list[str]:
    """The columns that a query may name, and those of the place; all, where it may mean all. May be too many, never too few."""
    names = {name.lower(): name for name in row_schema(contract).names}
    text: str = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0]
    tree = json.loads(text)
    named: set[str] = set()
    every = bool(tree["error"]) or "NATURAL" in text or "POSITIONAL" in text
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            every |= node.get("class") == "STAR"
            told = node["column_names"] if node.get("class") == "COLUMN_REF" else node.get("using_columns") or ()
            known = {names[part.lower()] for part in told if part.lower() in names}
            named |= known
            every |= bool(told) and not known  # a whole row by its name, or something that a query made
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return list(dict.fromkeys([*PLACE, *(name for name in names.values() if every or name in named)]))


def _schema(contract: Contract, columns: Sequence[str]) -> pa.Schema:
    whole = row_schema(contract)
    return pa.schema([whole.field(name).with_nullable(True) for name in columns])


def _fill(connection: Any, contract: Contract, columns: Sequence[str], rows: Iterable[pa.RecordBatch]) -> None:
    schema = _schema(contract, columns)
    for part in _chunks(rows):
        connection.register("_part", part.cast(schema))
        connection.execute(f"INSERT INTO {_STAGED} SELECT * FROM _part")
        connection.unregister("_part")
    order = ", ".join(PLACE)
    connection.execute(f"INSERT INTO {_quoted(contract.name)} SELECT * FROM {_STAGED} ORDER BY {order}")
    connection.execute(f"DROP TABLE {_STAGED}")


def _chunks(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in itertools.chain(rows, [None]):
        if batch is not None:
            waiting.append(batch)
        if waiting and (batch is None or sum(map(len, waiting)) >= _ROWS_AT_ONCE):
            yield pa.Table.from_batches(waiting)
            waiting = []


def _value(result: Any) -> Any:
    found = result.fetchmany(2)
    if len(found) != 1 or len(found[0]) != 1:
        count = "no row" if not found else f"{len(found[0])} columns" if len(found) == 1 else "several rows"
        raise QueryError(f"it gives {count} in place of one value")
    value = found[0][0]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, bool | int | float | Decimal | str):
        raise QueryError(f"it gives a {type(value).__name__} in place of a number or text")
    return value


def without_values(message: str, contract: Contract) -> str:
    """A message of DuckDB about rows: its own words and names of columns stay, whatever else becomes dots."""
    known = {name.lower() for name in row_schema(contract).names} | _WORDS
    kept: list[str] = []
    for token in re.findall(r"\w+|[^\w\s]", message.splitlines()[0]):
        plain = token.lower() in known or re.fullmatch(r"(U?H?U?G?E?INT\d*|DOUBLE|DECIMAL|VARCHAR|BOOLEAN|TIMESTAMP|DATE)", token)
        if plain or (token in ":,()" and kept):
            kept.append(token)
        elif not kept or kept[-1] != "…":
            kept.append("…")
    text = re.sub(r"(?:… ?)+", "… ", " ".join(kept))
    return re.sub(r"\s+([:,)])", r"\1", text).replace("( ", "(").strip()
