"""What was done about letters, told where it lasts: a line each in the history, then letters that go or count one more attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.codes import Code
from lake.raw.positions import Ints, Positions
from lake.tables.data_files import PROVENANCE_KEY
from lake.tables.letter_history import HISTORY_SCHEMA, Act, ActOutcome, append_history, last_acts
from lake.tables.letters import publish_letters, remove_rows
from lake.tables.swap import Covered, at_positions
from operations.reprocess.judge import Verdicts
from operations.reprocess.letters import CONVERGE, FileLetters, places_of
from operations.reprocess.options import ReprocessOptions
from pipelines.ingest.graph import IngestGraph
from transforms.letters import by_range, read_again, withdrawn

Reached = Callable[[str], None]
Last = Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Done:
    """What came of some letters, by place.

    codes: before. codes_now: of those that still fail, else None. repaired: whether by the recipe.
    """

    rows: pa.Table
    codes: Sequence[str]
    outcomes: Sequence[ActOutcome]
    codes_now: Sequence[str | None]
    attempts: npt.NDArray[np.int32]
    repaired: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, letters: Sequence[FileLetters], verdicts: Mapping[str, Verdicts], last: Last, max_attempts: int) -> Done:
        """Letters with what became of their records.

        Args:
            letters: of these records.
            verdicts: by raw file or log.
            last: newest attempt and outcome of letters that were read again before, by id.
            max_attempts: after so many a letter is given up.
        """
        rows = pa.concat_tables([file.rows for file in letters]).unify_dictionaries().combine_chunks()
        passed = np.concatenate([_among(file.positions, verdicts, file.raw_file, "passing") for file in letters])
        repaired = np.concatenate([_among(file.positions, verdicts, file.raw_file, "repaired") for file in letters])
        codes_now = [code for file in letters for code in _codes_now(file, verdicts.get(file.raw_file))]
        attempts, outcomes = [], []
        for letter, before, passes in zip(
            *(rows.column(name).to_pylist() for name in ("dead_letter_id", "attempt")), passed.tolist(), strict=True
        ):
            attempt, outcome = last.get(letter, (0, ""))
            again = passes and outcome == ActOutcome.RECOVERED  # the same act: its letter came back with a rollback, or never went
            attempts.append(attempt if again else max(attempt, before) + 1)
            fails = ActOutcome.GIVEN_UP if attempts[-1] >= max_attempts else ActOutcome.STILL_FAILING
            outcomes.append(ActOutcome.RECOVERED if passes else fails)
        now = [None if passes else code for code, passes in zip(codes_now, passed.tolist(), strict=True)]
        codes = rows.column("code").to_pylist()
        return cls(rows, codes, outcomes, now, np.array(attempts, dtype=np.int32), repaired)

    @property
    def recovered(self) -> npt.NDArray[np.bool_]:
        """By place."""
        return np.array([outcome is ActOutcome.RECOVERED for outcome in self.outcomes], dtype=bool)


def record(
    graph: IngestGraph,
    options: ReprocessOptions,
    letters: Sequence[FileLetters],
    verdicts: Mapping[str, Verdicts],
    by: str,
    reached: Reached,
) -> Done:
    """Tell what became of letters, the history first. Done again it changes nothing."""
    lake = graph.lake
    places = pa.concat_tables([file.rows for file in letters]).unify_dictionaries().combine_chunks()
    last = last_acts(lake, places_of(places), Act.REPROCESSED)
    done = Done.of(letters, verdicts, last, options.max_attempts)
    append_history(lake, _lines(done, graph, options, by))
    reached("history")
    if options.late:
        gone = done.rows.filter(pa.array(done.recovered))
        covered: Covered = {
            (file.source, file.raw_file): Positions.of(_ones(verdicts[file.raw_file].passing))
            for file in letters
            if file.raw_file in verdicts
        }
        if len(gone):
            remove_rows(lake, graph.contract.late_table, lambda rows: at_positions(rows, covered), graph.run_id, PROVENANCE_KEY)
    else:
        parts = [part for part in (_withdrawn(done, graph), *_again(done, verdicts)) if len(part)]
        if parts:
            publish_letters(lake, by_range(pa.concat_tables(parts), graph.cut), graph.run_id)
    reached("letters")
    return done


def _withdrawn(done: Done, graph: IngestGraph) -> pa.Table:
    gone = done.recovered
    return withdrawn(done.rows.filter(pa.array(gone)), graph.contract, graph.run_id, done.attempts[gone])


def _again(done: Done, verdicts: Mapping[str, Verdicts]) -> Iterator[pa.Table]:
    """Letters of records that are still rejected, with the verdict of today. What lost against a row keeps its letter."""
    names = np.asarray(done.rows.column("_raw_file").to_pylist(), dtype=object)
    fails = ~done.recovered & (np.asarray(done.rows.column("stage").to_pylist(), dtype=object) != CONVERGE)
    for name in dict.fromkeys(names[fails].tolist()):
        here = np.flatnonzero(fails & (names == name))
        rejected = verdicts[name].rejected.sort_by("_position")
        found, positions = rejected.column("_position").to_numpy(), done.rows.column("_position").to_numpy()[here]
        here = here[np.isin(positions, found)]
        at = np.searchsorted(found, done.rows.column("_position").to_numpy()[here])
        yield read_again(rejected.take(pa.array(at)), done.rows.take(pa.array(here)), done.attempts[here])


def _lines(done: Done, graph: IngestGraph, options: ReprocessOptions, by: str) -> pa.Table:
    count = len(done)
    recipe = options.recipe.name if options.recipe else None
    constants = {
        "dataset": graph.contract.dataset, "act": str(Act.REPROCESSED), "at": datetime.now(UTC), "by": by,
        "reason": options.reason, "run_id": graph.run_id,
    }  # fmt: skip
    columns = {
        **{name: done.rows.column(name) for name in ("dead_letter_id", "source")},
        "raw_file": done.rows.column("_raw_file"),
        "position": done.rows.column("_position"),
        "attempt": pa.array(done.attempts),
        "outcome": pa.array([str(outcome) for outcome in done.outcomes], pa.string()),
        "recipe": pa.array([recipe if repaired else None for repaired in done.repaired.tolist()], pa.string()),
        "code": pa.array([now or code for now, code in zip(done.codes_now, done.codes, strict=True)], pa.string()),
    }
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns
        else pa.repeat(pa.scalar(constants[field.name], field.type), count)
        for field in HISTORY_SCHEMA
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=HISTORY_SCHEMA)


def _among(positions: Ints, verdicts: Mapping[str, Verdicts], raw_file: str, which: str) -> npt.NDArray[np.bool_]:
    found = verdicts.get(raw_file)
    return np.isin(positions, getattr(found, which)) if found else np.zeros(len(positions), dtype=bool)


def _codes_now(file: FileLetters, found: Verdicts | None) -> Iterator[str]:
    """The code of each letter, of today where its record is rejected."""
    now: dict[int, str] = {}
    if found:
        now = dict(zip(*(found.rejected.column(name).to_pylist() for name in ("_position", "code")), strict=True))
    for position, stage, code in zip(file.positions.tolist(), file.column("stage"), file.column("code"), strict=True):
        yield str(Code.CONFLICTING_DUPLICATE) if stage == CONVERGE else now.get(position, code)


def _ones(positions: Ints) -> Ints:
    return np.column_stack((positions, np.ones(len(positions), dtype=np.int64))).ravel()
