"""What a replay's runs put on record: that it began, goes on, and is finished; each only where it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from contracts.errors import CeilingError, ConfigurationError
from contracts.version import VERSION
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.runs.cost import RunCost
from lake.runs.manifest import given_options
from lake.runs.replays import Replay, Step, add_event
from pipelines.ingest.graph import IngestGraph
from pipelines.replay.options import ReplayOptions
from pipelines.replay.plan import ReplayPlan
from transforms.cut import Cut

SPEED = (  # options of how it runs
    "runner", "max_parallel", "max_rate", "slice_bytes", "max_memory", "max_cpu", "flink", "python_workers",
    "python_workers_per_taskmanager", "to_topic",
)  # fmt: skip


def begin(options: ReplayOptions, plan: ReplayPlan, lake: Lake) -> None:
    """Put the beginning of a replay on record.

    Raises:
        ConfigurationError: it may not begin: nothing to rebuild, not approved, or another replay has some of the same windows.
        CeilingError: by what earlier runs took it would take more than its ceiling.
    """
    if not plan.ranges:
        raise ConfigurationError(f"replay {options.name}: nothing that was published or late fits; there is no window to rebuild")
    if plan.exceeded and not (options.approved_by and options.reason):
        raise ConfigurationError(
            f"replay {options.name}: "
            + "; ".join(plan.exceeded)
            + ". It needs --approved-by NAME and --reason TEXT, which are recorded."
        )
    if plan.above:
        told = "; ".join(plan.above)
        raise CeilingError(
            f"replay {options.name}: {told}; it was not begun. Take a shorter range, smaller slices, or a higher ceiling"
        )

    def check(known: dict[str, Replay]) -> None:
        mine = known.get(options.name)
        if mine and mine.step is not Step.DISCARDED:
            raise ConfigurationError(f"replay {options.name}: was begun meanwhile; look at headrace replay list")
        _refuse_overlap(known, options.name, plan.dataset, plan.ranges)

    head = _live_table(lake, plan).current_snapshot()
    spec = {
        "dataset": plan.dataset,
        "ranges": plan.ranges,
        "window_s": plan.window_s,
        "sources": [spec.name for spec in plan.specs],
        "contract_version": plan.contract.version,
        "code_version": VERSION,
        "live_snapshot": head.snapshot_id if head else None,
        "approved_by": options.approved_by,
        "reason": options.reason,
        "exceeded": plan.exceeded,
        "options": given_options(options),
        "estimate": plan.estimated(),
    }
    add_event(lake, options.name, Step.BEGUN, spec, check)


def _live_table(lake: Lake, plan: ReplayPlan) -> Table:
    """The table that is rebuilt; made where no job has written the dataset yet, as of a new major."""
    try:
        return lake.load(plan.contract.table)
    except NoSuchTableError:
        IngestGraph(lake=lake, contract=plan.contract, spec=plan.specs[0], run_id="", cut=Cut()).prepare()
        return lake.load(plan.contract.table)


def _refuse_overlap(known: Mapping[str, Replay], name: str, dataset: str, ranges: Sequence[tuple[int, int]]) -> None:
    rivals = [other.name for other in known.values() if other.name != name and other.is_open and other.meets(dataset, ranges)]
    if rivals:
        raise ConfigurationError(
            f"replay {name}: {', '.join(rivals)} rebuilds some of the same windows of {dataset} and is not done; "
            "promote it or discard it first"
        )


def resume(options: ReplayOptions, known: Replay, lake: Lake) -> None:
    """Put on record that a replay goes on.

    Raises:
        ConfigurationError: it was begun with other options, or is finished with.
    """
    given = {k: v for k, v in given_options(options).items() if k not in (*SPEED, "approved_by", "reason", "beam_options", "lake")}
    began = known.spec["options"]
    odd = sorted(
        k
        for k, v in given.items()
        if (list(v) if isinstance(v, tuple) else v) != (began.get(k) or ([] if isinstance(v, tuple) else None))
    )
    if odd:
        raise ConfigurationError(
            f"replay {known.name}: was begun with other " + ", ".join("--" + k.replace("_", "-") for k in odd) + "; "
            f"go on with headrace replay run {known.name}, or take another name"
        )
    if not known.is_open or known.step is Step.PROMOTING:
        raise ConfigurationError(f"replay {known.name}: is {known.step}; a name is used once")
    if known.step in (Step.PAUSED, Step.PAUSE_ASKED):
        add_event(lake, known.name, Step.RESUMED, {})


def finish(lake: Lake, name: str, run_id: str, ledger: Mapping[str, LedgerEntry], rows: int, digest: int, cost: RunCost) -> None:
    """Put on record that a replay is finished.

    Raises:
        ConfigurationError: it was promoted or discarded meanwhile.
    """
    details = {
        "run_id": run_id,
        "ledger": {s: asdict(e) for s, e in ledger.items()},
        "rows": rows,
        "content_hash": f"{digest:032x}",
        "cost": cost.document(),
    }

    def check(known: dict[str, Replay]) -> None:
        if not known[name].is_open or known[name].step is Step.PROMOTING:
            raise ConfigurationError(f"replay {name}: is {known[name].step} by now; what this run did is not on record")

    add_event(lake, name, Step.FINISHED, details, check)
