"""Dead letters ``refused``: made from receipts, so that whatever dies, each refusal has one in the end.

A lane's mark, ``deliveries/<destination>/letters/<lane>``, says up to which place refusals have letters. A letter is that of an
event and a destination: refused again it is the same, and a delivery takes it back (the code WITHDRAWN, which readers pass over).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, EqualTo

from contracts.codes import Code, Violation
from contracts.spec.destination import Destination
from contracts.spec.model import Contract
from contracts.units import datetime_to_us
from lake.location import Lake
from lake.receipts.lanes import LaneId
from lake.receipts.receipts import (
    DELIVERED,
    REFUSED,
    all_receipts,
    deliveries_folder,
    lane_folder,
    lane_name,
    lanes_of,
    list_receipts,
    read_receipts,
)
from lake.tables.iceberg import DEAD_LETTERS, WITHDRAWN, num_shards
from lake.tables.letters import publish_letters
from transforms.cut import Cut
from transforms.deliver.http.client import WRONG_ANSWER
from transforms.deliver.table import digests
from transforms.letters import by_range, dead_letter_id_of, dead_letter_rows

STAGE = "deliver"
_UNANSWERED = ("timeout", "reset", WRONG_ANSWER)


def settle_letters(
    lake: Lake, destination: Destination, contract: Contract, run_id: str, lanes: Sequence[LaneId] | None = None
) -> None:
    """Commit the dead letters of refusals that have none yet. Doing it again changes nothing.

    Args:
        lake: where receipts and dead letters lie.
        destination: which refused.
        contract: of its dataset.
        run_id: goes into the letters.
        lanes: where to look; None for all there are.
    """
    found: list[dict[str, Any]] = []
    reached: dict[LaneId, int] = {}
    for lane in lanes_of(lake, destination.name) if lanes is None else lanes:
        mark = _marked(lake, destination.name, lane)
        for file in list_receipts(lake, lane_folder(lake, destination.name, lane)):
            if not file.refused or file.end <= mark:
                continue
            try:
                rows, _ = read_receipts(file)
            except FileNotFoundError:  # merged meanwhile: found in the next round
                reached.pop(lane, None)
                break
            rows = rows.filter(pc.and_(pc.equal(rows.column("outcome"), REFUSED), pc.greater_equal(rows.column("offset"), mark)))
            found += [_letter(row, lane_name(lane), destination.name, contract, Code.REFUSED) for row in rows.to_pylist()]
            reached[lane] = file.end
    if found:
        _commit(lake, found, run_id)
    for lane, end in reached.items():
        lake.storage.write(_mark(lake, destination.name, lane), str(end).encode())


def withdraw_letters(
    lake: Lake, destination: Destination, contract: Contract, run_id: str, told: Callable[[Sequence[str]], None] | None = None
) -> int:
    """Take back letters of events that were delivered after they were refused, by whichever run; how many.

    Args:
        lake: where receipts and dead letters lie.
        destination: which refused.
        contract: of its dataset.
        run_id: goes into the letters.
        told: gets the ids of the letters before they are taken back; killed in between, it gets them again the next time.
    """
    letters = refused_letters(lake, destination.name)
    hashes = digests(letters.column("event_id").to_pylist())
    refused = np.unique(hashes)
    delivered_us = np.zeros(len(refused), dtype=np.int64)
    for _, rows, _ in all_receipts(lake, destination.name, ["event_id", "outcome", "settled_at"]) if len(refused) else ():
        done = rows.filter(pc.equal(rows.column("outcome"), DELIVERED))
        ids, settled = digests(done.column("event_id").to_pylist()), done.column("settled_at").cast(pa.int64()).to_numpy()
        known = np.isin(ids, refused)
        np.maximum.at(delivered_us, np.searchsorted(refused, ids[known]), settled[known])
    refused_us = np.array([_settled_us(rank) for rank in letters.column("_rank").to_pylist()], dtype=np.int64)
    back = letters.filter(pa.array(delivered_us[np.searchsorted(refused, hashes)] > refused_us)).to_pylist()
    if back:
        withdrawn = [_letter(_row(x), x["_raw_file"], destination.name, contract, WITHDRAWN) for x in back]
        if told:
            told([letter["dead_letter_id"] for letter in withdrawn])
        _commit(lake, withdrawn, run_id)
    return len(back)


def refused_letters(lake: Lake, destination: str) -> pa.Table:
    """The dead letters of a destination."""
    columns = ("event_id", "_position", "_window_time", "_raw_file", "_rank")
    with contextlib.suppress(NoSuchTableError):
        table = lake.catalog().load_table(DEAD_LETTERS)
        condition = And(EqualTo("source", destination), And(EqualTo("stage", STAGE), EqualTo("code", str(Code.REFUSED))))
        rows: pa.Table = table.scan(row_filter=condition, selected_fields=columns).to_arrow()
        return rows
    return pa.table({name: pa.array([], pa.binary() if name == "_rank" else pa.string()) for name in columns})


def _commit(lake: Lake, letters: Sequence[dict[str, Any]], run_id: str) -> None:
    violations = [letter.pop("violations") for letter in letters]
    shards = num_shards(lake.load(DEAD_LETTERS))
    rows = dead_letter_rows(list(letters), violations, run_id)
    publish_letters(lake, by_range(rows, Cut(num_shards=shards)), run_id)


def _row(letter: dict[str, Any]) -> dict[str, Any]:
    """What a letter is taken back by."""
    return {
        "event_id": letter["event_id"], "offset": letter["_position"], "window_time": letter["_window_time"],
        "settled_at": datetime.now(UTC), "reason": None, "status": None, "event": None,
    }  # fmt: skip


def _letter(row: dict[str, Any], lane: str, destination: str, contract: Contract, code: str) -> dict[str, Any]:
    """A letter of a receipt; of several for one event the one that was settled last holds."""
    settled_us, window_us = datetime_to_us(row["settled_at"]), datetime_to_us(row["window_time"])
    status = f"HTTP {row['status']}" if row["status"] else "no usable answer" if row["reason"] in _UNANSWERED else "no request"
    identity = dead_letter_id_of(destination, row["event_id"], STAGE, contract.dataset)
    return {
        "dead_letter_id": identity,
        "code": code,
        "violations": [Violation("$", "delivery", f"taken by {destination} ({row['reason']}, {status})")],
        "stage": STAGE,
        "dataset": contract.dataset,
        "contract_version": contract.version,
        "event_id": row["event_id"],
        "raw": row["event"],
        "_source": destination,
        "_raw_file": lane,
        "_position": row["offset"],
        "_received_at": window_us,
        "_window_time": window_us,
        "_rank": (2**63 - settled_us).to_bytes(8, "big"),
        "_row_hash": xxhash.xxh3_128_digest(f"{identity}\0{code}\0{settled_us}".encode()),  # else it would change nothing
    }


def _settled_us(rank: bytes) -> int:
    return 2**63 - int.from_bytes(rank, "big")


def _marked(lake: Lake, destination: str, lane: LaneId) -> int:
    try:
        return int(lake.storage.read(_mark(lake, destination, lane)))
    except FileNotFoundError:
        return 0


def _mark(lake: Lake, destination: str, lane: LaneId) -> str:
    return f"{deliveries_folder(lake, destination)}/letters/{lane.rows_from}/{lane.version}/{lane.number}"
