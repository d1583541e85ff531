"""Judging partitions: every rule of a contract over the rows of a state of its table.

A verdict follows from the rows, the state of other tables and the history that is given, and from nothing else: not from the
clock, the order of rows, the files that they lie in, or whether a run has an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from contracts.spec.model import Contract
from quality.measure import PLACE, Context
from quality.past import History
from quality.rules import measure_of
from quality.sql import require_duckdb
from quality.sql_process import Queries
from quality.verdicts import Partition, RuleVerdict
from quality.view import References, TableView


def judge_partitions(
    view: TableView,
    contract: Contract,
    partitions: Iterable[Partition],
    history: History,
    references: References,
    queries: Queries | None = None,
) -> Iterator[RuleVerdict]:
    """Judge partitions of a dataset, one after the other; of each, every rule in the order of the contract.

    The rows of a partition are read once for all rules, a batch at a time; what each rule keeps of them docs/reference/quality.md
    says.

    Args:
        view: the state of the table that is judged.
        contract: whose rules.
        partitions: which; those without rows are judged too.
        history: what was observed of earlier partitions.
        references: other tables, for rules that look at them.
        queries: where rules that are a query are asked; None for a process of this call alone.

    Raises:
        ConfigurationError: a rule is a query, and DuckDB is not installed.
    """
    require_duckdb(contract)
    with nullcontext(queries) if queries else Queries() as asked:
        for partition in partitions:
            yield from _judged(Context(view, contract, partition, history, references, asked))


def _judged(context: Context) -> Iterator[RuleVerdict]:
    measures = [measure_of(rule, context) for rule in context.contract.quality.rules]
    columns = list(dict.fromkeys([*PLACE, *(name for measure in measures for name in measure.columns)]))
    for rows in context.view.batches(columns, context.partition.from_us, context.partition.to_us):
        for measure in measures:
            measure.add(rows)
    yield from (measure.verdict() for measure in measures)
