"""Replay, promotion and rollback of a lake in a bucket, also when the store breaks requests: the same as on a disk."""

from __future__ import annotations

import gzip
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from lake.location import Lake
from lake.storage import storage_of
from lake.tables.publish import table_totals
from lake.upkeep import list_tables
from operations.replay.promote import promote, rollback
from pipelines.replay.run import run_replay
from tests.support.buckets import Emulator
from tests.support.faulty import FaultyProxy, faulty
from tests.support.runs import ingest
from tests.support.shop import LINES, TABLE, Shop, strict


def scenario(shop: Shop, lake: Lake, inputs: str) -> list[tuple[int, int]]:
    """Rows and hash after ingest, promotion and rollback of a replay with a filter. inputs: a folder for its input."""
    states: list[tuple[int, int]] = []

    def note() -> None:
        states.append(table_totals(lake.load(TABLE)))
        assert all(t.verified is not False for t in list_tables(lake, verify=True))

    shop.write_spec(shop.spec)
    path = shop.write_lines("events.jsonl", LINES)
    storage = storage_of(inputs)
    copy = storage.scratch(f"{inputs}/events.jsonl.gz")
    copy.write_bytes(gzip.compress(path.read_bytes()))
    storage.upload(copy, f"{inputs}/events.jsonl.gz", path.stat().st_mtime_ns // 1_000)
    project = replace(shop.project, catalog=lake.catalog_url)
    ingest(lake, [f"{inputs}/*.jsonl.gz"], project=project, max_rejected=1)
    note()
    shop.write_spec(strict(shop.spec))
    project = replace(shop.project, catalog=lake.catalog_url)
    assert run_replay(shop.options("mend", 8, 12), project, lake, lambda _: None).exit_code == 0
    promote("mend", project, lake)
    note()
    rollback("mend", project, lake)
    note()
    return states


@pytest.mark.parametrize(("emulator", "share"), [("gs", 0.0), ("gs", 0.05), ("s3", 0.05)], indirect=["emulator"])
def test_a_replay_in_a_bucket_is_the_same_as_on_a_disk(
    share: float, bucket: str, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path / "shop")
    expected = scenario(shop, shop.lake(), str(tmp_path / "in"))
    assert expected[0] == expected[2] != expected[1]
    lake = Lake.at(f"{bucket}/lake", f"sqlite:///{tmp_path}/catalog.db?timeout=60")
    proxy = FaultyProxy(emulator.address, seed=7, share=share)
    with faulty(proxy) if share else nullcontext():
        if share:
            emulator.use(monkeypatch, proxy.address)
        assert scenario(shop, lake, f"{bucket}/in") == expected
    assert bool(proxy.broken) == bool(share)
    emulator.use(monkeypatch)
