"""Applying the horizon (horizon.py) to a table: rows that it drops go from the published ones to the dropped ones, in one commit.

Jobs publish what they fold at once, and keep only those pairs out that are dropped already. A sweep looks at the pairs that came
since the newest settled snapshot, finds other pairs of their keys within the horizon before and after, and moves what is to be
dropped. Where a replay has taken pairs away, it looks before that which rows are dropped for nothing now. Then it lets the tag
``settled`` name a snapshot in which nothing is left to move. Any number of sweeps, jobs and compactions may go on at once: every
commit is refused where the table has moved on, and begun again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ManageSnapshots

from contracts.compiler.rows import derived_id
from contracts.units import SECOND_US
from lake.location import AUDIT, Lake
from lake.tables.data_files import read_columns
from lake.tables.fold import codes_of, revisions_of
from lake.tables.holds import Hidden, partition_length_s, turned_ranges
from lake.tables.horizon import CELL_US, Ints, Moves, Pair, PairSet, cells_of, has_predecessor
from lake.tables.iceberg import (
    RUN_PROPERTY,
    PublishedFile,
    Vacated,
    committed,
    derived_in_horizon,
    dropped_branch,
    horizon_s,
    known_files,
    settled_tag,
    without_properties,
)
from lake.tables.key_filters import KeyFilter, key_hashes, read_filter
from lake.tables.letters import LETTER_COLUMNS, Letters, publish_letters
from lake.tables.publish import moves_token, publish_moves
from lake.tables.swap import known_at, overlaps
from lake.tables.transactions import RefTransaction

_FILTER_BYTES = 256 << 20
_NEVER = -(1 << 62)


@dataclass(frozen=True)
class Swept:
    """What a sweep did.

    dropped: pairs that it moved. chained: of them, those with no published pair of their key in the horizon before them, only
    dropped ones. snapshot_id: the settled snapshot; None of a table without rows.
    """

    dropped: int
    chained: int
    snapshot_id: int | None


@dataclass
class _Found:
    """What a look at new pairs found.

    pairs: to be dropped. chained: see Swept. conflicts: dropped rows of another content than every row of their key in the horizon
    before them. withdrawn: dropped rows of the same content as one of these, where a letter may have been written before that came.
    """

    pairs: list[Pair] = field(default_factory=list)
    chained: set[Pair] = field(default_factory=set)
    conflicts: list[pa.Table] = field(default_factory=list)
    withdrawn: list[pa.Table] = field(default_factory=list)


def sweep(
    lake: Lake,
    name: str,
    *,
    key: str,
    run_id: str,
    letters: Letters | None = None,
    looking: Callable[[PublishedFile], None] | None = None,
) -> Swept:
    """Sweep a table until one of its snapshots is settled.

    Args:
        lake: where; its branch is what is swept.
        name: a table that is folded into.
        key: its key column.
        run_id: goes into the snapshots' properties.
        letters: makes the dead letters of dropped rows of another content than what they are copies of, and takes those back that
            are no such conflict after all. They are committed before the rows move. None writes none.
        looking: is told each file before it is looked at, for those who show how far it is.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    dropped, chained, filters = 0, 0, _Filters(key)
    looked_at: Sequence[PublishedFile] | None = None
    fresh: Sequence[PublishedFile] = ()
    restored: set[str] = set()
    while True:
        table = lake.load(name)
        head = table.current_snapshot()
        if head is None:
            return Swept(dropped, chained, None)
        branch, token = lake.branch_of(name), moves_token(table, lake.branch)
        vacated, turned = _to_look_at(table, branch)
        if vacated.ranges:
            if restore(lake, name, vacated.all_ranges(), key=key, run_id=run_id):
                committed(name, partial(_looked_at, lake, name, list(vacated.ranges)))
            continue
        if turned.keys() - restored:
            if restore(lake, name, sorted({span for spans in turned.values() for span in spans}), key=key, run_id=run_id):
                restored |= turned.keys()
                looked_at = None
            continue
        if not horizon_s(table):
            if turned:
                committed(name, partial(_looked_at, lake, name, list(turned)))
            return Swept(dropped, chained, head.snapshot_id)
        known, hidden = known_files(table, branch), Hidden.of(table, branch)
        if looked_at is None:
            ranges = [span for spans in turned.values() for span in spans]
            looked_at = [file for file in known_at(table, settled_tag(branch)) if not overlaps(file, ranges)]
            fresh = [ghost for ghost in hidden.ghosts if overlaps(ghost, ranges)]
        found = _look(table, known, looked_at, key, filters, looking, hidden, fresh)
        if letters and (found.conflicts or found.withdrawn):
            tables = [pa.concat_tables(t, promote_options="default") if t else None for t in (found.conflicts, found.withdrawn)]
            publish_letters(lake, letters(*tables), run_id)
        moves = Moves(PairSet(found.pairs))
        if not moves:
            settle_at(lake, name, head, table.metadata.snapshot_by_name(dropped_branch(branch)), list(turned))
            return Swept(dropped, chained, head.snapshot_id)
        if not publish_moves(lake, name, moves, key=key, run_id=run_id, token=token):
            looked_at = None
            continue
        dropped, chained = dropped + len(moves.drop), chained + len(found.chained)
        looked_at, fresh = known, ()


