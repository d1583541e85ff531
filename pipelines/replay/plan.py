"""What a replay would do: its windows, the raw that reaches them, what it takes, who reads the dataset, and whether it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyiceberg.exceptions import NoSuchTableError

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract
from contracts.spec.project import REPLAY_LIMITS, Project
from contracts.spec.source import SourceSpec
from contracts.units import SECOND_US, us_text
from lake.location import Lake
from lake.runs.usage import Ceiling
from lake.tables.audit import audited
from lake.tables.iceberg import PublishedFile, published_files
from lake.tables.swap import overlaps
from pipelines.replay.estimate import Estimate, make_estimate
from pipelines.replay.options import ReplayOptions
from pipelines.replay.select import (
    Range,
    Selection,
    at_offsets,
    merged_ranges,
    offset_range,
    received_within,
    select_raw,
    whole_windows,
    windows_of_rows,
)
from runners.option_readers import duration


@dataclass(frozen=True)
class ReplayPlan:
    """What ``headrace replay plan`` shows. ranges: microseconds. exceeded: which limits ask for an approval, one sentence each.

    above: what it would take more than its ceiling, one sentence each. published: rows in the data files that meet the ranges now,
    so at most so many are in them. reach: what the files of the whole table cover; None where it has none.
    """

    dataset: str
    contract: Contract
    specs: tuple[SourceSpec, ...]
    asked: Range
    ranges: tuple[Range, ...]
    window_s: int
    selections: tuple[Selection, ...]
    estimate: Estimate
    consumers: tuple[str, ...]
    exceeded: tuple[str, ...]
    above: tuple[str, ...]
    published: int
    reach: Range | None

    @property
    def windows(self) -> int:
        """How many windows are rebuilt."""
        return sum((high - low) // (self.window_s * SECOND_US) for low, high in self.ranges)

    @property
    def records(self) -> int:
        """How many raw records are read."""
        return sum(selection.records for selection in self.selections)

    @property
    def size_bytes(self) -> int:
        """How many bytes of raw are read."""
        return sum(selection.size_bytes for selection in self.selections)

    def estimated(self) -> dict[str, Any]:
        """What it will probably take, in the words of what it took; for its record."""
        return {
            "wall_s": round(self.estimate.seconds, 1),
            "cpu_s": None if self.estimate.cpu_s is None else round(self.estimate.cpu_s, 1),
            "peak_memory_bytes": self.estimate.peak_memory_bytes,
            "read_records": self.records,
            "read_bytes": self.size_bytes,
            "rests_on": self.estimate.rests_on,
            "guessed": list(self.estimate.guessed),
        }

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "dataset": self.dataset,
            "contract_version": self.contract.version,
            "asked": _texts(self.asked),
            "ranges": [_texts(r) for r in self.ranges],
            "window_s": self.window_s,
            "windows": self.windows,
            "sources": [
                {
                    "source": s.source,
                    "pieces": len(s.pieces),
                    "records": s.records,
                    "bytes": s.size_bytes,
                    "why": s.why,
                    "not_read": s.skipped,
                }
                for s in self.selections
            ],
            "records": self.records,
            "bytes": self.size_bytes,
            **self.estimate.document(),
            "above_ceiling": list(self.above),
            "consumers": list(self.consumers),
            "approval_needed": list(self.exceeded),
            "published_at_most": self.published,
            "table_reaches": list(_texts(self.reach)) if self.reach else None,
        }


def _texts(span: Range) -> list[str]:
    return [us_text(us, "seconds") for us in span]


def dataset_of(project: Project, dataset: str, sources: Sequence[str]) -> tuple[tuple[SourceSpec, ...], Contract]:
    """The sources that feed a dataset, and its contract.

    Raises:
        ConfigurationError: none does, or not these; they follow different contracts.
    """
    feeding = project.sources_of(dataset)
    if not feeding:
        raise ConfigurationError(f"no source of this project feeds the dataset {dataset!r}; choose a project with --project DIR")
    if odd := [name for name in sources if name not in feeding]:
        raise ConfigurationError(f"--source {', '.join(odd)}: does not feed {dataset}; there is: {', '.join(feeding)}")
    loaded = [project.source(name) for name in (sources or feeding)]
    versions = {contract.version for _, contract in loaded}
    if len(versions) > 1:
        raise ConfigurationError(
            f"dataset {dataset}: its sources follow several contracts ({', '.join(sorted(versions))}); give --source"
        )
    return tuple(spec for spec, _ in loaded), loaded[0][1]


def make_plan(options: ReplayOptions, project: Project, lake: Lake) -> ReplayPlan:
    """Work out a replay; changes nothing.

    Raises:
        ConfigurationError: the options name what is not there.
    """
    specs, contract = dataset_of(project, options.dataset, options.source)
    lake = audited(lake, contract.table)
    ranges = _ranges(options, lake, specs, contract)
    everything = options.raw == "all"
    selections = tuple(select_raw(lake, spec, ranges, everything=everything) for spec in specs) if ranges else ()
    records = sum(s.records for s in selections)
    estimate = make_estimate(lake, contract.dataset, options, records, sum(s.size_bytes for s in selections))
    files = _published(lake, contract.table)
    plan = ReplayPlan(
        dataset=options.dataset,
        contract=contract,
        specs=specs,
        asked=(options.start, options.end),
        ranges=ranges,
        window_s=options.window,
        selections=selections,
        estimate=estimate,
        consumers=tuple(consumer.name for consumer in contract.consumers),
        exceeded=(),
        above=tuple(estimate.above(Ceiling(options.max_memory, options.max_cpu))),
        published=sum(file.rows for file in files if overlaps(file, ranges)),
        reach=(min(f.from_us for f in files), max(f.to_us for f in files)) if files else None,
    )
    return ReplayPlan(**{**plan.__dict__, "exceeded": tuple(_exceeded(plan, project))})


def _ranges(options: ReplayOptions, lake: Lake, specs: Sequence[SourceSpec], contract: Contract) -> tuple[Range, ...]:
    tables = (contract.table, contract.late_table)
    if options.offsets:
        found: list[Range] = []
        for text in options.offsets:
            named = offset_range(text, lake, specs)
            if not named:
                raise ConfigurationError(f"--offsets {text}: no such topic and partition was landed from these sources")
            for spec, log, start, end in named:
                where = at_offsets(log, start, end, batched=spec.records is not None)
                found += windows_of_rows(lake, tables, where, options.window)
        return merged_ranges(found)
    if options.by == "received-time":
        return windows_of_rows(lake, tables, received_within(options.start, options.end), options.window)
    return (whole_windows(options.start, options.end, options.window),)


def _published(lake: Lake, name: str) -> list[PublishedFile]:
    try:
        return published_files(lake.load(name))
    except NoSuchTableError:
        return []


def _exceeded(plan: ReplayPlan, project: Project) -> list[str]:
    limits = {**REPLAY_LIMITS} | {name: value for name, value in project.replay.items() if name in REPLAY_LIMITS}
    try:
        rows, windows, age_s = int(limits["maxRows"]), int(limits["maxWindows"]), duration(str(limits["maxAge"]))
    except ValueError as error:
        raise ConfigurationError(f"{project.root}: replay limits: expected {error}") from None
    found = []
    if plan.records > rows:
        found.append(f"it reads {plan.records:,} records, more than maxRows {rows:,}")
    if plan.windows > windows:
        found.append(f"it rebuilds {plan.windows:,} windows, more than maxWindows {windows:,}")
    oldest = min((low for low, _ in plan.ranges), default=None)
    if oldest is not None and oldest < (datetime.now(UTC).timestamp() - age_s) * SECOND_US:
        found.append(f"it goes back to {us_text(oldest)}, further than maxAge {limits['maxAge']}")
    return found
