"""``headrace reconcile`` after ``headrace deliver``, as a person and a program see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.units import us_text
from operations.reconcile.classes import CLASSES
from tests.support.cdp import CdpEndpoint
from tests.support.planted import DESTINATION, END_US, START_US, Plot

RANGE = ("--start", us_text(START_US), "--end", us_text(END_US))


class Delivered:
    """A project whose rows were delivered, and the command line on it."""

    def __init__(self, folder: Path, cdp: CdpEndpoint) -> None:
        self.cdp = cdp
        self.plot = Plot(folder / "project")
        text = DESTINATION.replace("http://127.0.0.1:9/v1/batch", f"{cdp.url}/v1/batch")
        self.plot.write_destination("cdp", f"{cdp.url}/v1/export", text)
        done = self.plot.headrace("deliver", "cdp", *RANGE)
        assert done.exit_code == 0, done.output
        self.events = {row["messageId"]: row["event"] for row in cdp.ledger()}

    def reconcile(self, *arguments: object, exit_code: int = 0) -> str:
        """What it prints."""
        done = self.plot.headrace("reconcile", "cdp", *RANGE, *arguments)
        assert done.exit_code == exit_code, done.output
        return done.stdout

    def document(self, *arguments: object, exit_code: int = 0) -> dict[str, Any]:
        """Its JSON."""
        found = json.loads(self.reconcile("--json", *arguments, exit_code=exit_code))
        assert isinstance(found, dict)
        return found

    def told(self, *arguments: object, exit_code: int) -> str:
        """What it says where it does not come to a result, on one line; nothing on stdout."""
        done = self.plot.headrace("reconcile", "cdp", *arguments)
        assert done.exit_code == exit_code, done.output
        assert done.stdout == "" and "Traceback" not in done.stderr
        return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with pytest.MonkeyPatch.context() as patch, CdpEndpoint.started() as cdp:
        patch.setenv("PLANTED_KEY", cdp.write_key)
        yield Delivered(tmp_path_factory.mktemp("shop"), cdp)


@pytest.fixture
def shop(delivered: Delivered) -> Iterator[Delivered]:
    """As it was after the delivery."""
    yield delivered
    delivered.cdp.faults()
    delivered.cdp.clear()
    for event_id, event in delivered.events.items():
        delivered.cdp.add(event_id, event)


def test_what_was_delivered_is_there_and_the_same(shop: Delivered) -> None:
    document = shop.document()
    assert list(document["classes"]) == list(CLASSES)
    assert document["classes"]["delivered"] == document["contents"]["compared"] == len(shop.events) > 50
    assert sum(document["classes"][kind] for kind in ("delivered", "withheld", "filtered")) == document["ids"]
    assert document["verdict"] == {"exit_code": 0, "reasons": []}
    text = shop.reconcile()
    assert re.search(r"delivered +other_copy +pending +refused +withheld +filtered +missing +extra +different", text)
    assert "what to do" not in text and "exit 1" not in text


def test_losses_extras_and_alterations_are_told_with_exit_code_1(shop: Delivered) -> None:
    lost, altered, *_ = sorted(shop.events)
    shop.cdp.alter(lost, None)
    shop.cdp.alter(altered, {**shop.events[altered], "type": "screen"})
    shop.cdp.add("\x1b[2Jstranger", {"type": "\x1b[31m", "anonymousId": "a", "timestamp": us_text(START_US)})
    document = shop.document("--reveal", exit_code=1)
    assert {kind: document["classes"][kind] for kind in ("missing", "extra", "different")} == {
        "missing": 1,
        "extra": 1,
        "different": 1,
    }
    assert document["causes"]["missing"][0]["samples"][0]["id"] == lost
    assert document["causes"]["different"][0]["samples"][0]["id"] == altered
    assert len(document["verdict"]["reasons"]) == 3
    text = shop.reconcile(exit_code=1)
    assert lost not in text and altered not in text and "\x1b" not in text
    advice = rf"headrace deliver --project \S+ cdp --start {us_text(START_US)} --end {us_text(END_US)} --rows all"
    assert re.search(advice, text)
    assert text.count("exit 1: ") == 3
    assert lost in shop.reconcile("--reveal", exit_code=1)


def test_what_it_says_to_do_about_a_loss_mends_it(shop: Delivered) -> None:
    lost = sorted(shop.events)[0]
    shop.cdp.alter(lost, None)
    (cause,) = shop.document(exit_code=1)["causes"]["missing"]
    command = re.search(r"headrace (deliver .*)", cause["do"])
    assert command and shop.plot.headrace(*command[1].split()).exit_code == 0
    assert shop.document()["classes"]["delivered"] == len(shop.events)


def test_the_page_is_written(shop: Delivered, tmp_path: Path) -> None:
    text = shop.reconcile("--html", tmp_path / "cdp.html")
    assert f"page: {tmp_path / 'cdp.html'}" in text
    assert "Reconciliation of cdp with customer_event" in (tmp_path / "cdp.html").read_text()
    assert "cannot be written" in shop.told(*RANGE, "--html", tmp_path, exit_code=2)


def test_files_take_the_place_of_the_url(shop: Delivered, tmp_path: Path) -> None:
    export = tmp_path / "export.jsonl"
    export.write_text("".join(json.dumps({"messageId": event_id}) + "\n" for event_id in shop.events))
    shop.cdp.faults(down=True)
    text = shop.reconcile("--export", export)
    assert "were not compared, their ids were" in text


def test_what_is_wrong_is_told_in_a_sentence_with_its_exit_code(shop: Delivered, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--start is missing" in shop.told(exit_code=2) and "--end is missing" in shop.told(exit_code=2)
    assert "--end: is not after --start" in shop.told("--start", RANGE[3], "--end", RANGE[1], exit_code=2)
    assert "--samples 'many': expected a whole number" in shop.told(*RANGE, "--samples", "many", exit_code=2)
    assert "no file found" in shop.told(*RANGE, "--export", "nowhere.jsonl", exit_code=2)
    monkeypatch.setenv("PLANTED_KEY", "wrong")
    assert "does not take the write key (HTTP 401)" in shop.told(*RANGE, exit_code=2)
    monkeypatch.setenv("PLANTED_KEY", shop.cdp.write_key)
    shop.cdp.faults(down=True)
    assert "export of cdp" in shop.told(*RANGE, exit_code=3)