def _to_look_at(table: Table, branch: str | None) -> tuple[Vacated, Mapping[str, tuple[tuple[int, int], ...]]]:
    """What is on record for the next sweep: of a gated table it is for its audit branch, to which replays and gates belong."""
    if branch == AUDIT:
        return Vacated.of(table), turned_ranges(table)
    return Vacated.of(table) if branch is None and partition_length_s(table) is None else Vacated(), {}


def restore(lake: Lake, name: str, ranges: Sequence[tuple[int, int]], *, key: str, run_id: str) -> bool:
    """Publish again what was dropped for pairs that are gone. Doing it again changes nothing.

    Args:
        lake: where; its branch is what is changed.
        name: a table that is folded into.
        ranges: [from, to) in microseconds, out of which pairs went.
        key: its key column.
        run_id: goes into the snapshot's properties.

    Returns:
        Whether that is done; not, where a replay took more away meanwhile.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    table, branch = lake.load(name), lake.branch_of(name)
    token, hidden = moves_token(table, lake.branch), Hidden.of(table, branch)
    known, horizon_us, filters = known_files(table, branch), horizon_s(table) * SECOND_US, _Filters(key)
    others = [*known, *hidden.ghosts]
    found: list[Pair] = []
    for file in (f for f in known if f.dropped):
        spans = [(low, high + horizon_us) for low, high in ranges if file.from_us < high + horizon_us and file.to_us > low]
        rows = _pairs_in(file, key)
        if not spans or not len(rows := rows.filter(pa.array(_any_within(cells_of(rows), spans)))):
            continue
        keys = rows.column(key).unique()
        near = [f for f in others if f.overlaps(file.from_us - horizon_us, file.to_us, file.shard) and f != file]
        hits, _ = filters.hits(near, keys)
        everything = _copies([file, *hits], pa.array([False] * file.rows), keys, key)
        for world in hidden.worlds(everything.rows, everything.files, everything.of):
            copies = everything.only(world.chosen)
            cells = cells_of(copies.rows)
            alone = ~has_predecessor(codes_of(copies.rows.column(key)), cells, horizon_us // CELL_US)
            alone |= ~copies.has_given(key) if not derived_in_horizon(table) else False
            back = np.flatnonzero(alone & world.moved[world.chosen] & (copies.of == 0) & _any_within(cells, spans))
            found += zip(copies.rows.column(key).take(pa.array(back)).to_pylist(), cells[back].tolist(), strict=True)
    moves = Moves(restore=PairSet(found))
    return not found or publish_moves(lake, name, moves, key=key, run_id=run_id, token=token)


def _any_within(cells: Ints, spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Which cells meet one of these ranges of time."""
    found = np.zeros(len(cells), dtype=bool)
    for low, high in spans:
        found |= ((cells + 1) * CELL_US > low) & (cells * CELL_US < high)
    return found


