"""Late rows of a stream, folded into their windows afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from lake.tables.iceberg import published_files
from lake.tables.letter_history import HISTORY
from operations.replay.promote import promote
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import LandedRaw
from pipelines.replay.run import run_replay
from pipelines.replay.select import raw_pieces
from runners.direct import run_bounded
from tests.support.gated import GatedShop, held_hours, public_ids
from tests.support.repairs import run
from tests.support.shop import DAY, HOUR_US, Shop, event
from transforms.cut import Cut
from transforms.read.messages import MessageBatch

LOG = LogId("web-events", "0123456789abcdef012345", 0)
RECEIVED_US = DAY + 12 * HOUR_US
VALUES = [event(n, 8 + n % 4).encode() for n in range(12)]
LATE = [n for n in range(12) if n % 4 == 0]  # of the hour 8, which was over


class _AtElevenOClock:
    """The messages as a stream gives them whose watermark has reached 11:00."""

    def read(self, pipeline: beam.Pipeline) -> Any:
        count = len(VALUES)
        batch = MessageBatch(
            [str(LOG)] * count, np.arange(count), np.full(count, RECEIVED_US), np.full(count, DAY + 11 * HOUR_US), list(VALUES)
        )
        return pipeline | beam.Create([batch], reshuffle=False)


def _shop(folder: Path, kind: type[Shop] = Shop) -> tuple[Shop, IngestGraph]:
    shop = kind(folder)
    spec, contract = shop.project.source("web")
    cut = Cut(allowed_lateness_s=7_200)
    graph = IngestGraph(lake=shop.lake(), contract=contract, spec=spec, run_id="stream", cut=cut)
    graph.prepare()
    messages = [RawMessage(n, RECEIVED_US // 1_000, 0, None, value, ()) for n, value in enumerate(VALUES)]
    PartitionLog(shop.lake(), "web", LOG, batched=False).land(0, len(VALUES), messages)
    return shop, graph


@pytest.fixture
def streamed(tmp_path: Path) -> Shop:
    shop, graph = _shop(tmp_path / "streamed")
    run_bounded(lambda pipeline: graph.build(_AtElevenOClock(), pipeline))
    assert (shop.ledger().late, shop.ledger().out) == (len(LATE), len(VALUES) - len(LATE))
    return shop


def _late_rows(shop: Shop) -> int:
    return sum(file.rows for file in published_files(shop.lake().load("late.customer_event")))


def test_they_are_folded_in_and_a_later_replay_has_them_too(streamed: Shop, tmp_path: Path) -> None:
    assert run(streamed.project, streamed.lake()).aside == {}
    report = run(streamed.project, streamed.lake(), late=True)
    assert (report.exit_code, report.count("recovered")) == (0, len(LATE))
    ledger = streamed.ledger()
    assert ledger.balanced and (ledger.late, ledger.out) == (0, len(VALUES))
    assert _late_rows(streamed) == 0
    whole, graph = _shop(tmp_path / "whole")
    run_bounded(lambda pipeline: graph.build(LandedRaw(list(raw_pieces(graph.lake, graph.spec)), graph.lake, graph.spec), pipeline))
    assert streamed.state() == whole.state()
    assert run(streamed.project, streamed.lake(), late=True).selected == 0
    lines = streamed.lake().load(HISTORY).scan().to_arrow().to_pylist()
    assert sorted((line["position"], line["outcome"], line["code"]) for line in lines) == [(n, "recovered", "late") for n in LATE]
    options = streamed.options("again", 8, 12)
    run_replay(options, streamed.project, streamed.lake(), lambda _: None)
    promote("again", streamed.project, streamed.lake())
    assert streamed.state() == whole.state() and streamed.ledger() == ledger


def test_under_a_gate_they_are_judged_like_any_row(tmp_path: Path) -> None:
    """None of them has the URL that the gate wants."""
    shop, graph = _shop(tmp_path / "gated", GatedShop)
    run_bounded(lambda pipeline: graph.build(_AtElevenOClock(), pipeline))
    graph.gate()
    assert held_hours(shop.lake()) == [9, 10, 11]
    report = run(shop.project, shop.lake(), late=True)
    assert (report.exit_code, report.count("recovered")) == (1, len(LATE))
    assert "the gate holds 1 partition" in report.reasons[0]
    assert (held_hours(shop.lake()), public_ids(shop.lake()), _late_rows(shop)) == ([8, 9, 10, 11], [], 0)
    ledger = shop.ledger()
    assert ledger.balanced and (ledger.late, ledger.held) == (0, len(VALUES))
