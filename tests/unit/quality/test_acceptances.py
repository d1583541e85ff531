"""What people overrule, said once, and on record just when something was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.acts import acts
from lake.location import Lake
from quality.acceptances import accept, acceptances
from quality.verdicts import Partition

PARTITION = Partition("order", 0, 3_600_000_000)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.at(str(tmp_path / "lake"))
    made.create()
    return made


def said(lake: Lake, *rules: str, by: str = "Ada", new_normal: bool = False, content: str = "7-aa") -> bool:
    return accept(lake, PARTITION, content, rules, by=by, reason="a sale", new_normal=new_normal)[1]


def test_a_new_normal_after_a_plain_acceptance_says_more_and_not_the_other_way_round(lake: Lake) -> None:
    assert [said(lake, "keys"), said(lake, "keys", by="Bob"), said(lake, "keys", by="Bob", new_normal=True)] == [True, False, True]
    assert [said(lake, "keys", by="Eve", new_normal=True), said(lake, "keys", by="Eve")] == [False, False]
    assert [(one.by, one.new_normal) for one in acceptances(lake, "order")[PARTITION]] == [("Ada", False), ("Bob", True)]


def test_an_act_is_on_record_only_where_something_was_done(lake: Lake) -> None:
    said(lake, "keys")
    said(lake, "keys", by="Bob")
    assert [act.by for act in acts(lake)] == ["Ada"]


def test_other_rows_and_more_rules_are_accepted_for_themselves(lake: Lake) -> None:
    assert [said(lake, "keys", "volume"), said(lake, "keys"), said(lake, "more"), said(lake, "keys", content="8-bb")] == [
        True, False, True, True,
    ]  # fmt: skip
