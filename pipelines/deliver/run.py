"""The delivery graph: rows of a dataset to a destination, from a topic or from a table, without an end or with one.

.. code-block:: text

    partitions of headrace.validated.<dataset> ─┐
    lanes of a snapshot of validated.<dataset> ─┴─► DeliverRows ─► destination
                                                        │
                                                        ├─► receipts    deliveries/<destination>/receipts/…
                                                        └─► ops.dead_letter (refused)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam

from contracts.errors import ConfigurationError
from contracts.logs import LogContext
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.units import SECOND_US
from lake.kept_contracts import keep_contract
from lake.kept_specs import keep_destination
from lake.location import Lake
from lake.receipts.receipts import REFUSED, Counts, lane_receipts
from lake.receipts.state import DOWN, ENDED, SILENT_S, THROTTLED, forget_states, read_states
from lake.runs.basis import RunBasis
from lake.runs.clock import RunClock, new_run_id
from lake.runs.manifest import DeliveryDetails, RunManifest, Verdict, given_options, is_gone, started, write_manifest
from lake.runs.progress import Progress, Report, repeated
from lake.runs.submission import read_submission, resumed_run_id
from pipelines.deliver.lanes import RowsToDeliver, rows_of_table, rows_of_topic
from pipelines.deliver.options import PIPELINE, DeliverOptions
from runners.binaries import find_prism
from runners.direct import run_bounded
from runners.flink.submit import FlinkJob
from runners.jobs.submit import flink_job, run_to_end, submit_endless
from transforms.deliver.deliver import DeliverRows
from transforms.deliver.dispatcher import Delivery
from transforms.deliver.http.dialects import batch_limits
from transforms.deliver.letters import settle_letters, withdraw_letters

_GIVE_UP_S = 900
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class DeliveryReport:
    """What a delivery with an end did. counts: rows by what became of them, see receipts.py. reasons: why it is no success."""

    run_id: str
    destination: str
    dataset: str
    rows_from: str
    counts: Counts
    seconds: float
    manifest: dict[str, Any]
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 1 where the destination refused something."""
        return 1 if self.reasons else 0


@dataclass(frozen=True)
class SubmittedDelivery:
    """A job that goes on. job_id: Flink's."""

    run_id: str
    destination: str
    job_id: str
    flink: str
    topic: str
    lanes: int


@dataclass(frozen=True)
class SentAgain:
    """Of the rows that a destination refused, those that are sent again.

    event_ids: theirs. told: gets the run's id and the ids of letters that are about to be withdrawn, which may be more than those
    of these events; killed before they are withdrawn, it gets them again.
    """

    event_ids: Sequence[str]
    told: Callable[[str, Sequence[str]], None]


def deliver(
    options: DeliverOptions, project: Project, report: Report, again: SentAgain | None = None
) -> DeliveryReport | SubmittedDelivery:
    """Run ``headrace deliver``.

    Args:
        options: what the user asked for.
        project: where destinations, contracts and policies lie.
        report: is told of progress.
        again: with rows that were refused: which of them, and who is told; None for all of them.

    Returns:
        What it did, where it ended; or the job that goes on, on a cluster.

    Raises:
        ConfigurationError: options, destination, contract or table do not fit, or another run delivers to it; nothing was sent.
        ComponentDownError: the destination, Kafka, the catalog or the cluster does not answer; may be run again.
    """
    destination, contract = _destination(options, project)
    lake = Lake.at(project.lake_location(options.lake), project.catalog)
    if not lake.exists():
        raise ConfigurationError(f"no lake at {lake.root}; headrace ingest makes one, or give another --lake")
    clock = RunClock()
    run_id = resumed_run_id() or new_run_id(f"{PIPELINE}-{destination.name}", clock)
    _refuse_beside(options, lake, destination, run_id)
    job = replace(flink_job(options, project), endless=options.endless) if options.runner == "flink" else None
    if job is None and options.reads_topic:
        find_prism()  # its lack is told before anything is written
    if options.reads_topic:
        rows = rows_of_topic(options, lake, destination, contract, job)
    else:
        rows = rows_of_table(options, lake, destination, contract, job, run_id, again.event_ids if again else None)
    delivery = Delivery(
        lake=lake, destination=destination, contract=contract, suppressions=project.suppressions(contract), run_id=run_id,
        lanes=rows.lanes, give_up_s=options.give_up_after or (None if options.endless else _GIVE_UP_S),
    )  # fmt: skip
    LogContext.here(run_id, destination.name).apply()
    settle_letters(lake, destination, contract, run_id)
    basis = RunBasis(
        contracts={contract.dataset: keep_contract(lake, contract)},
        destinations={destination.name: keep_destination(lake, destination)},
        options=given_options(options),
    )
    with started(lake, run_id, clock.started, destination.name, pipeline=PIPELINE, basis=basis):
        clock.done("plan")
        if job is not None and options.endless:
            job_id = submit_endless(partial(build, delivery), job, lake, run_id, options, project)
            lanes = list(rows.begins)
            return SubmittedDelivery(run_id, destination.name, job_id, job.rest, lanes[0].rows_from, len(lanes))
        with repeated(lambda: _report_settled(lake, destination, run_id, rows.places, report), _LOOK_EVERY_S):
            _run(options, project, delivery, job)
        clock.done("deliver")
        settle_letters(lake, destination, contract, run_id, list(rows.begins))
        if options.rows in ("refused", "all"):
            withdraw_letters(lake, destination, contract, run_id, partial(again.told, run_id) if again else None)
        forget_states(lake, destination.name, run_id)
        return _finish(options, delivery, clock, rows)


