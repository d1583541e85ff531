"""``headrace replay``: rebuild windows from raw on a branch, look, and only then publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.console import (
    advise,
    json_option,
    lake_option,
    open_lake,
    plain_errors,
    print_json,
    progress,
    project_option,
    stderr,
    stdout,
    table,
)
from cli.hints import as_given
from cli.options import GroupedCommand, click_options
from cli.replay_plan_view import show_cost, show_plan, show_run, show_verdict
from cli.replay_view import show_difference, show_promotion
from contracts.errors import ConfigurationError
from contracts.units import us_text
from lake.location import Lake
from lake.runs.replays import Replay, Step, add_event, replay_of, replays
from operations.replay.difference import difference
from operations.replay.gate import replay_verdict
from operations.replay.page import write_page
from operations.replay.promote import discard, promote, recorded, rollback
from operations.replay.publication import PROMOTE, ROLLBACK, Kind, Promotion
from pipelines.replay.costs import taken_by
from pipelines.replay.options import ReplayOptions
from pipelines.replay.plan import make_plan
from pipelines.replay.run import resume_replay, run_replay
from runners.option_fields import parse, parse_given

_unless_done = click.option(
    "--unless-done", is_flag=True, help="Where that is done already, tell it and succeed: for what may be killed and started again."
)
_EPILOG = """\b
The usual way:
  headrace replay plan   mend-utm --dataset customer_event --start 2026-11-20T00:00:00Z --end 2026-11-21T00:00:00Z
  headrace replay run    mend-utm --dataset customer_event --start 2026-11-20T00:00:00Z --end 2026-11-21T00:00:00Z
  headrace replay diff   mend-utm --page mend-utm.html
  headrace replay gate   mend-utm          what the gate of the dataset would hold, where it has one
  headrace replay promote mend-utm
  headrace replay rollback mend-utm        if it was a mistake after all

A replay reads raw/ through the same graph as ingest, onto the Iceberg branch replay_NAME; the live tables change with promote only,
in one commit. Every step that was killed is done by giving the same command again. Everything is on record: headrace replay list.
"""


@click.group(epilog=_EPILOG)
def replay() -> None:
    """Rebuild windows from raw on a branch, compare, promote, roll back."""


@replay.command("plan", cls=GroupedCommand)
@click.argument("name")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
@click_options(ReplayOptions)
@project_option
@json_option
@plain_errors
def plan_(project: Path | None, as_json: bool, **given: Any) -> None:
    """Show what a replay would read and rebuild; changes nothing."""
    options = parse(ReplayOptions, given)
    options.check()
    lake, loaded = open_lake(options.lake, project)
    plan = make_plan(options, loaded, lake)
    if as_json:
        print_json(plan.document())
    else:
        show_plan(plan)


@replay.command("run", cls=GroupedCommand)
@click.argument("name")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
@click_options(ReplayOptions)
@project_option
@json_option
@plain_errors
def run(project: Path | None, as_json: bool, **given: Any) -> None:
    """Rebuild the windows on the branch replay_NAME. By the name alone: go on with a replay that was begun."""
    if given.get("dataset") is None and given.get("start") is None and given.get("end") is None:
        lake, loaded = open_lake(given.get("lake"), project)
        how = parse_given(ReplayOptions, given)
        with progress() as show:
            report = resume_replay(given["name"], how, loaded, lake, show)
    else:
        options = parse(ReplayOptions, given)
        options.check()
        lake, loaded = open_lake(options.lake, project)
        with progress() as show:
            report = run_replay(options, loaded, lake, show)
    if as_json:
        print_json(report)
    else:
        show_run(report)
    raise SystemExit(report.exit_code)


@replay.command("pause")
@click.argument("name")
@lake_option
@project_option
@plain_errors
def pause(name: str, lake: str | None, project: Path | None) -> None:
    """Let a running replay stop after its slice; headrace replay run NAME goes on."""

    def check(known: dict[str, Replay]) -> None:
        if known[name].step not in (Step.BEGUN, Step.RESUMED):
            raise ConfigurationError(f"replay {name}: is {known[name].step}, not running")

    opened, _ = open_lake(lake, project)
    replay_of(opened, name)
    add_event(opened, name, Step.PAUSE_ASKED, {}, check)
    advise(f"replay {name} pauses after its slice; headrace replay run {name} goes on")


@replay.command("diff")
@click.argument("name")
@click.option("--page", metavar="FILE", type=click.Path(path_type=Path), help="Write one HTML page that needs nothing else.")
@click.option("--samples", metavar="N", type=click.IntRange(0, 1000), default=5, help="Rows to show of each kind.  [default: 5]")
@click.option("--reveal", is_flag=True, help="Show event ids, which may be personal data; the lake records it.")
@lake_option
@project_option
@json_option
@plain_errors
def diff(name: str, page: Path | None, samples: int, reveal: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Compare the branch with what is live: rows, hashes, columns, reasons, ledgers."""
    opened, loaded = open_lake(lake, project)
    with progress() as show:
        document = difference(opened, loaded, name, samples=samples, reveal=reveal, report=show)
    if page:
        write_page(document, page)
    if as_json:
        print_json(document)
    else:
        show_difference(document)
        if page:
            stdout.print(f"page: {page}")


