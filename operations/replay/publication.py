"""What promoting and rolling back share: the steps from the state on record to what is published, and what tells the two apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.spec.model import Contract
from contracts.spec.suppressions import Suppressions
from lake.ledger.folds import LostNotes, outcomes_at
from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.runs.clock import RunClock
from lake.runs.manifest import PromotionDetails, PublishedTable, RunManifest, write_manifest, write_started
from lake.runs.replays import FOLDER, Replay, Step
from lake.tables.data_files import PROVENANCE_KEY
from lake.tables.iceberg import PublishedFile, committed, dropped_branch, settled_refs
from lake.tables.publish import RangeFold, table_totals
from lake.tables.swap import CommitLabels, Covered, Swap, known_at, swap_ranges
from lake.tables.sweep import sweep
from lake.tables.transactions import RefTransaction
from lake.upkeep import key_of
from operations.replay.changes import States, letters_of_lost_rows, write_changes
from operations.replay.letters import replace_letters
from operations.replay.outcomes import positions_of
from quality.gate_report import GateOptions, GateReport
from transforms.converge.gate import settle_and_gate
from transforms.converge.transform import commit_letters
from transforms.letters import ConflictLetters, HorizonLetters

Reached = Callable[[str], None]


@dataclass(frozen=True)
class Promotion:
    """What was published, or taken back. changes: where the changed rows lie, see ``write_changes``.

    held: of a gated dataset, how many partitions of the ranges its gate holds: there readers see what was before.
    """

    name: str
    dataset: str
    snapshot_id: int | None
    rows: int
    content_hash: str
    changes: str
    added: int
    removed: int
    changed: int
    held: int = 0


@dataclass(frozen=True)
class Kind:
    """What tells promoting from rolling back.

    new: the state whose rows are put into the ranges; base: the one that was live when these were worked out. before, after: the
    live table before and after. States are words of ``Replay.tag``; "" is the replay's branch.
    """

    verb: str
    begun: Step
    ended: Step
    new: str
    base: str
    before: str
    after: str
    changes: str

    @property
    def states(self) -> tuple[str, ...]:
        """Words of tags of the table."""
        return self.before, self.after, self.settled, f"{self.before}{_PUBLIC}", f"{self.after}{_PUBLIC}"

    @property
    def settled(self) -> str:
        """The live table after that, once the horizon was applied to it again."""
        return f"{self.after}_settled"


_PUBLIC = "_public"  # of a gated dataset: what readers see, where the other tags are of the audit branch
PROMOTE = Kind("promote", Step.PROMOTING, Step.PROMOTED, "", "base", "before", "promoted", "")
ROLLBACK = Kind("rollback", Step.ROLLING_BACK, Step.ROLLED_BACK, "before", "promoted", "unrolled", "rolled_back", "-rollback")


@dataclass(frozen=True)
class Publication:
    """One attempt to promote or to roll back: the steps that both take."""

    kind: Kind
    lake: Lake
    replay: Replay
    clock: RunClock
    run_id: str
    conflicts: ConflictLetters
    horizon_letters: HorizonLetters
    suppressions: Suppressions
    reached: Reached
    contract: Contract

    @property
    def number(self) -> int:
        """Of the promotion."""
        assert self.replay.promotion is not None
        return self.replay.promotion

    def swap_rows(self, properties: dict[str, str], covered: Covered | None = None) -> None:
        """Swap the ranges of the dataset's table, and look what the horizon drops now. covered: see ``Swap``.

        What has no row any more is noted before: rows that lose against those that came since, whichever side they are of, and
        rows of suppressed ids. For the rest of what is replaced the replay speaks, and its outcomes hold.
        """
        kind, replay = self.kind, self.replay
        table = self.lake.load(replay.table)
        if self._is_gated and replay.tag(kind.after) not in table.metadata.refs:
            committed(replay.table, partial(_tag_public, self.lake, replay, f"{kind.before}{_PUBLIC}"))
        kept = _Kept(self.suppressions) if self.suppressions else None
        notes = LostNotes(self.lake, replay.dataset, self.run_id, came=True)

        def before(folds: Sequence[RangeFold]) -> None:
            commit_letters(self.lake, folds, self.conflicts, self.run_id)
            notes.write(folds)
            if kept and kept.refused:
                refused = pa.concat_tables(kept.refused, promote_options="permissive")
                erased = list(outcomes_at(refused, Outcome.ERASED, replay.dataset))
                append_outcomes(self.lake, erased, self.run_id)

        swap = Swap(
            replay.ranges,
            replacement=known_at(table, self._ref(kind.new), replay.ranges),
            base=known_at(table, self._ref(kind.base), replay.ranges),
            covered=covered or {},
            keep=kept,
        )
        labels = CommitLabels(self.run_id, properties, before=replay.tag(kind.before), after=replay.tag(kind.after))
        swap_ranges(self.lake, replay.table, swap, labels, key=key_of(replay.table), before_commit=before)
        self.reached("rows")
        sweep(self.lake, replay.table, key=key_of(replay.table), run_id=self.run_id, letters=self.horizon_letters)
        committed(replay.table, partial(_tag_settled, self.lake, replay, kind.settled))
        self.reached("settled")

    def swap_letters(self, outcomes: Sequence[PositionOutcomes], letters: Sequence[PublishedFile]) -> None:
        """Swap the dead letters of these positions for those in the files."""
        refs = self._ref(self.kind.new), self.replay.tag(self.kind.after)
        lost = letters_of_lost_rows(self.lake, self.replay, refs, self.conflicts)
        covered = positions_of(outcomes)
        replace_letters(self.lake, self.replay.dataset, covered, letters, lost, CommitLabels(self.run_id))
        self.reached("letters")

    @property
    def _is_gated(self) -> bool:
        return self.lake.branch_of(self.replay.table) is not None

    def pass_gate(self) -> GateReport | None:
        """Take what was put in place through the gate of the dataset; what is held is read as it was before."""
        if not self._is_gated:
            return None
        _, report = settle_and_gate(self.lake.public, self.contract, GateOptions(run_id=self.run_id))
        committed(self.replay.table, partial(_tag_public, self.lake, self.replay, f"{self.kind.after}{_PUBLIC}"))
        self.reached("gate")
        return report

    def end(self, report: GateReport | None) -> Promotion:
        """Say what changed to those who read the dataset: as files, and as a run's manifest."""
        replay, kind = self.replay, self.kind
        promotion = self._promotion(report)
        self.reached("changes")
        source = f"replay {replay.name}"
        write_started(self.lake, self.run_id, self.clock.started, source)
        table = PublishedTable(replay.table, promotion.rows, promotion.content_hash, promotion.snapshot_id)
        manifest = RunManifest(
            run_id=self.run_id,
            pipeline=f"replay {kind.ended}",
            source=source,
            clock=self.clock,
            details=PromotionDetails(replay.ranges, asdict(promotion)),
            ledger={},
            datasets={replay.dataset: table},
            gates={replay.dataset: report.document()} if report else None,
        )
        write_manifest(self.lake, manifest)
        return promotion

    def _promotion(self, report: GateReport | None) -> Promotion:
        replay, kind = self.replay, self.kind
        words = (kind.before, kind.after, kind.settled)
        if self._is_gated:
            words = (f"{kind.before}{_PUBLIC}", f"{kind.after}{_PUBLIC}", f"{kind.after}{_PUBLIC}")
        states = States(*map(replay.tag, words))
        folder = f"{self.number:08d}-{replay.name}{self.kind.changes}"
        table = self.lake.public.load(replay.table)
        counts = write_changes(self.lake, replay, table, states, folder)
        rows, digest = table_totals(table)
        head = table.metadata.snapshot_by_name(states.after)
        held = report.held_within(replay.ranges) if report else []
        return Promotion(
            replay.name, replay.dataset, head.snapshot_id if head else None, rows, f"{digest:032x}", f"{FOLDER}/{folder}",
            **counts, held=len(held),
        )  # fmt: skip

    def _ref(self, state: str) -> str:
        return self.replay.tag(state) if state else self.replay.branch


