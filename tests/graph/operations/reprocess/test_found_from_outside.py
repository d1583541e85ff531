"""What others had trouble with when they drove dead letters again; small inputs from public reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import LandedRaw
from pipelines.replay.select import raw_pieces
from runners.direct import run_bounded
from tests.support.mended import MendedShop
from tests.support.repairs import LOG, open_letters, run, write_recipe
from tests.support.shop import DAY, HOUR_US, WEB, Shop, event
from transforms.cut import Cut

BATCHED: dict[str, Any] = {**{k: v for k, v in WEB.items() if k != "examples"}, "records": "batch"}
BY_HEADER: dict[str, Any] = {
    **{k: v for k, v in WEB.items() if k != "examples"},
    "schema_version": {
        "header": "version",
        "accepted": [1, 2],
        "upcasts": [{"from": 1, "to": 2, "steps": [{"rename": {"path": "kind", "to": "type"}}]}],
    },
}


def _batch(*numbers: int, bad: int) -> str:
    return json.dumps({"batch": [json.loads(event(n, 8, **({"type": "nothing"} if n == bad else {}))) for n in numbers]})


def _mended(spec: dict[str, Any]) -> dict[str, Any]:
    """With a second path for what was rejected."""
    return {**spec, "columns": {**spec["columns"], "event_type": ["kind", "type"]}}


def test_one_bad_event_of_a_batch_brings_no_other_once_more(tmp_path: Path) -> None:
    """snowplow/snowplow#2438, #2684: the whole batch was driven again, and four of five events were there twice."""
    shop = Shop(tmp_path, spec=BATCHED)
    shop.ingest([_batch(1, 2, 3, bad=2), _batch(4, 5, bad=0)])
    before = shop.ledger()
    assert (before.out, before.dead_letter) == (4, 1)
    write_recipe(shop.folder, "page", steps=[{"map": {"path": "type", "values": {"nothing": "page"}}}])
    assert run(shop.project, shop.lake(), recipe=shop.project.recipe("page")).count("recovered") == 1
    after = shop.ledger()
    assert (after.out, after.duplicate, after.dead_letter, after.balanced) == (5, 0, 0, True)


def test_headers_of_a_message_are_there_when_it_is_read_again(tmp_path: Path) -> None:
    """neo4j-contrib/neo4j-streams#229: what lay in the dead letter queue had lost its headers."""
    shop = Shop(tmp_path, spec={**BY_HEADER, "schema_version": {"header": "version", "accepted": [2]}})
    old = json.dumps({k: v for k, v in json.loads(event(1, 8, kind="page")).items() if k != "type"}).encode()
    messages = [
        RawMessage(n, (DAY + 9 * HOUR_US) // 1_000, 0, None, value, (("version", version),))
        for n, (value, version) in enumerate([(event(2, 8).encode(), b"2"), (old, b"1")])
    ]
    spec, contract = shop.project.source("web")
    graph = IngestGraph(lake=shop.lake(), contract=contract, spec=spec, run_id="stream", cut=Cut())
    graph.prepare()
    PartitionLog(shop.lake(), "web", LogId("topic", LOG, 0), batched=False).land(0, 2, messages)
    run_bounded(lambda pipeline: graph.build(LandedRaw(list(raw_pieces(graph.lake, spec)), graph.lake, spec), pipeline))
    assert [code for code, _ in open_letters(shop.lake())] == ["unknown_schema_version"]
    shop.write_spec(BY_HEADER)
    assert run(shop.project, shop.lake()).count("recovered") == 1
    assert (shop.ledger().out, shop.ledger().dead_letter) == (2, 0)


def test_letters_whose_source_is_gone_stay_and_hold_no_other_up(tmp_path: Path) -> None:
    """floci-io/floci#899: messages whose origin nobody knew were dropped when the queue was driven again."""
    shop = Shop(tmp_path)
    shop.ingest([event(1, 8, type="nothing"), event(2, 8)])
    (shop.folder / "sources" / "web.yaml").rename(shop.folder / "sources" / "gone")
    report = run(shop.project, shop.lake())
    assert (report.selected, sum(report.aside.values())) == (0, 1) and "no source 'web'" in next(iter(report.aside))
    assert len(open_letters(shop.lake())) == 1
    (shop.folder / "sources" / "gone").rename(shop.folder / "sources" / "web.yaml")
    shop.write_spec(_mended(WEB))
    assert shop.ledger().dead_letter == 1


@pytest.mark.long
def test_what_was_given_up_is_read_again_only_if_more_attempts_are_allowed(tmp_path: Path) -> None:
    """floci-io/floci#900: the counter of what was moved back sent it to the dead letters at once."""
    shop = Shop(tmp_path)
    shop.ingest([event(1, 8, type="nothing", kind="page"), event(2, 8)])
    for _ in range(2):
        run(shop.project, shop.lake(), max_attempts=3)
    shop.write_spec(_mended(WEB))
    assert run(shop.project, shop.lake(), max_attempts=3).aside == {"given up": 1}
    assert run(shop.project, shop.lake(), max_attempts=4).count("recovered") == 1
    assert shop.ledger().dead_letter == 0


def test_what_a_spec_numbers_otherwise_is_not_read_again(tmp_path: Path) -> None:
    """Positions would mean other records: a letter would go, and its record with it."""
    shop = Shop(tmp_path)
    shop.ingest([_batch(1, 2, bad=2), event(3, 8)])
    shop.write_spec(BATCHED)
    report = run(shop.project, shop.lake())
    assert (report.selected, report.exit_code, list(report.aside.values())) == (0, 1, [1])
    assert "was landed with 2 records, and its spec of today" in report.reasons[0]
    assert len(open_letters(shop.lake())) == 1


@pytest.mark.long
def test_what_a_live_job_publishes_meanwhile_is_kept(tmp_path: Path) -> None:
    """NitinKumar004's review in stackshy/cloudemu#496: what came while a queue was moved was overwritten."""
    mended = MendedShop(tmp_path / "shop")
    later = [event(n, 8, type="nothing" if n % 2 else "page") for n in range(40, 44)]

    def at(step: str) -> None:
        if step == "published":
            mended.shop.ingest(later, num_shards=1)

    mended.reprocess(at=at)
    ledger = mended.shop.ledger()
    assert (ledger.out, ledger.dead_letter, ledger.balanced) == (18, 3, True)
    assert len(open_letters(mended.shop.lake())) == 3
    assert mended.reprocess().count("recovered") == 2
