"""Promoting a replay and rolling it back: one commit of the dataset's table, then the letters and the ledger that go with it.

Readers of the table see all windows or none. Every step may be done again: a process that was killed at any point is followed by
another ``headrace replay promote`` (or ``rollback``) of the same name, which finds what was done by its tags.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import EqualTo
from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.runs.clock import RunClock, new_run_id
from lake.runs.replays import Replay, Step, add_event, replay_of
from lake.tables.audit import audited, begin_audit
from lake.tables.iceberg import DEAD_LETTERS, LEDGER, committed, dropped_branch, num_shards, published_files, settled_refs
from lake.tables.swap import files_at
from lake.tables.transactions import RefTransaction
from operations.replay.outcomes import positions_of, replay_outcomes
from operations.replay.publication import PROMOTE, ROLLBACK, Kind, Promotion, Publication, Reached
from pipelines.replay.plan import dataset_of
from transforms.cut import Cut
from transforms.letters import ConflictLetters, HorizonLetters

Check = Callable[[dict[str, Replay]], None]


def _nothing(step: str) -> None:
    pass


def promote(
    name: str, project: Project, lake: Lake, reached: Reached = _nothing, *, approval: Mapping[str, str] | None = None
) -> Promotion:
    """Publish a finished replay: its ranges of the live table become what was rebuilt and what live jobs published since.

    Args:
        name: the replay's.
        project: for the policies as they are now: ids that were suppressed since stay away.
        lake: where.
        reached: is told of every step that was taken.
        approval: ``approved_by`` and ``reason``: who lets it through though the gate holds a part of it; recorded.

    Raises:
        ConfigurationError: it is not finished, or was promoted already.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """

    def check(known: dict[str, Replay]) -> None:
        if known[name].step is not Step.FINISHED:
            raise ConfigurationError(f"replay {name}: is {known[name].step}, and only one that is finished can be promoted")

    publication = _begin(PROMOTE, name, project, lake, check, reached, approval)
    replay = publication.replay
    lake = publication.lake
    outcomes = list(replay_outcomes(lake, replay))
    committed(DEAD_LETTERS, lambda: _tag_letters(lake, replay))
    reached("letters kept")
    labels = {"headrace.replay": name, "headrace.promotion": str(publication.number)}
    publication.swap_rows(labels, positions_of(outcomes))
    letters = published_files(replace(lake, branch=replay.branch).load(DEAD_LETTERS))
    publication.swap_letters(outcomes, letters)
    append_outcomes(lake, outcomes, publication.run_id, epoch=publication.number)
    reached("ledger")
    return _end(publication)


def rollback(name: str, project: Project, lake: Lake, reached: Reached = _nothing) -> Promotion:
    """Take a promotion back: its ranges become what they were before, and what live jobs published since.

    Args:
        name: the replay's.
        project: for the policies as they are now: ids that were suppressed since do not come back.
        lake: where.
        reached: is told of every step that was taken.

    Raises:
        ConfigurationError: it is not promoted; a later promotion or an open replay has some of the same windows.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """

    def check(known: dict[str, Replay]) -> None:
        mine = known[name]
        if mine.step is not Step.PROMOTED:
            raise ConfigurationError(f"replay {name}: is {mine.step}, and only one that was promoted can be rolled back")
        rivals = [r for r in known.values() if r.name != name and r.meets(mine.dataset, mine.ranges)]
        later = [
            r.name for r in rivals if r.step in (Step.PROMOTED, Step.ROLLING_BACK) and (r.promotion or 0) > (mine.promotion or 0)
        ]
        if later:
            raise ConfigurationError(
                f"replay {name}: {', '.join(reversed(later))} rebuilt some of the same windows after it; roll that back first"
            )
        if claiming := [r.name for r in rivals if r.is_open]:
            raise ConfigurationError(
                f"replay {name}: {', '.join(claiming)} is rebuilding some of the same windows; discard it first"
            )

    publication = _begin(ROLLBACK, name, project, lake, check, reached)
    replay = publication.replay
    publication.swap_rows({"headrace.rolled-back": name})
    outcomes = list(replay_outcomes(publication.lake, replay))
    publication.swap_letters(outcomes, files_at(lake.load(DEAD_LETTERS), replay.tag("letters")))
    committed(LEDGER, lambda: lake.load(LEDGER).delete(EqualTo("epoch", publication.number)))
    reached("ledger")
    return _end(publication)


def recorded(name: str, lake: Lake, kind: Kind) -> Promotion | None:
    """What a promotion, or its way back, came to, where that is what happened to a replay last; None where it is not.

    Raises:
        ConfigurationError: there is no replay of this name.
    """
    replay = replay_of(lake, name)
    if replay.step is not kind.ended:
        return None
    details = next(event.details for event in reversed(replay.events) if event.step is kind.ended)
    known = {item.name for item in fields(Promotion)}
    return Promotion(**{key: value for key, value in details.items() if key in known})


def discard(name: str, lake: Lake) -> None:
    """Give a replay up, or the way back from one that was promoted: its branches and tags go, and with the next expiry its files.

    Raises:
        ConfigurationError: it is being promoted or rolled back right now.
    """

    def check(known: dict[str, Replay]) -> None:
        if known[name].step in (Step.PROMOTING, Step.ROLLING_BACK):
            raise ConfigurationError(f"replay {name}: is {known[name].step}; give that command again, then discard it")

    replay = replay_of(lake, name)
    if replay.step is not Step.DISCARDED:
        add_event(lake, name, Step.DISCARDED, {}, check)
    for table in (replay.table, DEAD_LETTERS, LEDGER, f"late.{replay.dataset}"):
        committed(table, lambda table=table: _drop_refs(lake, table, replay))  # type: ignore[misc]


def _begin(
    kind: Kind,
    name: str,
    project: Project,
    lake: Lake,
    check: Check,
    reached: Reached,
    details: Mapping[str, str] | None = None,
) -> Publication:
    """Put the beginning on record, unless an attempt before did."""
    if replay_of(lake, name).step is not kind.begun:
        add_event(lake, name, kind.begun, dict(details or {}), check)
    reached("recorded")
    replay = replay_of(lake, name)
    _, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    clock = RunClock()
    run_id = new_run_id(f"{kind.verb}-{name}", clock)
    cut = Cut(num_shards=num_shards(lake.load(replay.table)), by_density=True)
    letters = ConflictLetters(contract, cut, run_id), HorizonLetters(contract, cut, run_id)
    if contract.gated:
        begin_audit(lake, replay.table, contract.quality.partition_s, run_id)
    live = audited(lake, replay.table)
    return Publication(kind, live, replay, clock, run_id, *letters, project.suppressions(contract), reached, contract)


class _RecordedAlreadyError(Exception):
    """A rival that did the same was faster."""


def _end(publication: Publication) -> Promotion:
    """Say what changed, and put the end on record once, whoever else does the same at the same time.

    Killed in between, the next attempt writes a manifest of its own.
    """
    kind, name = publication.kind, publication.replay.name
    promotion = publication.end(publication.pass_gate())

    def check(known: dict[str, Replay]) -> None:
        if known[name].step is not kind.begun:
            raise _RecordedAlreadyError

    with contextlib.suppress(_RecordedAlreadyError):
        add_event(publication.lake, name, kind.ended, asdict(promotion) | {"run_id": publication.run_id}, check)
    return promotion


def _drop_refs(lake: Lake, name: str, replay: Replay) -> None:
    try:
        table = lake.load(name)
    except NoSuchTableError:
        return
    states = {state for kind in (PROMOTE, ROLLBACK) for state in kind.states}
    tags = {replay.tag(word) for word in ("base", "emptied", "letters", *states)}
    named = {replay.branch, *tags}
    mine = table.metadata.refs.keys() & {*named, *map(dropped_branch, named), *settled_refs(replay.branch)}
    if mine:
        branches = {replay.branch, dropped_branch(replay.branch)}
        with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
            for ref in mine:
                manage.remove_branch(ref) if ref in branches else manage.remove_tag(ref)


def _tag_letters(lake: Lake, replay: Replay) -> None:
    """Tag the letters as they are before the promotion; does nothing where that was done."""
    table = lake.load(DEAD_LETTERS)
    head = table.current_snapshot()
    if head and replay.tag("letters") not in table.metadata.refs:
        with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
            manage.create_tag(head.snapshot_id, replay.tag("letters"))
