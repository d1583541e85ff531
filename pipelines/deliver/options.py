"""Options of ``headrace deliver``: one dataclass, whether rows come from a topic or from a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.topic_options import TopicOptions
from runners.option_fields import argument, lake_field, option
from runners.option_readers import as_decimal, duration, moment, one_of, reads, whole
from runners.options import CheckpointOptions
from transforms.kafka.connection import is_kafka

PIPELINE = "deliver"


@reads(r"[0-9]+(\.[0-9]+)?", as_decimal, number=True)
def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ValueError("a positive number such as 50 or 0.5")
    return value


@dataclass(frozen=True, kw_only=True)
class DeliverOptions(CheckpointOptions, TopicOptions):
    """Options of ``headrace deliver``. None where nothing was given and the default depends on what is read."""

    COMMAND = ("deliver",)

    destination: str = argument("Name of the destination: destinations/NAME.yaml of the project.")
    input: str | None = option(
        "Deliver from a topic of rows, kafka://HOST:PORT[/TOPIC]; without it, a range of the validated table.",
        metavar="URI", default=None, shown_default="the table; topic: headrace.validated.DATASET",
    )  # fmt: skip
    start: str | int | None = option(
        "First moment of the table's range; of a topic where to begin: committed is behind what was delivered, else earliest.",
        moment("earliest", "latest", "committed"),
        metavar="TIME|earliest|latest|committed", default=None, shown_default="topic: committed",
    )  # fmt: skip
    lake: str | None = lake_field()
    requests_per_s: float | None = option(
        "Most requests per second of this run; below the destination's own limit it may run beside another one.",
        _rate, metavar="N", default=None, shown_default="the destination's",
    )  # fmt: skip
    give_up_after: int | None = option(
        "Fail when the destination is down for so long. What was delivered is on record; a later run goes on.",
        duration, metavar="DURATION", default=None, shown_default="15m; a job without an end: never",
    )  # fmt: skip
    end: int | None = option("The moment after the range.", moment(), metavar="TIME", default=None, group="Table")
    rows: str | None = option(
        "Which rows: unsettled are those without a final answer, refused those that the destination refused, or all once more.",
        one_of("unsettled", "refused", "all"),
        metavar="unsettled|refused|all", default=None, shown_default="unsettled", group="Table",
    )  # fmt: skip
    workers: int | None = option(
        "Slots that the job takes.", whole(1, 1024), metavar="N", default=None, shown_default="all that are free", group="Flink"
    )

    @property
    def reads_topic(self) -> bool:
        """Whether rows come from a topic."""
        return self.input is not None

    @property
    def endless(self) -> bool:
        """Whether it never ends."""
        return self.reads_topic and self.until is None

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        if self.input is not None:
            if not is_kafka(self.input):
                yield "--input: expected kafka://HOST:PORT or kafka://HOST:PORT/TOPIC"
            yield from (f"{name}: for a range of the table only" for name in self.given("Table"))
        else:
            yield from (f"{name}: with --input kafka://… only" for name in self.given("Kafka"))
            if not isinstance(self.start, int) or self.end is None:
                yield "--start and --end: a range of the table needs both, as times (or give --input kafka://…)"
            elif self.start >= self.end:
                yield "--end: is not after --start"
        yield from super().problems()
