"""Dead letters of refusals: one for each event, the newest refusal counts, and a delivery takes it back, whoever made it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts.destination import Destination
from contracts.model import Contract
from tests.support.shop import Shop, event
from transforms.deliver.letters import refused_letters, settle_letters, withdraw_letters
from transforms.deliver.receipts import DELIVERED, REFUSED, LaneReceipts, Receipt
from transforms.lake.location import Lake
from transforms.lake.segments import LogId
from transforms.lake.tables import DEAD_LETTERS, WITHDRAWN

TIME_US = 1_793_620_800_000_000  # 2026-11-02T12:00:00Z


class Desk:
    """Writes receipts as a run does, each a second after the one before."""

    def __init__(self, folder: Path) -> None:
        shop = Shop(folder)
        assert shop.ingest("a.jsonl", [event(1, 12), event(2, 13)]).exit_code == 0
        self.lake: Lake = shop.lake()
        self.destination: Destination
        self.contract: Contract
        self.destination, self.contract = shop.project.destination(_SEGMENT)
        self._clock = itertools.count(TIME_US, 1_000_000)

    def told(self, run_id: str, event_id: str, outcome: str, reason: str | None = None) -> None:
        """A run's answer of the destination about an event."""
        receipt = Receipt(0, event_id, TIME_US, outcome, reason, 400 if reason else 200, b"d" * 16, None, next(self._clock))
        LaneReceipts(self.lake, self.destination.name, LogId("rows", run_id, 0)).write(0, 1, [receipt], _NONE())

    def settle(self, run_id: str) -> None:
        settle_letters(self.lake, self.destination, self.contract, run_id)

    def withdraw(self, run_id: str) -> int:
        return withdraw_letters(self.lake, self.destination, self.contract, run_id)

    def letters(self) -> list[tuple[str, str]]:
        """Event and code of all letters of deliveries."""
        rows: pa.Table = self.lake.load(DEAD_LETTERS).scan(row_filter="stage = 'deliver'").to_arrow()
        return sorted(zip(rows.column("event_id").to_pylist(), rows.column("code").to_pylist(), strict=True))

    def expectations(self) -> list[Any]:
        rows: pa.Table = self.lake.load(DEAD_LETTERS).scan(row_filter="stage = 'deliver'").to_arrow()
        return [violation["expected"] for letter in rows.column("violations").to_pylist() for violation in letter]