def _tag_settled(lake: Lake, replay: Replay, word: str) -> None:
    """Tag the settled state of the live table; does nothing where that was done."""
    table, tag = lake.load(replay.table), replay.tag(word)
    snapshots = [table.metadata.snapshot_by_name(ref) for ref in settled_refs(lake.branch_of(replay.table))]
    if tag not in table.metadata.refs and snapshots[0]:
        with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
            for snapshot, name in zip(snapshots, (tag, dropped_branch(tag)), strict=True):
                if snapshot:
                    manage.create_tag(snapshot.snapshot_id, name)


def _tag_public(lake: Lake, replay: Replay, word: str) -> None:
    """Tag what readers see of a gated dataset; does nothing where that was done."""
    table, tag = lake.public.load(replay.table), replay.tag(word)
    snapshots = [table.metadata.snapshot_by_name(ref) for ref in (MAIN_BRANCH, dropped_branch(None))]
    if tag not in table.metadata.refs:
        with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
            for snapshot, name in zip(snapshots, (tag, dropped_branch(tag)), strict=True):
                if snapshot:
                    manage.create_tag(snapshot.snapshot_id, name)


class _Kept:
    """Which rows may be published: those of ids that are not suppressed. refused: where the others come from."""

    def __init__(self, suppressions: Suppressions) -> None:
        self._suppressions = suppressions
        self.refused: list[pa.Table] = []

    def __call__(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """By row, whether it may."""
        chosen = np.ones(len(rows), dtype=bool)
        columns = {name: rows.column(name).to_pylist() for name in self._suppressions.by_column if name in rows.column_names}
        chosen[sorted(self._suppressions.matching(columns))] = False
        if not chosen.all():
            self.refused.append(rows.select(PROVENANCE_KEY).filter(pa.array(~chosen)))
        return chosen
