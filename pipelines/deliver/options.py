"""Options of ``headrace deliver``: one dataclass, whether rows come from a topic or from a table."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.errors import ConfigurationError
from pipelines.ingest.options import moment
from runners.option_fields import duration, one_of, option, reads, whole
from transforms.kafka.connection import is_kafka

PIPELINE = "deliver"
_WORDS = ("earliest", "latest", "committed")


@reads(r"[0-9]+(\.[0-9]+)?", number=True)
def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ValueError("a positive number such as 50 or 0.5")
    return value


@dataclass(frozen=True, kw_only=True)
class DeliverOptions:
    """Options of ``headrace deliver``. None where nothing was given and the default depends on what is read."""

    destination: str
    input: str | None = option(
        "Deliver from a topic of rows, kafka://HOST:PORT[/TOPIC]; without it, a range of the validated table.",
        metavar="URI", default=None, shown_default="the table; topic: headrace.validated.DATASET",
    )  # fmt: skip
    start: str | int | None = option(
        "First moment of the table's range; of a topic where to begin: committed is behind what was delivered, else earliest.",
        moment(*_WORDS), metavar="TIME|earliest|latest|committed", default=None, shown_default="topic: committed",
    )  # fmt: skip
    end: int | None = option("Table: the moment after the range.", moment(), metavar="TIME", default=None)
    until: str | int | None = option(
        "Topic: deliver what is there now, or up to a record time, and end. Without it the job never ends.",
        moment("now"), metavar="now|TIME", default=None,
    )  # fmt: skip
    rows: str | None = option(
        "Table: unsettled are those without a final answer, refused those that the destination refused, or all once more.",
        one_of("unsettled", "refused", "all"), metavar="unsettled|refused|all", default=None, shown_default="unsettled",
    )  # fmt: skip
    lake: str | None = option("The lake: a folder or gs://BUCKET/PREFIX; headrace.yaml may name it.", metavar="URI", default=None)
    requests_per_s: float | None = option(
        "Most requests per second of this run; below the destination's own limit it may run beside another one.",
        _rate, metavar="N", default=None, shown_default="the destination's",
    )  # fmt: skip
    give_up_after: int | None = option(
        "Fail when the destination is down for so long. What was delivered is on record; a later run goes on.",
        duration, metavar="DURATION", default=None, shown_default="15m; a job without an end: never",
    )  # fmt: skip
    runner: str = option(
        "Where it runs: direct is this machine, flink a session cluster.",
        one_of("direct", "flink"), metavar="direct|flink", default="direct", shown_default="direct",
    )  # fmt: skip
    workers: int | None = option(
        "Parallelism: slots on flink.", whole(1, 1024), metavar="N", default=None, shown_default="1; flink: all free slots"
    )
    group: str | None = option(
        "Topic: consumer group whose offsets show how far the job is; nothing is read back from it.",
        metavar="NAME", default=None, shown_default="headrace-deliver-DESTINATION",
    )  # fmt: skip
    client_config: str | None = option(
        "Topic: properties file with settings of the client (SASL, TLS), at the same path on the workers.",
        metavar="FILE", default=None,
    )  # fmt: skip
    on_offset_gap: str | None = option(
        "Topic: when offsets that were not read are gone: fail, or go on from the earliest there is.",
        one_of("fail", "earliest"), metavar="fail|earliest", default=None, shown_default="fail",
    )  # fmt: skip
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
    def reads_topic(self) -> bool:
        """Whether rows come from a topic."""
        return self.input is not None

    @property
    def endless(self) -> bool:
        """Whether it never ends."""
        return self.reads_topic and self.until is None

    def check(self) -> None:
        """Whether the options fit each other.

        Raises:
            ConfigurationError: names every option that does not.
        """
        problems = []
        if self.input is not None:
            problems += [] if is_kafka(self.input) else ["--input: expected kafka://HOST:PORT or kafka://HOST:PORT/TOPIC"]
            problems += [f"{name}: for a range of the table only" for name in ("--end", "--rows") if self._given(name)]
            if isinstance(self.start, int) and isinstance(self.until, int) and self.start >= self.until:
                problems.append("--until: is not after --start")
        else:
            problems += [f"{name}: with --input kafka://… only" for name in _TOPIC_ONLY if self._given(name)]
            if not isinstance(self.start, int) or self.end is None:
                problems.append("--start and --end: a range of the table needs both, as times (or give --input kafka://…)")
            elif self.start >= self.end:
                problems.append("--end: is not after --start")
        if self.runner == "direct":
            problems += [f"{name}: with --runner flink only" for name in _FLINK_ONLY if self._given(name)]
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _given(self, name: str) -> bool:
        return getattr(self, name[2:].replace("-", "_")) is not None


_TOPIC_ONLY = ("--until", "--group", "--client-config", "--on-offset-gap")
_FLINK_ONLY = ("--workers", "--checkpoint-every", "--from-savepoint", "--flink", "--python-workers")
