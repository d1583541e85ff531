"""What a replay would change is told in full, with the right reasons, and without a value that is personal data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.replay_view import show_difference
from contracts.errors import ConfigurationError
from lake.ledger.outcomes import Outcome, PositionOutcomes
from lake.ledger.sidecars import append_outcomes
from lake.location import Lake
from lake.raw.files import raw_files
from lake.runs.replays import Step, add_event
from lake.tables.iceberg import LEDGER
from lake.tables.publish import table_totals
from operations.replay.difference import difference
from operations.replay.page import page, write_page
from operations.replay.promote import discard, promote, rollback
from tests.support.processes import ROOT
from tests.support.shop import DAY, HOUR_US, TABLE, Shop

EVIL = "<script>alert('x')</script>\x1b[2J"
SECRET = "secret-person"


def event(event_id: str, hour: int, minute: int = 0, **more: Any) -> str:
    """A line of the web source. Whose it is, and where from, is personal data."""
    time = f"2026-11-02T{hour:02d}:{minute:02d}:00Z"
    person = {"anonymousId": SECRET, "userId": f"{SECRET}-user", "context": {"ip": f"{SECRET}-ip", "locale": "de"}}
    return json.dumps({"messageId": event_id, "type": "page", "originalTimestamp": time, **person, **more})


LINES = [
    *(event(f"m-{n}", 8, n) for n in range(10)),
    event("odd", 9, channel="web", type="new type"),  # rejected: not_in_enum
    event("bot", 9, context={"traffic": "bot"}),  # filtered
    event(EVIL, 10, 1, name="old name"),
    event("gone", 10, 2, context={"traffic": "human", "ip": SECRET, "locale": "de"}),
    event("refused", 10, 3, locale="de"),
    event("twice", 10, 4, receivedAt="2026-11-02T12:00:00Z", name="first"),
    event("twice", 10, 4, receivedAt="2026-11-02T12:01:00Z", name="second"),
    event("leaves", 10, 5, timestamp="2026-11-02T15:00:00Z"),
]


class ContractShop(Shop):
    """With a contract of its own."""

    def __init__(self, folder: Path) -> None:
        self.contract = (ROOT / "contracts" / "datasets" / "customer_event.v1.yaml").read_text()
        (folder / "datasets").mkdir()
        super().__init__(folder, "datasets: [datasets]")
        self.write(self.spec, self.contract)

    def write(self, spec: dict[str, Any], contract: str) -> None:
        """Change the source and the contract."""
        self.write_spec(spec)
        (self.folder / "datasets" / "customer_event.v1.yaml").write_text(contract)

    def replay(self, name: str = "mend", first: int = 8, last: int = 11) -> None:
        """Replay the hours [first, last)."""
        self.run(name, first, last, raw="all")

    def diff(self, name: str = "mend", **more: Any) -> dict[str, Any]:
        """The document; it is JSON."""
        document = difference(self.lake(), self.project, name, **{"reveal": True} | more)
        assert json.loads(json.dumps(document)) == document
        return document


@pytest.fixture
def shop(tmp_path: Path) -> ContractShop:
    """With one file."""
    shop = ContractShop(tmp_path)
    shop.ingest(LINES)
    return shop


def mend(shop: ContractShop) -> None:
    """Another mapping and contract: each of the seeded rows comes, goes or changes."""
    spec = shop.spec | {
        "filter": [{"path": "messageId", "in": ["gone"]}],
        "columns": shop.spec["columns"] | {"locale": "name", "original_timestamp": ["timestamp", "originalTimestamp"]},
    }
    contract = shop.contract.replace("version: 1.0.0", "version: 1.1.0").replace(
        "{value: alias}", "{value: alias}, {value: new type}"
    )
    contract = contract.replace(
        "{name: locale, logicalType: string, logicalTypeOptions: {maxLength: 64}}",
        "{name: locale, logicalType: string, logicalTypeOptions: {maxLength: 64, pattern: '^[^!]*$'}}",
    )
    assert contract.count("new type") == 1
    shop.write(spec, contract)


@pytest.fixture
def mended(tmp_path: Path) -> ContractShop:
    """A finished replay with another mapping and contract, and one row that was ingested after it."""
    shop = ContractShop(tmp_path)
    lines = [json.loads(line) for line in LINES]
    for line in lines:
        line["context"].pop("locale", None)
    lines[14]["name"] = "not this!"  # refused
    shop.ingest([json.dumps(line) for line in lines])
    mend(shop)
    shop.replay()
    shop.ingest([event("since", 9, 30)])
    return shop


def told(document: dict[str, Any]) -> dict[str, int]:
    return {kind: document["totals"][kind] for kind in ("added", "removed", "changed", "since")}


def test_every_seeded_difference_is_found_with_its_reason_and_nothing_else(mended: ContractShop) -> None:
    document = mended.diff()
    assert told(document) == {"added": 2, "removed": 3, "changed": 2, "since": 1}
    assert document["why"] == {
        "added": {"was filtered": 1, "was rejected: not_in_enum": 1},
        "removed": {"belongs to another window now": 1, "filtered now": 1, "rejected now: bad_pattern": 1},
        "changed": {"same record, other contract or code": 2},
    }
    assert document["columns"] == {"locale": 2}
    seen = {kind: {s["event_id"]: s["why"] for s in document["samples"][kind]} for kind in document["samples"]}
    assert seen == {
        "added": {"odd": "was rejected: not_in_enum", "bot": "was filtered"},
        "removed": {
            "gone": "filtered now",
            "refused": "rejected now: bad_pattern",
            "leaves": "belongs to another window now",
        },
        "changed": dict.fromkeys((EVIL, "twice"), "same record, other contract or code"),
    }
    changed = {s["event_id"]: s["columns"] for s in document["samples"]["changed"]}
    assert changed[EVIL] == [{"column": "locale", "live": None, "replay": "old name"}]
    assert document["contract_versions"] == {"live": ["1.0.0", "1.1.0"], "replay": "1.1.0"}  # the row since came with the new one
    assert (document["equal"], document["next"]) == (False, "headrace replay promote mend")


def test_windows_and_totals_add_up_to_the_tables(mended: ContractShop) -> None:
    document = mended.diff()
    totals, windows = document["totals"], document["windows"]
    assert [(w["from"][11:13], w["added"], w["removed"], w["changed"], w["since"]) for w in windows] == [
        ("09", 2, 0, 0, 1),
        ("10", 0, 3, 2, 0),
    ]
    assert (document["windows_in_all"], document["windows_equal"]) == (3, 1)
    assert totals["same"] == 10
    rows, digest = table_totals(mended.lake().load(TABLE))  # nothing lies outside the ranges
    assert (totals["live_rows"], totals["live_hash"]) == (rows, f"{digest:032x}")
    onto = Lake(mended.lake().root, mended.lake().catalog_url, "replay_mend")
    rows, digest = table_totals(onto.load(TABLE))
    assert (totals["replay_rows"], totals["replay_hash"]) == (rows, f"{digest:032x}")
    entry = document["ledger"]["web"]
    assert (entry["live"]["records_in"], entry["live"]["out"], entry["live"]["filtered"]) == (18, 15, 1)
    assert entry["live"]["codes"] == {"conflicting_duplicate": 1, "not_in_enum": 1}
    assert (entry["replay"]["out"], entry["replay"]["outside"], entry["replay"]["filtered"]) == (14, 1, 1)
    assert entry["replay"]["codes"] == {"bad_pattern": 1, "conflicting_duplicate": 1}


def test_without_a_change_nothing_differs(shop: ContractShop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.replay("same")
    document = shop.diff("same")
    assert document["equal"]
    assert told(document) == {"added": 0, "removed": 0, "changed": 0, "since": 0}
    assert (document["windows"], document["windows_equal"]) == ([], 3)
    show_difference(document)
    assert "nothing differs" in capsys.readouterr().out
    assert "Nothing differs" in page(document)


def test_late_and_lost_rows_are_told_apart(shop: ContractShop) -> None:
    """The live ledger is made to say what a stream's would: some rows were late, some raw was never ingested."""
    (raw,) = raw_files(shop.lake(), "web")
    shop.lake().load(TABLE).delete("event_id in ('m-1', 'm-2', 'm-3', 'm-4')")
    shop.lake().load(LEDGER).delete("outcome = 'accepted'")
    late = (DAY + 8 * HOUR_US, DAY + 9 * HOUR_US)
    outcomes = [
        PositionOutcomes("web", raw.raw_file, Outcome.ACCEPTED, (0, 1, 3, 7, 12, 6), *late),
        PositionOutcomes("web", raw.raw_file, Outcome.LATE, (1, 1), *late),
        PositionOutcomes("web", raw.raw_file, Outcome.DUPLICATE, (3, 1), *late),
    ]
    append_outcomes(shop.lake(), outcomes, "r")
    shop.replay("late", 8, 9)
    document = shop.diff("late")
    assert document["why"]["added"] == {
        "late row folded in": 1,
        "lost against another row before": 1,
        "was neither published nor dropped": 1,
        "was never ingested": 1,
    }
    assert {s["event_id"]: s["why"] for s in document["samples"]["added"]} == {
        "m-1": "late row folded in",
        "m-2": "was never ingested",
        "m-3": "lost against another row before",
        "m-4": "was neither published nor dropped",
    }
    assert told(document) == {"added": 4, "removed": 0, "changed": 0, "since": 0}


