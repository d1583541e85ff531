"""Options of ``headrace replay plan`` and ``run``: what is rebuilt, from what, and how fast."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runners.option_fields import argument, lake_field, option
from runners.option_readers import duration, moment, one_of, reads, size, whole, window_length
from runners.options import FlinkOptions

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def replay_name(text: str) -> str:
    """A replay's name, which becomes a part of file and branch names."""
    if not _NAME.fullmatch(text):
        raise ValueError("a name of lower-case letters, digits, _ and -, which begins with a letter, at most 64 long")
    return text


@reads(r"[A-Za-z0-9._-]+/[0-9]+:[0-9]+-[0-9]+")
def _offsets(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+/\d+:\d+-\d+", text):
        raise ValueError("TOPIC/PARTITION:FROM-TO, such as web-events/0:1200-4800")
    return text


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(FlinkOptions):
    """Options of ``headrace replay plan`` and ``run``. Times are microseconds since 1970."""

    COMMAND = ("replay", "run")

    name: str = argument("Name of the replay: lower-case letters, digits, _ and -.")
    dataset: str = option("Which dataset is rebuilt.", metavar="NAME")
    start: int = option("First moment of the range.", moment(unit_us=1), metavar="TIME")
    end: int = option("The moment after the range.", moment(unit_us=1), metavar="TIME")
    by: str = option(
        "What the range is of: the rows' window time, or when their raw records were received.",
        one_of("window-time", "received-time"), metavar="window-time|received-time",
        default="window-time", shown_default="window-time",
    )  # fmt: skip
    lake: str | None = lake_field()
    source: tuple[str, ...] = option(
        "Rebuild from these sources only; what others published in the range is left out.",
        metavar="NAME", repeated=True, default=(), shown_default="all that feed the dataset",
    )  # fmt: skip
    window: int = option(
        "Length of the windows that are rebuilt; the range is widened to whole ones.",
        window_length, metavar="DURATION", default=3_600, shown_default="1h",
    )  # fmt: skip
    raw: str = option(
        "Which raw is read: what is known to reach the windows and all that was ever rejected, or everything.",
        one_of("reaching", "all"), metavar="reaching|all", default="reaching", shown_default="reaching",
    )  # fmt: skip
    offsets: tuple[str, ...] = option(
        "Only the windows that these offsets of a topic's landing log reach.",
        _offsets, metavar="TOPIC/PARTITION:FROM-TO", repeated=True, default=(),
    )  # fmt: skip
    to_topic: str | None = option(
        "Publish the rows to this topic too, kafka://HOST:PORT/TOPIC, as the immediate branch does.",
        metavar="URI", default=None,
    )  # fmt: skip
    approved_by: str | None = option("Who approved a replay above the project's limits.", metavar="NAME", default=None)
    reason: str | None = option("Why it is done; recorded.", default=None)
    max_parallel: int | None = option(
        "Most workers at once. direct: processes; flink: slots.",
        whole(1, 1024), metavar="N", default=None, shown_default="1; flink: all free slots", group="Runner",
    )  # fmt: skip
    max_rate: int | None = option(
        "Most decompressed bytes of raw per second, on average.",
        size, metavar="SIZE", default=None, shown_default="no limit", group="Direct",
    )  # fmt: skip
    slice_bytes: int | None = option(
        "Decompressed input that a worker takes at once; bounds memory, and is the step of pause and resume.",
        size, metavar="SIZE", default=None, shown_default="equal parts, at most 512M", group="Direct",
    )  # fmt: skip

    max_memory: int | None = option(
        "Most resident memory of all its processes at once; above it the replay stops.",
        size, metavar="SIZE", default=None, shown_default="no limit", group="Direct",
    )  # fmt: skip
    max_cpu: int | None = option(
        "Most CPU time of all runs of the replay; above it the replay stops.",
        duration, metavar="DURATION", default=None, shown_default="no limit", group="Direct",
    )  # fmt: skip

    @property
    def workers(self) -> int | None:
        """Parallelism."""
        return self.max_parallel

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        if self.start >= self.end:
            yield "--end: is not after --start"
        try:
            replay_name(self.name)
        except ValueError as error:
            yield f"NAME {self.name!r}: expected {error}"
        if self.runner == "flink":
            yield from (f"{name}: with --runner direct only" for name in self.given("Direct"))
        if self.approved_by and not self.reason:
            yield "--reason: an approval needs one"
        yield from super().problems()
