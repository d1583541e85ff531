"""What becomes of records when they are read again: judged as the graph will judge them, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.codes import Code
from contracts.spec.model import Contract
from contracts.spec.recipes import Recipe
from contracts.spec.registry import Registry
from contracts.spec.source import SourceSpec
from contracts.spec.suppressions import Suppressions
from lake.ledger.outcomes import runs_of
from lake.location import Lake
from lake.raw.batch import RawBlock
from lake.raw.chosen import part_of
from lake.raw.positions import Ints
from lake.repairs import Repair, Repairs, read_repairs
from lake.tables.iceberg import DEAD_LETTER_SCHEMA
from operations.reprocess.letters import CONVERGE, FileLetters
from transforms.decode.kernel import DecodedRecords, RecordDecoder
from transforms.letters import conflict_ids
from transforms.read.raw import ChosenPiece, PieceReader

Shown = Callable[[RawBlock, DecodedRecords, "Verdicts"], None]
_LAST = 1 << 40  # behind every number of a repair that is kept
_NONE = np.empty(0, dtype=np.int64)


@dataclass
class Verdicts:
    """What becomes of some records of one raw file or log. Positions, in any order.

    passing: accepted or filtered, repaired ones too. repaired: of these, those that only the recipe makes so. conflicts: of the
    repaired, those that are acceptable without it, and lost against another row; of each the recipe makes another row. at_stake: of
    these the ids of the letters that the other row has if it loses too. above: the newest repair that was known. rejected: letters
    of the others.
    """

    raw_file: str
    passing: Ints = field(default_factory=lambda: _NONE)
    repaired: Ints = field(default_factory=lambda: _NONE)
    conflicts: Ints = field(default_factory=lambda: _NONE)
    at_stake: dict[int, tuple[str, str]] = field(default_factory=dict)
    above: int = 0
    rejected: pa.Table = field(default_factory=DEAD_LETTER_SCHEMA.empty_table)

    def add(self, other: Verdicts) -> None:
        """These too."""
        self.passing = np.concatenate((self.passing, other.passing))
        self.repaired = np.concatenate((self.repaired, other.repaired))
        self.conflicts = np.concatenate((self.conflicts, other.conflicts))
        self.at_stake |= other.at_stake
        self.rejected = pa.concat_tables([self.rejected, other.rejected])


@dataclass(frozen=True)
class Judge:
    """Judges letters of one source by its spec and contract of today, and by a recipe for what these reject.

    recipe: None for none. shown: is told of every block with its rows, for those who look before they write.
    """

    lake: Lake
    contract: Contract
    spec: SourceSpec
    run_id: str
    suppressions: Suppressions
    registry: Registry | None
    recipe: Recipe | None = None
    shown: Shown | None = None

    def judge(self, pieces: Iterable[ChosenPiece], letters: Sequence[FileLetters]) -> dict[str, Verdicts]:
        """Judge the records of pieces.

        Args:
            pieces: of files and logs of the source.
            letters: that these records have.

        Returns:
            Verdicts by raw file or log.
        """
        kept = read_repairs(self.lake, self.spec.name)
        plain = RecordDecoder(self.contract, self.spec, self.run_id, self.suppressions, repairs=kept)
        trial = self._trial(kept, letters)
        conflicts = {file.raw_file: _conflicting(file) for file in letters}
        found: dict[str, Verdicts] = {}
        reader = PieceReader(self.lake, self.spec, self.registry)
        try:
            for piece in pieces:
                for block in (block for batch in reader.read(piece) for block in batch.blocks(self.spec)):
                    raw_file = block.raw_files[0]
                    verdicts = self._judged(block, plain, trial, conflicts.get(raw_file, _NONE))
                    found.setdefault(raw_file, Verdicts(raw_file, above=kept.newest)).add(verdicts)
        finally:
            reader.close()
        return found

    def _trial(self, kept: Repairs, letters: Sequence[FileLetters]) -> RecordDecoder | None:
        """A decoder that repairs every letter by the recipe too."""
        recipe = self.recipe
        if recipe is None or (recipe.sources and self.spec.name not in recipe.sources):
            return None
        if recipe.dataset not in (None, self.contract.name, self.contract.dataset):
            return None
        every = {file.raw_file: tuple(file.runs.runs.tolist()) for file in letters}
        lost = {file.raw_file: runs_of(_conflicting(file)) for file in letters}
        tried = [
            Repair(_LAST, recipe.name, recipe.digest, recipe.written, runs, "", "", always=always, above=_LAST)
            for runs, always in ((every, False), (lost, True))
        ]
        return RecordDecoder(self.contract, self.spec, self.run_id, self.suppressions, repairs=Repairs([*kept.listed, *tried]))

    def _judged(self, block: RawBlock, plain: RecordDecoder, trial: RecordDecoder | None, conflicts: Ints) -> Verdicts:
        decoded = plain.decode_block(block)
        verdicts = _verdicts(block.raw_files[0], decoded)
        if trial is not None:
            at = np.flatnonzero(self._meant(block, decoded, conflicts))
            if len(at):
                self._try(part_of(block, at.tolist()), trial, verdicts, np.intersect1d(conflicts, _accepted(decoded)), decoded)
        lost = np.setdiff1d(np.intersect1d(_accepted(decoded), conflicts), verdicts.repaired)
        if len(lost):  # acceptable, as before: only a recipe, or another winner, helps what lost against a row
            verdicts.passing = np.setdiff1d(verdicts.passing, lost)
        if self.shown:
            self.shown(block, decoded, verdicts)
        return verdicts

    def _meant(self, block: RawBlock, decoded: DecodedRecords, conflicts: Ints) -> npt.NDArray[np.bool_]:
        """Which records the recipe may repair: rejected ones with one of its codes, and conflicts."""
        assert self.recipe is not None
        rejected = decoded.dead_letters
        wanted = np.array([self.recipe.is_about(code) for code in rejected.column("code").to_pylist()], dtype=bool)
        chosen = rejected.column("_position").to_numpy()[wanted]
        if self.recipe.is_about(Code.CONFLICTING_DUPLICATE):
            chosen = np.concatenate((chosen, conflicts))
        return np.isin(block.positions, chosen)

    def _try(self, block: RawBlock, trial: RecordDecoder, verdicts: Verdicts, conflicts: Ints, before: DecodedRecords) -> None:
        """Take what the recipe makes acceptable; of conflicts, which are acceptable, what it makes another row of, or filters."""
        decoded = trial.decode_block(block)
        passing = np.setdiff1d(_verdicts(verdicts.raw_file, decoded).passing, _unchanged(before, decoded, conflicts))
        if self.shown and len(passing):
            self.shown(block, decoded, Verdicts(verdicts.raw_file, passing, passing))
        rejected = verdicts.rejected.column("_position").to_numpy()
        verdicts.repaired = passing
        verdicts.conflicts = np.intersect1d(passing, conflicts)
        anew = decoded.rows.filter(pa.array(np.isin(_accepted(decoded), verdicts.conflicts)))
        verdicts.at_stake = dict(zip(anew.column("_position").to_pylist(), conflict_ids(anew, self.contract), strict=True))
        verdicts.passing = np.union1d(verdicts.passing, passing)
        verdicts.rejected = verdicts.rejected.filter(pa.array(~np.isin(rejected, passing)))


def _unchanged(before: DecodedRecords, after: DecodedRecords, chosen: Ints) -> Ints:
    """Of the chosen positions those with one row before and after: it would lose again, against the same row."""
    rows = [
        dict(zip(part.rows.column("_position").to_pylist(), part.rows.column("_row_hash").to_pylist(), strict=True))
        for part in (before, after)
    ]
    return np.array([at for at in chosen.tolist() if at in rows[0] and rows[0][at] == rows[1].get(at)], dtype=np.int64)


def _accepted(decoded: DecodedRecords) -> Ints:
    found: Ints = decoded.rows.column("_position").to_numpy()
    return found


def _verdicts(raw_file: str, decoded: DecodedRecords) -> Verdicts:
    return Verdicts(raw_file, np.concatenate((_accepted(decoded), *decoded.filtered.values())), rejected=decoded.dead_letters)


def _conflicting(file: FileLetters) -> Ints:
    """Positions of letters that lost against another row."""
    mask = np.asarray(file.column("stage"), dtype=object) == CONVERGE
    found: Ints = np.unique(file.positions[mask])
    return found
