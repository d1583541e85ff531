"""What was done about dead letters: ``ops.dead_letter_history``, append only, a line per act.

A dead letter says why a record is rejected now. Its history says who tried what about it, and what came of it. A line stands once:
of those who write the same act of the same attempt of a letter the first is heard. The newest line about a letter counts, so each
has a later time than those before it, whatever the clocks of machines say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, In, LessThanOrEqual

from contracts.compiler.schemas import TIMESTAMP
from lake.location import Lake
from lake.tables.iceberg import committed, ensure_table
from lake.tables.transactions import RefTransaction

HISTORY = "ops.dead_letter_history"
_KEY = ("dead_letter_id", "attempt", "act")
_MOST_NAMES = 200  # in a filter
_NO_RETRIES = {"commit.retry.num-retries": "0"}  # by pyiceberg, which would not look up again what is known
HISTORY_SCHEMA = pa.schema(
    [
        pa.field("dead_letter_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("raw_file", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),  # the first is the job's own, so a line of it is of no other attempt
        pa.field("act", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("at", TIMESTAMP, nullable=False),
        pa.field("by", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("recipe", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("code", pa.string()),
    ]
)


class Act(StrEnum):
    """What somebody did about a dead letter."""

    REPROCESSED = "reprocessed"
    CLOSED = "closed"
    REOPENED = "reopened"
    EXPORTED = "exported"


class ActOutcome(StrEnum):
    """What came of it."""

    RECOVERED = "recovered"
    STILL_FAILING = "still_failing"
    GIVEN_UP = "given_up"
    CLOSED = "closed"
    REOPENED = "reopened"
    EXPORTED = "exported"


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """One act about one letter. position: in its raw file or log. attempt: of reading the record; 1 is the first judgement.

    by: who. reason: why, in their words. recipe: name of the recipe that repaired the record. code: of the letter afterwards.
    """

    dead_letter_id: str
    source: str
    raw_file: str
    position: int
    dataset: str
    attempt: int
    act: Act
    outcome: ActOutcome
    by: str
    reason: str | None = None
    recipe: str | None = None
    run_id: str | None = None
    code: str | None = None


def history_table(lines: Iterable[HistoryLine], at: datetime) -> pa.Table:
    """Lines as rows of the table. at: when it was done."""
    return pa.Table.from_pylist([asdict(line) | {"at": at} for line in lines], schema=HISTORY_SCHEMA)


def append_history(lake: Lake, lines: pa.Table, *, moving: bool = False) -> int:
    """Append lines that are not there yet, in one commit; makes the table where the lake has none.

    Args:
        lake: where.
        lines: HISTORY_SCHEMA, of few enough letters to be looked up together.
        moving: whether letters may stand elsewhere by now, as those of deliveries do: they are of the run that was refused last.

    Returns:
        How many were new. A rival that says the same of a letter and attempt at the same time is heard once.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    if not len(lines):
        return 0
    ensure_history(lake)
    ordered = lines.sort_by([(name, "ascending") for name in ("source", "raw_file", "position", "attempt")])

    def append() -> int:
        table = lake.catalog().load_table(HISTORY)  # a commit on a stale one is refused, so what was looked up still holds
        known: set[tuple[str, int, str]] = set()
        newest: dict[str, datetime] = {}
        for rows in _lines_of(lake, ordered, (*_KEY, "at"), moving=moving):
            known.update(_keys(rows))
            for letter, at in zip(*(rows.column(name).to_pylist() for name in ("dead_letter_id", "at")), strict=True):
                newest[letter] = max(at, newest.get(letter, at))
        new = ordered.filter(pa.array([key not in known for key in _keys(ordered)], pa.bool_())) if known else ordered
        if len(new):
            table.append(_after(new, newest) if newest else new)
        return len(new)

    return committed(HISTORY, append)


def after(at: datetime, newest: datetime | None) -> datetime:
    """The time of a line: now, or just after the newest one that is there, where that was written by a clock that goes ahead."""
    return at if newest is None else max(at, newest + timedelta(microseconds=1))


def _after(lines: pa.Table, newest: Mapping[str, datetime]) -> pa.Table:
    """Lines with times after the newest of their letters."""
    letters, times = (lines.column(name).to_pylist() for name in ("dead_letter_id", "at"))
    later = [after(at, newest.get(letter)) for letter, at in zip(letters, times, strict=True)]
    return lines.set_column(lines.schema.get_field_index("at"), HISTORY_SCHEMA.field("at"), pa.array(later, TIMESTAMP))


def last_acts(lake: Lake, places: pa.Table, act: Act, *, moving: bool = False) -> dict[str, tuple[int, str]]:
    """The newest attempt and its outcome of letters that somebody did this about, by id.

    Args:
        lake: where.
        places: letters by ``source``, ``raw_file`` and ``position``; others of nearby places come along.
        act: which.
        moving: see ``append_history``.
    """
    found: dict[str, tuple[int, str]] = {}
    for rows in _lines_of(lake, places, ("dead_letter_id", "attempt", "act", "outcome"), moving=moving):
        for letter, attempt, done, outcome in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            if done == act and attempt >= found.get(letter, (0, ""))[0]:
                found[letter] = attempt, outcome
    return found


def history_of(lake: Lake, dead_letter_ids: Sequence[str]) -> list[dict[str, object]]:
    """The lines of some letters, the oldest first."""
    found = [row for rows in _scan(lake, In("dead_letter_id", set(dead_letter_ids))) for row in rows.to_pylist()]
    return sorted(found, key=lambda row: (row["dead_letter_id"], row["at"], row["attempt"]))


def ensure_history(lake: Lake) -> None:
    """Make the table where the lake has none. A commit on a stale state of it is refused: retry with ``committed``."""
    table = ensure_table(lake, HISTORY, HISTORY_SCHEMA, None)
    if not table.properties.items() >= _NO_RETRIES.items():

        def set_properties() -> None:
            with RefTransaction(lake.catalog().load_table(HISTORY)) as transaction:
                transaction.set_properties(_NO_RETRIES)

        committed(HISTORY, set_properties)


def _keys(rows: pa.Table | pa.RecordBatch) -> list[tuple[str, int, str]]:
    return list(zip(*(rows.column(name).to_pylist() for name in _KEY), strict=True))


def _lines_of(lake: Lake, lines: pa.Table, fields: tuple[str, ...] = _KEY, *, moving: bool) -> Iterator[pa.RecordBatch]:
    """Lines that are known of the places of these ones, or of their sources."""
    condition: BooleanExpression = In("source", set(lines.column("source").unique().to_pylist()))
    if not moving:
        low, high = pc.min_max(lines.column("position")).as_py().values()
        condition = And(condition, And(GreaterThanOrEqual("position", low), LessThanOrEqual("position", high)))
        files = lines.column("raw_file").unique()
        if len(files) <= _MOST_NAMES:
            condition = And(condition, In("raw_file", set(files.to_pylist())))
    for rows in _scan(lake, condition, fields):
        yield rows.select(list(fields))


def _scan(lake: Lake, condition: BooleanExpression, fields: tuple[str, ...] = ("*",)) -> Iterator[pa.RecordBatch]:
    try:
        table = lake.catalog().load_table(HISTORY)
    except NoSuchTableError:  # a lake in which nobody did anything about letters yet
        return
    yield from table.scan(condition, selected_fields=fields).to_arrow_batch_reader()
