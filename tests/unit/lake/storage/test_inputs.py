"""What an input takes in and leaves out is the same on a disk and in a bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from lake.raw.inputs import expand_inputs
from lake.storage.inputs import HIDDEN_FOLDER, NOT_ENTERED

FILES = (
    "a.jsonl", "_temporary/0/x.jsonl", "_temporary/1/y.jsonl", "day=1/b.jsonl", "day=1/.spark/c.jsonl", "day=2/deep/d.jsonl",
    "logs.jsonl/e.jsonl",
)  # fmt: skip
READ, THEN = "read", datetime(2026, 11, 2, tzinfo=UTC)


class Bucket:
    def blobs(self, location: str) -> list[SimpleNamespace]:
        prefix, bucket = location.removeprefix("gs://b/"), SimpleNamespace(name="b")
        return [
            SimpleNamespace(bucket=bucket, name=f"in/{name}", size=1, updated=THEN, time_created=THEN, metadata=None)
            for name in FILES
            if f"in/{name}".startswith(prefix)
        ]


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
    monkeypatch.setattr("lake.storage.gcs.gcs_storage", Bucket)
    for name in FILES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    for root in (str(tmp_path / "in"), "gs://b/in"):
        found = {
            file.uri.removeprefix(f"{root}/"): file.refused[1] if file.refused else READ
            for file in expand_inputs((root + pattern,))
        }
        assert found == expected, root
