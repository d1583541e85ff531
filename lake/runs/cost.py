"""What a run took: time, CPU time, memory, bytes; as manifests and the record of replays hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyiceberg.exceptions import NoSuchTableError

from lake.location import Lake
from lake.runs.usage import Meter
from lake.tables.iceberg import RUN_PROPERTY

_ADDED_BYTES = "added-files-size"  # of a snapshot, in Iceberg's words
_PUBLISHES = "headrace.gate.audit-snapshot"  # such a commit names files that another has written


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run took.

    cpu_s, peak_memory_bytes: of its processes here, all workers added up; None where they are not known, since a cluster did the
    work. read_bytes: decompressed raw, of logs as landed. written_bytes: data files of rows, late rows and dead letters. workers:
    processes; None where the cluster decides.
    """

    wall_s: float
    cpu_s: float | None
    peak_memory_bytes: int | None
    read_records: int
    read_bytes: int
    written_bytes: int
    workers: int | None

    @classmethod
    def of(
        cls, meter: Meter, *, is_here: bool, workers: int | None, read_records: int, read_bytes: int, written_bytes: int
    ) -> RunCost:
        """Of what was measured. is_here: whether the work was done by processes of this one."""
        return cls(
            wall_s=round(meter.wall_s, 3),
            cpu_s=round(meter.cpu_s, 3) if is_here else None,
            peak_memory_bytes=meter.peak_memory_bytes if is_here else None,
            read_records=read_records,
            read_bytes=read_bytes,
            written_bytes=written_bytes,
            workers=(workers or 1) if is_here else workers,
        )

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> RunCost:
        """As ``document`` wrote it."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})

    @classmethod
    def in_all(cls, costs: Sequence[RunCost]) -> RunCost | None:
        """Of several runs, one after the other; None of none."""
        if not costs:
            return None
        cpu, peaks = [c.cpu_s for c in costs if c.cpu_s is not None], _known(c.peak_memory_bytes for c in costs)
        return cls(
            wall_s=round(sum(c.wall_s for c in costs), 3),
            cpu_s=round(sum(cpu), 3) if len(cpu) == len(costs) else None,
            peak_memory_bytes=max(peaks) if len(peaks) == len(costs) else None,
            read_records=sum(c.read_records for c in costs),
            read_bytes=sum(c.read_bytes for c in costs),
            written_bytes=sum(c.written_bytes for c in costs),
            workers=max(_known(c.workers for c in costs), default=None),
        )

    def document(self) -> dict[str, Any]:
        """As JSON; what is not known is null."""
        return asdict(self)


def _known(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def written_bytes(lake: Lake, tables: Sequence[str], run_id: str) -> int:
    """Bytes of the data files that a run has committed to these tables, those among them that it has replaced again."""
    found = 0
    for name in tables:
        try:
            snapshots = lake.load(name).metadata.snapshots
        except NoSuchTableError:
            continue
        for snapshot in snapshots:
            told = snapshot.summary.additional_properties if snapshot.summary else {}
            if told.get(RUN_PROPERTY) == run_id and _PUBLISHES not in told:
                found += int(told.get(_ADDED_BYTES, 0))
    return found