def build(delivery: Delivery, pipeline: beam.Pipeline) -> None:
    """Add the graph to a pipeline."""
    _ = pipeline | "DeliverRows" >> DeliverRows(delivery)


def _destination(options: DeliverOptions, project: Project) -> tuple[Destination, Contract]:
    """The destination with the part of its limit that this run may use, and the contract of its dataset."""
    destination, contract = project.destination(options.destination)
    if options.requests_per_s is not None:
        own = destination.limits.requests_per_s
        if own is not None and options.requests_per_s > own:
            raise ConfigurationError(f"--requests-per-s {options.requests_per_s:g}: destination {destination.name} takes {own:g}")
        destination = replace(destination, limits=replace(destination.limits, requests_per_s=options.requests_per_s))
    batch_limits(destination)
    if options.runner == "direct":
        destination.write_key.read()
    return destination, contract


def _run(options: DeliverOptions, project: Project, delivery: Delivery, job: FlinkJob | None) -> None:
    """Until all rows are settled."""
    lake, run_id, graph = delivery.lake, delivery.run_id, partial(build, delivery)
    try:
        if job is None and not options.reads_topic:
            run_bounded(graph, extra=options.beam_options)
        else:
            run_to_end(graph, job, lake, run_id, options, project)
    except KeyboardInterrupt:  # on purpose, so nobody has to be woken for it
        forget_states(lake, delivery.destination.name, run_id)
        raise


def _refuse_beside(options: DeliverOptions, lake: Lake, destination: Destination, run_id: str) -> None:
    """Two runs at once would not know of each other's requests, and could bring rows of one user in any order."""
    now_us = time.time() * SECOND_US
    heard = {
        state.run_id
        for state in read_states(lake, destination.name)
        if state.run_id != run_id and state.state != ENDED and now_us - state.updated_us < SILENT_S * SECOND_US
    }
    rivals = {rival for rival in heard if _goes_on(lake, rival)}
    if rivals and options.requests_per_s is None:
        raise ConfigurationError(
            f"run {', '.join(sorted(rivals))} delivers to {destination.name} now. Stop it first, or give this run a part of the "
            "limit with --requests-per-s N; rows of one user may then arrive out of order between the two"
        )


def _goes_on(lake: Lake, run_id: str) -> bool:
    """Whether a run that was heard of lately may still be at work."""
    submission = read_submission(lake, run_id)
    return not is_gone(lake, run_id) if submission is None else submission.ended is None


def _finish(options: DeliverOptions, delivery: Delivery, clock: RunClock, rows: RowsToDeliver) -> DeliveryReport:
    """Count by the receipts, and write the manifest."""
    lake, run_id, destination, contract = delivery.lake, delivery.run_id, delivery.destination.name, delivery.contract
    counts: Counts = Counter()
    for lane, begin in rows.begins.items():
        for _, own in lane_receipts(lake, destination, lane, ["outcome", "reason"], begin):
            counts += own
    reasons = []
    if counts[REFUSED]:
        reasons.append(
            f"{destination} refused {counts[REFUSED]:,} events: headrace deadletter list --code refused --source {destination}"
        )
    manifest = RunManifest(
        run_id=run_id,
        pipeline=PIPELINE,
        source=destination,
        clock=clock,
        details=DeliveryDetails(destination, rows.description, dict(sorted(counts.items()))),
        options=options,
        contracts={contract.dataset: contract.version},
        verdict=Verdict(reasons),
    )
    document = write_manifest(lake, manifest)
    seconds = document["timings"]["total_s"]
    return DeliveryReport(run_id, destination, contract.dataset, rows.description, counts, seconds, document, tuple(reasons))


def _report_settled(lake: Lake, destination: Destination, run_id: str, rows: int, report: Report) -> None:
    """Report how many rows are settled, and what the destination does meanwhile."""
    states = [state for state in read_states(lake, destination.name) if state.run_id == run_id]
    if states:
        done = sum(sum(state.counts.values()) for state in states)
        trouble = [f"{s.state}: {s.last_failure}" for s in states if s.state in (THROTTLED, DOWN)]
        report(Progress("deliver", done, rows, "; ".join([f"{done:,} rows settled", *trouble[:1]])))
