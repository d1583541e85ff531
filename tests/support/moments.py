"""Moments of real work by name: each may be the one at which a process is killed, or at which somebody else comes in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pyiceberg.catalog.sql import SqlCatalog

At = Callable[[str], None]


class Teller:
    """Tells ``at`` of every commit to a table, before, within and after, and of what else it is told.

    What ``at`` itself does is not told of, nor what happens while it is ``quiet``.
    """

    def __init__(self, at: At, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._at, self._table = at, ""
        self._times: Counter[str] = Counter()

    def tell(self, moment: str) -> None:
        """A moment."""
        if self.quiet:
            return
        self.quiet = True
        try:
            self._at(moment)
        finally:
            self.quiet = False

    def times(self, thing: str) -> int:
        """Which time this happens; 0 while it is quiet."""
        self._times[thing] += not self.quiet
        return 0 if self.quiet else self._times[thing]

    @contextmanager
    def commits(self) -> Iterator[None]:
        """While this lasts, commits are told of: of a table the second as ``TABLE, 2``."""
        commit_table, write_metadata = SqlCatalog.commit_table, SqlCatalog._write_metadata

        def told_commit(catalog: SqlCatalog, table: Any, *rest: Any) -> Any:
            name = ".".join(table.name())
            if (time := self.times(f"commit of {name}")) > 1:
                name += f", {time}"
            self.tell(f"before the commit of {name}")
            self._table = self._table if self.quiet else name
            answer = commit_table(catalog, table, *rest)
            self.tell(f"after the commit of {name}")
            return answer

        def told_metadata(*given: Any, **named: Any) -> None:
            write_metadata(*given, **named)
            self.tell(f"within the commit of {self._table}")

        with (
            mock.patch.object(SqlCatalog, "commit_table", told_commit),
            mock.patch.object(SqlCatalog, "_write_metadata", staticmethod(told_metadata)),
        ):
            yield


def commit_moments(what: str) -> tuple[str, ...]:
    """The moments of a commit."""
    return tuple(f"{when} the commit of {what}" for when in ("before", "within", "after"))
