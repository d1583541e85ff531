"""What the lake knows of ids that are not simply there: receipts of their delivery, and rows elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import EqualTo

from contracts.codes import Code
from contracts.spec.model import Contract
from lake.location import Lake
from lake.receipts.receipts import DELIVERED, REFUSED, WITHHELD, all_receipts
from lake.tables.data_files import read_columns
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN, PublishedFile, horizon_s, known_files, published_files, settled_snapshot
from operations.reconcile.rows import Bools, Ints, RangeRows, RowIndex
from transforms.deliver.table import Digests, digests

_COLUMNS = ("event_id", "outcome", "reason", "digest", "settled_at")


@dataclass
class Receipts:
    """What receipts say of some ids, each by its place in ``ids``, which is sorted.

    delivered, refused, withheld: whether one says so. after: one was written after the export was made, and nothing else counts
    of it. recent: it was delivered, not long before the export. reasons: of the last refusal, a place in ``reason_texts``. sent:
    pairs of an id and a content, sorted, of those asked for that were delivered.
    """

    ids: Digests
    reason_texts: list[str] = field(default_factory=lambda: [""])
    sent: npt.NDArray[np.bytes_] = field(default_factory=lambda: np.array([], dtype="S32"))

    def __post_init__(self) -> None:
        self.delivered, self.refused, self.withheld, self.after, self.recent = (
            np.zeros(len(self.ids), dtype=bool) for _ in range(5)
        )
        self.reasons = np.zeros(len(self.ids), dtype=np.uint16)

    def places(self, ids: Digests) -> Ints:
        """Of ids that were asked for."""
        return np.searchsorted(self.ids, ids)


def pairs_of(ids: Digests, contents: Digests) -> npt.NDArray[np.bytes_]:
    """Ids and contents, each as one value."""
    joined = np.empty((len(ids), 32), dtype=np.uint8)
    for first, part in ((0, ids), (16, contents)):
        joined[:, first : first + 16] = np.ascontiguousarray(part).view(np.uint8).reshape(-1, 16)
    return joined.reshape(-1).view("S32")


@dataclass(frozen=True, kw_only=True)
class ReceiptsQuestion:
    """What receipts of a destination are asked.

    ids: hashes, sorted. pairs: of ``pairs_of``, sorted. as_of_us: when the export was made. recent_us: what was delivered from this
    moment on is recent.
    """

    lake: Lake
    destination: str
    ids: Digests
    pairs: npt.NDArray[np.bytes_]
    as_of_us: int
    recent_us: int

    def ask(self, found: Receipts, within_us: tuple[int, int] | None, only: Digests | None = None) -> None:
        """Note what receipts say.

        Args:
            found: where it is noted; of the ids of this question.
            within_us: only receipts in files that hold rows of these window times; None for all.
            only: only of these ids; None for all.
        """
        wanted = self.ids if only is None else np.unique(only)
        if not len(wanted):
            return
        refused_us = np.zeros(len(self.ids), dtype=np.int64)
        sent = [found.sent]
        for _, rows, _ in all_receipts(self.lake, self.destination, _COLUMNS, within_us):
            hashes = digests(rows.column("event_id").to_pylist())
            asked = np.isin(hashes, wanted)
            if asked.any():
                sent.append(self._note(found, rows.filter(pa.array(asked)), hashes[asked], refused_us))
        found.sent = np.unique(np.concatenate(sent))

    def _note(self, found: Receipts, rows: pa.Table, hashes: Digests, refused_us: Ints) -> npt.NDArray[np.bytes_]:
        """Of rows that were asked for; gives the pairs that were."""
        at = found.places(hashes)
        settled = rows.column("settled_at").cast(pa.int64()).to_numpy()
        is_ = {name: np.asarray(pc.equal(rows.column("outcome"), name)) for name in (DELIVERED, REFUSED, WITHHELD)}
        before = settled < self.as_of_us
        delivered, refused = is_[DELIVERED] & before, is_[REFUSED] & before
        found.after[at[(is_[DELIVERED] | is_[REFUSED]) & ~before]] = True
        found.delivered[at[delivered]] = True
        found.recent[at[delivered & (settled >= self.recent_us)]] = True
        found.refused[at[refused]] = True
        found.withheld[at[is_[WITHHELD]]] = True
        _note_reasons(found, rows, at, refused, settled, refused_us)
        contents = np.array(rows.column("digest").fill_null(b"\0" * 16).to_pylist(), dtype="S16")
        pairs = pairs_of(hashes, contents)[delivered]
        return np.unique(pairs[np.isin(pairs, self.pairs)])


def _note_reasons(found: Receipts, rows: pa.Table, at: Ints, refused: Bools, settled: Ints, refused_us: Ints) -> None:
    """Of several refusals of an id the last one counts."""
    reasons = rows.column("reason").to_pylist() if refused.any() else []
    for i in np.flatnonzero(refused).tolist():
        place, reason = int(at[i]), str(reasons[i])
        if settled[i] >= refused_us[place]:
            if reason not in found.reason_texts:
                found.reason_texts.append(reason)
            found.reasons[place], refused_us[place] = found.reason_texts.index(reason), settled[i]


def in_other_ranges(lake: Lake, table: str, rows: RangeRows, index: RowIndex, key: str, ids: pa.Array) -> Bools:
    """Which ids have a row in the table as it is now that was not among the rows of the range; the nearest files first."""
    read = {file.path for file, _ in index.files if rows.start_us <= file.from_us and file.to_us <= rows.end_us}
    files = [file for file in published_files(lake.load(table)) if file.path not in read]
    files.sort(key=lambda file: max(file.from_us - rows.end_us, rows.start_us - file.to_us))
    return _within(files, key, ids)


def dropped_in_range(lake: Lake, table: str, rows: RangeRows, key: str, ids: pa.Array) -> Bools:
    """Which ids have a row in the range that the horizon drops."""
    found = np.zeros(len(ids), dtype=bool)
    for file in known_files(lake.load(table), lake.branch_of(table)):
        if file.dropped and file.from_us < rows.end_us and file.to_us > rows.start_us:
            there = rows.read(file, (key,)).column(key).cast(pa.string()).combine_chunks()
            found |= np.asarray(pc.is_in(ids, value_set=there).to_numpy(zero_copy_only=False))
    return found


def contents_of_copies(lake: Lake, table: str, rows: RangeRows, key: str, ids: pa.Array) -> npt.NDArray[np.bytes_]:
    """What other copies of these ids are sent as, ``pairs_of``: rows that the horizon drops, or that no sweep has looked at yet."""
    loaded = lake.load(table)
    found = [pairs_of(digests([]), digests([]))]
    if not len(ids) or not horizon_s(loaded):
        return found[0]
    settled = {file.path for file in published_files(loaded, settled_snapshot(loaded))}
    for file in known_files(loaded, lake.branch_of(table)):
        if file.dropped or file.path not in settled:
            there = read_columns(file.path, (key,)).column(key).cast(pa.string())
            if pc.any(pc.is_in(there, value_set=ids)).as_py():
                found.append(pairs_of(*rows.contents(file, key, ids)))
    return np.unique(np.concatenate(found))


def in_late(lake: Lake, contract: Contract, ids: pa.Array) -> Bools:
    """Which ids have a row in the table of late rows."""
    with contextlib.suppress(NoSuchTableError):
        return _within(published_files(lake.load(contract.late_table)), contract.event_id, ids)
    return np.zeros(len(ids), dtype=bool)


def _within(files: Sequence[PublishedFile], key: str, ids: pa.Array) -> Bools:
    found = np.zeros(len(ids), dtype=bool)
    for file in files:
        if found.all():
            break
        there = read_columns(file.path, (key,)).column(key).cast(pa.string()).combine_chunks()
        found |= np.asarray(pc.is_in(ids, value_set=there).to_numpy(zero_copy_only=False))
    return found


def rejected(lake: Lake, contract: Contract, ids: pa.Array) -> list[str]:
    """The code of a dead letter of each id; "" where it has none."""
    codes: dict[str, str] = {}
    try:
        table = lake.load(DEAD_LETTERS)
    except NoSuchTableError:
        return [""] * len(ids)
    scan = table.scan(row_filter=EqualTo("dataset", contract.dataset), selected_fields=("event_id", "code"))
    for batch in scan.to_arrow_batch_reader():
        hits = batch.filter(pc.is_in(batch.column("event_id").cast(pa.string()), value_set=ids))
        pairs = zip(hits.column("event_id").to_pylist(), hits.column("code").to_pylist(), strict=True)
        codes.update((event_id, code) for event_id, code in pairs if code not in (WITHDRAWN, Code.REFUSED))
    return [codes.get(event_id, "") for event_id in ids.to_pylist()]
