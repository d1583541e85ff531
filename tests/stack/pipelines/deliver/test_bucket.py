"""A delivery from a lake in a bucket: receipts, letters and states lie there too, also when the store breaks requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.buckets import Emulator
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject, Sample, arrived
from tests.support.faulty import FaultyProxy, faulty


@pytest.mark.parametrize("emulator", ["gs"], indirect=True)
def test_deliver_from_a_bucket(bucket: str, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample.of(600, users=30)
    project = DeliveryProject(
        tmp_path, lake=f"{bucket}/lake", catalog=f"sqlite:///{tmp_path}/catalog.db?timeout=60", event_bytes=500
    )
    project.ingest(sample)
    with CdpEndpoint.started() as cdp, faulty(FaultyProxy(emulator.address, seed=3, share=0.05)) as proxy:
        emulator.use(monkeypatch, proxy.address)
        manifest = project.invoke(cdp, "deliver", project.name, *RANGE, code=1)
        refused = manifest["counts"]["refused"]
        assert manifest["counts"]["delivered"] + refused == len(sample.delivered)
        letters = project.invoke(None, "deadletter", "list", "--code", "refused", "--limit", "10000")
        assert len(letters) == refused > 0
        project.write(project.spec | {"limits": {**project.spec["limits"], "event_bytes": 32_000}})
        again = project.invoke(cdp, "deliver", project.name, *RANGE, "--rows", "refused")
        assert again["counts"]["delivered"] == refused
        assert {event for events in arrived(cdp).values() for event in events} == sample.delivered
        assert cdp.counters()["repeats"] == 0
        assert project.invoke(None, "deadletter", "list", "--code", "refused") == []
        assert proxy.broken
