"""A promotion or a rollback with a name for every moment at which it may be killed, or at which somebody else may come between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pyiceberg.catalog.sql import SqlCatalog

from contracts.spec.project import Project
from lake.location import Lake
from lake.storage.local import LocalStorage
from operations.replay import promote as module
from operations.replay.promote import Promotion, promote, rollback

At = Callable[[str], None]
VERBS: dict[str, Callable[[str, Project, Lake, At], Promotion]] = {"promote": promote, "rollback": rollback}


def run_told(verb: str, name: str, project: Project, lake: Lake, at: At) -> Promotion:
    """Promote or roll back; ``at`` is told of every moment: steps, each commit before, within and after, events, files of changes.

    What ``at`` itself does is not told of.
    """
    teller = _Teller(at)
    with teller.hooks():
        return VERBS[verb](name, project, lake, teller.tell)


class _Teller:
    def __init__(self, at: At) -> None:
        self._at, self._quiet, self._table, self._changes = at, False, "", 0
        self._commits: Counter[str] = Counter()

    def tell(self, moment: str) -> None:
        if self._quiet:
            return
        self._quiet = True
        try:
            self._at(moment)
        finally:
            self._quiet = False

    @contextmanager
    def hooks(self) -> Iterator[None]:
        commit_table, write_metadata = SqlCatalog.commit_table, SqlCatalog._write_metadata
        add_event, write = module.add_event, LocalStorage.write

        def told_commit(catalog: SqlCatalog, table: Any, *rest: Any) -> Any:
            name = ".".join(table.name())
            if not self._quiet:
                self._commits[name] += 1
                name += f", {self._commits[name]}" if self._commits[name] > 1 else ""
            self.tell(f"before the commit of {name}")
            self._table = self._table if self._quiet else name
            answer = commit_table(catalog, table, *rest)
            self.tell(f"after the commit of {name}")
            return answer

        def told_metadata(*given: Any, **named: Any) -> None:
            write_metadata(*given, **named)
            self.tell(f"within the commit of {self._table}")

        def told_event(lake: Lake, name: str, step: Any, *rest: Any) -> Any:
            self.tell(f"before the event {step}")
            return add_event(lake, name, step, *rest)

        def told_write(storage: LocalStorage, location: str, content: bytes) -> None:
            write(storage, location, content)
            if not self._quiet and "/_replays/" in location:
                self._changes += 1
                if self._changes == 1:
                    self.tell("after file 1 of the changes")

        with (
            mock.patch.object(SqlCatalog, "commit_table", told_commit),
            mock.patch.object(SqlCatalog, "_write_metadata", staticmethod(told_metadata)),
            mock.patch.object(module, "add_event", told_event),
            mock.patch.object(LocalStorage, "write", told_write),
        ):
            yield
