"""Options of pipelines that read topics of Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runners.option_fields import Options, option
from runners.option_readers import moment, one_of


@dataclass(frozen=True, kw_only=True)
class TopicOptions(Options):
    """Which part of a topic is read, and as whom. Times are milliseconds since 1970."""

    start: str | int | None = option(
        "Where to begin; committed is after what this lake accounts for, else earliest.",
        moment("earliest", "latest", "committed"),
        metavar="earliest|latest|committed|TIME", default=None, shown_default="committed", group="Kafka",
    )  # fmt: skip
    until: str | int | None = option(
        "Read what is there now, or up to a record time, and end. Without it the job never ends.",
        moment("now"), metavar="now|TIME", default=None, group="Kafka",
    )  # fmt: skip
    group: str | None = option(
        "Consumer group whose offsets show how far the job is; nothing is read back from it.",
        metavar="NAME", default=None, shown_default="headrace-SOURCE; of a delivery headrace-deliver-DESTINATION", group="Kafka",
    )  # fmt: skip
    client_config: str | None = option(
        "Properties file with settings of the client (SASL, TLS), at the same path on the workers.",
        metavar="FILE", default=None, group="Kafka",
    )  # fmt: skip
    on_offset_gap: str | None = option(
        "When offsets that were not read are gone: fail, or go on from the earliest there is.",
        one_of("fail", "earliest"), metavar="fail|earliest", default=None, shown_default="fail", group="Kafka",
    )  # fmt: skip

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        yield from super().problems()
        if isinstance(self.start, int) and isinstance(self.until, int) and self.start >= self.until:
            yield "--until: is not after --start"
