"""The command line as a process sees it: help, exit codes, one JSON document, all mistakes at once."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.support.warm_headrace import warm

ROOT = Path(__file__).parents[3]
PROJECT = ROOT / "examples" / "webshop"
VERBS = (
    "",
    "ingest",
    "deadletter",
    "deadletter list",
    "deadletter show",
    "deadletter stats",
    "deadletter ticket",
    "deadletter export",
    "deadletter close",
    "deadletter reopen",
    "lake",
    "lake files",
    "lake compact",
)
VERBS += (
    "lake clean",
    "lake expire",
    "lake upgrade",
    "lake downgrade",
    "lake why",
    "status",
    "contract",
    "contract check",
    "contract diff",
    "contract export",
    "contract lint",
    "contract schema",
)
_EVENT = '{"messageId":"m-%d","type":"page","anonymousId":"a-1","originalTimestamp":"%s","receivedAt":"2026-11-02T10:00:01Z"}'
GOOD = _EVENT % (1, "2026-11-02T10:00:00Z")
BAD = _EVENT % (2, "secret-value")


def headrace(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(["headrace", *arguments], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with warm(tmp_path_factory.mktemp("bin")) as environment, patch.dict(os.environ, environment):
        yield


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one good and one rejected event."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "events.jsonl").write_text(f"{GOOD}\n{BAD}\n")
    done = headrace(*_ingest(folder / "events.jsonl", folder / "lake"), "--max-rejected", "50%")
    assert done.returncode == 0, done.stderr
    return folder / "lake"


def _ingest(data: Path, lake: Path) -> tuple[str, ...]:
    return ("ingest", "web", "--input", str(data), "--lake", str(lake), "--project", str(PROJECT))


def _json(*arguments: str, lake: Path) -> Any:
    done = headrace(*arguments, "--lake", str(lake), "--project", str(PROJECT), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    done = headrace(*verb.split(), "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    is_group = verb in ("", "deadletter", "lake", "contract")
    assert is_group or f"headrace {verb.split(maxsplit=1)[0]}" in done.stdout.split("Example", 1)[-1]


def test_all_wrong_options_are_told_at_once() -> None:
    done = headrace("ingest", "web", "--workers", "none", "--slice-bytes", "3q", "--window", "7m", "--project", str(PROJECT))
    assert done.returncode == 2
    for option in ("--input", "--workers", "--slice-bytes", "--window"):
        assert option in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ingest", "wbe", "--input", "x", "--lake", "l"), "did you mean web?"),
        (("ingest", "web", "--input", "no/such/*.jsonl", "--lake", "l"), "no file found for no/such/*.jsonl"),
        (("ingest", "web", "--input", "README.md", "--lake", "hdfs://host/lake"), "only local paths"),
        (
            ("ingest", "web", "--input", "x", "--project", str(PROJECT), "--", "--direct_running_mode=multi_processing"),
            "--workers says",
        ),
        (("status", "--lake", "no-such-lake"), "no lake at"),
        (("status", "--nonsense"), "No such option"),
        (("status", "--project", "no-such-folder"), "no project file"),
    ],
)
def test_wrong_use_exits_2_with_one_sentence(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    project = () if "--project" in arguments else ("--project", str(PROJECT))
    done = headrace(*arguments, *project)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_too_many_rejected_is_exit_1_and_the_good_output_is_written(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(f"{GOOD}\n{BAD}\n")
    done = headrace(*_ingest(tmp_path / "events.jsonl", tmp_path / "lake"), "--json")
    assert done.returncode == 1
    manifest = json.loads(done.stdout)
    assert manifest["datasets"]["customer_event"]["rows"] == 1
    assert "50.0% of the records were rejected" in manifest["verdict"]["reasons"][0]


def test_a_catalog_that_does_not_answer_is_exit_3_and_its_password_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text(
        f"lake: lake\ncatalog: sqlite:////no-such-folder/secret/x.db\nsources: [{PROJECT}/sources]\n"
    )
    (tmp_path / "events.jsonl").write_text(GOOD)
    done = headrace("ingest", "web", "--input", str(tmp_path / "events.jsonl"), "--project", str(tmp_path))
    assert done.returncode == 3, done.stderr
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_dead_letters_are_listed_counted_and_shown(lake: Path) -> None:
    (letter,) = _json("deadletter", "list", lake=lake)
    assert letter["code"] == "bad_timestamp"
    assert letter["position"].endswith(":1")
    counted = _json("deadletter", "stats", "--by", "path", lake=lake)
    assert [(cause["what"], cause["letters"]) for cause in counted["causes"]] == [({"path": "originalTimestamp"}, 1)]
    assert _json("deadletter", "list", "--code", "malformed", lake=lake) == []
    shown = _json("deadletter", "show", letter["dead_letter_id"][:10], lake=lake)
    assert "raw" not in shown
    assert _json("deadletter", "show", letter["dead_letter_id"], "--reveal", lake=lake)["raw"] == BAD


def test_raw_bytes_are_shown_only_when_they_are_asked_for(lake: Path) -> None:
    (letter,) = _json("deadletter", "list", lake=lake)
    where = ("--lake", str(lake), "--project", str(PROJECT))
    hidden = headrace("deadletter", "show", letter["dead_letter_id"], *where)
    revealed = headrace("deadletter", "show", letter["dead_letter_id"], "--reveal", *where)
    listed = headrace("deadletter", "list", *where)
    assert "secret-value" not in hidden.stdout + hidden.stderr + listed.stdout
    assert "secret-value" in revealed.stdout


def test_status_and_lake_files_tell_what_is_there(lake: Path) -> None:
    (run,) = _json("status", lake=lake)
    assert run["state"] == "finished"
    assert run["manifest"]["ledger"]["web"]["out"] == 1
    found = _json("lake", "files", "--verify", lake=lake)
    assert found["raw"]["web"]["records"] == 2
    tables = {table["table"]: table for table in found["tables"]}
    assert tables["validated.customer_event"]["verified"] is True
    assert tables["validated.customer_event"]["content_hash"] == run["manifest"]["datasets"]["customer_event"]["content_hash"]


def test_contract_lint() -> None:
    checked = headrace("contract", "lint", "crm", "--project", str(PROJECT))
    assert checked.returncode == 0
    assert "0 errors, 0 warnings" in checked.stdout


def test_contract_export() -> None:
    schema = json.loads(headrace("contract", "export", "web", "--project", str(PROJECT)).stdout)
    assert schema["type"] == "object"
    assert headrace("contract", "export", "crm", "--project", str(PROJECT)).returncode == 2


def test_payload_keys_and_ids_are_hidden_like_values_and_steer_nothing(tmp_path: Path) -> None:
    key = "[/b]\x1b[2J\x9b31m\u202eada@example.org"
    consent = {"context": {"consent": {"categoryPreferences": {key: "yes"}}}}
    event = json.dumps({**json.loads(BAD), "messageId": "ada@example.com", **consent})
    (tmp_path / "events.jsonl").write_text(event)
    lake = tmp_path / "lake"
    assert headrace(*_ingest(tmp_path / "events.jsonl", lake), "--max-rejected", "100%").returncode == 0
    where = ("--lake", str(lake), "--project", str(PROJECT))
    listed, counted = headrace("deadletter", "list", *where), headrace("deadletter", "stats", "--by", "path", *where)
    assert listed.returncode == counted.returncode == 0, listed.stderr
    (letter,) = _json("deadletter", "list", lake=lake)
    shown = headrace("deadletter", "show", letter["dead_letter_id"], *where)
    hidden = re.search(r"context\.consent\.categoryPreferences\.\(key [0-9a-f]{12}\)", shown.stdout)
    assert hidden and hidden[0] in json.dumps(letter)
    assert "example" not in shown.stdout + listed.stdout + counted.stdout + json.dumps(letter)
    assert not list(lake.glob("_private/acts/*"))
    for how in ((), ("--json",)):
        revealed = headrace("deadletter", "show", letter["dead_letter_id"], "--reveal", *where, *how).stdout
        assert "ada@example.com" in revealed and "ada@example.org" in revealed
        assert all(c.isprintable() or c == "\n" for c in revealed)
    assert json.loads(revealed)["violations"][-1]["path"].endswith(key)
    for note in map(json.loads, (path.read_text() for path in lake.glob("_private/acts/*"))):
        assert (note["user"], note["command"]) == (getpass.getuser(), "deadletter show")
        assert note["what"] == {"dead_letter_id": letter["dead_letter_id"]} and note["at"] > "2026"
    assert len(list(lake.glob("_private/acts/*"))) == 2
    assert (lake / "_private" / "hidden-ids.key").stat().st_mode & 0o777 == 0o600


def test_revealed_bytes_cannot_steer_the_terminal() -> None:
    from contracts.text import printable

    assert printable(b"a\x1b[2J\r\xff\n\xc3\xbc\xe2\x80\xae", keep="\n\t") == "a\\x1b[2J\\r\\xff\nü\\u202e"


def test_a_reader_that_goes_away_is_no_error(lake: Path) -> None:
    command = f"{sys.executable} -m cli.main status --lake {lake} --project {PROJECT} --json | head -c 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""
