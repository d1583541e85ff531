"""The result as one JSON-ready document: classes, causes, windows, samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.encode.events import FILTERED
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.units import MINUTE_US, us_text, utc_text
from operations.reconcile.causes import Commands
from operations.reconcile.classes import ALARMS, CLASSES, DELIVERED, DIFFERENT, EXTRA, OTHER_COPY, WITHHELD
from operations.reconcile.compare import NO_TIME
from operations.reconcile.judge import Group, Judgement
from operations.reconcile.rows import RangeRows, RowIndex

_STEPS = (1, 5, 15, 60, 360, 1440)  # minutes
_MOST_WINDOWS = 200
_QUIET = (DELIVERED, WITHHELD, FILTERED)


def classes_of(judgement: Judgement) -> dict[str, int]:
    """How many ids are in each class."""
    return {name: sum(group.count for group in judgement.groups if group.kind == name) for name in CLASSES}


def causes_of(judgement: Judgement, commands: Commands, samples: Samples) -> dict[str, list[dict[str, Any]]]:
    """By class, the causes with most ids first. ``delivered`` and ``filtered`` have none."""
    causes: dict[str, list[dict[str, Any]]] = {}
    for group in sorted(judgement.groups, key=lambda g: (CLASSES.index(g.kind), -g.count, g.cause)):
        if group.cause:
            told, do = commands.explain(group.kind, group.cause)
            causes.setdefault(group.kind, []).append(
                {
                    "cause": group.cause,
                    "ids": group.count,
                    "delivered_by_us": group.sent,
                    "told": told,
                    "do": do,
                    "samples": [] if group.kind in _QUIET else samples.of(group),
                }
            )
    return causes


def alarms_of(causes: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Why it is no success; a sentence each."""
    return [f"{cause['ids']:,} {kind} ({cause['cause']}): {cause['told']}" for kind in ALARMS for cause in causes.get(kind, [])]


class Samples:
    """Shows events without telling more than who looks may see.

    Args:
        rows: reads the table.
        index: its rows.
        judgement: whose groups are shown.
        destination: says which column is the type.
        contract: of its dataset.
        most: of each group.
        hidden: what is shown instead of an id; None to show ids.
    """

    def __init__(
        self,
        rows: RangeRows,
        index: RowIndex,
        judgement: Judgement,
        destination: Destination,
        contract: Contract,
        most: int,
        hidden: Callable[[str], str] | None,
    ) -> None:
        self._rows, self._index, self._unmatched = rows, index, judgement.unmatched
        self._key, self._most, self._hidden = contract.event_id, most, hidden
        self._type = next((p.column for p in destination.placements if p.path.steps == ("type",) and p.when is None), None)

    def of(self, group: Group) -> list[dict[str, Any]]:
        """Some of a group: ``id``, ``window_time`` and ``event_type``; of an unmatched id those that its event has."""
        found = [self._row(row) for row in group.rows[: self._most].tolist()]
        return found + [self._unmatched_sample(place) for place in group.unmatched[: self._most - len(found)].tolist()]

    def _row(self, row: int) -> dict[str, Any]:
        file, number = self._index.file_of(row)
        columns = [self._key, "_window_time", *([self._type] if self._type else [])]
        found = self._rows.read(file, columns).slice(number, 1).to_pylist()[0]
        kind = found[self._type] if self._type else None
        return self._shown(str(found[self._key]), utc_text(found["_window_time"]), kind)

    def _unmatched_sample(self, place: int) -> dict[str, Any]:
        unmatched = self._unmatched
        us = int(unmatched.times[place])
        return self._shown(unmatched.ids[place].as_py(), None if us == NO_TIME else us_text(us), unmatched.types[place])

    def _shown(self, event_id: str, time: str | None, kind: Any) -> dict[str, Any]:
        shown = self._hidden(event_id) if self._hidden else event_id
        return {"id": shown, "window_time": time, "event_type": None if kind is None else str(kind)}


def windows_of(judgement: Judgement, index: RowIndex, start_us: int, end_us: int) -> tuple[int, list[dict[str, Any]]]:
    """How many minutes a window has, and the windows in which something is to be looked at, with all their classes."""
    minutes = -((start_us - end_us) // MINUTE_US)
    step = next((step for step in _STEPS if minutes <= step * _MOST_WINDOWS), 1440)
    number = -(-minutes // step)
    counts = {name: np.zeros(number, dtype=np.int64) for name in CLASSES}
    for group in judgement.groups:
        known = judgement.unmatched.times[group.unmatched]
        places = [index.minutes[group.rows] // step, (known[known != NO_TIME] - start_us) // (step * MINUTE_US)]
        for place in places:
            counts[group.kind] += np.bincount(_within(place, number), minlength=number)
    shown = np.flatnonzero(sum(counts[name] for name in CLASSES if name not in _QUIET))
    return step, [
        {"from": us_text(start_us + int(at) * step * MINUTE_US), **{name: int(counts[name][at]) for name in CLASSES}}
        for at in shown
    ]


def _within(places: npt.NDArray[Any], number: int) -> npt.NDArray[np.int64]:
    clipped: npt.NDArray[np.int64] = np.clip(places, 0, number - 1).astype(np.int64)
    return clipped


def header(destination: Destination, start_us: int, end_us: int, index: RowIndex, judgement: Judgement) -> dict[str, Any]:
    """What was compared."""
    return {
        "destination": destination.name,
        "dataset": destination.dataset,
        "range": {"start": us_text(start_us), "end": us_text(end_us)},
        "rows": len(index),
        "ids": judgement.ids,
        "ids_at_destination": _there(judgement),
    }


def _there(judgement: Judgement) -> int:
    return sum(group.count for group in judgement.groups if group.kind in (DELIVERED, OTHER_COPY, DIFFERENT, EXTRA))
