"""What people did, from the records that a lake keeps of it: replays, jobs, and who was shown or decided what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contracts.units import us_text, utc_text
from lake.acts import Act
from lake.acts import acts as recorded_acts
from lake.location import Lake
from lake.runs.replays import Event, Step, events, replays
from lake.runs.submission import Submission, submissions
from operations.changes.entries import ChangeEntry, ChangeKind

_TOLD = {
    Step.BEGUN: "was begun",
    Step.PROMOTED: "was promoted: its rows are live",
    Step.ROLLED_BACK: "was rolled back: the rows before it are live again",
    Step.DISCARDED: "was given up",
}


def acts(lake: Lake) -> Iterator[ChangeEntry]:
    """Every act on record, in no order."""
    yield from _replays(lake)
    for submission in submissions(lake):
        yield from _jobs(submission)
    yield from map(_recorded, recorded_acts(lake))


def _replays(lake: Lake) -> Iterator[ChangeEntry]:
    known = events(lake)
    for replay in replays(lake, known).values():
        ranges = "; ".join(f"{us_text(low, 'seconds')} to {us_text(high, 'seconds')}" for low, high in replay.ranges)
        for event in replay.events:
            if event.step in _TOLD:
                what = f"replay {replay.name} of {replay.dataset} {_TOLD[event.step]}"
                yield ChangeEntry(
                    at=event.at, kind=ChangeKind.ACT, subject=replay.dataset, by=event.by, datasets=(replay.dataset,),
                    what=what, details=(f"ranges: {ranges}", *_why(event)),
                )  # fmt: skip


def _why(event: Event) -> Iterator[str]:
    options: Mapping[str, Any] = event.details.get("options") or {}
    if options.get("approved_by"):
        yield f"approved by {options['approved_by']}"
    if options.get("reason"):
        yield f"reason: {options['reason']}"


def _jobs(submission: Submission) -> Iterator[ChangeEntry]:
    for attempt in submission.attempts[1:]:
        yield _job(submission, utc_text(attempt.submitted_at, "milliseconds"), "was submitted again")
    if ended := submission.ended:
        yield _job(submission, utc_text(ended.at, "milliseconds"), f"was {ended.how}")


def _job(submission: Submission, at: str, what: str) -> ChangeEntry:
    return ChangeEntry(
        at=at, kind=ChangeKind.ACT, subject=submission.source, run_id=submission.run_id,
        what=f"job {submission.job_name} {what}",
    )  # fmt: skip


def _recorded(act: Act) -> ChangeEntry:
    given = ", ".join(f"{name} {value}" for name, value in act.what.items())
    told = (given, f"reason: {act.reason}" if act.reason else "")
    dataset = act.what.get("dataset")
    return ChangeEntry(
        at=utc_text(act.at, "milliseconds"), kind=ChangeKind.ACT, subject=act.command, what=f"headrace {act.command}",
        by=f"{act.by} ({act.user}@{act.host})" if act.by else f"{act.user}@{act.host}", details=tuple(filter(None, told)),
        datasets=(dataset,) if isinstance(dataset, str) else (),
    )  # fmt: skip
