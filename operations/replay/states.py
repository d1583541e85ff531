"""The two states that a replay's difference is between: tables as branches and tags have them, and what the ledger said then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.table import Table

from contracts.errors import ConfigurationError
from lake.ledger.ledger import LedgerEntry, ledger_of
from lake.location import Lake
from lake.raw.positions import Ints, Landed
from lake.runs.replays import Replay, Step
from lake.tables.audit import audited
from lake.tables.iceberg import DEAD_LETTERS, LEDGER, PublishedFile
from lake.tables.swap import files_at

Place = tuple[str, str]  # source and raw file or log
_PUBLISHED = frozenset({Step.PROMOTED, Step.ROLLING_BACK, Step.ROLLED_BACK})


@dataclass(frozen=True)
class _AsOf(Lake):
    """A lake with some tables as a branch or tag has them. refs: by table; the others are read as they are published.

    branch: whose dropped rows count; a tag has none of its own.
    """

    refs: Mapping[str, str] = field(default_factory=dict)

    def load(self, name: str) -> Table:
        """See ``Lake``."""
        return Lake(self.root, self.catalog_url, self.refs.get(name)).load(name)


@dataclass(frozen=True)
class State:
    """One of the two states. lake: as it was read. before_epoch: what its ledger says from this promotion on does not count."""

    lake: Lake
    ref: str
    snapshot_id: int | None
    files: tuple[PublishedFile, ...]
    before_epoch: int | None = None

    def ledger(self, table: str, positions: Mapping[Place, Sequence[Ints]]) -> dict[str, LedgerEntry]:
        """By source, what became of these positions."""
        landed: dict[str, list[Landed]] = {}
        for (source, raw_file), runs in positions.items():
            landed.setdefault(source, []).append(Landed(source, raw_file, tuple(runs), 0))
        return {
            source: sum(ledger_of(self.lake, source, table, units, before_epoch=self.before_epoch).values(), LedgerEntry())
            for source, units in sorted(landed.items())
        }


def is_published(lake: Lake, replay: Replay) -> bool:
    """Whether it was promoted, be it rolled back since.

    Raises:
        ConfigurationError: it was, and what is needed to tell the difference has expired.
    """
    there = replay.tag("promoted") in lake.load(replay.table).metadata.refs
    if replay.step in _PUBLISHED and not there:
        raise ConfigurationError(f"replay {replay.name}: is {replay.step}, and the snapshots of its promotion have expired")
    return there and (replay.step in _PUBLISHED or replay.step is Step.PROMOTING)


def states_of(lake: Lake, replay: Replay, *, promoted: bool) -> tuple[State, State]:
    """What was or is live, and what the replay puts in its place.

    Raises:
        ConfigurationError: there is nothing to compare.
    """
    table = lake.load(replay.table)
    on_branch = {DEAD_LETTERS: replay.branch, LEDGER: replay.branch}
    if promoted:
        letters = replay.tag("letters")
        kept = {DEAD_LETTERS: letters} if letters in lake.load(DEAD_LETTERS).metadata.refs else {}
        before, after = replay.tag("before"), replay.tag("promoted")
        return (
            _state(lake, table, replay, before, {replay.table: before, **kept}, before_epoch=replay.promotion),
            _state(lake, table, replay, after, {replay.table: after, **on_branch}),
        )
    if replay.step is Step.DISCARDED:
        raise ConfigurationError(f"replay {replay.name}: was discarded; there is nothing left to compare")
    if replay.branch not in table.metadata.refs and replay.step not in (Step.FINISHED, Step.PROMOTING):
        raise ConfigurationError(f"replay {replay.name}: has rebuilt nothing yet; go on with headrace replay run {replay.name}")
    audit = audited(lake, replay.table).branch_of(replay.table)
    return (
        _state(lake, table, replay, audit or "main", {replay.table: audit} if audit else {}),
        _state(lake, table, replay, replay.branch, {replay.table: replay.branch, **on_branch}),
    )


def _state(lake: Lake, table: Table, replay: Replay, ref: str, refs: Mapping[str, str], before_epoch: int | None = None) -> State:
    snapshot = table.metadata.snapshot_by_name(ref)
    seen = _AsOf(lake.root, lake.catalog_url, refs.get(LEDGER), refs=refs)
    return State(seen, ref, snapshot.snapshot_id if snapshot else None, tuple(files_at(table, ref, replay.ranges)), before_epoch)
