"""The jobs that schedules and lake declare, and what the clusters have: see jobs.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.errors import ComponentDownError, ConfigurationError, UnknownJobError
from contracts.evolution.datasets import contract_changes
from contracts.evolution.stored_specs import spec_differences, state_name, stored_source
from contracts.spec.project import Project
from contracts.version import VERSION
from lake.kept_contracts import kept_contract
from lake.kept_specs import SOURCE, kept_spec
from lake.location import Lake
from lake.runs.basis import RunBasis
from lake.runs.manifest import read_run
from lake.runs.submission import submissions
from operations.drift.differences import Difference, Kind, Looked, NotCompared
from operations.drift.jobs import compare_jobs
from operations.drift.runs import ClusterJob, Declared, Recorded, Repository
from runners.flink.rest import FlinkRest


def recorded_runs(lake: Lake | None, project: Project) -> list[Recorded]:
    """Runs of the lake that were submitted to a cluster, the newest first."""
    if lake is None:
        return []
    found = []
    for submission in submissions(lake):
        run = Recorded(submission=submission)
        if run.goes_on:
            noted = read_run(lake, submission.run_id)
            basis = noted.bases[-1] if noted and noted.bases else None
            changes = _changes(lake, project, run.source, basis) if basis and run.is_ingest else []
            run = Recorded(submission=submission, basis=basis, changes=changes)
        found.append(run)
    return found


def look_at_jobs(
    project: Project, recorded: Sequence[Recorded], options: Mapping[str, Mapping[str, Any]], given: str | None
) -> Iterator[Difference | Looked | NotCompared]:
    """Compare jobs.

    Args:
        project: the repository.
        recorded: runs of the lake.
        options: of the streams of its schedules, by source, as a submission notes them.
        given: the only cluster that is asked; None: the project's, and those of runs that go on.
    """
    plan = project.schedules
    file = str(project.file or "")
    streams = plan.streams if plan else {}
    declared = {
        source: Declared(source=source, stream=stream, options=options[source])
        for source, stream in streams.items()
        if source in options
    }
    lasting = [run for run in recorded if run.goes_on]
    if not (given or streams or lasting):
        yield NotCompared(kind=Kind.JOBS, where="Flink", why="no streams in the schedules, and no run of the lake that goes on")
        return
    addresses = [given] if given else [*([project.flink_address()] if streams else []), *(run.submission.flink for run in lasting)]
    clusters = {FlinkRest(address).url: FlinkRest(address) for address in addresses}
    jobs: list[ClusterJob] = []
    silent: set[str] = set()
    for url, rest in sorted(clusters.items()):
        try:
            of_cluster = list(_jobs(rest))
        except ComponentDownError as error:
            silent.add(url)
            yield NotCompared(kind=Kind.JOBS, where=rest.address, why=str(error), down=True)
        else:
            jobs += of_cluster
            yield Looked(kind=Kind.JOBS, where=rest.address, things=sum(not job.ended for job in of_cluster))
    elsewhere = {run.submission.flink for run in lasting if FlinkRest(run.submission.flink).url not in clusters}
    for address in sorted(elsewhere):
        told = f"runs of this lake are there too: headrace drift --only jobs --flink {address}"
        yield NotCompared(kind=Kind.JOBS, where=address, why=told)
    silent_addresses = {run.submission.flink for run in lasting if FlinkRest(run.submission.flink).url in silent} | elsewhere
    if len(silent) == len(clusters):
        return
    if FlinkRest(project.flink_address(given)).url in silent:  # whether a stream runs there, nobody knows
        declared = {source: one for source, one in declared.items() if any(run.source == source for run in lasting)}
    repository = Repository(
        version=VERSION,
        name=plan.name if plan else "",
        file=file,
        declared=declared,
        sources=frozenset(project.source_names),
        destinations=frozenset(project.destination_names),
        silent=silent_addresses,
    )
    yield from compare_jobs(repository, recorded, jobs)


def _jobs(rest: FlinkRest) -> Iterator[ClusterJob]:
    for job in rest.jobs():
        slots = 0
        if not job.ended:
            with contextlib.suppress(UnknownJobError):  # forgotten since it was listed
                slots = rest.slots_of(job.job_id)
        yield ClusterJob(job_id=job.job_id, name=job.name, state=job.state, where=rest.address, slots=slots, ended=job.ended)


def _changes(lake: Lake, project: Project, source: str, basis: RunBasis) -> list[str]:
    """What the repository has otherwise than a run works by: of its contract and its source spec; words are no change."""
    try:
        spec, contract = project.source(source)
    except ConfigurationError as error:
        return [f"source {source} cannot be read: {str(error).splitlines()[0]}"]
    told = []
    if contract.dataset not in basis.contracts:
        told.append(f"fills {contract.dataset}, was {', '.join(sorted(basis.contracts))}")
    elif (kept := kept_contract(lake, contract.dataset, basis.contracts[contract.dataset])) is not None:
        changes = contract_changes(kept, contract)
        told += [f"contract {contract.version}: {change.what}" for change in changes if not change.documentation]
    now = stored_source(spec)
    state = basis.sources.get(spec.name)
    if state is not None and state != state_name(now, spec.revision):
        before = kept_spec(lake, SOURCE, spec.name, state)
        if before is not None:
            told += [f"source {spec.name}: {each}" for each in spec_differences(before, now) if _is_of_the_user(each, basis)]
    return told


def _is_of_the_user(difference: str, basis: RunBasis) -> bool:
    """Another version of Headrace knows other keys, which nobody wrote."""
    key = difference.split(" ", 1)[0]
    return basis.headrace == VERSION or "." in key or not (difference.endswith(", is new") or " is gone, " in difference)
