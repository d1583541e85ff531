"""How many records each source gave, beside as long a time before: by the time at which they were received, which they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThan, NotIn

from contracts.codes import Code
from contracts.units import EPOCH, utc_text
from lake.location import Lake
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN
from lake.upkeep import all_tables
from operations.changes.entries import ChangeEntry, ChangeKind

_Counts = Counter[tuple[str, str, bool]]  # dataset, source, whether of the time that is asked about and not before it


def volume_changes(lake: Lake, since: datetime, until: datetime) -> Iterator[ChangeEntry]:
    """Sources that gave another number of records in [since, until) than in as long a time before. Duplicates do not count."""
    before = since - min(until - since, since - EPOCH)
    counts: _Counts = Counter()
    for name in all_tables(lake):
        namespace, _, dataset = name.partition(".")
        if name == DEAD_LETTERS:
            counts += _counted(lake, name, before, since, until, None)
        elif namespace in ("validated", "late"):
            counts += _counted(lake, name, before, since, until, dataset)
    for dataset, source in sorted({key[:2] for key in counts}):
        old, new = counts[dataset, source, False], counts[dataset, source, True]
        if old != new:
            yield ChangeEntry(
                at=utc_text(since, "milliseconds"), kind=ChangeKind.VOLUME, subject=source, before=str(old), after=str(new),
                datasets=(dataset,), what=volume_text(f"source {source}: ", old, new, "in as long a time before"),
            )  # fmt: skip


def volume_text(whose: str, old: int, new: int, when: str) -> str:
    """Two volumes as people compare them."""
    share = f" ({(new - old) / old:+.0%})" if old else ""
    return f"{whose}{new:,} records, {old:,} {when}{share}"


def _counted(lake: Lake, name: str, before: datetime, since: datetime, until: datetime, dataset: str | None) -> _Counts:
    """Records of one table. dataset: whose; None where a column says so."""
    low, high = before.isoformat(), until.isoformat()
    condition: BooleanExpression = And(GreaterThanOrEqual("_received_at", low), LessThan("_received_at", high))
    columns = ["_source", "_received_at"]
    if dataset is None:
        condition, columns = And(condition, NotIn("code", {WITHDRAWN, str(Code.REFUSED)})), [*columns, "dataset", "code"]
    found: _Counts = Counter()
    for batch in lake.load(name).scan(row_filter=condition, selected_fields=tuple(columns)).to_arrow_batch_reader():
        rows = pa.Table.from_batches([batch])
        late = pc.greater_equal(rows["_received_at"], pa.scalar(since, rows["_received_at"].type))
        groups = [n for n in ("dataset", "_source") if n in rows.column_names]
        totals = rows.append_column("since", late).group_by([*groups, "since"]).aggregate([([], "count_all")])
        for row in totals.to_pylist():
            found[row.get("dataset") or dataset or "", row["_source"], row["since"]] += row["count_all"]
    return found
