"""Options of ``headrace ingest``: one dataclass, whatever is read and wherever it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.units import DAY_S
from pipelines.topic_options import TopicOptions
from runners.option_fields import argument, lake_field, option
from runners.option_readers import duration, duration_or_zero, flag, one_of, or_word, reads, share, size, whole, window_length
from runners.options import CheckpointOptions
from transforms.kafka.connection import is_kafka


@reads(r"[^\x00-\x20\x7f-][^\x00-\x1f\x7f]*")
def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return text


@dataclass(frozen=True, kw_only=True)
class IngestOptions(CheckpointOptions, TopicOptions):
    """Options of ``headrace ingest``. None where nothing was given and the default depends on what is read."""

    COMMAND = ("ingest",)

    source: str = argument("Name of the source: sources/NAME.yaml of the project.")
    input: tuple[str, ...] = option(
        "What to ingest: a file, folder or quoted glob, local, gs:// or s3:// (several times if you like), or kafka://HOST:PORT/TOPIC.",
        metavar="URI", repeated=True,
    )  # fmt: skip
    lake: str | None = lake_field()
    window: int | None = option(
        "Event-time window of one fold: 10m, 1h, 1d, 30d. auto: a minute for a stream, an hour with --until; files: by density.",
        or_word("auto", window_length), metavar="DURATION", default=None, shown_default="auto",
    )  # fmt: skip
    num_shards: int = option(
        "Shards of the tables; fixed when a table is made.", whole(1, 1024), metavar="N", default=4, shown_default="4"
    )
    max_rejected: float = option(
        "Exit 1 if a larger share of the records becomes dead letters.", share, metavar="SHARE", default=0.1, shown_default="10%"
    )
    allow_damaged: bool = option(
        "Damaged or unreadable input is reported, but does not fail the run.", flag, default=False, group="Files"
    )
    allow_held: bool = option("What the gate holds is reported, but does not fail the run.", flag, default=False)
    slice_bytes: int | None = option(
        "Direct runner: decompressed input that a worker takes at once; bounds memory.",
        size, metavar="SIZE", default=None, shown_default="equal parts, at most 512M", group="Files",
    )  # fmt: skip
    topic_pattern: str | None = option(
        "All topics whose whole name matches, later ones too; then the input is kafka://HOST:PORT.",
        _pattern, metavar="REGEX", default=None, group="Kafka",
    )  # fmt: skip
    watermark_bound: int | None = option(
        "How far record times may be out of order.",
        duration_or_zero, metavar="DURATION", default=None, shown_default="5s", group="Kafka",
    )  # fmt: skip
    idle_timeout: int | None = option(
        "A partition without records for so long no longer holds windows open.",
        duration, metavar="DURATION", default=None, shown_default="30s", group="Kafka",
    )  # fmt: skip
    allowed_lateness: int | None = option(
        "How long after its end a window takes rows; later ones go to late.<dataset>.",
        duration, metavar="DURATION", default=None, shown_default="10m", group="Kafka",
    )  # fmt: skip
    immediate: str | None = option(
        "Topic for rows as soon as they are checked, made where it is missing; or off.",
        metavar="TOPIC|off", default=None, shown_default="headrace.validated.DATASET; with --until off", group="Kafka",
    )  # fmt: skip
    early_panes: int | None = option(
        "Publish the rows of a window that is still open this often, or off.",
        or_word("off", duration), metavar="DURATION|off", default=None, shown_default="off", group="Kafka",
    )  # fmt: skip
    late_panes: int | None = option(
        "How long rows that come after their window, dead letters and late rows are gathered.",
        duration, metavar="DURATION", default=None, shown_default="30s", group="Kafka",
    )  # fmt: skip
    commit_every: int | None = option(
        "Shortest time between two commits of a table.",
        duration, metavar="DURATION", default=None, shown_default="10s", group="Kafka",
    )  # fmt: skip
    runner: str = option(
        "Where it runs: direct is this machine, flink a session cluster, dataflow Google's service (files, with a gs:// lake).",
        one_of("direct", "flink", "dataflow"),
        metavar="direct|flink|dataflow", default="direct", shown_default="direct", group="Runner",
    )  # fmt: skip
    workers: int | None = option(
        "Parallelism. direct: processes, each with a slice of its own; flink: slots.",
        whole(1, 1024), metavar="N", default=None, shown_default="1; flink: all free slots", group="Runner",
    )  # fmt: skip

    @property
    def reads_kafka(self) -> bool:
        """Whether the input is a topic."""
        return any(map(is_kafka, self.input))

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        if self.reads_kafka:
            yield from self._kafka_problems()
        else:
            yield from (f"{name}: for kafka:// input only" for name in self.given("Kafka"))
        if self.runner == "dataflow" and self.workers is not None:
            yield "--workers: on Dataflow give Beam's --num_workers and --max_num_workers behind `--`"
        yield from super().problems()

    def _kafka_problems(self) -> Iterator[str]:
        if len(self.input) > 1:
            yield "--input: one kafka:// address; use --topic-pattern for several topics"
        yield from (f"{name}: for files only" for name in self.given("Files"))
        if isinstance(self.start, int) and self.start > datetime.now(UTC).timestamp() * 1000:
            yield "--start: lies in the future"
        if self.until is None and self.allow_held:
            yield "--allow-held: for a run that ends; a stream goes on beside what its gate holds. Leave it out, or give --until"
        if self.until is None and self.window and self.window > DAY_S:
            yield "--window: at most 1d for a stream, which holds rows until their window ends; longer is for files and --until"
        if self.runner == "direct" and self.workers and self.workers > 1:
            yield "--workers: Kafka on the direct runner has one; more need --runner flink"
        if self.runner == "dataflow":
            yield "--runner: dataflow is for files only"
