"""What is known of a run's partitions, or of a dataset's: verdicts over time, and what changed since all was well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, name_and_major
from contracts.spec.project import Project
from contracts.spec.quality import Severity
from contracts.units import EPOCH, us_text, us_to_datetime
from lake.location import Lake
from operations.changes.changes import changes_between
from operations.changes.entries import ChangeEntry, ChangeKind
from operations.changes.runs import run_began
from operations.quality.examples import Example, examples_of
from operations.quality.kept import HEADRACE, EngineVerdict, QualityResults, is_bad, kept, newest_of
from operations.quality.runs import newest_run_of
from quality.store import Judgement, judgements, newest
from quality.verdicts import Partition, RuleVerdict, Verdict, gate_verdict
from quality.view import LakeView

_TICK = timedelta(milliseconds=1)  # to which times of runs are told
TREND_PARTITIONS = 96  # that a plot shows
_KINDS = tuple(kind for kind in ChangeKind if kind not in (ChangeKind.VOLUME, ChangeKind.GATE))
_WORDS = {
    None: "every rule passed",
    Severity.WARN: "rules that warn were broken",
    Severity.QUARANTINE: "rules that hold partitions were broken",
    Severity.STOP: "rules that end a run were broken",
}


@dataclass(frozen=True)
class Point:
    """What a rule observed of a partition. observed: None where it has no number."""

    partition: Partition
    observed: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known.

    judged: newest verdicts, by partition and rule. trends: by rule, the earliest first. good: the last partition that passed before
    the first that did not; good_run: the newest run with rows of it. changes: since that began. volumes: rows by source of the
    first bad and of the last good partition. documents: pages of Great Expectations.
    """

    dataset: str
    contract_version: str
    title: str
    judged: tuple[EngineVerdict, ...]
    trends: Mapping[str, tuple[Point, ...]]
    first_bad: Partition | None = None
    good: Partition | None = None
    good_run: str | None = None
    changes: tuple[ChangeEntry, ...] = ()
    volumes: tuple[tuple[str, int, int], ...] = ()
    examples: tuple[Example, ...] = ()
    documents: tuple[str, ...] = ()
    commands: tuple[str, ...] = field(default=())

    @property
    def bad(self) -> list[RuleVerdict]:
        """What was broken, or could not be judged."""
        return [each.verdict for each in self.judged if is_bad(each.verdict)]

    @property
    def severity(self) -> Severity | None:
        """The worst of it."""
        return gate_verdict(self.bad)

    @property
    def verdict_words(self) -> str:
        """In words; learning is no pass."""
        unsure = sum(each.verdict.verdict in (Verdict.LEARNING, Verdict.SKIPPED) for each in self.judged)
        if not self.judged:
            return "nothing was judged"
        if self.severity is None and unsure:
            return f"no rule was broken; {unsure:,} of {len(self.judged):,} verdicts are none yet"
        return _WORDS[self.severity]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        told = asdict(self)
        told["judged"] = [{"engine": each.engine, **asdict(each.verdict)} for each in self.judged]
        return told | {"severity": self.severity}


def report_on_run(lake: Lake, project: Project, run: str, dataset: str | None = None) -> list[Report]:
    """Of a run that judged what it wrote, or of a quality run: one report a dataset.

    Raises:
        ConfigurationError: no verdict of it is known.
    """
    results = kept(lake, run)
    if results:
        contract = project.contract(*name_and_major(results.dataset))
        return [_report(lake, contract, f"Quality run {run} of {results.dataset}", results.verdicts, results)]
    found = list(judgements(lake, run_id=run, dataset=dataset))
    if not found:
        raise ConfigurationError(
            f"no verdict of run {run!r} is known: it judged nothing, or is none; judge now: headrace quality run DATASET --run RUN"
        )
    reports = []
    for name in sorted({each.verdict.partition.dataset for each in found}):
        own = tuple(
            EngineVerdict(HEADRACE, each.verdict) for each in _sorted(newest(found)) if each.verdict.partition.dataset == name
        )
        reports.append(_report(lake, project.contract(*name_and_major(name)), f"Quality of {name} in run {run}", own))
    return reports


def report_on_dataset(lake: Lake, contract: Contract) -> Report:
    """The newest verdicts of each partition, as far back as plots show."""
    known = _sorted(newest(judgements(lake, dataset=contract.dataset)))
    partitions = sorted({each.verdict.partition for each in known})[-TREND_PARTITIONS:]
    shown = set(partitions)
    judged = [EngineVerdict(HEADRACE, each.verdict) for each in known if each.verdict.partition in shown]
    results = newest_of(lake, contract.dataset)
    if results:
        theirs = [each for each in results.verdicts if each.engine != HEADRACE or not judged]
        judged += theirs
    return _report(lake, contract, f"Quality of {contract.dataset}", tuple(judged), results)


def _sorted(found: Mapping[tuple[Partition, str], Judgement]) -> list[Judgement]:
    return [each for _, each in sorted(found.items(), key=lambda pair: pair[0])]


