"""Dead letters as rows of their table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from contracts.codes import Code, Violation
from contracts.spec.model import Contract
from contracts.units import SECOND_US, datetime_to_us
from lake.tables.fold import GRID_S
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, WITHDRAWN, violations_column
from lake.tables.letters import LETTER_COLUMNS
from lake.tables.publish import window_times
from transforms.cut import Cut, cut_shards

STAGE = "decode"  # of letters of records that cannot be read or are not as the contract wants them
_MOST_ATTEMPTS = 2**32 - 1
_HORIZON = "horizon"  # in ids of letters of rows that lost against one of another cell


def dead_letter_rows(letters: list[dict[str, Any]], violations: list[list[Violation]], run_id: str) -> pa.Table:
    """Dead letters as rows of their table; what follows from the rest is filled in."""
    for letter in letters:
        position = f"{letter['_raw_file']}:{letter['_position']}"
        identity = letter.setdefault(
            "dead_letter_id", dead_letter_id_of(letter["_source"], position, letter["stage"], letter["dataset"])
        )
        digest = xxhash.xxh3_128_digest(identity.encode())
        letter |= {"source": letter["_source"], "position": position, "run_id": run_id, "attempt": 1}
        letter |= {"received_at": letter["_received_at"], "_time_corrected": False}
        letter.setdefault("_window_time", letter["_received_at"])
        for name, value in (("_fingerprint", digest), ("_row_hash", digest), ("_rank", b"")):
            letter.setdefault(name, value)
    columns = [
        violations_column(violations) if f.name == "violations" else pa.array([x.get(f.name) for x in letters], f.type)
        for f in DEAD_LETTER_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=DEAD_LETTER_SCHEMA)


@dataclass(frozen=True)
class ConflictLetters:
    """Makes the dead letters of contested keys, by range and shard; see ``conflict_letters``."""

    contract: Contract
    cut: Cut
    run_id: str

    def __call__(self, losers: pa.Table, won: pa.Table) -> Iterator[tuple[int, int, int, pa.Table]]:
        """Letters as (from, to, shard, rows)."""
        yield from by_range(conflict_letters(losers, won, self.contract, self.run_id), self.cut)


@dataclass(frozen=True)
class HorizonLetters:
    """Makes the dead letters of rows that the horizon drops though they are other than what came before them; see sweep.py."""

    contract: Contract
    cut: Cut
    run_id: str

    def __call__(self, conflicts: pa.Table | None, withdrawn: pa.Table | None) -> Iterator[tuple[int, int, int, pa.Table]]:
        """Letters as (from, to, shard, rows)."""
        yield from by_range(horizon_letters(conflicts, withdrawn, self.contract, self.run_id), self.cut)


def by_range(letters: pa.Table, cut: Cut) -> Iterator[tuple[int, int, int, pa.Table]]:
    """Letters as (from, to, shard, rows), by the ranges of the cut."""
    for shard, batch in cut_shards(letters.sort_by("_window_time"), "dead_letter_id", cut):
        times = window_times(batch.rows)
        for from_us, to_us in cut.ranging.spans(times):
            first, last = np.searchsorted(times, [from_us, to_us]).tolist()
            yield from_us, to_us, shard, batch.rows.slice(first, last - first)


def conflict_letters(losers: pa.Table, won: pa.Table, contract: Contract, run_id: str) -> pa.Table:
    """Rows that lost against another fingerprint as dead letters ``conflicting_duplicate``, one per event_id, cell and fingerprint.

    Their id is that of the three, and their rank that of the row, so that whichever copy arrives first, the same one stays. A
    fingerprint that lost may win in the end, by a smaller row: what won gives letters of the code WITHDRAWN, which take the place
    of those that lost with a larger row, and which readers pass over.
    """
    columns = [contract.event_id, *LETTER_COLUMNS]
    lost = losers.select(columns).to_pylist()
    letters = []
    for number, letter in enumerate(lost + won.select(columns).to_pylist()):
        has_lost = number < len(lost)
        letter["_rank"] += b"\0" if has_lost else b"\1"
        if not has_lost:  # another row than the letter that it may become later, by a name of its own
            letter["_row_hash"] = xxhash.xxh3_128_digest(letter["_row_hash"])
        letters.append(_conflict(letter, contract, Code.CONFLICTING_DUPLICATE if has_lost else WITHDRAWN))
    reason = Violation("$", "fingerprint", "the same content as the published row with this event_id")
    return dead_letter_rows(letters, [[reason]] * len(letters), run_id)


def horizon_letters(conflicts: pa.Table | None, withdrawn: pa.Table | None, contract: Contract, run_id: str) -> pa.Table:
    """Dropped rows of another content than every row of their event_id in the horizon before them, as ``conflicting_duplicate``.

    One per event_id, cell and fingerprint, under another id than the letter of a row that lost within its cell. Once such a row
    came, the letter is withdrawn, whichever of the two is written first: rows only come.
    """
    letters: list[dict[str, Any]] = []
    for rows, code in ((conflicts, Code.CONFLICTING_DUPLICATE), (withdrawn, WITHDRAWN)):
        for letter in [] if rows is None else rows.select([contract.event_id, *LETTER_COLUMNS]).to_pylist():
            if code == WITHDRAWN:
                letter["_row_hash"] = xxhash.xxh3_128_digest(letter["_row_hash"])  # another row, see conflict_letters
            letters.append(_conflict(letter, contract, code, _HORIZON) | {"_rank": b"\0" if code == WITHDRAWN else b"\1"})
    reason = Violation("$", "fingerprint", "the same content as a row with this event_id within the deduplication horizon")
    return dead_letter_rows(letters, [[reason]] * len(letters), run_id)


def conflict_ids(rows: pa.Table, contract: Contract) -> list[tuple[str, str]]:
    """Of each row the ids of the letters that it would have if it lost: within its cell, and to a row of the horizon before it."""
    names = {contract.event_id: "event_id", "_window_time": "_window_time", "_fingerprint": "_fingerprint"}
    named = rows.select(list(names)).rename_columns(list(names.values())).to_pylist()
    letters = [row | {"dataset": contract.dataset} for row in named]
    return [(_conflict_id(letter), _conflict_id(letter, _HORIZON)) for letter in letters]


def of_horizon(letters: pa.Table, dataset: str | None) -> npt.NDArray[np.bool_]:
    """Which dead letters are those of ``horizon_letters``, withdrawn ones too. dataset: only of this one; None for all."""
    columns = ("dead_letter_id", "code", "dataset", "event_id", "_fingerprint", "_window_time")
    found = np.zeros(len(letters), dtype=bool)
    codes = pa.array([Code.CONFLICTING_DUPLICATE, WITHDRAWN], pa.string())
    for place in np.flatnonzero(pc.is_in(letters.column("code").cast(pa.string()), value_set=codes).to_numpy()).tolist():
        letter = {name: letters.column(name)[place].as_py() for name in columns}
        is_conflict = letter["event_id"] is not None  # what reprocessing withdrew names none
        own = is_conflict and dataset in (None, letter["dataset"])
        found[place] = own and letter["dead_letter_id"] == _conflict_id(letter, _HORIZON)
    return found


def _conflict_id(letter: dict[str, Any], *more: str) -> str:
    cell = str(datetime_to_us(letter["_window_time"]) // (GRID_S * SECOND_US))
    return dead_letter_id_of(letter["event_id"], cell, letter["_fingerprint"].hex(), letter["dataset"], *more)


def _conflict(letter: dict[str, Any], contract: Contract, code: str, *more: str) -> dict[str, Any]:
    """A dead letter of a row. more: what its id is made of beside event_id, cell, fingerprint and dataset."""
    letter = letter | {"event_id": letter.pop(contract.event_id), "dataset": contract.dataset}
    return letter | {
        "dead_letter_id": _conflict_id(letter, *more),
        "code": code,
        "stage": "converge",
        "contract_version": contract.version,
        "raw": None,  # read from raw/ by position when it is asked for
    }


def read_again(rows: pa.Table, letters: pa.Table, attempts: npt.NDArray[np.int32]) -> pa.Table:
    """Dead letters of records that were read again, as rows that take the place of the letters before.

    Args:
        rows: dead letters as a decoder gives them.
        letters: those before, in the same order: ``dead_letter_id``, ``_window_time`` and ``_revision``.
        attempts: the how manieth reading each is of; a later one stands.
    """
    later = np.zeros((len(rows), 16), dtype=np.uint8)
    later[:, 12:] = (_MOST_ATTEMPTS - attempts.astype(np.uint32)).astype(">u4").view(np.uint8).reshape(-1, 4)
    return _replacing(rows, letters, {"attempt": pa.array(attempts), "_fingerprint": _binaries(later)})


def withdrawn(letters: pa.Table, contract: Contract, run_id: str, attempts: npt.NDArray[np.int32]) -> pa.Table:
    """What takes the place of letters whose records are no longer rejected, whoever writes these letters again.

    Args:
        letters: ``dead_letter_id``, ``stage``, ``source``, ``_raw_file``, ``_position``, ``_window_time``, ``_received_at``,
            ``_revision``.
        contract: by which they are accepted.
        run_id: of whoever withdraws them.
        attempts: the how manieth reading that was.
    """
    places = [letters.column(name).cast(pa.string()) for name in ("source", "_raw_file")]
    nothing = pa.nulls(len(letters))
    columns: dict[str, Any] = {
        "dead_letter_id": letters.column("dead_letter_id"),
        "code": WITHDRAWN,
        "violations": violations_column([[]] * len(letters)),
        "stage": letters.column("stage").cast(pa.string()),
        "dataset": contract.dataset,
        "contract_version": contract.version,
        "source": places[0],
        "position": pc.binary_join_element_wise(places[1], letters.column("_position").cast(pa.string()), ":"),
        "received_at": letters.column("_received_at"),
        "run_id": run_id,
        "attempt": pa.array(attempts),
        "_window_time": letters.column("_window_time"),
        "_time_corrected": False,
        "_received_at": letters.column("_received_at"),
        "_source": places[0],
        "_raw_file": places[1],
        "_position": letters.column("_position"),
        "_fingerprint": _binaries(np.zeros((len(letters), 16), dtype=np.uint8)),
        "_row_hash": [
            xxhash.xxh3_128_digest(f"{name}\0{WITHDRAWN}".encode()) for name in letters.column("dead_letter_id").to_pylist()
        ],
        "_rank": b"",
        "_revision": letters.column("_revision"),
    }
    arrays = [_column(columns.get(field.name, nothing), field, len(letters)) for field in DEAD_LETTER_SCHEMA]
    return _replacing(pa.Table.from_arrays(arrays, schema=DEAD_LETTER_SCHEMA), letters, {})


def _replacing(rows: pa.Table, letters: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    """Rows that meet letters in a fold, by key and cell, and of which the smaller stands: none is of a lower revision."""
    revisions = [pc.fill_null(pc.cast(table.column("_revision"), pa.int64()), -1).to_numpy() for table in (rows, letters)]
    columns = columns | {
        "dead_letter_id": letters.column("dead_letter_id"),
        "_window_time": letters.column("_window_time"),
        "_revision": pa.array(np.maximum(*revisions)),
    }
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), values.cast(rows.schema.field(place).type))
    return rows


def _column(values: Any, field: pa.Field, count: int) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(field.type)
    if isinstance(values, list):
        return pa.array(values, field.type)
    return pa.repeat(pa.scalar(values, field.type), count)


def _binaries(digests: npt.NDArray[np.uint8]) -> pa.Array:
    """Rows of 16 bytes as Arrow has them."""
    return pa.Array.from_buffers(pa.binary(16), len(digests), [None, pa.py_buffer(np.ascontiguousarray(digests))])


def dead_letter_id_of(*parts: str) -> str:
    """The id of what these texts identify."""
    return xxhash.xxh3_128_hexdigest("\0".join(parts).encode())
