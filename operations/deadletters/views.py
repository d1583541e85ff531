"""Dead letters for people: list the newest, explain one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.acts import note_act
from lake.location import Lake
from lake.raw.log_ids import LogId, is_log, offset_of, position_of
from lake.raw.records import read_record
from lake.receipts.receipts import LANE_PREFIX
from lake.tables.iceberg import DEAD_LETTER_SCHEMA
from lake.tables.letter_history import history_of
from operations.deadletters.files import LetterFile
from operations.deadletters.hiding import Hiding
from operations.deadletters.selection import ROW, STATE, LetterSelection, rows_of, selected_files
from operations.deadletters.states import State, States, read_states

VISIBLE = (*(name for name in DEAD_LETTER_SCHEMA.names if name != "raw" and not name.startswith("_")), STATE)
_ORDER = [("_received_at", "descending"), ("source", "ascending"), ("_raw_file", "ascending"), ("_position", "ascending")]
_KEYS = ("dead_letter_id", *(name for name, _ in _ORDER))


def find_letters(lake: Lake, project: Project, selection: LetterSelection, limit: int) -> list[dict[str, Any]]:
    """The newest of the selected letters, those of one time by source and position; without what is hidden.

    Args:
        lake: where.
        project: whose sources say which keys of a path are their own; keys of the payload are hidden like its values.
        selection: which.
        limit: how many at most. Only as many are held and sorted, however many are selected.
    """
    states, best = read_states(lake), _Newest(limit)
    for number, file in enumerate(files := selected_files(lake, selection)):
        if file.times["_received_at"].high < best.worst_us:
            continue
        for batch in rows_of(file, selection, states, [*_KEYS, ROW]):
            best.add(pa.Table.from_batches([batch]), number)
    letters = _at(files, best.rows, selection, states, VISIBLE)
    Hiding(lake, project).letters(letters)
    return letters


class _Newest:
    """The first rows in ``_ORDER`` of all that were added, and where they stand."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.rows: pa.Table | None = None
        self.worst_us = -(2**63)

    def add(self, rows: pa.Table, file: int) -> None:
        rows = rows.append_column("file", pa.repeat(file, len(rows)))
        times = rows.column("_received_at").cast(pa.int64())
        if len(rows) > self._limit:  # most batches end here: their times are looked at, not their texts
            newest = np.partition(times.to_numpy(), len(rows) - self._limit)[len(rows) - self._limit]
            rows = rows.filter(pc.greater_equal(times, max(int(newest), self.worst_us)))
        rows = rows if self.rows is None else pa.concat_tables([self.rows, rows])
        self.rows = rows.take(pc.select_k_unstable(rows, self._limit, _ORDER)) if len(rows) > self._limit else rows
        if len(self.rows) == self._limit:
            self.worst_us = pc.min(self.rows.column("_received_at").cast(pa.int64())).as_py()


def _at(
    files: Sequence[LetterFile], found: pa.Table | None, selection: LetterSelection, states: States, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Whole letters of places, in order; of each file as much is read as leads to the last of its rows."""
    if found is None or not len(found):
        return []
    places = found.take(pc.sort_indices(found, _ORDER)).select(["file", ROW]).to_pylist()
    letters: dict[tuple[int, int], dict[str, Any]] = {}
    for number in {place["file"] for place in places}:
        wanted = sorted(place[ROW] for place in places if place["file"] == number)
        for batch in rows_of(files[number], selection, states, [*columns, ROW]):
            chosen = batch.filter(pc.is_in(batch.column(ROW), value_set=pa.array(wanted, pa.int64())))
            letters |= {(number, letter.pop(ROW)): letter for letter in chosen.to_pylist()}
            if batch.column(ROW)[-1].as_py() >= wanted[-1]:
                break
    return [letters[place["file"], place[ROW]] for place in places]


def explain_letter(lake: Lake, project: Project, id_prefix: str, *, reveal: bool) -> dict[str, Any]:
    """One dead letter in any state, by its id or the beginning of it, and what was done about it.

    Returns:
        The letter; ``history`` is a list of acts, the first one first; ``raw`` holds its bytes where they are revealed.

    Raises:
        ConfigurationError: there is none, or there are several; its raw file or log is gone.
    """
    selection = LetterSelection(ids=(id_prefix,), states=tuple(State))
    states, found = read_states(lake), []
    for file in selected_files(lake, selection):
        found += [
            row for batch in rows_of(file, selection, states, [*VISIBLE, "_raw_file", "_position"]) for row in batch.to_pylist()
        ]
        if len(found) > 1:
            break
    if len(found) != 1:
        many = "several dead letters begin with" if found else "no dead letter"
        raise ConfigurationError(f"{many} {id_prefix!r}; ids are shown by: headrace deadletter list")
    letter: dict[str, Any] = found[0]
    letter["history"] = history_of(lake, [letter["dead_letter_id"]])
    raw_file, position = letter.pop("_raw_file"), letter.pop("_position")
    if not reveal:
        Hiding(lake, project).letters([letter])
        return letter
    note_act(lake, "deadletter show", {"dead_letter_id": letter["dead_letter_id"]})
    letter["raw"] = _raw_of(lake, letter["dead_letter_id"])
    if letter["raw"] is None:
        spec, _ = project.source(letter["source"])
        letter["raw"] = read_record(lake, spec, raw_file, position)
    return letter


def _raw_of(lake: Lake, dead_letter_id: str) -> bytes | None:
    """The bytes that a letter keeps."""
    selection = LetterSelection(ids=(dead_letter_id,), states=tuple(State))
    for file in selected_files(lake, selection):
        for batch in rows_of(file, selection, States(), ["raw"]):
            raw: bytes | None = batch.column("raw")[0].as_py()
            return raw
    return None


def batched_sources(project: Project, sources: Iterable[str]) -> set[str]:
    """Which of these sources have several records in a message; of those that the project does not know nothing is said."""
    found = set()
    for source in sources:
        with contextlib.suppress(ConfigurationError):
            if project.source(source)[0].records is not None:
                found.add(source)
    return found


def short_position(position: str, batched: bool = False) -> str:
    """A position for a table: the raw file's first digits and the ordinal; topic, partition and offset of a log.

    Args:
        position: as a dead letter has it.
        batched: whether messages of the source hold several records; then the index in the message follows the offset.
    """
    raw_file, _, ordinal = position.rpartition(":")
    if raw_file.startswith(LANE_PREFIX):  # refused by a destination
        topic, _, lane = raw_file.removeprefix(LANE_PREFIX).split(":")
        return f"{topic}[{lane}]:{ordinal}"
    if not is_log(raw_file):
        return f"{raw_file[:12]}:{ordinal}"
    log, number = LogId.parse(raw_file), int(ordinal)
    offset = offset_of(number, batched)
    return f"{log.topic}[{log.partition}]:{offset}" + (f"/{number - position_of(offset, 0, True)}" if batched else "")


def first_violation(letter: dict[str, Any]) -> str:
    """The first violation and how many more there are."""
    violations = letter["violations"]
    if not violations:  # of what was recovered they are gone with its letter
        return ""
    more = f" (+{len(violations) - 1})" if len(violations) > 1 else ""
    return f"{violations[0]['path']}: {violations[0]['expected']}{more}"
