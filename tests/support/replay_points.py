"""A promotion or a rollback with a name for every moment at which it may be killed, or at which somebody else may come between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from contracts.spec.project import Project
from lake.location import Lake
from lake.storage.local import LocalStorage
from operations.replay import promote as module
from operations.replay.promote import Promotion, promote, rollback
from tests.support.moments import At, Teller

VERBS: dict[str, Callable[[str, Project, Lake, At], Promotion]] = {"promote": promote, "rollback": rollback}


def run_told(verb: str, name: str, project: Project, lake: Lake, at: At) -> Promotion:
    """Promote or roll back; ``at`` is told of every moment: steps, each commit before, within and after, events, files of changes.

    What ``at`` itself does is not told of.
    """
    teller = Teller(at)
    with teller.commits(), _events_and_changes(teller):
        return VERBS[verb](name, project, lake, teller.tell)


@contextmanager
def _events_and_changes(teller: Teller) -> Iterator[None]:
    add_event, write = module.add_event, LocalStorage.write

    def told_event(lake: Lake, name: str, step: Any, *rest: Any) -> Any:
        teller.tell(f"before the event {step}")
        return add_event(lake, name, step, *rest)

    def told_write(storage: LocalStorage, location: str, content: bytes) -> None:
        write(storage, location, content)
        if "/_replays/" in location and teller.times("file of the changes") == 1:
            teller.tell("after file 1 of the changes")

    with mock.patch.object(module, "add_event", told_event), mock.patch.object(LocalStorage, "write", told_write):
        yield
