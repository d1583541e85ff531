"""Options of ``headrace replay plan`` and ``run``: what is rebuilt, from what, and how fast."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from contracts.compiler.timestamps import parse_timestamp
from contracts.errors import ConfigurationError
from pipelines.ingest.options import TIME
from runners.option_fields import duration, one_of, option, reads, size, whole

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_DAY_S = 86_400


def replay_name(text: str) -> str:
    """A replay's name, which becomes a part of file and branch names."""
    if not _NAME.fullmatch(text):
        raise ValueError("a name of lower-case letters, digits, _ and -, which begins with a letter, at most 64 long")
    return text


@reads(TIME)
def _time(text: str) -> int:
    microseconds = parse_timestamp(text, None)
    if microseconds is None:
        raise ValueError("a time such as 2026-11-23T06:00:00Z")
    return microseconds


@reads(duration.pattern)
def _window(text: str) -> int:
    seconds = duration(text)
    if seconds % 60 or _DAY_S % seconds:
        raise ValueError("whole minutes that divide a day, such as 1h or 1d")
    return seconds


@reads(r"[A-Za-z0-9._-]+/[0-9]+:[0-9]+-[0-9]+")
def _offsets(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+/\d+:\d+-\d+", text):
        raise ValueError("TOPIC/PARTITION:FROM-TO, such as web-events/0:1200-4800")
    return text


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """Options of ``headrace replay plan`` and ``run``. Times are microseconds since 1970."""

    name: str
    dataset: str = option("Which dataset is rebuilt.", metavar="NAME")
    start: int = option("First moment of the range.", _time, metavar="TIME")
    end: int = option("The moment after the range.", _time, metavar="TIME")
    by: str = option(
        "What the range is of: the rows' window time, or when their raw records were received.",
        one_of("window-time", "received-time"), metavar="window-time|received-time",
        default="window-time", shown_default="window-time",
    )  # fmt: skip
    lake: str | None = option("The lake: a folder or gs://BUCKET/PREFIX; headrace.yaml may name it.", metavar="URI", default=None)
    source: tuple[str, ...] = option(
        "Rebuild from these sources only; what others published in the range is left out.",
        metavar="NAME", repeated=True, default=(), shown_default="all that feed the dataset",
    )  # fmt: skip
    window: int = option(
        "Length of the windows that are rebuilt; the range is widened to whole ones.",
        _window, metavar="DURATION", default=3_600, shown_default="1h",
    )  # fmt: skip
    raw: str = option(
        "Which raw is read: what is known to reach the windows and all that was ever rejected, or everything.",
        one_of("reaching", "all"), metavar="reaching|all", default="reaching", shown_default="reaching",
    )  # fmt: skip
    offsets: tuple[str, ...] = option(
        "Only the windows that these offsets of a topic's landing log reach.",
        _offsets, metavar="TOPIC/PARTITION:FROM-TO", repeated=True, default=(),
    )  # fmt: skip
    runner: str = option(
        "Where it runs: direct is this machine, flink a session cluster.",
        one_of("direct", "flink"), metavar="direct|flink", default="direct", shown_default="direct",
    )  # fmt: skip
    max_parallel: int | None = option(
        "Most workers at once. direct: processes; flink: slots.",
        whole(1, 1024), metavar="N", default=None, shown_default="1; flink: all free slots",
    )  # fmt: skip
    max_rate: int | None = option(
        "Direct: most decompressed bytes of raw per second, on average.",
        size,
        metavar="SIZE",
        default=None,
        shown_default="no limit",
    )
    slice_bytes: int | None = option(
        "Direct: decompressed input that one graph run takes; bounds memory, and is the step of pause and resume.",
        size, metavar="SIZE", default=None, shown_default="512M",
    )  # fmt: skip
    to_topic: str | None = option(
        "Publish the rows to this topic too, kafka://HOST:PORT/TOPIC, as the immediate branch does.",
        metavar="URI", default=None,
    )  # fmt: skip
    approved_by: str | None = option("Who approved a replay above the project's limits.", metavar="NAME", default=None)
    reason: str | None = option("Why it is done; recorded.", default=None)
    flink: str | None = option(
        "Flink: REST address; headrace.yaml may name it, else FLINK_REST, else localhost:28081.", metavar="HOST:PORT", default=None
    )
    python_workers: str | None = option(
        "Flink: where its Python workers are: process:COMMAND on each machine, or external:HOST:PORT, a pool in each pod.",
        metavar="KIND:WHERE", default=None, shown_default="process: this installation",
    )  # fmt: skip
    beam_options: tuple[str, ...] = field(default=())

    @property
    def workers(self) -> int | None:
        """As ``IngestOptions`` calls it."""
        return self.max_parallel

    def check(self) -> None:
        """Whether the options fit each other.

        Raises:
            ConfigurationError: names every option that does not.
        """
        problems = []
        if self.start >= self.end:
            problems.append("--end: is not after --start")
        try:
            replay_name(self.name)
        except ValueError as error:
            problems.append(f"NAME {self.name!r}: expected {error}")
        if self.runner == "flink":
            problems += [f"{name}: with --runner direct only" for name in ("--max-rate", "--slice-bytes") if self._given(name)]
        else:
            problems += [f"{name}: with --runner flink only" for name in ("--flink", "--python-workers") if self._given(name)]
        if self.approved_by and not self.reason:
            problems.append("--reason: an approval needs one")
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _given(self, name: str) -> Any:
        return getattr(self, name[2:].replace("-", "_")) is not None