def _looked_at(lake: Lake, name: str, keys: Sequence[str]) -> None:
    """These times were looked at; others may have come meanwhile."""
    without_properties(lake.load(name), keys)


def settle_at(lake: Lake, name: str, published: Snapshot, dropped: Snapshot | None, looked_at: Sequence[str] = ()) -> None:
    """Let the tag ``settled`` name this state, unless it names a later one. looked_at: see ``_looked_at``."""
    tag = settled_tag(lake.branch_of(name))

    def attempt() -> None:
        table = lake.load(name)
        known = table.metadata.snapshot_by_name(tag)
        if table.snapshot_by_id(published.snapshot_id) is None:  # expired meanwhile
            return
        if known and (known.sequence_number or 0) >= (published.sequence_number or 0):
            return
        with RefTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
            manage.create_tag(published.snapshot_id, tag)
            if dropped and table.snapshot_by_id(dropped.snapshot_id):
                manage.create_tag(dropped.snapshot_id, dropped_branch(tag))

    committed(name, attempt)
    if looked_at:
        committed(name, partial(_looked_at, lake, name, looked_at))


def stay_settled(lake: Lake, name: str, run_id: str) -> None:
    """After commits of a run that moved files but no rows: what they left is settled if what they found was.

    Args:
        lake: where; its branch.
        name: the table.
        run_id: of these commits, and of no others.
    """
    table = lake.load(name)
    head, settled = table.current_snapshot(), table.metadata.snapshot_by_name(settled_tag(lake.branch_of(name)))
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    at = head
    while settled and at and at != settled and at.summary and at.summary.additional_properties.get(RUN_PROPERTY) == run_id:
        at = by_id.get(at.parent_snapshot_id or -1)
    if head and settled and at == settled != head:
        settle_at(lake, name, head, table.metadata.snapshot_by_name(dropped_branch(lake.branch_of(name))))


