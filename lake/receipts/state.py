"""What readers of a delivery tell about themselves while they work, for ``headrace status`` and whoever is woken at night.

``deliveries/<destination>/state/<run>-<reader>.json``, replaced every few seconds. It decides nothing: receipts do.
"""

from __future__ import annotations

import contextlib

import msgspec

from lake.location import Lake
from lake.receipts.receipts import deliveries_folder

OK, THROTTLED, DOWN, ENDED = "ok", "throttled", "down", "ended"
SILENT_S = 30.0  # a reader that has told nothing for longer does not work any more


class ReaderState(msgspec.Struct, kw_only=True):
    """One reader of one run. Times: microseconds since 1970.

    of: readers of the run. endless: it reads a topic without an end. state: ok, throttled, down or ended. since_us: how long it
    has been so. next_try_us: when a destination that is down is asked again. last_failure: class of the last one. in_doubt: one
    event may be to blame, and nothing was there to tell by. counts: rows by what became of them, since the worker began.
    events_per_s, bytes_per_s: delivered over the last half minute. requests, retried, throttled: of the sink. waiting: rows that
    were read and not settled. oldest_us: when the oldest of them came to the topic; None where nothing waits, or rows come from a
    table. lag: rows of the topic that were not read yet. lanes: how many.
    """

    run_id: str
    destination: str
    reader: int
    of: int
    endless: bool
    updated_us: int
    started_us: int
    state: str
    since_us: int
    next_try_us: int | None = None
    last_failure: str | None = None
    in_doubt: bool = False
    counts: dict[str, int] = {}
    events_per_s: float = 0.0
    bytes_per_s: float = 0.0
    requests: int = 0
    retried: int = 0
    throttled: int = 0
    waiting: int = 0
    oldest_us: int | None = None
    lag: int | None = None
    lanes: int = 0


def write_state(lake: Lake, state: ReaderState) -> None:
    """Replace what the reader told before."""
    lake.storage.write(
        _location(lake, state.destination, state.run_id, state.reader), msgspec.json.format(msgspec.json.encode(state))
    )


def read_states(lake: Lake, destination: str) -> list[ReaderState]:
    """What readers of a destination told last, by run and reader; also of runs that have ended or died."""
    states = []
    for location in sorted(lake.storage.names(f"{deliveries_folder(lake, destination)}/state")):
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):  # removed meanwhile; of another version
            states.append(msgspec.json.decode(lake.storage.read(location), type=ReaderState))
    return states


def forget_states(lake: Lake, destination: str, run_id: str) -> None:
    """Remove what readers of a run told: it has ended, and its manifest says how."""
    for state in read_states(lake, destination):
        if state.run_id == run_id:
            lake.storage.delete(_location(lake, destination, run_id, state.reader))


def _location(lake: Lake, destination: str, run_id: str, reader: int) -> str:
    return f"{deliveries_folder(lake, destination)}/state/{run_id}-{reader}.json"
