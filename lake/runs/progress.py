"""Where a run is, for whoever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    step: what is done now. done, total: records, files, rows or messages of that step; total 0 where no end is known.
    """

    step: Literal["land", "ingest", "fold", "read", "account", "compare", "deliver"]
    done: int
    total: int
    note: str = ""


Report = Callable[[Progress], None]


@contextmanager
def repeated(action: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call an action every so many seconds, in a thread of its own, for as long as the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
