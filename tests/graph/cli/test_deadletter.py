"""``headrace deadletter`` on the command line: options, JSON, and what hostile senders wrote."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.deadletter_view import sparkline
from cli.main import main
from lake.acts import acts
from tests.support.letters import CASES, EVENTS, PEOPLE, LetterShop, event

ESCAPES = "[/b]\x1b[2J\x9b31m\u202eada@example.org"
HUGE = "k" * 1_500 + "@example.org"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> LetterShop:
    """Letters of every code of two sources, and of keys that a hostile sender made up."""
    shop = LetterShop(tmp_path_factory.mktemp("letters"))
    for source in (EVENTS, PEOPLE):
        shop.ingest(source, [shop.write(case) for case in CASES.values() if case.source == source])
    hostile = shop.folder / "drop" / "hostile.jsonl"
    people = [json.dumps({"id": "C-00000009", "at": "2026-11-02T10:00:00Z", key: "ada@example.com"}) for key in (ESCAPES, HUGE)]
    hostile.write_text("\n".join(people) + "\n")
    shop.ingest(PEOPLE, [hostile])
    consents = [{"context": {"consent": {"categoryPreferences": {key: "yes"}}}} for key in (ESCAPES, HUGE)]
    hostile.write_bytes(b"".join(event(20 + n, **consent) + b"\n" for n, consent in enumerate(consents)))
    shop.ingest(EVENTS, [hostile])
    return shop


def headrace(shop: LetterShop, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["deadletter", *arguments, "--project", str(shop.folder)])


def document(shop: LetterShop, *arguments: str) -> Any:
    done = headrace(shop, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


ALL = ("--limit", "100")
VERBS = (("list", *ALL), ("stats", *ALL), ("stats", "--by", "path", *ALL), ("ticket", *ALL), ("reprocess", "--dry-run"))


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["table", "json"])
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_keys_of_hostile_senders_are_hidden_and_steer_nothing(
    shop: LetterShop, verb: tuple[str, ...], how: tuple[str, ...]
) -> None:
    done = headrace(shop, *verb, *how)
    assert done.exit_code == (verb[0] == "reprocess"), done.output  # letters would still fail
    assert "(key " in done.output
    assert not any(secret in done.output for secret in ("example.org", "ada@example.com", "kkkk"))
    assert all(character.isprintable() or character == "\n" for character in done.output)
    assert how or max(map(len, done.output.splitlines())) < 500


def test_each_verb_has_one_document(shop: LetterShop) -> None:
    letters = document(shop, "list", "--limit", "3")
    assert len(letters) == 3 and {"dead_letter_id", "state", "violations"} <= letters[0].keys() and "raw" not in letters[0]
    shown = document(shop, "show", letters[0]["dead_letter_id"])
    assert shown["history"] == [] and "raw" not in shown
    causes = document(shop, "stats", "--since", "2026-11-02T13:00:00Z", "--until", "2026-11-02T13:00:01Z")
    assert causes["letters"] == len([c for c in CASES.values() if c.source in (EVENTS, PEOPLE) and c.stage == "decode"])
    assert {"what", "letters", "before", "first", "last", "buckets", "example", "remedy", "share"} <= causes["causes"][0].keys()
    (ticket,) = document(shop, "ticket", "--source", PEOPLE)
    assert ticket.keys() == {"to", "source", "dataset", "subject", "text"}


def test_since_takes_a_time_or_how_long_ago(shop: LetterShop) -> None:
    fresh = shop.folder / "drop" / "fresh.jsonl"
    fresh.write_bytes(event(30, type="fresh") + b"\n")
    shop.ingest(EVENTS, [fresh], "fresh")
    where = ("--lake", str(shop.folder / "fresh"))
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    for since, count in (("1h", 1), ("2026-11-01T00:00:00Z", 1), (soon, 0)):
        assert len(document(shop, "list", "--since", since, *where)) == count
    for wrong in ("yesterday", "2026-11-02", "24"):
        done = headrace(shop, "list", "--since", wrong)
        assert done.exit_code == 2 and "a time such as 2026-11-23T06:00:00Z, or how long ago, such as 24h" in done.output


def test_close_says_how_many_before_it_closes_any(shop: LetterShop) -> None:
    given = ("--code", "too_deep", "--by", "ada", "--reason", "a test")
    assert document(shop, "close", *given, "--dry-run") == {"would_close": 1, "by_code": {"too_deep": 1}}
    assert document(shop, "close", *given) == {"closed": 1}
    assert document(shop, "close", *given) == {"closed": 0}
    (letter,) = document(shop, "list", "--state", "closed")
    assert headrace(shop, "list", "--code", "too_deep").stdout == "no dead letters\n"
    assert "a test" in headrace(shop, "show", letter["dead_letter_id"]).stdout
    assert document(shop, "reopen", "--id", letter["dead_letter_id"][:12], "--by", "ada", "--reason", "again") == {"reopened": 1}


@pytest.mark.parametrize("verb", ["close", "reprocess"])
def test_a_dry_run_is_about_the_states_that_are_asked_for(shop: LetterShop, verb: str) -> None:
    who = ("--by", "ada", "--reason", "a test")
    refused = headrace(shop, verb, "--source", EVENTS, "--state", "recovered", "--dry-run", *who)
    assert refused.exit_code == 2 and "--state says recovered" in refused.output
    assert "no dead letters" in headrace(shop, verb, "--source", EVENTS, "--state", "given_up", "--dry-run", *who).output


@pytest.mark.parametrize("verb", ["close", "reopen", "export"])
def test_a_misspelt_name_is_told_and_what_selects_nothing_does_not_pass_for_done(
    shop: LetterShop, verb: str, tmp_path: Path
) -> None:
    given = (*((str(tmp_path / "x.jsonl"),) if verb == "export" else ()), "--by", "ada", "--reason", "a test")
    before = len(acts(shop.lake()))
    wrong = headrace(shop, verb, *given, "--source", EVENTS, "--source", "evnts")
    assert wrong.exit_code == 2 and f"did you mean {EVENTS}?" in wrong.output
    wrong = headrace(shop, verb, *given, "--dataset", "custmer_event")
    assert wrong.exit_code == 2 and "did you mean customer_event?" in wrong.output
    for known in (("--source", "segment"), ("--dataset", "order"), ("--source", EVENTS, "--until", "2020-01-01T00:00:00Z")):
        assert headrace(shop, verb, *given, *known).exit_code == 1, "of the project, and without such a letter"
    assert len(acts(shop.lake())) == before and not (tmp_path / "x.jsonl").exists()


def test_what_is_closed_or_open_already_is_done(shop: LetterShop) -> None:
    given = ("--code", "bad_length", "--by", "ada", "--reason", "a test")
    assert [document(shop, "close", *given) for _ in range(2)] == [{"closed": 1}, {"closed": 0}]
    told = headrace(shop, "close", *given, "--dry-run")
    assert told.exit_code == 0 and "1 dead letter is closed already" in told.output
    assert [document(shop, "reopen", *given) for _ in range(2)] == [{"reopened": 1}, {"reopened": 0}]


@pytest.mark.parametrize("verb", ["close", "reopen", "export"])
def test_acts_need_a_name_and_a_reason(shop: LetterShop, verb: str, tmp_path: Path) -> None:
    target = (str(tmp_path / "x.jsonl"),) if verb == "export" else ()
    done = headrace(shop, verb, *target, "--code", "too_deep")
    assert done.exit_code == 2 and "--by" in done.output + "--reason"
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(("counts", "marks"), [((), ""), ((0, 0), "  "), ((1,), "█"), ((1, 8, 0, 4), "▁█ ▄"), ((1, 10**9), "▁█")])
def test_sparklines(counts: tuple[int, ...], marks: str) -> None:
    assert sparkline(counts) == marks


def test_looking_at_letters_does_not_wait_for_beam() -> None:
    code = "import sys, cli.deadletter; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("verb", ["list", "stats", "ticket", "reprocess"])
@pytest.mark.parametrize("filters", [("--id", "%"), ("--id", ""), ("--since", "5m", "--until", "10m")], ids=" ".join)
def test_filters_that_can_select_nothing_are_wrong_use(shop: LetterShop, verb: str, filters: tuple[str, ...]) -> None:
    done = headrace(shop, verb, *filters)
    assert done.exit_code == 2 and "headrace: " in done.output
