"""``headrace quality run``: the rules of a contract over partitions of its table, by our judge, Great Expectations, or both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract
from contracts.units import DAY_US, SECOND_US, datetime_to_us, utc_text
from lake.location import AUDIT, Lake
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import encoded
from operations.quality.kept import EXPECTATIONS, FOLDER, HEADRACE, EngineVerdict, QualityResults, keep
from operations.quality.runs import spans_of_run
from quality.acceptances import acceptances
from quality.expectations.judge import differing, evaluate_partition
from quality.expectations.run import check_installed
from quality.expectations.suite import suite_of
from quality.judge import judge_partitions
from quality.store import Judgement, keep_verdicts
from quality.stored import StoredHistory
from quality.verdicts import Partition, RuleVerdict, partitions_between
from quality.view import WINDOW_TIME, LakeReferences, LakeView, view_of

Engine = Literal["headrace", "great-expectations", "both"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
MOST_PARTITIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class QualityOptions:
    """What is judged. start_us, end_us: window times; run: partitions that it has rows of; of neither the last day of rows.

    engine: who judges. audit: rows as jobs write them, held ones included, in place of what everybody reads.
    """

    engine: Engine = "headrace"
    start_us: int | None = None
    end_us: int | None = None
    run: str | None = None
    audit: bool = False


@dataclass(frozen=True)
class Judged:
    """What came of it. differing: rules that the two engines judged otherwise, ours first."""

    results: QualityResults
    differing: Sequence[tuple[RuleVerdict, RuleVerdict]] = ()


def run_quality(lake: Lake, contract: Contract, options: QualityOptions) -> Judged:
    """Judge partitions, and keep what came of it.

    Verdicts on what everybody reads of a dataset without a gate go to ``ops.quality`` too, for baselines to learn from; those of a
    gated one come from its gate alone.

    Raises:
        ConfigurationError: there is no table, run or partition, or Great Expectations is asked for and not installed.
    """
    if options.engine != HEADRACE:
        check_installed()
    state = replace(lake, branch=AUDIT) if options.audit else lake
    view = view_of(state, contract)
    if view is None or (options.audit and view.snapshot_id is None):
        raise ConfigurationError(
            f"{contract.dataset}: there is no {'audit branch' if options.audit else 'table'} of it in this lake"
        )
    partitions = _partitions(lake, contract, view, options)
    clock = RunClock()
    name, at_us = new_run_id(contract.dataset, clock), datetime_to_us(clock.started)
    ours: list[RuleVerdict] = []
    if options.engine != EXPECTATIONS:
        history = StoredHistory(lake, contract.dataset, acceptances(lake, contract.dataset))
        ours = list(judge_partitions(view, contract, partitions, history, LakeReferences(lake)))
    theirs, files, unmapped = _expectations(view, contract, partitions, options)
    results = QualityResults(
        id=name,
        dataset=contract.dataset,
        contract_version=contract.version,
        judged_at=utc_text(clock.started, "milliseconds"),
        of_run=options.run,
        branch=AUDIT if options.audit else None,
        snapshot_id=view.snapshot_id,
        partitions=len(partitions),
        verdicts=(*(EngineVerdict(HEADRACE, each) for each in ours), *(EngineVerdict(EXPECTATIONS, each) for each in theirs)),
        unmapped=unmapped,
        documents=tuple(f"{FOLDER}/{name}/{file}" for file in files),
    )
    keep(lake, results, files)
    if not contract.gated and not options.audit:
        keep_verdicts(lake, [Judgement(run_id=name, at_us=at_us, snapshot_id=view.snapshot_id, contract_version=contract.version,
                                       verdict=each) for each in ours])  # fmt: skip
    return Judged(results, differing(ours, theirs))


def _expectations(
    view: LakeView, contract: Contract, partitions: Iterable[Partition], options: QualityOptions
) -> tuple[list[RuleVerdict], dict[str, bytes], tuple[tuple[str, str], ...]]:
    """Verdicts, files and what has no expectation; nothing where Great Expectations was not asked for."""
    if options.engine == HEADRACE:
        return [], {}, ()
    suite = suite_of(contract)
    found: list[RuleVerdict] = []
    files: dict[str, bytes] = {}
    for partition in partitions:
        evaluated = evaluate_partition(view, contract, suite, partition)
        found += evaluated.verdicts
        stem = f"{partition.from_us}-{partition.to_us}"
        files[f"great-expectations/{stem}.json"] = encoded(evaluated.results.document)
        files[f"data-docs/{stem}.html"] = evaluated.results.page.encode("utf-8", "backslashreplace")
    return found, files, tuple((each.rule, each.why) for each in suite.unmapped)


def _partitions(lake: Lake, contract: Contract, view: LakeView, options: QualityOptions) -> list[Partition]:
    """Which partitions are judged, in the order of time."""
    spans = list(_spans(lake, contract, view, options))
    most = max(((high - low) // (contract.quality.partition_s * SECOND_US) for low, high in spans), default=0)
    if most > MOST_PARTITIONS:
        raise ConfigurationError(f"{most:,} partitions, and at most {MOST_PARTITIONS:,} at once; give a shorter --start and --end")
    found = sorted({partition for low, high in spans for partition in partitions_between(contract, low, high)})
    if not found:
        raise ConfigurationError(f"{contract.dataset}: there is no partition to judge; headrace lake files shows what is there")
    return found


def _spans(lake: Lake, contract: Contract, view: LakeView, options: QualityOptions) -> Iterator[tuple[int, int]]:
    if options.run is not None:
        yield from spans_of_run(lake, contract.dataset, options.run)
        return
    newest = view.newest_us()
    end = options.end_us if options.end_us is not None else None if newest is None else newest + 1
    if options.start_us is not None and end is not None:
        yield options.start_us, end
    elif end is not None and (first := _first_us(view, end - DAY_US, end)) is not None:
        yield first, end


def _first_us(view: LakeView, from_us: int, to_us: int) -> int | None:
    """The smallest window time in [from_us, to_us): a dataset that began today has no empty partitions before."""
    found = [pc.min(batch.column(0)).cast(pa.int64()).as_py() for batch in view.batches([WINDOW_TIME], from_us, to_us)]
    return min(found, default=None)
