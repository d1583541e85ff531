"""What may not run beside a verb that changes a lake as a whole."""

from __future__ import annotations

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.runs.manifest import recent_runs
from lake.runs.replays import replays
from lake.runs.submission import submissions

_RUNS_LOOKED_AT = 1_000


def refuse_if_busy(lake: Lake, *, replays_too: bool = True) -> None:
    """Refuse while anything writes into a lake.

    Args:
        lake: which.
        replays_too: also while a replay is neither promoted nor discarded.

    Raises:
        ConfigurationError: something does; says what, and how to end it.
    """
    for run in recent_runs(lake, _RUNS_LOOKED_AT):
        if run.state == "running":
            raise ConfigurationError(f"lake {lake.root}: run {run.run_id} is going on; wait for it, or stop it")
    for submission in submissions(lake):
        if submission.ended is None:
            raise ConfigurationError(
                f"lake {lake.root}: run {submission.run_id} was submitted to {submission.flink} and has not ended; first: "
                f"headrace job stop {submission.run_id} (or, where its job is lost, headrace job cancel)"
            )
    for replay in replays(lake).values() if replays_too else ():
        if replay.is_open:
            raise ConfigurationError(f"lake {lake.root}: replay {replay.name} is open; promote or discard it first")
