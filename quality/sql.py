"""Rules that are a query: DuckDB over the rows of a partition, in a process of its own, shut off from everything else.

No files, no network, no extensions, no variables of this program; bounded memory and time. What goes wrong in a query is a verdict.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.util import find_spec

import pyarrow as pa

from contracts.compiler.schemas import row_schema
from contracts.errors import ConfigurationError
from contracts.spec.files.quality import PLACEHOLDERS
from contracts.spec.model import Contract
from contracts.spec.quality import QualityRule, RuleKind
from contracts.units import us_to_datetime
from quality.measure import PLACE, Measure
from quality.sql_process import EngineError, QueryError, Table
from quality.verdicts import Partition, RuleVerdict, Verdict

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


def require_duckdb(contract: Contract) -> None:
    """Complain where a contract has rules of type sql and DuckDB is not installed.

    Raises:
        ConfigurationError: it is not.
    """
    rule = next((rule for rule in contract.quality.rules if rule.kind is RuleKind.SQL), None)
    if rule is not None and find_spec("duckdb") is None:  # not imported: only the process of the queries needs it
        raise ConfigurationError(
            f"contract {contract.name}: the quality rule {rule.name} is of type sql and needs DuckDB, which is not installed. "
            "Install it: pip install 'headrace[quality]'"
        )


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
            observed = self.context.queries.answer(query_of(self.rule, contract, partition), _table(contract), read)
        except EngineError as error:
            return self.told(Verdict.ERROR, None, f"The query cannot be judged by: {without_values(str(error), contract)}.")
        except QueryError as error:
            return self.told(Verdict.ERROR, None, f"The query cannot be judged by: {error}.")
        if observed is None:
            empty = self.told(Verdict.SKIPPED, None, "There are no rows, and of none the query gives no value.")
            return self.told(Verdict.FAILED, None, "The query gives no value (NULL).") if self.rows else empty
        assert self.rule.expected is not None
        is_text = isinstance(observed, str)
        if is_text != isinstance(self.rule.expected.values[0], str):  # also of mustNotBe: "0" is not kept by the number 0
            gives, named = ("a text", "a number") if is_text else ("a number", "a text, in quotes")
            told = f"The query gives {gives}, and {self.rule.expected.operator} names {named}: they do not compare."
            return self.told(Verdict.ERROR, None, told)
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


def _table(contract: Contract) -> Table:
    return Table(contract.name, pa.schema([field.with_nullable(True) for field in row_schema(contract)]), PLACE)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
