"""What an input takes in and leaves out is the same on a disk and in a bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lake.raw.inputs import expand_inputs
from lake.storage.inputs import HIDDEN_FOLDER, NOT_ENTERED
from lake.storage.objects import ObjectInfo

FILES = (
    "a.jsonl", "_temporary/0/x.jsonl", "_temporary/1/y.jsonl", "day=1/b.jsonl", "day=1/.spark/c.jsonl", "day=2/deep/d.jsonl",
    "logs.jsonl/e.jsonl",
)  # fmt: skip
READ, THEN_S = "read", datetime(2026, 11, 2, tzinfo=UTC).timestamp()


class Bucket:
    def __init__(self, scheme: str) -> None:
        self.scheme = scheme

    def beginning_with(self, location: str) -> list[ObjectInfo]:
        names = [f"{self.scheme}b/in/{name}" for name in FILES]
        return [ObjectInfo(name, 1, THEN_S, "1", THEN_S, None) for name in names if name.startswith(location)]

    def modified_us(self, objects: list[ObjectInfo]) -> list[int]:
        return [round(found.created_s) * 1_000_000 for found in objects]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "",
            {
                **dict.fromkeys(("a.jsonl", "day=1/b.jsonl", "day=2/deep/d.jsonl", "logs.jsonl/e.jsonl"), READ),
                **dict.fromkeys(("_temporary", "day=1/.spark"), HIDDEN_FOLDER),
            },
        ),
        ("/*", {"a.jsonl": READ, **dict.fromkeys(("_temporary", "day=1", "day=2", "logs.jsonl"), NOT_ENTERED)}),
        ("/*.jsonl", {"a.jsonl": READ, "logs.jsonl": NOT_ENTERED}),
        ("/day=*", dict.fromkeys(("day=1", "day=2"), NOT_ENTERED)),
        ("/day=?/*", {"day=1/b.jsonl": READ, "day=1/.spark": NOT_ENTERED, "day=2/deep": NOT_ENTERED}),
        ("/a.jsonl", {"a.jsonl": READ}),
    ],
)
def test_folders_that_are_left_out_are_told_alike(
    pattern: str, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.storage.inputs.object_storage", lambda location: Bucket(location[:5]))
    for name in FILES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    for root in (str(tmp_path / "in"), "gs://b/in", "s3://b/in"):
        found = {
            file.uri.removeprefix(f"{root}/"): file.refused[1] if file.refused else READ
            for file in expand_inputs((root + pattern,))
        }
        assert found == expected, root
