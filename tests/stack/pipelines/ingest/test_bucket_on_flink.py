"""A stream on Flink into a lake at ``s3://``: workers in processes of their own know the store by their environment alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from devstack.stack import Stack
from lake.location import Lake
from tests.support.buckets import Emulator
from tests.support.kafka import Broker, Record
from tests.support.lake_state import scan
from tests.support.shop import TABLE, Shop
from tests.support.stream_population import track

_EVENTS = 60


@pytest.mark.parametrize("emulator", ["s3"], indirect=True)
def test_a_topic_goes_into_a_lake_in_a_bucket(emulator: Emulator, private_stack: Stack, tmp_path: Path) -> None:
    """The emulator is named by the environment before Flink is started."""
    bucket = emulator.make_bucket()
    catalog = f"sqlite:///{tmp_path}/catalog.db?timeout=60"
    shop = Shop(tmp_path / "shop", f"catalog: {catalog}")
    private_stack.up(["kafka", "flink", "job-server"])
    broker, now = Broker(private_stack.kafka_bootstrap), datetime.now(UTC)
    with broker.topic(2) as topic:
        broker.send(topic, [Record(track(f"m-{n}", now), int(now.timestamp() * 1000), n % 2) for n in range(_EVENTS)])
        where = ("--lake", f"{bucket}/lake", "--runner", "flink", "--flink", private_stack.flink_rest, "--workers", 2)
        done = shop.headrace("ingest", "web", "--input", broker.uri(topic), "--until", "now", *where)
    assert done.exit_code == 0, done.output
    lake = Lake.at(f"{bucket}/lake", catalog)
    assert set(scan(lake, TABLE)["event_id"].to_pylist()) == {f"m-{n}" for n in range(_EVENTS)}
    checked = shop.headrace("lake", "check", "--verify", "--lake", f"{bucket}/lake")
    assert checked.exit_code == 0, checked.output
