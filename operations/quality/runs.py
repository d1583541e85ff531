"""Which runs have records of which window times, by the ledger."""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThan, LessThan

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.runs.manifest import read_run
from lake.tables.iceberg import LEDGER
from operations.changes.runs import run_began
from quality.verdicts import Partition

_Row = dict[str, int | str | None]


def spans_of_run(lake: Lake, dataset: str, run_id: str) -> Iterator[tuple[int, int]]:
    """Window times that a run has records of, microseconds.

    Raises:
        ConfigurationError: there is no such run.
    """
    if read_run(lake, run_id) is None:
        raise ConfigurationError(f"no run {run_id!r} in this lake; headrace status lists the last ones")
    for row in _rows(lake, And(EqualTo("run_id", run_id), EqualTo("dataset", dataset)), ("window_from", "window_to")):
        low, high = row["window_from"], row["window_to"]
        if isinstance(low, int) and isinstance(high, int):
            yield low, max(high, low + 1)


def newest_run_of(lake: Lake, partition: Partition) -> str | None:
    """The newest run with records of a partition; None where none is on record."""
    reaches = And(LessThan("window_from", partition.to_us), GreaterThan("window_to", partition.from_us - 1))
    found = _rows(lake, And(EqualTo("dataset", partition.dataset), reaches), ("run_id",))
    return max((str(row["run_id"]) for row in found if run_began(str(row["run_id"]))), default=None)


def _rows(lake: Lake, condition: BooleanExpression, columns: tuple[str, ...]) -> list[_Row]:
    try:
        table = lake.load(LEDGER)
    except NoSuchTableError:
        return []
    found: list[_Row] = table.scan(condition, selected_fields=columns).to_arrow().to_pylist()
    return found
