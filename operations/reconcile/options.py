"""Options of ``headrace reconcile``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runners.option_fields import Options, argument, lake_field, option
from runners.option_readers import duration, flag, moment, whole


@dataclass(frozen=True, kw_only=True)
class ReconcileOptions(Options):
    """Options of ``headrace reconcile``. Times are milliseconds since 1970, durations seconds."""

    COMMAND = ("reconcile",)

    destination: str = argument("Name of the destination: destinations/NAME.yaml of the project.")
    start: int = option("First moment of the range, by the rows' window time.", moment(), metavar="TIME")
    end: int = option("The moment after the range.", moment(), metavar="TIME")
    lake: str | None = lake_field()
    export: tuple[str, ...] = option(
        "What the destination has, as files of its own: JSON lines (gzip and zstd are recognised) or Parquet; local, gs:// or s3://.",
        metavar="URI", repeated=True, default=(), shown_default="the destination's export URL",
    )  # fmt: skip
    id_field: str = option("Field or column with the event's id.", metavar="NAME", default="messageId", shown_default="messageId")
    event_field: str = option(
        "Field or column with the event, as an object or JSON text; '.' where the record itself is the event.",
        metavar="NAME", default="event", shown_default="event",
    )  # fmt: skip
    ids_only: bool = option("Compare ids and no contents: for a destination that rewrites what it takes.", flag, default=False)
    exported_at: int | None = option(
        "When the files were exported; what was delivered later is pending.",
        moment(), metavar="TIME", default=None, shown_default="when the oldest of them was last changed",
    )  # fmt: skip
    settle: int | None = option(
        "How long delivery may take: a row that is younger and has no answer yet is pending, an older one missing.",
        duration, metavar="DURATION", default=None, shown_default="the destination's limits.queue_age_s",
    )  # fmt: skip
    margin: int = option(
        "Export URL: how far around the times of the range's events it is read.",
        duration, metavar="DURATION", default=3_600, shown_default="1h",
    )  # fmt: skip
    samples: int = option("Events to show of each cause.", whole(0, 1_000), metavar="N", default=5, shown_default="5")
    reveal: bool = option(
        "Show event ids, which the lake records; without it, 12 digits that only this lake gives them.", flag, default=False
    )
    html: str | None = option("Write one HTML page that needs nothing else.", metavar="FILE", default=None)

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        if self.start >= self.end:
            yield "--end: is not after --start"
        if not self.id_field:
            yield "--id-field: expected a name"
        if not self.export and self.exported_at is not None:
            yield "--exported-at: with --export only; what an export URL gives is of now"
