"""Letters of a Kafka topic are reprocessed from the landing log: the lake is as one that was given mended messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack.stack import Stack
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from pipelines.ingest.topics import ingest_topics
from tests.support.kafka import Broker, Record
from tests.support.letters import CASES, EVENTS, LetterCase, LetterShop
from tests.support.repairs import RECEIVED_MS, RECIPES, ledger, open_letters, payloads_of, recipe_for, run, totals

MENDED = [case for case in CASES.values() if case.source == EVENTS and case.code in RECIPES and case.streams]


def _stream(shop: LetterShop, broker: Broker, lake: str, cases: list[LetterCase], *, repaired: bool) -> None:
    with broker.topic() as topic:
        broker.send(topic, [Record(value, RECEIVED_MS, 0) for value in payloads_of(cases, repaired=repaired)])
        options = IngestOptions(
            source=EVENTS, input=(broker.uri(topic),), lake=str(shop.folder / lake), max_rejected=1.0, until="now"
        )
        report = ingest_topics(options, shop.project, lambda _: None)
        assert isinstance(report, IngestReport) and report.ledger.balanced


@pytest.mark.long
def test_letters_of_a_topic_are_mended_code_by_code(stack: Stack, tmp_path: Path) -> None:
    shop, broker = LetterShop(tmp_path), Broker(stack.kafka_bootstrap)
    _stream(shop, broker, "lake", MENDED, repaired=False)
    _stream(shop, broker, "fresh", MENDED, repaired=True)
    assert len(open_letters(shop.lake())) == len(MENDED)
    for case in MENDED:
        report = run(shop.project, shop.lake(), codes=[case.code], recipe=recipe_for(shop, case))
        assert (report.exit_code, report.count("recovered")) == (0, 1), case.code
    assert open_letters(shop.lake()) == []
    assert totals(shop.lake(), "customer_event") == totals(shop.lake("fresh"), "customer_event")
    assert ledger(shop.project, shop.lake(), EVENTS) == ledger(shop.project, shop.lake("fresh"), EVENTS)
