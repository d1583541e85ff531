"""``headrace replay`` as a person and a program see it: outputs, exit codes, one JSON document, all mistakes at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lake.location import Lake
from lake.runs.replays import Step, add_event, replay_of
from pipelines.replay import rebuild as module
from tests.support.lake_state import scan
from tests.support.shop import TABLE, Shop

RANGE = ("--dataset", "customer_event", "--start", "2026-11-02T10:00:00Z", "--end", "2026-11-02T12:00:00Z")
APPROVED = ("--approved-by", "ada", "--reason", "a bug in the mapping")  # however long ago the range is when this runs
_EVENT = (
    '{"messageId":"m-%d","type":"%s","anonymousId":"a-1","originalTimestamp":"2026-11-02T%d:30:00Z",'
    '"receivedAt":"2026-11-02T12:00:00Z"}'
)


class ReplayShop(Shop):
    """With some events ingested, and ``headrace replay`` on it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "consumers: {customer_event: [{name: audiences}]}")
        self.ingest([*(_EVENT % (n, "page", 10 + n % 2) for n in range(6)), _EVENT % (6, "odd", 10)])

    def replay(self, *arguments: object) -> str:
        """``headrace replay``, which succeeds: what it prints."""
        done = self.headrace("replay", *arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    def told(self, *arguments: object, exit_code: int = 2) -> str:
        """``headrace replay``, which does not: what it says, and nothing on stdout."""
        done = self.headrace("replay", *arguments)
        assert done.exit_code == exit_code, done.output
        assert done.stdout == "" and "Traceback" not in done.stderr
        return done.stderr.strip()

    def document(self, *arguments: object) -> Any:
        """``headrace replay … --json``: the one document on stdout."""
        return json.loads(self.replay(*arguments, "--json"))

    def record(self) -> list[str]:
        """Files of the record, which wrong use never adds to."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("_replays/**/*") if path.is_file())


@pytest.fixture
def shop(tmp_path: Path) -> ReplayShop:
    return ReplayShop(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> ReplayShop:
    """For tests of wrong use, which leaves no trace."""
    return ReplayShop(tmp_path_factory.mktemp("shop"))


def test_from_plan_to_rollback_and_discard_in_words(shop: ReplayShop) -> None:
    shop.write_spec({**shop.spec, "filter": [*shop.spec["filter"], {"path": "messageId", "in": ["m-1"]}]})
    plan = shop.replay("plan", "mend", *RANGE)
    assert "rebuilt: 2026-11-02T10:00:00Z to 2026-11-02T12:00:00Z" in plan
    assert "2 windows, 7 records" in plan and "audiences" in plan
    assert shop.record() == []
    assert "no replays" in shop.replay("list")
    ran = shop.replay("run", "mend", *RANGE, *APPROVED)
    assert [line.split() for line in ran.splitlines() if line.startswith("web ")] == [
        ["web", "7", "5", "0", "0", "1", "1", "0", "0", "0"]
    ]
    assert f"branch replay_mend is ready; headrace replay diff --project {shop.folder} mend" in ran
    assert len(scan(shop.lake(), TABLE)) == 6, "nothing is published by a run"
    promoted = shop.replay("promote", "mend")
    assert "mend is promoted: 0 rows added, 1 removed, 0 changed in customer_event" in promoted
    assert "_replays/00000003-mend/" in promoted
    assert len(scan(shop.lake(), TABLE)) == 5
    listed = shop.replay("list").splitlines()
    assert listed[1].split()[:3] == ["mend", "promoted", "customer_event"] and "a bug in the mapping" in listed[1]
    rolled = shop.replay("rollback", "mend")
    assert "mend is rolled back: 1 rows added, 0 removed, 0 changed" in rolled
    assert len(scan(shop.lake(), TABLE)) == 6
    told = shop.replay("list", "mend")
    places = [told.index(word) for word in ("begun", "finished", "promoting", "promoted", "rolling back", "rolled back")]
    assert places == sorted(places) and "approved_by ada" in told
    assert "replay mend is discarded" in shop.replay("discard", "mend")


def test_a_range_without_rows_is_told(shop: ReplayShop) -> None:
    empty = ("--dataset", "customer_event", "--start", "2025-11-02T10:00:00Z", "--end", "2025-11-02T12:00:00Z")
    plan = shop.replay("plan", "wrong", *empty)
    assert "no row is published in this range now; the table reaches from 2026-11-02T10:00:00Z to 2026-11-02T12:00:00Z" in plan
    assert "no row is published" not in shop.replay("plan", "right", *RANGE)
    shop.replay("run", "wrong", *empty, *APPROVED)
    assert "no row in them, neither live nor in the replay; is this the right range?" in shop.replay("diff", "wrong")


def test_every_answer_for_programs_is_one_document(shop: ReplayShop) -> None:
    plan = shop.document("plan", "mend", *RANGE)
    assert plan["ranges"] == [["2026-11-02T10:00:00Z", "2026-11-02T12:00:00Z"]]
    assert (plan["records"], plan["windows"], plan["consumers"][-1]) == (7, 2, "audiences")
    ran = shop.document("run", "mend", *RANGE, *APPROVED)
    assert (ran["name"], ran["branch"], ran["rows"], ran["paused"], ran["reasons"]) == ("mend", "replay_mend", 6, False, [])
    (entry,) = shop.document("list")
    assert (entry["name"], entry["state"], entry["branch"]) == ("mend", "finished", "replay_mend")
    promoted = shop.document("promote", "mend")
    assert (promoted["name"], promoted["added"], promoted["removed"], promoted["changed"]) == ("mend", 0, 0, 0)
    assert (promoted["rows"], promoted["content_hash"]) == (6, _hash(shop))
    assert shop.document("rollback", "mend")["content_hash"] == promoted["content_hash"]
    one = shop.document("list", "mend")
    steps = ["begun", "finished", "promoting", "promoted", "rolling back", "rolled back"]
    assert [event["step"] for event in one["events"]] == steps
    assert [event["number"] for event in one["events"]] == list(range(1, 7))
    assert one["spec"]["approved_by"] == "ada"


def _hash(shop: ReplayShop) -> str:
    snapshot = shop.lake().load(TABLE).current_snapshot()
    assert snapshot is not None and snapshot.summary is not None
    return snapshot.summary.additional_properties["headrace.content-hash"]


def test_a_paused_replay_goes_on_by_its_name(shop: ReplayShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is paused after its first look; what was said of how it runs may be said anew."""
    looks = iter([lambda: shop.replay("pause", "slow")])
    may_go_on = module._may_go_on

    def pause_first(lake: Lake, name: str, *rest: Any) -> bool:
        next(looks, lambda: "")()
        return may_go_on(lake, name, *rest)

    monkeypatch.setattr(module, "_may_go_on", pause_first)
    said = shop.replay("run", "slow", *RANGE, *APPROVED)
    assert f"paused; headrace replay run --project {shop.folder} slow goes on" in said
    assert shop.document("list")[0]["state"] == "paused"
    assert "is paused, not running" in shop.told("pause", "slow")
    assert "only one that is finished can be promoted" in shop.told("promote", "slow")
    assert "was begun with other --end" in shop.told("run", "slow", *RANGE[:-1], "2026-11-02T13:00:00Z")
    assert "branch replay_slow is ready" in shop.replay("run", "slow", "--max-rate", "1G")
    assert shop.document("list")[0]["state"] == "finished"


def test_all_wrong_options_are_told_at_once(shop: ReplayShop) -> None:
    words = shop.told("plan", "mend")
    assert all(f"{name} is missing" in words for name in ("--dataset", "--start", "--end"))
    words = shop.told(
        "run", "mend", "--start", "yesterday", "--window", "7m", "--max-rate", "1q", "--by", "chance", "--offsets", "x"
    )
    for name in ("--dataset", "--start", "--end", "--window", "--max-rate", "--by", "--offsets"):
        assert name in words
    words = shop.told("run", "../x", *RANGE[:2], "--start", RANGE[5], "--end", RANGE[3], "--flink", "a:1", "--approved-by", "ada")
    for name in ("NAME '../x'", "--end: is not after --start", "--flink: with --runner flink only", "--reason"):
        assert name in words
    assert shop.record() == []


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "/tmp/x", "", "A", "a b", "a\n", "x" * 65, "1", "-a", "a;drop", "ä"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_name_that_is_no_name_is_refused(verb: str, name: str, unchanged: ReplayShop) -> None:
    words = unchanged.told(verb, *RANGE, *APPROVED, "--", name)
    assert "expected a name of lower-case letters" in words
    assert unchanged.record() == []


@pytest.mark.parametrize("verb", ["run", "pause", "diff", "promote", "rollback", "discard", "list"])
def test_a_name_that_is_not_there_is_refused(verb: str, unchanged: ReplayShop) -> None:
    assert unchanged.told(verb, "../x") == "headrace: no replay '../x' in this lake; there is: none"
    assert unchanged.record() == []


def test_what_is_not_there_to_replay(shop: ReplayShop) -> None:
    assert "no source of this project feeds the dataset 'nothing'" in shop.told("run", "mend", "--dataset", "nothing", *RANGE[2:])
    assert "--source nobody: does not feed customer_event; there is: web" in shop.told("run", "mend", *RANGE, "--source", "nobody")
    assert "no lake at" in shop.told("run", "mend", *RANGE, "--lake", shop.folder / "elsewhere")
    assert not (shop.folder / "elsewhere").exists()
    gone = (
        "--dataset",
        "customer_event",
        "--start",
        "2026-11-01T00:00:00Z",
        "--end",
        "2026-11-02T00:00:00Z",
        "--by",
        "received-time",
    )
    assert "there is no window to rebuild" in shop.told("run", "mend", *gone)
    assert "no such topic and partition was landed" in shop.told("run", "mend", *RANGE, "--offsets", "web/0:1-2")
    assert shop.record() == []


def test_above_the_limits_it_says_what_it_needs(shop: ReplayShop) -> None:
    long_ago = ("--dataset", "customer_event", "--start", "2020-01-01T00:00:00Z", "--end", "2026-11-03T00:00:00Z")
    words = shop.told("run", "big", *long_ago)
    for limit in ("more than maxWindows 744", "further than maxAge 90d", "--approved-by NAME and --reason TEXT"):
        assert limit in words
    assert "needs --approved-by and --reason: " in shop.replay("plan", "big", *long_ago)
    assert shop.record() == []


def test_a_step_out_of_turn_is_refused_and_leaves_no_trace(shop: ReplayShop) -> None:
    shop.replay("run", "mend", *RANGE, *APPROVED)
    record = shop.record()
    assert shop.told("promote", "mnd") == "headrace: no replay 'mnd' in this lake; there is: mend"
    assert "is finished, not running" in shop.told("pause", "mend")
    assert "only one that was promoted can be rolled back" in shop.told("rollback", "mend")
    assert "mend rebuilds some of the same windows" in shop.told("run", "other", *RANGE, *APPROVED)
    assert shop.record() == record
    shop.replay("promote", "mend")
    record = shop.record()
    assert "is promoted, and only one that is finished can be promoted" in shop.told("promote", "mend")
    assert "is promoted; a name is used once" in shop.told("run", "mend")
    assert "rows" in shop.replay("promote", "mend", "--unless-done") and shop.record() == record
    add_event(shop.lake(), "mend", Step.ROLLING_BACK, {})
    assert "is rolling back" in shop.told("discard", "mend")
    shop.replay("rollback", "mend")
    assert replay_of(shop.lake(), "mend").step is Step.ROLLED_BACK
    record = shop.record()
    assert "is rolled back" in shop.replay("rollback", "mend", "--unless-done")
    assert "only one that is finished can be promoted" in shop.told("promote", "mend", "--unless-done")
    assert shop.record() == record
