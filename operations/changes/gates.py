"""Which partitions a gate held, and which it let pass after all, from the verdicts that are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from contracts.spec.quality import Severity
from contracts.units import datetime_to_us, us_text
from lake.location import Lake
from operations.changes.entries import ChangeEntry, ChangeKind
from quality.store import judgements
from quality.verdicts import Partition, RuleVerdict, Verdict, gate_verdict

_Judged = dict[tuple[int, str], list[RuleVerdict]]  # by when, and by which run


def gate_changes(lake: Lake, since: datetime, until: datetime) -> Iterator[ChangeEntry]:
    """Partitions that were judged in [since, until) otherwise than before: to be held, to be published, or with a warning."""
    low, high = datetime_to_us(since), datetime_to_us(until)
    found: defaultdict[Partition, _Judged] = defaultdict(dict)
    for each in judgements(lake, judged_before_us=high):
        found[each.verdict.partition].setdefault((each.at_us, each.run_id), []).append(each.verdict)
    for partition, judged in found.items():
        before: Severity | None = None
        for (at_us, run_id), verdicts in sorted(judged.items()):
            severity = gate_verdict(verdicts)
            if severity != before and at_us >= low:
                yield _entry(partition, at_us, run_id, severity, verdicts)
            before = severity


def _entry(partition: Partition, at_us: int, run_id: str, severity: Severity | None, verdicts: list[RuleVerdict]) -> ChangeEntry:
    does = {None: "passes its rules now", Severity.WARN: "breaks rules that only warn"}.get(severity, "breaks rules that hold it")
    bad = [each for each in verdicts if each.verdict in (Verdict.FAILED, Verdict.ERROR)]
    return ChangeEntry(
        at=us_text(at_us, "milliseconds"), kind=ChangeKind.GATE, subject=partition.dataset, what=f"{partition} {does}",
        details=tuple(sorted(f"{each.rule} ({each.severity}): {each.detail}" for each in bad)), after=severity and str(severity),
        datasets=(partition.dataset,), run_id=run_id,
    )  # fmt: skip
