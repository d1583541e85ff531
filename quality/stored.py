"""The history that a lake keeps of a dataset, read from ``ops.quality``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from contracts.spec.quality import Severity
from contracts.units import DAY_US
from lake.location import Lake
from quality.acceptances import Acceptance
from quality.history import State
from quality.past import Past
from quality.store import QUALITY_SCHEMA, kept_rows
from quality.verdicts import Partition, Verdict

_SCHEMA = pa.schema(
    QUALITY_SCHEMA.field(name)
    for name in (
        "run_id", "judged_at", "partition_from", "partition_to", "rule", "severity", "verdict", "observed", "rows", "observation",
        "content",
    )
)  # fmt: skip
_BACK_US = 9 * 7 * DAY_US  # a week more than baselines look back
_PARTITION = ["partition_from", "partition_to"]
_BAD = pa.array([Verdict.FAILED, Verdict.ERROR])

# What became of a partition, and whether a person called it the new normal.
_Fate = tuple[State, bool]


@dataclass(frozen=True)
class StoredHistory:
    """The history that a lake keeps of a dataset: nine weeks before what is judged, read when it is asked for first.

    Of each partition the newest judgement counts, and it alone. Where that holds the partition, the partition is held; where an
    acceptance is of just these rows and these rules, it is accepted; else it is published.

    accepted: what people have overruled.
    """

    lake: Lake
    dataset: str
    accepted: Mapping[Partition, Sequence[Acceptance]] = field(default_factory=dict)
    _known: dict[str, list[Past]] = field(default_factory=dict, repr=False)
    _read: list[tuple[int, pa.Table, dict[Partition, _Fate]]] = field(default_factory=list, repr=False)  # one, once it is read

    def past(self, rule: str, before_us: int) -> Sequence[Past]:
        """See History."""
        since_us = before_us - _BACK_US
        if not self._read or since_us < self._read[0][0]:
            rows = _newest(kept_rows(self.lake, _SCHEMA, dataset=self.dataset, from_us=since_us))
            self._read[:] = [(since_us, rows, self._fates(rows))]
            self._known.clear()
        if rule not in self._known:
            self._known[rule] = self._of(rule)
        return [past for past in self._known[rule] if since_us <= past.partition.from_us and past.partition.to_us <= before_us]

    def _fates(self, rows: pa.Table) -> dict[Partition, _Fate]:
        """Of those partitions that a rule holds."""
        bad = rows.filter(pc.and_(pc.is_in(rows.column("verdict"), _BAD), pc.not_equal(rows.column("severity"), Severity.WARN)))
        failed: dict[tuple[Partition, str | None], set[str]] = {}
        for row in _rows(bad):
            failed.setdefault((self._partition(row), row["content"]), set()).add(row["rule"])
        return {partition: self._fate(partition, content, rules) for (partition, content), rules in failed.items()}

    def _fate(self, partition: Partition, content: str | None, rules: set[str]) -> _Fate:
        covering = [one for one in self.accepted.get(partition, ()) if content is not None and one.covers(content, rules)]
        return (State.ACCEPTED if covering else State.HELD), any(one.new_normal for one in covering)

    def _of(self, rule: str) -> list[Past]:
        _, rows, fates = self._read[0]
        found: dict[Partition, Past] = {}
        for row in _rows(rows.filter(pc.equal(rows.column("rule"), rule))):
            partition = self._partition(row)
            state, new_normal = fates.get(partition, (State.PUBLISHED, False))
            found[partition] = Past(
                partition=partition,
                verdict=Verdict(row["verdict"]),
                observed=row["observed"],
                rows=row["rows"],
                observation=row["observation"] or "",
                run_id=row["run_id"],
                judged_us=row["judged_at"],
                state=state,
                new_normal=new_normal,
            )
        return [found[partition] for partition in sorted(found)]

    def _partition(self, row: Mapping[str, int]) -> Partition:
        return Partition(self.dataset, row["partition_from"], row["partition_to"])


def _newest(rows: pa.Table) -> pa.Table:
    """The rows of the newest judgement of each partition; of two at one moment that of the higher run."""
    for column in ("judged_at", "run_id"):
        last = rows.group_by(_PARTITION).aggregate([(column, "max")]).rename_columns([*_PARTITION, column])
        rows = rows.join(last, [*_PARTITION, column], join_type="left semi")
    return rows


def _rows(rows: pa.Table) -> list[dict[str, Any]]:
    """With times as microseconds."""
    times = {"judged_at", *_PARTITION}
    fields = [pa.field(f.name, pa.int64()) if f.name in times else f for f in rows.schema]
    found: list[dict[str, Any]] = rows.cast(pa.schema(fields)).to_pylist()
    return found