def _report(
    lake: Lake, contract: Contract, title: str, judged: tuple[EngineVerdict, ...], results: QualityResults | None = None
) -> Report:
    history = _sorted(newest(judgements(lake, dataset=contract.dataset)))
    first_bad = min((each.verdict.partition for each in judged if _is_held(each.verdict)), default=None) or min(
        (each.verdict.partition for each in judged if is_bad(each.verdict)), default=None
    )
    good = _last_good(_by_partition(history, judged), first_bad)
    good_run, bad_run = (newest_run_of(lake, each) if each else None for each in (good, first_bad))
    judged_us = [each.at_us for each in history if each.verdict.partition == first_bad]
    judged_at = us_to_datetime(max(judged_us)) if judged_us else datetime.fromisoformat(results.judged_at) if results else EPOCH
    view = _view(lake, contract, results, history, first_bad)
    return Report(
        dataset=contract.dataset,
        contract_version=results.contract_version if results else contract.version,
        title=title,
        judged=judged,
        trends=_trends(history, judged),
        first_bad=first_bad,
        good=good,
        good_run=good_run,
        changes=tuple(_changes(lake, contract.dataset, good_run, bad_run, judged_at)),
        volumes=tuple(_volumes(view, first_bad, good)) if view and first_bad and good else (),
        examples=tuple(examples_of(view, contract, [each.verdict for each in judged])) if view else (),
        documents=tuple(d for d in results.documents if d.endswith(".html")) if results else (),
        commands=tuple(_commands(contract, first_bad, good_run)),
    )


def _is_held(verdict: RuleVerdict) -> bool:
    return is_bad(verdict) and verdict.severity is not Severity.WARN


def _last_good(known: Mapping[Partition, Sequence[RuleVerdict]], first_bad: Partition | None) -> Partition | None:
    """The last partition before the first bad one that no broken rule holds."""
    before = [partition for partition in known if first_bad and partition < first_bad]
    return max((p for p in before if gate_verdict(known[p]) in (None, Severity.WARN)), default=None)


def _by_partition(history: Iterable[Judgement], judged: Iterable[EngineVerdict]) -> dict[Partition, list[RuleVerdict]]:
    """Verdicts on record; of partitions that have none those that were given now."""
    found: dict[Partition, list[RuleVerdict]] = {}
    for each in history:
        found.setdefault(each.verdict.partition, []).append(each.verdict)
    recorded = set(found)
    for verdict in (each.verdict for each in judged):
        if verdict.partition not in recorded:
            found.setdefault(verdict.partition, []).append(verdict)
    return found


def _changes(lake: Lake, dataset: str, good_run: str | None, bad_run: str | None, judged_at: datetime) -> list[ChangeEntry]:
    """What changed from when the run of the last good partition began, to the verdict on the first bad one."""
    since = run_began(good_run) if good_run else None
    if since is None:
        return []
    began = run_began(bad_run) if bad_run else None
    until = max(filter(None, (began, judged_at))) + _TICK
    return changes_between(lake, since + _TICK, until, [dataset], _KINDS) if since + _TICK < until else []


def _view(
    lake: Lake, contract: Contract, results: QualityResults | None, history: Sequence[Judgement], first_bad: Partition | None
) -> LakeView | None:
    """The state that was judged, where its snapshot is still there; else what is published now."""
    judged = [each.snapshot_id for each in history if each.verdict.partition == first_bad and each.snapshot_id is not None]
    snapshot = results.snapshot_id if results else judged[-1] if judged else None
    view = LakeView.of(lake, contract.table)
    if view is None or snapshot is None or view.table.snapshot_by_id(snapshot) is None:
        return view
    return LakeView.of(lake, contract.table, snapshot)


def _volumes(view: LakeView, bad: Partition, good: Partition) -> Iterator[tuple[str, int, int]]:
    """Rows by source of both partitions, the bad one first."""
    counts = [_by_source(view, partition) for partition in (bad, good)]
    for source in sorted(counts[0] | counts[1]):
        yield source, counts[0][source], counts[1][source]


def _by_source(view: LakeView, partition: Partition) -> Counter[str]:
    found: Counter[str] = Counter()
    for batch in view.batches(["_source"], partition.from_us, partition.to_us):
        found.update({each["values"]: each["counts"] for each in batch.column("_source").value_counts().to_pylist()})
    return found


def _trends(history: Iterable[Judgement], judged: Iterable[EngineVerdict]) -> dict[str, tuple[Point, ...]]:
    """By rule: what is on record, and what was judged now."""
    found: dict[str, dict[Partition, Point]] = {}
    for verdict in (*(each.verdict for each in history), *(each.verdict for each in judged if each.engine == HEADRACE)):
        observed = verdict.observed if isinstance(verdict.observed, float) else None
        found.setdefault(verdict.rule, {})[verdict.partition] = Point(verdict.partition, observed, verdict.verdict)
    return {rule: tuple(points[key] for key in sorted(points)[-TREND_PARTITIONS:]) for rule, points in found.items()}


def _commands(contract: Contract, first_bad: Partition | None, good_run: str | None) -> Iterator[str]:
    """To begin with."""
    if first_bad is None:
        return
    span = f"--start {us_text(first_bad.from_us, 'seconds')} --end {us_text(first_bad.to_us, 'seconds')}"
    if good_run:
        yield f"headrace changes --since {good_run} --dataset {contract.dataset}"
    yield f"headrace quality run {contract.dataset} {span} --engine both"
    yield f"headrace deadletter list --dataset {contract.dataset}"
    if contract.gated:
        yield f"headrace quality status {contract.dataset}"
    yield f"headrace replay plan NAME --dataset {contract.dataset} {span}"