def test_another_winner_is_told_with_both_places_and_masked_values(shop: ContractShop) -> None:
    spec = {**shop.spec, "filter": [*shop.spec["filter"], {"path": "name", "in": ["first"]}]}
    shop.write(spec, shop.contract)
    shop.replay("winner")
    (sample,) = shop.diff("winner")["samples"]["changed"]
    assert (sample["event_id"], sample["why"]) == ("twice", "another row won")
    assert (sample["live_position"], sample["position"]) == (15, 16)
    cells = {c["column"]: (c["live"], c["replay"]) for c in sample["columns"]}
    assert cells["received_at"] == ("2026-11-02T12:00:00Z", "2026-11-02T12:01:00Z")
    assert cells["event_name"] == ("first", "second")


def test_values_of_many_changed_rows_are_each_rows_own(shop: ContractShop) -> None:
    columns = {"event_name": ["messageId", "name"], "library": "type"}
    shop.write({**shop.spec, "columns": shop.spec["columns"] | columns}, shop.contract)
    shop.replay("renamed")
    document = shop.diff("renamed", samples=100)
    assert told(document) == {"added": 0, "removed": 0, "changed": 15, "since": 0}
    assert document["columns"] == {"event_name": 15, "library": 15}
    names = {"twice": "first", EVIL: "old name"}
    for sample in document["samples"]["changed"]:
        cells = {cell["column"]: (cell["live"], cell["replay"]) for cell in sample["columns"]}
        assert cells == {"event_name": (names.get(sample["event_id"]), sample["event_id"]), "library": (None, "page")}


