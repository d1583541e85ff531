"""``headrace job``: streaming jobs on a Flink cluster."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.console import json_option, lake_option, load_project, open_lake, plain_errors, print_json, project_option, stdout
from cli.job_view import show_ended, show_list, show_status, status_document
from cli.options import Command, read_option
from contracts.errors import ConfigurationError
from contracts.spec.project import LOCAL_FLINK
from contracts.text import json_text
from runners.flink.rest import FlinkRest
from runners.jobs.list import LOST, job_lines, other_clusters
from runners.jobs.restart import restart_of
from runners.jobs.stop import cancel as cancel_job
from runners.jobs.stop import refuse_ended
from runners.jobs.stop import stop as stop_job
from runners.jobs.supervise import Event, Supervisor
from runners.jobs.target import Target, find_own_run, find_target, lake_if_any
from runners.option_readers import duration, whole


@click.group()
def job() -> None:
    """Streaming jobs on Flink."""


def _flink_option(command: Command) -> Command:
    help_text = "Flink's REST address; else the run's own, headrace.yaml's flink, FLINK_REST, or " + LOCAL_FLINK + "."
    return click.option("--flink", metavar="HOST:PORT", help=help_text)(command)


@job.command("list", epilog="\b\nExample:\n  headrace job list --lake /srv/lake")
@click.option("--all", "ended", is_flag=True, help="Also jobs and runs that are over.")
@_flink_option
@lake_option
@project_option
@json_option
@plain_errors
def list_jobs(ended: bool, flink: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Jobs of the cluster that run or failed, joined with the runs of the lake. LOST: a run that its cluster no longer knows."""
    loaded = load_project(project)
    rest = FlinkRest(loaded.flink_address(flink))
    opened = lake_if_any(lake, loaded)
    lines = job_lines(rest, opened, ended=ended)
    if as_json:
        print_json(lines)
    else:
        show_list(lines, rest.address, other_clusters(rest, opened), ended=ended)


@job.command("status", epilog="\b\nExample:\n  headrace job status 20261123T0425 --lake /srv/lake")
@click.argument("name", metavar="JOB")
@_flink_option
@lake_option
@project_option
@json_option
@plain_errors
def status(name: str, flink: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """One job: state, restarts and their cause, checkpoints, steps. JOB: run id, job id, or the beginning of one."""
    target = _target(name, flink, lake, project)
    document = status_document(target)
    if as_json:
        print_json(document)
    else:
        show_status(target, document)


@job.command(
    "stop", epilog="\b\nExample:\n  headrace job stop 20261123T0425 --lake /srv/lake --savepoints file:///var/lib/flink/savepoints"
)
@click.argument("name", metavar="JOB")
@click.option("--savepoints", metavar="URI", help="Folder for the savepoint, as the cluster sees it; else the cluster's own.")
@read_option("--wait", "DURATION", "10m", duration, "How long to wait for the savepoint.")
@_flink_option
@lake_option
@project_option
@json_option
@plain_errors
def stop(
    name: str, savepoints: str | None, wait: int, flink: str | None, lake: str | None, project: Path | None, as_json: bool
) -> None:
    """Stop a job with a savepoint, to go on from later. Never drains. JOB: run id, job id, or the beginning of one."""
    target = _target(name, flink, lake, project)
    state, savepoint = stop_job(target, savepoints, deadline_s=wait)
    show_ended(target, "stopped", state, savepoint, as_json=as_json)


@job.command("cancel", epilog="\b\nExample:\n  headrace job cancel 20261123T0425 --lake /srv/lake --yes")
@click.argument("name", metavar="JOB")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_flink_option
@lake_option
@project_option
@json_option
@plain_errors
def cancel(name: str, yes: bool, flink: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """End a job without a savepoint; names its last checkpoint. JOB: run id, job id, or the beginning of one."""
    target = _target(name, flink, lake, project)
    found, rest = target.job, target.rest
    state = found.state if found else LOST
    if found is None or (found.ended and target.run):  # nothing to end, but a supervisor would start it again
        question, kept = f"{target.name} does not run ({state}). Note that it is over, so that nothing starts it again?", True
    else:
        refuse_ended(target)
        kept = rest.keeps_checkpoints(found.job_id)
        warning = "" if kept else " Its checkpoints are deleted with it; headrace job stop makes a savepoint."
        question = f"Cancel {target.name} ({state}) on {rest.address}?{warning}"
    if not (yes or _confirmed(question)):
        return
    state = cancel_job(target)
    show_ended(target, "cancelled", state, restart_of(target) if kept else None, as_json=as_json)


_SUPERVISE_EPILOG = """\b
Example:
  headrace job supervise 20261123T0425 --lake /data/lake --max-restarts 5 --per 1h

Made for systemd and Kubernetes: runs in the foreground, one line per event. Ends with 0 when the job finished, or was stopped or
cancelled; with 3 after too many resubmissions. SIGTERM ends the supervision, not the job.
"""


@job.command("supervise", epilog=_SUPERVISE_EPILOG)
@click.argument("name", metavar="JOB")
@read_option("--max-restarts", "N", "10", whole(1, 1000), "Give up after so many resubmissions …")
@read_option("--per", "DURATION", "1h", duration, "… within this time.")
@read_option("--every", "DURATION", "5s", duration, "How often to look.")
@lake_option
@project_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document per line and event instead of text.")
@plain_errors
def supervise(name: str, max_restarts: int, per: int, every: int, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Submit a run again from its newest checkpoint whenever it is lost or fails. JOB: run id, job id, or the beginning of one."""
    opened, _ = open_lake(lake, project)
    run = find_own_run(name, opened)

    def report(event: Event) -> None:
        at = event.at.isoformat(timespec="milliseconds")
        if as_json:
            sys.stdout.write(json_text({**asdict(event), "at": at}, indent=None) + "\n")
        else:
            stdout.print(f"{at} {event.run_id} {event.event}: {event.text}")
        sys.stdout.flush()

    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    try:
        Supervisor(opened, run.run_id, max_restarts, per, report, poll_s=every).run()
    except SystemExit:
        report(Event(datetime.now(UTC), run.run_id, "ended", "supervision ended by SIGTERM; the job is left as it is"))
        raise


def _target(name: str, flink: str | None, lake: str | None, project: Path | None) -> Target:
    loaded = load_project(project)
    return find_target(name, lake_if_any(lake, loaded), flink, loaded.flink_address())


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody to ask: confirm with --yes")
    return click.confirm(question, err=True)