def _look(
    table: Table,
    known: Sequence[PublishedFile],
    looked_at: Sequence[PublishedFile],
    key: str,
    filters: _Filters,
    looking: Callable[[PublishedFile], None] | None,
    hidden: Hidden,
    fresh: Sequence[PublishedFile],
) -> _Found:
    """Look at the pairs that came into the table since others of its files were looked at, and at those near them.

    Args:
        table: the table.
        known: its files, published and dropped.
        looked_at: those of an earlier state, in which nothing was left to drop.
        key: the key column.
        filters: of its files.
        looking: is told each file that is looked at.
        hidden: what is held of the table.
        fresh: files of main that stand for what is held, whose pairs hide others since then.
    """
    horizon_us, others = horizon_s(table) * SECOND_US, [*known, *hidden.ghosts]
    there, seen = {f.path for f in known}, {f.path for f in looked_at}
    gone = [f for f in looked_at if f.path not in there]
    found = _Found()
    for file in (*(f for f in known if f.path not in seen), *fresh):  # a replay brings back dropped pairs too
        if looking:
            looking(file)
        rows = _pairs_in(file, key)
        before = [f for f in gone if f.overlaps(*_place(file)) and (file.dropped or not f.dropped)]  # published anew is new
        is_new = pa.array(~_among(rows, [_pairs_in(f, key) for f in before], key))
        keys = rows.column(key).filter(is_new).unique()
        if not len(keys):
            continue
        near = [f for f in others if f.overlaps(file.from_us - horizon_us, file.to_us + horizon_us, file.shard) and f != file]
        hits, again = filters.hits(near, keys)
        again |= pc.is_in(keys, value_set=_repeated(rows.column(key))).to_numpy(zero_copy_only=False)
        if again.any():
            copies = _copies([file, *hits], is_new, keys.filter(pa.array(again)), key)
            copies = copies if derived_in_horizon(table) else copies.given(key)
            for world in hidden.worlds(copies.rows, copies.files, copies.of):
                _judge(copies.only(world.chosen), world.moved[world.chosen], key, horizon_us // CELL_US, found)
    return found


@dataclass(frozen=True)
class _Copies:
    """Rows of some keys: key, window time and fingerprint. files, of: where each lies. new: whether it came just now."""

    rows: pa.Table
    files: Sequence[PublishedFile]
    of: Ints
    new: npt.NDArray[np.bool_]

    @property
    def published(self) -> npt.NDArray[np.bool_]:
        """Whether each row is published."""
        return np.array([not f.dropped for f in self.files])[self.of]

    def given(self, key: str) -> _Copies:
        """Those whose key was not derived from their content."""
        return self.only(self.has_given(key))

    def only(self, mask: npt.NDArray[np.bool_]) -> _Copies:
        """Those in the mask."""
        return _Copies(self.rows.filter(pa.array(mask)), self.files, self.of[mask], self.new[mask])

    def has_given(self, key: str) -> npt.NDArray[np.bool_]:
        """Whether the key of each row was not derived from its content."""
        pairs = zip(self.rows.column(key).to_pylist(), self.rows.column("_fingerprint").to_pylist(), strict=True)
        return np.fromiter((text != derived_id(fingerprint) for text, fingerprint in pairs), bool, len(self.rows))

    def for_letters(self, places: Sequence[int], key: str) -> pa.Table:
        """Rows at these places with the columns that a dead letter takes."""
        chosen = np.array(places)
        found = []
        for number in np.unique(self.of[chosen]).tolist():
            pairs = PairSet.of(self.rows.take(pa.array(chosen[self.of[chosen] == number])), key)
            rows = read_columns(self.files[number].path, (key, *LETTER_COLUMNS))
            found.append(rows.filter(pa.array(pairs.holds(rows, key))))
        return pa.concat_tables(found, promote_options="permissive")


def _copies(files: Sequence[PublishedFile], is_new: pa.Array, keys: pa.Array, key: str) -> _Copies:
    """Rows of these keys in these files. is_new: which of the first file's rows are."""
    tables, new = [], []
    for number, file in enumerate(files):
        rows = read_columns(file.path, (key, "_window_time", "_fingerprint", "_revision"))
        chosen = pc.is_in(rows.column(key), value_set=keys)
        tables.append(rows.filter(chosen))
        count = len(tables[-1])
        new.append(is_new.filter(chosen.combine_chunks()).to_numpy(zero_copy_only=False) if not number else np.zeros(count, bool))
    rows = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    return _Copies(rows, files, np.repeat(np.arange(len(files)), [len(t) for t in tables]), np.concatenate(new))


def _judge(copies: _Copies, moved: npt.NDArray[np.bool_], key: str, horizon: int, found: _Found) -> None:
    """Add to what was found. Complete for new pairs, and for those that have a new one in the horizon before them.

    moved: which of them it is about; the others may only hide these.
    """
    codes, cells = codes_of(copies.rows.column(key)), cells_of(copies.rows)
    out, published = has_predecessor(codes, cells, horizon), copies.published
    move = np.flatnonzero(out & published & moved)
    keys = copies.rows.column(key).to_pylist()
    found.pairs += ((keys[place], int(cells[place])) for place in move.tolist())
    contents, revisions = copies.rows.column("_fingerprint").to_pylist(), revisions_of(copies.rows).tolist()
    conflicts, withdrawn = [], []
    seen = _LastSeen()
    for place in np.lexsort((cells, codes)).tolist():
        code, cell, new = int(codes[place]), int(cells[place]), bool(copies.new[place])
        same, other, after_new, after_same_new, after_kept = (
            last >= cell - horizon for last in seen.before(code, contents[place], revisions[place])
        )
        is_out = bool(out[place] and moved[place])
        if is_out and published[place] and not after_kept:
            found.chained.add((keys[place], cell))
        if is_out and not same and (new or after_new):
            conflicts.append(place)
        elif is_out and ((after_same_new and not published[place]) or (same and other and (new or after_same_new))):
            withdrawn.append(place)  # the second: a sweep may have written a letter before the same content came, and died
        seen.add(code, contents[place], revisions[place], cell, new=new, kept=not out[place])
    for places, tables in ((conflicts, found.conflicts), (withdrawn, found.withdrawn)):
        if places:
            tables.append(copies.for_letters(places, key))


class _LastSeen:
    """The last cells of one key: of each content and of others, of any new pair, of new pairs of a content, of any that is kept.

    Keys come one after the other, and cells of a key in order.
    """

    def __init__(self) -> None:
        self._begin(-1)

    def _begin(self, key: int) -> None:
        self._key, self._new, self._kept = key, _NEVER, _NEVER
        self._same, self._same_new = dict[bytes, int](), dict[bytes, int]()
        self._content, self._last, self._unlike_last = b"", _NEVER, _NEVER
        self._of_revision, self._new_of_revision = dict[int, int](), dict[int, int]()

    def before(self, key: int, content: bytes, revision: int) -> tuple[int, int, int, int, int]:
        """The last cell of this content, of another, of a new pair, of a new pair of this content, of one that is not dropped.

        What was read under another revision may be the same content: it counts as that, see fold.py.
        """
        if key != self._key:
            self._begin(key)
        other = self._last if content != self._content else self._unlike_last
        same = max(self._same.get(content, _NEVER), _unlike(self._of_revision, revision))
        same_new = max(self._same_new.get(content, _NEVER), _unlike(self._new_of_revision, revision))
        return same, other, self._new, same_new, self._kept

    def add(self, key: int, content: bytes, revision: int, cell: int, *, new: bool, kept: bool) -> None:
        """A pair."""
        assert key == self._key
        if content != self._content:
            self._content, self._unlike_last = content, self._last
        self._same[content] = self._of_revision[revision] = self._last = cell
        if new:
            self._new = self._same_new[content] = self._new_of_revision[revision] = cell
        if kept:
            self._kept = cell


def _unlike(cells: Mapping[int, int], revision: int) -> int:
    return max((cell for other, cell in cells.items() if other != revision), default=_NEVER)


def _pairs_in(file: PublishedFile, key: str) -> pa.Table:
    return read_columns(file.path, (key, "_window_time"))


def _place(file: PublishedFile) -> tuple[int, int, int]:
    return file.from_us, file.to_us, file.shard


def _repeated(keys: pa.ChunkedArray) -> pa.Array:
    """Keys that are there more than once."""
    counts = keys.value_counts()
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _among(rows: pa.Table, others: Sequence[pa.Table], key: str) -> npt.NDArray[np.bool_]:
    """Which rows' pairs are among those of other rows."""
    if not others:
        return np.zeros(len(rows), dtype=bool)
    first, *rest = [_pair_texts(t, key) for t in (rows, *others)]
    found: npt.NDArray[np.bool_] = pc.is_in(first, value_set=pa.concat_arrays(rest)).to_numpy(zero_copy_only=False)
    return found


def _pair_texts(rows: pa.Table, key: str) -> pa.Array:
    keys = pa.concat_arrays([pa.array([], pa.string()), *rows.column(key).cast(pa.string()).chunks])
    return pc.binary_join_element_wise(keys, pa.array(cells_of(rows)).cast(pa.string()), "\n")


class _Filters:
    """Filters of data files, those read last at hand."""

    def __init__(self, key: str) -> None:
        self._key, self._size = key, 0
        self._known: OrderedDict[str, KeyFilter] = OrderedDict()

    def hits(self, files: Iterable[PublishedFile], keys: pa.Array) -> tuple[list[PublishedFile], npt.NDArray[np.bool_]]:
        """Files that may hold some of these keys, and which keys may be in one of them."""
        hashes = key_hashes(keys)
        order = np.argsort(hashes)
        hashes, any_of, found = hashes[order], np.zeros(len(keys), dtype=bool), []
        for file in files:
            held = self._of(file.path).may_hold(hashes)
            if held.any():
                found.append(file)
                any_of[order] |= held
        return found, any_of

    def _of(self, path: str) -> KeyFilter:
        if path not in self._known:
            self._known[path] = read_filter(path, self._key)
            self._size += self._known[path].cut.nbytes
            while self._size > _FILTER_BYTES and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1].cut.nbytes
        self._known.move_to_end(path)
        return self._known[path]