def _sides(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    show_difference(document)
    return {"json": json.dumps(document), "terminal": capsys.readouterr().out, "page": page(document)}


@pytest.mark.parametrize("column", ["userId", "anonymousId", "ip"])
def test_values_that_are_personal_data_are_never_shown(shop: ContractShop, capsys: pytest.CaptureFixture[str], column: str) -> None:
    moved = {"userId": "user_id", "anonymousId": "anonymous_id", "ip": "ip"}[column]
    spec = {**shop.spec, "columns": shop.spec["columns"] | {moved: "messageId"}}
    shop.write(spec, shop.contract)
    shop.replay("swapped")
    document = shop.diff("swapped", samples=100)
    assert document["columns"][moved] >= 10
    for name, text in _sides(document, capsys).items():
        assert "(masked)" in text, name
        assert SECRET not in text, name


def test_the_page_needs_nothing_else_and_escapes_what_strangers_wrote(
    mended: ContractShop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document = mended.diff()
    write_page(document, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert EVIL in {s["event_id"] for s in document["samples"]["changed"]}
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"https?://|src=|href=|url\(|@import", text)
    show_difference(document)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_page(document, tmp_path)


def test_after_promote_and_rollback_what_was_promoted_is_told_as_before(mended: ContractShop) -> None:
    before = mended.diff()
    promote("mend", mended.project, mended.lake())
    after = mended.diff()
    assert (told(after), after["why"], after["columns"]) == (told(before) | {"since": 0}, before["why"], before["columns"])
    assert after["ledger"] == before["ledger"]
    assert after["state"].startswith("promoted")
    assert [after["snapshots"][side]["ref"] for side in ("live", "replay")] == ["replay_mend_before", "replay_mend_promoted"]
    rollback("mend", mended.project, mended.lake())
    again = mended.diff()
    assert (told(again), again["why"], again["ledger"]) == (told(after), after["why"], after["ledger"])
    assert again["state"].startswith("rolled back")


def test_a_replay_that_is_not_finished_says_so_and_a_discarded_one_is_refused(shop: ContractShop) -> None:
    shop.replay("some")
    add_event(shop.lake(), "some", Step.PAUSED, {})
    document = shop.diff("some")
    assert "not finished (paused)" in document["state"]
    assert document["next"] == "headrace replay run some"
    discard("some", shop.lake())
    with pytest.raises(ConfigurationError, match="was discarded"):
        shop.diff("some")


@pytest.mark.parametrize("many", [31, 90])
def test_long_lists_of_windows_are_cut_on_the_terminal_only(
    shop: ContractShop, capsys: pytest.CaptureFixture[str], many: int
) -> None:
    shop.replay("same")
    window = {
        "from": "2026-11-02T08:00:00Z", "live_rows": 1, "replay_rows": 2, "added": 1, "removed": 0, "changed": 0, "since": 0,
        "live_hash": "0" * 32, "replay_hash": "1" * 32,
    }  # fmt: skip
    document = shop.diff("same") | {"equal": False, "windows": [window] * many}
    show_difference(document)
    shown = capsys.readouterr().out
    assert shown.count("2026-11-02T08:00:00Z") == 30
    assert f"{many - 30} more window" in shown
    assert page(document).count('<span class="one">2026-11-02T08:00:00Z') == many
