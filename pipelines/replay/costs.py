"""What a replay took until now, what it was to take, and what is left of its ceiling; from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import CeilingError
from contracts.units import duration_text, size_text
from lake.runs.cost import RunCost
from lake.runs.replays import Replay
from lake.runs.usage import Ceiling
from pipelines.replay.options import ReplayOptions

_COMPARED = ("wall_s", "cpu_s", "peak_memory_bytes", "read_records", "read_bytes")


def cost_of(replay: Replay) -> RunCost | None:
    """Of its runs that finished, were paused, or came to a ceiling; those that were killed noted nothing."""
    return RunCost.in_all([RunCost.parse(event.details["cost"]) for event in replay.events if event.details.get("cost")])


def taken_by(replay: Replay) -> dict[str, Any]:
    """``cost``, ``estimate`` and ``cost_to_estimate``, the one divided by the other; null where it is not known."""
    cost, estimate = cost_of(replay), replay.spec.get("estimate")
    taken = cost.document() if cost else None
    ratio = None
    if taken and estimate:
        ratio = {key: round(taken[key] / estimate[key], 2) for key in _COMPARED if taken[key] is not None and estimate.get(key)}
    return {"cost": taken, "estimate": estimate, "cost_to_estimate": ratio}


def ceiling_of(replay: Replay, options: ReplayOptions) -> Ceiling:
    """What is left to a run of it.

    Raises:
        CeilingError: nothing is: earlier runs took all of it.
    """
    cost = cost_of(replay)
    ceiling = Ceiling(options.max_memory, options.max_cpu, spent_s=cost.cpu_s or 0.0 if cost else 0.0)
    if why := ceiling.broken(0, 0.0):
        raise CeilingError(
            f"replay {replay.name}: {why}; nothing was promoted. Give a higher one, or: headrace replay discard {replay.name}"
        )
    return ceiling


def told_cost(taken: Mapping[str, Any]) -> str:
    """What ``taken_by`` found, in a sentence; empty where nothing was noted."""
    cost, ratio = taken.get("cost"), taken.get("cost_to_estimate") or {}
    if not cost:
        return ""

    def times(key: str) -> str:
        return f" ({ratio[key]:g} of the estimate)" if key in ratio else ""

    cpu = "CPU time not known" if cost["cpu_s"] is None else f"{duration_text(cost['cpu_s'])} of CPU time{times('cpu_s')}"
    peak = cost["peak_memory_bytes"]
    memory = "memory not known" if peak is None else f"{size_text(peak)} of memory{times('peak_memory_bytes')}"
    return (
        f"it took {duration_text(cost['wall_s'])}{times('wall_s')}, {cpu}, {memory}; read {cost['read_records']:,} records, "
        f"{size_text(cost['read_bytes'])}{times('read_bytes')}, wrote {size_text(cost['written_bytes'])}"
    )