@replay.command("gate")
@click.argument("name")
@lake_option
@project_option
@json_option
@plain_errors
def gate_(name: str, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Tell what the gate would hold if a finished replay were promoted; changes nothing. Exit code 1: something."""
    opened, loaded = open_lake(lake, project)
    verdict = replay_verdict(opened, loaded, name)
    print_json(verdict.document()) if as_json else show_verdict(verdict)
    raise SystemExit(verdict.exit_code)


@replay.command("promote")
@click.argument("name")
@click.option("--allow-held", is_flag=True, help="What the gate holds is reported, but is no failure.")
@click.option("--approved-by", metavar="NAME", help="Who lets the rest through, with --allow-held; recorded.")
@click.option("--reason", metavar="TEXT", help="Why; recorded.")
@_unless_done
@lake_option
@project_option
@json_option
@plain_errors
def promote_(
    name: str,
    allow_held: bool,
    approved_by: str | None,
    reason: str | None,
    unless_done: bool,
    lake: str | None,
    project: Path | None,
    as_json: bool,
) -> None:
    """Publish a finished replay in one commit; what live jobs published since is kept."""
    if bool(approved_by) != bool(reason) or (approved_by and not allow_held):
        raise ConfigurationError("--approved-by and --reason: give both, with --allow-held: they say who let a part of it through")
    opened, loaded = open_lake(lake, project)
    approval = {"approved_by": approved_by, "reason": reason} if approved_by and reason else None
    done = _done(lambda: promote(name, loaded, opened, approval=approval), name, opened, PROMOTE if unless_done else None)
    _end(done, "promoted", as_json, allow_held=allow_held)


@replay.command("rollback")
@click.argument("name")
@_unless_done
@lake_option
@project_option
@json_option
@plain_errors
def rollback_(name: str, unless_done: bool, lake: str | None, project: Path | None, as_json: bool) -> None:
    """Take a promotion back; what live jobs published since is kept."""
    opened, loaded = open_lake(lake, project)
    with_record = ROLLBACK if unless_done else None
    _end(_done(lambda: rollback(name, loaded, opened), name, opened, with_record), "rolled back", as_json)


@replay.command("discard")
@click.argument("name")
@lake_option
@project_option
@plain_errors
def discard_(name: str, lake: str | None, project: Path | None) -> None:
    """Give a replay up; one that was promoted stays published, and can no longer be rolled back."""
    opened, _ = open_lake(lake, project)
    discard(name, opened)
    advise(f"replay {name} is discarded; headrace lake expire and lake clean take its files away")


@replay.command("list")
@click.argument("name", required=False)
@lake_option
@project_option
@json_option
@plain_errors
def list_(name: str | None, lake: str | None, project: Path | None, as_json: bool) -> None:
    """All replays of the lake; of one, everything that happened to it."""
    opened, _ = open_lake(lake, project)
    if name:
        _show_events(replay_of(opened, name), as_json)
        return
    known = list(replays(opened).values())
    if as_json:
        print_json([_entry(item, opened) for item in known])
        return
    rows = [
        [r.name, str(r.step), r.dataset, _span(r), r.events[0].at, r.events[0].by, r.spec.get("reason") or ""]
        for r in reversed(known)
    ]
    stdout.print(table(["replay", "state", "dataset", "windows", "begun", "by", "reason"], rows) if rows else "no replays")


def _span(item: Replay) -> str:
    low, high = item.ranges[0][0], item.ranges[-1][1]
    return f"{us_text(low)} to {us_text(high)}" + (f" ({len(item.ranges)} ranges)" if len(item.ranges) > 1 else "")


def _entry(item: Replay, lake: Lake) -> dict[str, Any]:
    return {
        "name": item.name,
        "state": item.step,
        "branch": item.branch,
        "lake": lake.root,
        "spec": item.spec,
        "events": item.events,
        **taken_by(item),
    }


def _show_events(item: Replay, as_json: bool) -> None:
    if as_json:
        print_json({"name": item.name, "state": item.step, "spec": item.spec, "events": item.events, **taken_by(item)})
        return
    rows = [[e.number, e.at, str(e.step), e.by, _told(e.details)] for e in item.events]
    stdout.print(table(["no", "at", "what", "by", "details"], rows, title=f"{item.name}: {item.dataset}, {_span(item)}"))
    show_cost(taken_by(item))


def _told(details: dict[str, Any]) -> str:
    shown = ("approved_by", "reason", "snapshot_id", "rows", "content_hash", "added", "removed", "changed", "run_id", "why")
    return ", ".join(f"{key} {details[key]}" for key in shown if details.get(key) is not None)


def _done(act: Callable[[], Promotion], name: str, lake: Lake, with_record: Kind | None) -> Promotion:
    """What it came to; with_record: also where a process before this one did it, or a rival meanwhile."""
    try:
        return act()
    except ConfigurationError:
        done = recorded(name, lake, with_record) if with_record else None
        if done is None:
            raise
        stderr.print(f"replay {name}: that was done already", markup=False)
        return done


def _end(done: Promotion, word: str, as_json: bool, *, allow_held: bool = False) -> None:
    print_json(done) if as_json else show_promotion(done, word)
    if done.held:
        told = (
            f"the gate of {done.dataset} holds {done.held} of its partitions, which readers see as they were: "
            f"headrace quality status {done.dataset}"
        )
        stderr.print(as_given(told), markup=False) if as_json else advise(told)  # stdout has one document
        if not allow_held:
            raise SystemExit(1)
