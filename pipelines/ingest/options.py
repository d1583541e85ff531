"""Options of ``headrace ingest``: one dataclass, whatever is read and wherever it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contracts.compiler.timestamps import parse_timestamp
from contracts.errors import ConfigurationError
from runners.option_fields import Reader, duration, flag, one_of, option, reads, share, size, whole
from transforms.kafka.connection import is_kafka

_DAY_S = 86_400
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)"


@reads(rf"auto|{duration.pattern}")
def _window(text: str) -> int | None:
    if text == "auto":
        return None
    seconds = duration(text)
    if seconds % 60 or _DAY_S % seconds:
        raise ValueError("auto, or whole minutes that divide a day, such as 1h or 1d")
    return seconds


def moment(*words: str) -> Any:
    """One of these words, or a time; as the word or milliseconds."""

    def read(text: str) -> str | int:
        if text in words:
            return text
        microseconds = parse_timestamp(text, None)
        if microseconds is None:
            raise ValueError(f"{', '.join(words)}{' or ' if words else ''}a time such as 2026-11-23T06:00:00Z")
        return microseconds // 1000

    return Reader(read, "|".join((*words, TIME)))


@reads(r"[^\x00-\x20\x7f-][^\x00-\x1f\x7f]*")
def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return text


@reads(rf"off|{duration.pattern}")
def _off_or_duration(text: str) -> int | None:
    return None if text == "off" else duration(text)


@reads(duration.pattern)
def _bound(text: str) -> int:
    return 0 if text == "0s" else duration(text)


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """Options of ``headrace ingest``. None where nothing was given and the default depends on what is read."""

    source: str
    input: tuple[str, ...] = option(
        "What to ingest: a file, folder or quoted glob, local or gs:// (several times if you like), or kafka://HOST:PORT/TOPIC.",
        metavar="URI", repeated=True,
    )  # fmt: skip
    lake: str | None = option("The lake: a folder or gs://BUCKET/PREFIX; headrace.yaml may name it.", metavar="URI", default=None)
    runner: str = option(
        "Where it runs: direct is this machine, flink a session cluster, dataflow Google's service (files, with a gs:// lake).",
        one_of("direct", "flink", "dataflow"), metavar="direct|flink|dataflow", default="direct", shown_default="direct",
    )  # fmt: skip
    workers: int | None = option(
        "Parallelism. direct: worker processes; flink: slots.",
        whole(1, 1024), metavar="N", default=None, shown_default="1; flink: all free slots",
    )  # fmt: skip
    window: int | None = option(
        "Event-time window of one fold. auto: a minute for a stream, an hour with --until; files: a day up to 1 GiB, else an hour.",
        _window, metavar="DURATION", default=None, shown_default="auto",
    )  # fmt: skip
    num_shards: int = option(
        "Shards of the tables; fixed when a table is made.", whole(1, 1024), metavar="N", default=4, shown_default="4"
    )
    max_rejected: float = option(
        "Exit 1 if a larger share of the records becomes dead letters.", share, metavar="SHARE", default=0.1, shown_default="10%"
    )
    allow_damaged: bool = option("Files: damaged or unreadable input is reported, but does not fail the run.", flag, default=False)
    slice_bytes: int | None = option(
        "Files, direct: decompressed input that one graph run takes; bounds memory.",
        size, metavar="SIZE", default=None, shown_default="512M",
    )  # fmt: skip
    topic_pattern: str | None = option(
        "Kafka: all topics whose whole name matches, later ones too; then the input is kafka://HOST:PORT.",
        _pattern, metavar="REGEX", default=None,
    )  # fmt: skip
    start: str | int | None = option(
        "Kafka: where to begin; committed is after what this lake's ledger accounts for, else earliest.",
        moment("earliest", "latest", "committed"),
        metavar="earliest|latest|committed|TIME", default=None, shown_default="committed",
    )  # fmt: skip
    until: str | int | None = option(
        "Kafka: read what is there now, or up to a record time, and end. Without it the job never ends.",
        moment("now"), metavar="now|TIME", default=None,
    )  # fmt: skip
    group: str | None = option(
        "Kafka: consumer group whose offsets show how far the job is; nothing is read back from it.",
        metavar="NAME", default=None, shown_default="headrace-SOURCE",
    )  # fmt: skip
    client_config: str | None = option(
        "Kafka: properties file with settings of the client (SASL, TLS), at the same path on the workers.",
        metavar="FILE",
        default=None,
    )
    watermark_bound: int | None = option(
        "Kafka: how far record times may be out of order.", _bound, metavar="DURATION", default=None, shown_default="5s"
    )
    idle_timeout: int | None = option(
        "Kafka: a partition without records for so long no longer holds windows open.",
        duration, metavar="DURATION", default=None, shown_default="30s",
    )  # fmt: skip
    allowed_lateness: int | None = option(
        "Kafka: how long after its end a window takes rows; later ones go to late.<dataset>.",
        duration, metavar="DURATION", default=None, shown_default="10m",
    )  # fmt: skip
    on_offset_gap: str | None = option(
        "Kafka: when offsets that were not read are gone: fail, or go on from the earliest there is.",
        one_of("fail", "earliest"), metavar="fail|earliest", default=None, shown_default="fail",
    )  # fmt: skip
    immediate: str | None = option(
        "Kafka: topic for rows as soon as they are checked, made where it is missing; or off.",
        metavar="TOPIC|off", default=None, shown_default="headrace.validated.DATASET; with --until off",
    )  # fmt: skip
    early_panes: int | None = option(
        "Kafka: publish the rows of a window that is still open this often, or off.",
        _off_or_duration, metavar="DURATION|off", default=None, shown_default="off",
    )  # fmt: skip
    late_panes: int | None = option(
        "Kafka: how long rows that come after their window, dead letters and late rows are gathered.",
        duration, metavar="DURATION", default=None, shown_default="30s",
    )  # fmt: skip
    commit_every: int | None = option(
        "Kafka: shortest time between two commits of a table.", duration, metavar="DURATION", default=None, shown_default="10s"
    )
    checkpoint_every: int | None = option(
        "Flink: time between checkpoints.", duration, metavar="DURATION", default=None, shown_default="10s"
    )
    from_savepoint: str | None = option(
        "Flink: start with the state of a savepoint or retained checkpoint.", metavar="PATH", default=None
    )
    flink: str | None = option(
        "Flink: REST address; headrace.yaml may name it, else FLINK_REST, else localhost:28081.", metavar="HOST:PORT", default=None
    )
    python_workers: str | None = option(
        "Flink: where its Python workers are: process:COMMAND on each machine, or external:HOST:PORT, a pool in each pod.",
        metavar="KIND:WHERE", default=None, shown_default="process: this installation",
    )  # fmt: skip
    beam_options: tuple[str, ...] = field(default=())

    @property
    def reads_kafka(self) -> bool:
        """Whether the input is a topic."""
        return any(map(is_kafka, self.input))

    def check(self) -> None:
        """Whether the options fit each other.

        Raises:
            ConfigurationError: names every option that does not.
        """
        problems = []
        if self.reads_kafka:
            if len(self.input) > 1:
                problems.append("--input: one kafka:// address; use --topic-pattern for several topics")
            problems += [f"{name}: for files only" for name in ("--slice-bytes", "--allow-damaged") if self._given(name)]
            problems += self._kafka_problems()
            problems += ["--runner: dataflow is for files only"] if self.runner == "dataflow" else []
        else:
            problems += [f"{name}: for kafka:// input only" for name in _KAFKA_ONLY if self._given(name)]
        if self.runner == "dataflow" and self._given("--workers"):
            problems.append("--workers: on Dataflow give Beam's --num_workers and --max_num_workers behind `--`")
        if self.runner != "flink":
            problems += [f"{name}: with --runner flink only" for name in _FLINK_ONLY if self._given(name)]
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _kafka_problems(self) -> list[str]:
        problems = []
        if isinstance(self.start, int) and isinstance(self.until, int) and self.start >= self.until:
            problems.append("--until: is not after --start")
        if isinstance(self.start, int) and self.start > datetime.now(UTC).timestamp() * 1000:
            problems.append("--start: lies in the future")
        if self.runner == "direct" and self.workers and self.workers > 1:
            problems.append("--workers: Kafka on the direct runner has one; more need --runner flink")
        return problems

    def _given(self, name: str) -> bool:
        value = getattr(self, name[2:].replace("-", "_"))
        return value is not None and value is not False


_KAFKA_ONLY = (
    "--topic-pattern", "--start", "--until", "--group", "--client-config", "--watermark-bound", "--idle-timeout",
    "--allowed-lateness", "--on-offset-gap", "--immediate", "--early-panes", "--late-panes", "--commit-every",
)  # fmt: skip
_FLINK_ONLY = ("--checkpoint-every", "--from-savepoint", "--flink", "--python-workers")
