"""Letters without bytes of their own, out of the lake: their raw is read once for all of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lake.raw import records
from lake.raw.files import raw_files
from operations.deadletters.export import Form, export_letters
from operations.deadletters.selection import LetterSelection
from tests.support.shop import Shop, event

WHO: dict[str, Any] = {"by": "ada", "reason": "of a test"}
MANY = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two files of events that lose against others, and of records that keep their bytes in their letters."""
    shop = Shop(tmp_path_factory.mktemp("conflicts"))
    for at in range(2):
        pairs = [event(1_000 * at + n, 8 + at, userId=f"u{k}-{n}") for n in range(MANY) for k in range(2)]
        shop.ingest([*pairs, "{broken", event(999 + at, 9, type="no such type")])
    return shop


def exported(shop: Shop, target: Path) -> list[dict[str, Any]]:
    done = export_letters(shop.lake(), shop.project, LetterSelection(), target, form=Form.LETTERS, **WHO)
    letters = [json.loads(line) for line in target.read_text().splitlines()]
    assert done.letters == len(letters) == 2 * MANY + 4
    return letters


def test_each_letter_has_the_bytes_of_its_record(shop: Shop, tmp_path: Path) -> None:
    lines = {line for path in shop.folder.glob("drop/*") for line in path.read_text().splitlines()}
    letters = exported(shop, tmp_path / "letters.jsonl")
    assert all(letter["raw"] in lines for letter in letters)
    for letter in (one for one in letters if one["code"] == "conflicting_duplicate"):
        assert json.loads(letter["raw"])["messageId"] == letter["event_id"]
    assert Counter(letter["code"] for letter in letters) == {"conflicting_duplicate": 2 * MANY, "malformed": 2, "not_in_enum": 2}


def test_raw_is_read_once_and_not_once_a_letter(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each conflict read the beginning of its raw again, up to 64 MB of it."""
    opened: list[str] = []
    really = records.open_raw
    monkeypatch.setattr(records, "open_raw", lambda chunk: opened.append(chunk.raw_file) or really(chunk))  # type: ignore[func-returns-value]
    exported(shop, tmp_path / "letters.jsonl")
    assert len(opened) == len(set(opened)) == 2


def test_of_a_file_that_is_gone_letters_are_told_without_bytes(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a raw file outlives the file, where its retention ended."""
    gone = min(file.raw_file for file in raw_files(shop.lake(), "web"))

    def open_raw(chunk: Any) -> Any:
        if chunk.raw_file == gone:
            raise FileNotFoundError(chunk.path)
        return really(chunk)

    really = records.open_raw
    monkeypatch.setattr(records, "open_raw", open_raw)
    without = [letter for letter in exported(shop, tmp_path / "letters.jsonl") if letter["raw"] is None]
    assert len(without) == MANY and {letter["code"] for letter in without} == {"conflicting_duplicate"}
