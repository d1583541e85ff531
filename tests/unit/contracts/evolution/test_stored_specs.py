"""Specs as a lake keeps them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.evolution.stored_specs import spec_differences, state_name, stored_destination, stored_source
from contracts.spec.paths import PayloadPath
from contracts.spec.project import Project
from tests.support.processes import PROJECT

WEB, _ = Project.load(PROJECT).source("web")


def test_specs_that_read_alike_are_the_same_text() -> None:
    assert stored_source(replace(WEB, description="anew", examples=())) == stored_source(WEB)
    assert stored_source(replace(WEB, timezone="Europe/Rome")) != stored_source(WEB)


def test_what_differs_is_told_by_place() -> None:
    columns = {**WEB.columns, "page_url": (PayloadPath.parse("page.href"),), "mood": (PayloadPath.parse("mood"),)}
    del columns["user_id"]
    told = spec_differences(stored_source(WEB), stored_source(replace(WEB, columns=columns, revision=7)))
    assert told == [
        "columns.mood is mood, is new",
        "columns.page_url is page.href, was context.page.url",
        "columns.user_id is gone, was userId",
        "revision is 7, was 1",
    ]


def test_secrets_in_addresses_are_not_kept_and_a_change_of_them_is_told() -> None:
    destination, _ = Project.load(PROJECT).destination("segment")
    before, after = (
        stored_destination(replace(destination, endpoint=f"https://u:{word}@cdp/v1"), lambda text: str(len(text)))
        for word in ("hunter2", "hunter22")
    )
    assert b"hunter" not in before + after
    (told,) = spec_differences(before, after)
    assert told.startswith("endpoint is (hidden ") and state_name(before) != state_name(after)


def test_what_is_no_stored_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        spec_differences(b"{}", b"{")
