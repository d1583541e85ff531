"""What a DoFn keeps open between bundles: connections, and what they have fetched ahead."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Protocol, TypeVar, cast

_KEPT_S = 60.0


class Closable(Protocol):
    """Something to be closed."""

    def close(self) -> None:
        """Let go of what it holds."""
        ...


T = TypeVar("T", bound=Closable)


class Pool:
    """Things that nobody uses for the moment, by name.

    Runners give the rest of an element's work to any copy of a DoFn in the process; what is open and fetched goes with it. What
    nobody asks for is closed after a while.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[Closable, float]] = {}

    @contextlib.contextmanager
    def borrow(self, name: Hashable, make: Callable[[], T]) -> Iterator[T]:
        """The thing of this name, or a new one; nobody else gets it meanwhile. Closed where its user fails."""
        now = time.monotonic()
        with self._lock:
            found = self._kept.pop(name, (None, now))[0]
            unused = [other for other, (_, since) in self._kept.items() if now - since > _KEPT_S]
            expired = [self._kept.pop(other)[0] for other in unused]
        for thing in expired:
            thing.close()
        borrowed = cast(T, found) if found is not None else make()
        try:
            yield borrowed
        except BaseException:  # also of a generator that is dropped: what it has fetched is of no use to anybody
            borrowed.close()
            raise
        with self._lock:
            self._kept[name] = borrowed, time.monotonic()


POOL = Pool()
