"""Export, close and reopen: on record by name and reason, done once, and nothing in the ledger moves."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from lake.acts import acts
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.tables.letter_history import HISTORY
from operations.deadletters import close
from operations.deadletters import export as exporting
from operations.deadletters import selection as selecting
from operations.deadletters.close import close_letters, count_selected, reopen_letters
from operations.deadletters.export import Form, _one_line, _refuse_formats, export_letters
from operations.deadletters.selection import LetterSelection, select
from operations.deadletters.states import State, read_states
from operations.deadletters.views import explain_letter
from tests.support.letters import CASES, DESK, EVENTS, LetterShop
from tests.support.repairs import run
from tests.support.runs import WEBSHOP

OF_EVENTS = [case for case in CASES.values() if case.source == EVENTS]
WHO: dict[str, Any] = {"by": "ada", "reason": "of a test"}


@pytest.fixture
def shop(tmp_path: Path) -> LetterShop:
    shop = LetterShop(tmp_path / "shop")
    shop.ingest(EVENTS, [shop.write(case) for case in OF_EVENTS])
    return shop


def ledger(shop: LetterShop) -> LedgerEntry:
    spec, _ = shop.project.source(EVENTS)
    return sum(source_ledger(shop.lake(), spec, "validated.customer_event").values(), LedgerEntry())


def lines(lake: Lake) -> list[tuple[str, str]]:
    rows = lake.catalog().load_table(HISTORY).scan(selected_fields=("dead_letter_id", "act")).to_arrow()
    return sorted(zip(*(rows.column(name).to_pylist() for name in ("dead_letter_id", "act")), strict=True))


def test_closed_letters_leave_the_views_and_stay_in_the_ledger(shop: LetterShop) -> None:
    lake, before = shop.lake(), ledger(shop)
    assert close_letters(lake, LetterSelection(codes=("malformed", "too_deep")), **WHO) == 2
    assert ledger(shop) == before and before.balanced
    left = {row["code"] for batch in select(lake, LetterSelection(), ["code"]) for row in batch.to_pylist()}
    assert left == {str(case.code) for case in OF_EVENTS} - {"malformed", "too_deep"}
    assert count_selected(lake, LetterSelection(states=(State.CLOSED,))) == {"malformed": 1, "too_deep": 1}
    (closed, _) = lines(lake)
    letter = explain_letter(lake, shop.project, closed[0], reveal=False)
    assert letter["state"] == "closed"
    assert [(line["act"], line["by"], line["reason"]) for line in letter["history"]] == [("closed", "ada", "of a test")]
    (act,) = acts(lake)
    assert (act.command, act.by, act.reason) == ("deadletter close", "ada", "of a test")
    assert act.what == {"letters": 2, "selection": {"codes": ["malformed", "too_deep"], "states": ["open", "given_up"]}}


def test_closing_and_reopening_again_and_again_changes_what_it_says_alone(shop: LetterShop) -> None:
    lake, selection = shop.lake(), LetterSelection(codes=("malformed",))
    assert [close_letters(lake, selection, **WHO) for _ in range(2)] == [1, 0]
    assert [reopen_letters(lake, selection, **WHO) for _ in range(2)] == [1, 0]
    assert close_letters(lake, selection, **WHO) == 1
    assert [act for _, act in lines(lake)] == ["closed", "closed", "reopened"]
    assert [act.command for act in acts(lake)] == ["deadletter close", "deadletter reopen", "deadletter close"]


def test_two_who_close_the_same_at_once_leave_a_line_for_each_letter(shop: LetterShop) -> None:
    lake, counts = shop.lake(), []
    start = threading.Barrier(3)

    def close(name: str) -> None:
        start.wait()
        counts.append(close_letters(lake, LetterSelection(sources=(EVENTS,)), by=name, reason="at once"))

    threads = [threading.Thread(target=close, args=(name,)) for name in ("ada", "ben", "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == len(OF_EVENTS) == len(lines(lake)) == len(set(lines(lake)))


def test_a_clock_that_goes_ahead_does_not_keep_letters_closed(shop: LetterShop, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=3)

    lake, selection = shop.lake(), LetterSelection(codes=("malformed",))
    with monkeypatch.context() as patched:
        patched.setattr(close, "datetime", Ahead)
        assert close_letters(lake, selection, **WHO) == 1
    assert [reopen_letters(lake, selection, **WHO) for _ in range(2)] == [1, 0]
    assert [close_letters(lake, selection, **WHO) for _ in range(2)] == [1, 0]


def test_the_history_is_read_once_however_many_letters_are_closed(shop: LetterShop, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, selection, read = shop.lake(), LetterSelection(sources=(EVENTS,)), []
    monkeypatch.setattr(close, "read_states", lambda lake: read.append(lake) or read_states(lake))
    monkeypatch.setattr(selecting, "BATCH_ROWS", 2)
    assert close_letters(lake, selection, **WHO) == len(OF_EVENTS) > 2
    assert len(read) == 1 and len(lines(lake)) == len(OF_EVENTS)


@pytest.mark.parametrize("given", [{"by": " "}, {"reason": ""}])
def test_nothing_is_closed_without_a_name_and_a_reason(shop: LetterShop, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        close_letters(shop.lake(), LetterSelection(codes=("malformed",)), **WHO | given)
    assert acts(shop.lake()) == [] and count_selected(shop.lake(), LetterSelection(states=(State.CLOSED,))) == {}


@pytest.mark.parametrize(("states", "closed"), [((State.GIVEN_UP,), 0), ((State.OPEN,), 1), ((State.OPEN, State.CLOSED), 1)])
def test_states_that_are_asked_for_are_the_ones_acted_on(shop: LetterShop, states: tuple[State, ...], closed: int) -> None:
    assert close_letters(shop.lake(), LetterSelection(codes=("malformed",), states=states), **WHO) == closed
    assert len(acts(shop.lake())) == closed


def test_states_that_a_verb_is_not_about_are_refused(shop: LetterShop) -> None:
    lake, done = shop.lake(), LetterSelection(codes=("malformed",), states=(State.CLOSED, State.RECOVERED))
    with pytest.raises(ConfigurationError, match="close acts on letters that are open or given_up, and --state says closed or rec"):
        close_letters(lake, done, **WHO)
    with pytest.raises(ConfigurationError, match="reopen acts on letters that are closed, and --state says open"):
        reopen_letters(lake, LetterSelection(codes=("malformed",), states=(State.OPEN,)), **WHO)
    with pytest.raises(ConfigurationError, match="reprocess acts on letters that are open or given_up"):
        run(shop.project, lake, states=[State.CLOSED])
    assert acts(lake) == []


def test_everything_is_not_closed_at_once(shop: LetterShop) -> None:
    with pytest.raises(ConfigurationError, match="say which letters"):
        close_letters(shop.lake(), LetterSelection(), **WHO)


def export(shop: LetterShop, target: Path, form: Form = Form.LETTERS, **fields: Any) -> Any:
    return export_letters(shop.lake(), shop.project, LetterSelection(**fields), target, form=form, **WHO)


def test_an_export_holds_the_bytes_and_is_for_its_user_alone(shop: LetterShop, tmp_path: Path) -> None:
    os.umask(0)
    target = tmp_path / "letters.jsonl"
    written = export(shop, target)
    found = {row["code"]: row for row in map(json.loads, target.read_text().splitlines())}
    assert written.letters == len(found) == len(OF_EVENTS) and written.without_bytes == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert found["wrong_type"]["raw"].encode() == CASES["wrong_type"].bad[1]  # type: ignore[index]
    assert "raw_base64" in found["invalid_encoding"] and found["conflicting_duplicate"]["raw"]
    (act,) = acts(shop.lake())
    assert act.what["letters"] == len(OF_EVENTS) and act.what["target"] == str(target)


def test_records_as_they_were_received_can_be_ingested(shop: LetterShop, tmp_path: Path) -> None:
    written = export(shop, tmp_path / "out", Form.RECEIVED, codes=("wrong_type", "not_in_enum"))
    path = tmp_path / "out" / f"{EVENTS}.jsonl"
    assert written.files == {str(path): 2}
    assert sorted(path.read_bytes().splitlines()) == sorted(CASES[code].bad[1] for code in ("wrong_type", "not_in_enum"))  # type: ignore[index]
    assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    again = shop.ingest(EVENTS, [path], "other")
    assert again.ledger.codes == {"wrong_type": 1, "not_in_enum": 1}


def test_the_history_tells_which_letters_were_exported_each_time(shop: LetterShop, tmp_path: Path) -> None:
    close_letters(shop.lake(), LetterSelection(codes=("too_deep",)), **WHO)
    for number in range(2):
        export(shop, tmp_path / f"{number}.jsonl", codes=("too_deep", "malformed"), states=(State.CLOSED, State.OPEN))
    assert sorted(Counter(act for _, act in lines(shop.lake())).items()) == [("closed", 1), ("exported", 4)]
    assert count_selected(shop.lake(), LetterSelection(states=(State.CLOSED,))) == {"too_deep": 1}


@pytest.mark.parametrize("form", Form)
def test_what_appears_while_an_export_is_written_is_not_overwritten(
    shop: LetterShop, tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"

    def appear(lake: Lake, told: list[Any]) -> None:
        target.write_text("mine")

    monkeypatch.setattr(exporting, "_tell", appear)
    with pytest.raises(ConfigurationError, match="has appeared meanwhile"):
        export(shop, target, form, codes=("wrong_type",))
    assert target.read_text() == "mine" and not list(tmp_path.glob(".out*"))


def test_a_file_system_without_links_has_exports_too(shop: LetterShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = os.link

    def refuse(source: Any, target: Any, **given: Any) -> None:
        if Path(target) == tmp_path / "out.jsonl":
            raise PermissionError(1, "no links")
        linked(source, target, **given)

    monkeypatch.setattr(os, "link", refuse)
    export(shop, tmp_path / "out.jsonl", codes=("wrong_type",))
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


def test_records_that_are_cut_do_not_pass_for_received_ones(shop: LetterShop, tmp_path: Path) -> None:
    written = export(shop, tmp_path / "out", Form.RECEIVED, codes=("too_large", "wrong_type"))
    assert (written.letters, written.cut, sum(written.files.values())) == (2, 1, 1)


def test_where_no_export_may_lie(shop: LetterShop, tmp_path: Path) -> None:
    there, clone = tmp_path / "there.jsonl", tmp_path / "clone"
    there.write_text("mine")
    (clone / ".git").mkdir(parents=True)
    (clone / "deep").mkdir()
    (tmp_path / "link").symlink_to(shop.lake().root)
    for target in (
        there,
        tmp_path / "none" / "x.jsonl",
        Path(shop.lake().root) / "x.jsonl",
        tmp_path / "link" / "x.jsonl",
        clone / "deep" / "x.jsonl",
        Path(__file__).with_name("x.jsonl"),
    ):
        with pytest.raises(ConfigurationError):
            export(shop, target)
    assert there.read_text() == "mine" and acts(shop.lake()) == []


def test_formats_whose_records_are_no_lines_are_refused_before_anything_is_on_record(shop: LetterShop, tmp_path: Path) -> None:
    shop.ingest(DESK, [shop.write(case) for case in CASES.values() if case.source == DESK])
    with pytest.raises(ConfigurationError, match="source desk: its records are of the format csv"):
        export(shop, tmp_path / "out", Form.RECEIVED)
    assert acts(shop.lake()) == [] and not (tmp_path / "out").exists()


def test_a_part_never_passes_for_the_whole(shop: LetterShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(range(3))

    def ends(_: object) -> bytes:
        if next(lines) == 2:
            raise KeyboardInterrupt
        return b"{}"

    monkeypatch.setattr("operations.deadletters.export._line", ends)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        export(shop, tmp_path / "out" / "x.jsonl")
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    assert export(shop, tmp_path / "out" / "x.jsonl").letters == len(OF_EVENTS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.jsonl"]


def test_a_message_of_several_lines_is_one_line(tmp_path: Path) -> None:
    assert _one_line(b'{\r\n  "a": 1\n}\n') == b'{    "a": 1 }'


def test_items_of_a_batch_are_no_lines_of_their_source() -> None:
    with pytest.raises(ConfigurationError, match="source mobile: its records are items of a list"):
        _refuse_formats(WEBSHOP, {"web": 1, "mobile": 1})


def test_what_cannot_be_on_record_is_not_exported(shop: LetterShop, tmp_path: Path) -> None:
    private = shop.lake().path / "_private"
    private.mkdir(exist_ok=True)
    (private / "acts").write_text("no folder")
    with pytest.raises(OSError):
        export(shop, tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()
