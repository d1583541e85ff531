"""What people did to a lake is on record before it is done, in one place."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from lake.acts import MOST_REASON_CHARACTERS, acts, note_act
from lake.location import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.at(str(tmp_path / "lake"))
    lake.temporary.mkdir(parents=True)
    return lake


def test_an_act_says_who_when_what_and_why(lake: Lake) -> None:
    noted = note_act(lake, "deadletter close", {"letters": 3, "source": None}, by=" ada ", reason="of a test")
    (act,) = acts(lake)
    assert (act.user, act.command, act.what) == (getpass.getuser(), "deadletter close", {"letters": 3})
    assert (act.by, act.reason, act.id) == ("ada", "of a test", noted.id)
    assert abs(act.at - datetime.now(UTC)) < timedelta(minutes=1)
    document = json.loads((lake.path / "_private" / "acts" / f"{act.id}.json").read_text())
    assert document.keys() == {"at", "user", "host", "command", "what", "by", "reason"}


def test_acts_come_in_order_and_none_before_a_time(lake: Lake) -> None:
    first, second = note_act(lake, "a", {}), note_act(lake, "b", {})
    assert [act.command for act in acts(lake)] == ["a", "b"]
    assert [act.id for act in acts(lake, second.at)] == [second.id] or first.at == second.at
    assert acts(lake, datetime.now(UTC) + timedelta(hours=1)) == []


def test_reveals_of_versions_before_are_read_too(lake: Lake) -> None:
    old = lake.path / "_private" / "revealed" / "20260101T000000000000Z-abcdef.json"
    old.parent.mkdir(parents=True)
    told = {
        "at": "2026-01-01T00:00:00.000Z",
        "user": "ada",
        "host": "h",
        "command": "deadletter show",
        "what": {"dead_letter_id": "3f"},
    }
    old.write_text(json.dumps(told))
    note_act(lake, "reconcile", {})
    assert [(act.command, act.reason) for act in acts(lake)] == [("deadletter show", None), ("reconcile", None)]


@pytest.mark.parametrize("reason", [" ", "", "x" * (MOST_REASON_CHARACTERS + 1)])
def test_a_reason_that_says_nothing_is_refused_and_nothing_is_noted(lake: Lake, reason: str) -> None:
    with pytest.raises(ConfigurationError, match="reason"):
        note_act(lake, "deadletter close", {}, by="ada", reason=reason)
    assert acts(lake) == []
