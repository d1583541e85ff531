"""``headrace drift`` against a real Kafka: a topic whose size takes what its time would keep."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from devstack.stack import Stack
from tests.support.kafka import Broker, Record
from tests.support.shop import Shop, event

pytestmark = pytest.mark.long
HOUR_MS = 3_600_000


def test_a_size_that_keeps_less_than_an_interval(stack: Stack, tmp_path: Path) -> None:
    broker, now_ms = Broker(stack.kafka_bootstrap), int(time.time() * 1e3)
    shop = Shop(tmp_path / "shop")
    with broker.topic(2, retention_bytes="1000000") as topic:
        web = {"input": broker.uri(topic), "every": "day", "timeout": "1h"}
        document = {"lake": "lake", "sources": ["sources"], "schedules": {"start": "2026-11-01", "sources": {"web": web}}}
        (shop.folder / "headrace.yaml").write_text(yaml.safe_dump(document))

        def told() -> list[tuple[str, str]]:
            done = shop.headrace("drift", "--only", "topics", "--json")
            assert done.exit_code in (0, 1), (done.output, done.exception)
            return [(one["deployed"], one["repository"]) for one in json.loads(done.stdout)["differences"]]

        ages = [(partition, hours) for partition in (0, 1) for hours in (40, 30, 1, 0)]
        records = [
            Record(event(number, 8).encode(), time_ms=now_ms - hours * HOUR_MS, partition=partition)
            for number, (partition, hours) in enumerate(ages)
        ]
        broker.send(topic, records)
        assert told() == [], "nothing was lost"
        broker.delete_before(topic, {0: 1, 1: 1})
        assert told() == [], "what is left is older than a day and an hour"
        broker.delete_before(topic, {1: 2})
        assert told() == [("1,000,000 bytes a partition (retention.bytes): [1] keep less", "input of web: needed for 25h")]
        broker.delete_before(topic, {1: 4})
        assert told() == [], "of a partition in which nothing is left nobody knows how fast it fills"
