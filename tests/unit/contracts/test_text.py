"""What strangers write cannot steer a terminal, whichever way it comes out."""

from __future__ import annotations

import json
import sys

import pytest

from cli.console import print_json, stdout, table
from contracts.text import json_text, printable
from operations.html import text_of

STEERING = [
    0x1B,
    0x9B,
    0x07,
    0x08,
    0x0D,
    0x00,
    0x7F,
    0x85,
    0x90,
    0x9D,
    0x202A,
    0x202E,
    0x2066,
    0x2069,
    0x200B,
    0x200E,
    0x061C,
    0xFEFF,
]
STEERING += [0xFEFF, 0x2028, 0x2029, 0xDC80, 0xE0041, 0xFFF9]
EVIL = "".join(map(chr, STEERING))
GOOD = "für 日本\u3000語 عربى עברית 👍 a\u00a0b [b]:smile:[/b]"


def test_what_steers_is_escaped_and_letters_of_all_scripts_stay() -> None:
    assert printable(GOOD) == GOOD
    assert all(ord(c) < 0x7F and c.isprintable() for c in printable(EVIL))
    for character in EVIL:
        assert printable(f"a{character}b") == "a" + character.encode("unicode_escape", "surrogatepass").decode() + "b"
    assert printable("a\nb\tc", keep="\n\t") == "a\nb\tc" and printable("a\nb") == "a\\nb"
    assert printable(printable(EVIL)) == printable(EVIL)


def test_json_keeps_what_it_holds() -> None:
    document = {EVIL: [EVIL, GOOD], "n": 1}
    text = json_text(document)
    assert json.loads(text) == document and GOOD in text
    assert not set(text) & set(EVIL)


@pytest.mark.parametrize("kind", ["line", "table", "json"])
def test_nothing_that_is_printed_steers(kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdout, "_file", sys.stdout)
    if kind == "line":
        stdout.print(f"{EVIL}{GOOD}", style="red")
    elif kind == "table":
        stdout.print(table((EVIL, "b"), [(f"{EVIL}\n{GOOD}", 1)], title=EVIL))
    else:
        print_json({"a": EVIL, EVIL: GOOD})
    shown = capsys.readouterr().out
    assert not set(shown) & set(EVIL) and GOOD.split(maxsplit=1)[0] in shown


def test_html_shows_what_steers() -> None:
    assert not set(text_of(EVIL)) & set(EVIL) and text_of("<b>") == "&lt;b&gt;"
