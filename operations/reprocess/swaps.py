"""Promotions and rollbacks that meet what is reprocessed: both swap the rows of whole ranges."""

from __future__ import annotations

import time

from contracts.errors import ComponentDownError, ConfigurationError
from lake.location import Lake
from lake.runs.replays import Replay, Step, events, replays

_SWAPPING = (Step.PROMOTING, Step.ROLLING_BACK)
_SWAPS = (*_SWAPPING, Step.PROMOTED, Step.ROLLED_BACK)
_PATIENCE_S, _LOOK_EVERY_S = 300.0, 0.5


def _of_dataset(lake: Lake, dataset: str) -> list[Replay]:
    return [replay for replay in replays(lake).values() if replay.dataset == dataset]


def refuse_while_swapping(lake: Lake, dataset: str) -> None:
    """Nobody may be promoting or rolling back.

    Raises:
        ConfigurationError: somebody is, or was killed at it.
    """
    if swapping := [replay.name for replay in _of_dataset(lake, dataset) if replay.step in _SWAPPING]:
        raise ConfigurationError(
            f"replay {swapping[0]} of {dataset} is being promoted or rolled back right now; if nobody is at it, give that command "
            "again first"
        )


def wait_for_swaps(lake: Lake, dataset: str) -> None:
    """Until nobody promotes or rolls back.

    Raises:
        ComponentDownError: that takes too long.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while swapping := [replay.name for replay in _of_dataset(lake, dataset) if replay.step in _SWAPPING]:
        if time.monotonic() > deadline:
            raise ComponentDownError(
                f"replay {swapping[0]} of {dataset} has been in the midst of a promotion or rollback for {_PATIENCE_S:.0f} s; give "
                "that command again, then this one"
            )
        time.sleep(_LOOK_EVERY_S)


def swapped_since(lake: Lake, dataset: str, number: int) -> bool:
    """Whether rows of the dataset were swapped, or are, since this number."""
    known = events(lake)
    datasets = {name: replay.dataset for name, replay in replays(lake, known).items()}
    return any(event.number > number and event.step in _SWAPS and datasets[event.name] == dataset for event in known)
