"""Documents by what they say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.drift.documents import apart

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_nothing_differs_from_itself(document: Any) -> None:
    assert list(apart(document, document)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"passCredentials": None, "valueFiles": []}, {}),  # argoproj/argo-cd#15898: defaults that are written out
        ({"x": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}, {"x": [{"name": "b", "v": 2}, {"name": "a", "v": 1}]}),
    ],
)
def test_what_is_no_difference(before: Any, after: Any) -> None:
    assert list(apart(before, after)) == []


def test_the_deepest_place_is_told() -> None:
    before = {"tasks": [{"task_id": "a", "with": {"command": ["x"]}}, {"task_id": "b"}], "n": 1}
    after = {"tasks": [{"task_id": "a", "with": {"command": ["x", "y"]}}], "n": True}
    told = [place.told for place in apart(before, after)]
    assert told == [
        "n is 1, should be true",
        "tasks[a].with.command is x, should be x y",
        'tasks[b] is {"task_id": "b"}, should be nothing',
    ]


@given(JSON, JSON)
def test_a_difference_is_one_from_either_side(one: Any, other: Any) -> None:
    assert bool(list(apart(one, other))) == bool(list(apart(other, one)))
