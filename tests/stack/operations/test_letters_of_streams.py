"""Every dead-letter code that a message can give lands from a stream with the envelope that it has from a file."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.stack import Stack
from lake.raw.log_ids import is_log
from operations.deadletters.selection import SCHEMA, LetterSelection, select
from pipelines.ingest.options import IngestOptions
from pipelines.ingest.run import IngestReport
from pipelines.ingest.topics import ingest_topics
from tests.support.kafka import Broker, Record
from tests.support.letters import CASES, SPECS, LetterCase, LetterShop

RECEIVED_MS = 1_793_613_720_000  # when the events were: none of them is late
STREAMED = [case for case in CASES.values() if case.streams]
SAME = ("code", "violations", "stage", "dataset", "contract_version", "source", "attempt", "event_id", "raw", "state")


def letters(shop: LetterShop, lake: str) -> dict[str, dict[str, Any]]:
    """Of a lake, by code."""
    return {row["code"]: row for batch in select(shop.lake(lake), LetterSelection(), SCHEMA.names) for row in batch.to_pylist()}


@pytest.fixture(scope="module")
def both(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Letters of files, and of the same records from topics."""
    shop = LetterShop(tmp_path_factory.mktemp("letters"))
    broker = Broker(stack.kafka_bootstrap)
    for source in SPECS:
        cases = [case for case in STREAMED if case.source == source]
        if not cases:
            continue
        shop.ingest(source, [shop.write(case) for case in cases], "files")
        with broker.topic() as topic:
            broker.send(topic, [Record(value, RECEIVED_MS, 0) for case in cases for value in case.bad])
            options = IngestOptions(
                source=source, input=(broker.uri(topic),), lake=str(shop.folder / "topics"), max_rejected=1.0, until="now"
            )
            report = ingest_topics(options, shop.project, lambda _: None)
            assert isinstance(report, IngestReport) and report.ledger.balanced
    return letters(shop, "files"), letters(shop, "topics")


@pytest.mark.parametrize("case", STREAMED, ids=lambda case: str(case.code))
def test_a_message_and_a_line_give_one_letter(case: LetterCase, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    of_file, of_topic = (found[case.code] for found in both)
    assert {name: of_topic[name] for name in SAME} == {name: of_file[name] for name in SAME}
    assert is_log(of_topic["_raw_file"]) and of_topic["position"] == f"{of_topic['_raw_file']}:{of_topic['_position']}"


def test_there_is_a_letter_of_each_and_no_other(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    expected = {str(case.code) for case in STREAMED}
    assert set(both[0]) == set(both[1]) == expected
