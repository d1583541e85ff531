"""``schedules`` of ``headrace.yaml`` as users write it. Reference: docs/reference/sources.md#schedules."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from contracts.spec.files.base import Boolean, FileModel, Name, Positive, Read, Worded, duration_s, wrong
from contracts.spec.schedules import (
    CRON_OF,
    BackfillSchedule,
    DestinationSchedule,
    Schedules,
    SourceSchedule,
    StreamSchedule,
    UpkeepSchedule,
    cron_problem,
)
from contracts.units import DAY_S, HOUR_S

_SIZE = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")
_PARTITION_S = {"hour": HOUR_S, "day": DAY_S}
_KAFKA = "kafka://"
_DIRECTIVE = re.compile(r"%[-_0^#]?([A-Za-z%])")  # of strftime
_OF_HOURS, _OF_DAYS = frozenset("HIklsTRrXc"), frozenset("djeDFxuwaAyYmbBhgGUVWC")


def _cron(value: Any) -> str:
    if problem := cron_problem(str(value)):
        raise wrong(problem)
    return CRON_OF.get(str(value), str(value))


def _duration(value: Any) -> str:
    if duration_s(value) is None:
        raise wrong(f"{value!r} is no duration such as 30m or 7d")
    return str(value)


def _size(value: Any) -> str:
    if not re.fullmatch(r"[1-9]\d{0,14}[KMGT]?", str(value)):
        raise wrong(f"{value!r} is no size such as 512M or 10G")
    return str(value)


def _zone(value: Any) -> str:
    try:
        zone = ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise wrong(f"{value!r} is no time zone such as UTC or Europe/Berlin") from None
    winter, summer = (datetime(2026, month, 1, tzinfo=zone).utcoffset() or timedelta() for month in (1, 7))
    if (summer - winter) % timedelta(hours=1):  # Airflow's timetable by the hour stops there: it "did not advance"
        raise wrong(f"{value!r}: its clocks change by a part of an hour, and hours of a schedule would be lost; choose UTC")
    return str(value)


def _hours(value: Any) -> str:
    if not _HOURS.fullmatch(str(value)):
        raise wrong(f"{value!r} is no time of day such as 20:00-06:00")
    return str(value)


def _day(value: Any) -> date:
    if not isinstance(value, date):
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            raise wrong(f"{value!r} is no day such as 2026-11-01") from None
    return value


def _seconds(text: str) -> int:
    found = duration_s(text)
    assert found is not None  # checked when it was read
    return found


def _bytes(text: str) -> int:
    return int(text.rstrip("KMGT")) * _SIZE[text.lstrip("0123456789")]


Cron = Annotated[str, Read(_cron, {"type": "string", "examples": ["hour", "day", "15 4 * * *"]})]
Duration = Annotated[str, Read(_duration, {"type": "string", "examples": ["30m"]})]
_Topic = Annotated[str, Field(pattern=r"^kafka://[^/]+/.+"), Worded("{value!r} is no kafka://HOST:PORT/TOPIC")]
_Size = Annotated[str, Read(_size, {"type": ["string", "integer"], "examples": ["10G"]})]
_Retries = Annotated[int, Field(ge=0, le=20), Worded("{value!r} is no number of retries from 0 to 20")]
_Options = Annotated[list[str], Worded("expected a list of options, such as [--allow-damaged]", whole=True)]
_CRON = "`hour`, `day`, or a cron expression of five fields"


def _named_by(name: str) -> Literal["hour", "day"] | None:
    """The shortest time that a name tells; months and years as days. None: it tells none."""
    told = set() if name.startswith(_KAFKA) else set(_DIRECTIVE.findall(name))
    return "hour" if told & _OF_HOURS else "day" if told & _OF_DAYS else None


class SourceScheduleFile(FileModel):
    """When a source is ingested."""

    input: str = Field(
        min_length=1,
        description="A folder or file named by its time, as `drop/web/%Y-%m-%d/%H`, relative to the project; or "
        "`kafka://HOST:PORT/TOPIC`, read until the interval's end.",
    )
    every: Cron = Field(default=CRON_OF["hour"], description=f"Interval of a run: {_CRON}.", json_schema_extra={"shown": "`hour`"})
    partition: Annotated[Literal["hour", "day"] | None, Worded("expected hour or day")] = Field(
        default=None,
        description="What one folder holds; each is a task of its own.",
        json_schema_extra={"shown": "`day` where its name has a day and no hour, else `hour`"},
    )
    wait: Duration | None = Field(
        default=None, description="How long to wait for a folder that is not there yet. Folders of this machine only."
    )
    marker: str = Field(default="", description="Name of a file in the folder that says that it is complete, such as `_SUCCESS`.")
    missing: Annotated[Literal["fail", "skip"], Worded("expected fail or skip")] = Field(
        default="fail", description="What a folder that is not there means: an error, or that there was nothing."
    )
    catchup: Boolean = Field(default=True, description="Whether intervals since `start` that have no run get one.")
    retries: _Retries = Field(default=4, description="How often a task is tried again when a component is down (exit code 3).")
    timeout: Duration = Field(default="1h", description="Longest time of one task; what runs is ended then.")
    parallel: Positive = Field(default=4, description="Most tasks of one run at once.")
    options: _Options = Field(default=[], description="Further options of `headrace ingest`.", examples=[["--allow-damaged"]])

    @model_validator(mode="after")
    def _fits(self) -> SourceScheduleFile:
        if self.input.startswith(_KAFKA) and (self.wait or self.marker):
            raise wrong("wait and marker are of folders, not of a topic")
        if self.wait and "://" in self.input:
            raise wrong(
                "wait: only for folders of this machine; leave it out, and missing tells what a folder that is not there means"
            )
        return self

    @model_validator(mode="after")
    def _named_by_its_partition(self) -> SourceScheduleFile:
        named = _named_by(self.input)
        if self.partition == "day" and named == "hour":
            raise wrong(f"partition: day, but {self.input} names hours; leave partition out, or %H")
        if self.partition == "hour" and named == "day":
            raise wrong(f"partition: hour, but {self.input} names days; leave partition out, or name the hour with %H")
        return self

    def compiled(self) -> SourceSchedule:
        """What the rest of the code reads."""
        return SourceSchedule(
            input=self.input,
            every=self.every,
            partition_s=_PARTITION_S[self.partition or _named_by(self.input) or "hour"],
            wait_s=_seconds(self.wait) if self.wait else 0,
            marker=self.marker,
            missing=self.missing,
            catchup=self.catchup,
            retries=self.retries,
            timeout_s=_seconds(self.timeout),
            parallel=self.parallel,
            options=tuple(self.options),
        )


class StreamScheduleFile(FileModel):
    """A job that never ends."""

    input: _Topic = Field(description="`kafka://HOST:PORT/TOPIC`.")
    workers: Positive = Field(default=1, description="Slots of the Flink cluster that it takes.")
    movesWithin: Duration = Field(
        default="10m", description="How long after a start its frontier may stand still, before an upgrade is taken back."
    )
    previous: str = Field(
        default="",
        description="Command of `headrace` of the version before, as tasks find it, or `$NAME` of a variable that says it. "
        "An upgrade that fails goes back to it.",
        examples=["/opt/headrace-previous/bin/headrace"],
    )
    options: _Options = Field(default=[], description="Further options of `headrace ingest`.")

    def compiled(self) -> StreamSchedule:
        """What the rest of the code reads."""
        return StreamSchedule(
            input=self.input,
            workers=self.workers,
            moves_within_s=_seconds(self.movesWithin),
            previous=self.previous,
            options=tuple(self.options),
        )


class DestinationScheduleFile(FileModel):
    """When a destination gets its rows: after each change of its dataset."""

    lookback: Duration = Field(
        default="7d", description="How far back from the newest interval rows without an answer are looked for."
    )
    reconcile: Cron | None = Field(default=None, description=f"When it is reconciled: {_CRON}; never where it is left out.")
    behind: Duration = Field(default="1d", description="A reconciliation looks at the interval that ended so long ago.")
    retries: _Retries = Field(default=4, description="How often a task is tried again when a component is down (exit code 3).")
    timeout: Duration = Field(default="1h", description="Longest time of one task.")

    def compiled(self) -> DestinationSchedule:
        """What the rest of the code reads."""
        return DestinationSchedule(
            lookback_s=_seconds(self.lookback),
            reconcile=self.reconcile,
            behind_s=_seconds(self.behind),
            retries=self.retries,
            timeout_s=_seconds(self.timeout),
        )


class UpkeepScheduleFile(FileModel):
    """When tables are merged, forgotten and swept."""

    every: Cron = Field(default=CRON_OF["day"], description=f"When: {_CRON}.", json_schema_extra={"shown": "`day`"})
    compact: Duration = Field(default="1d", description="`headrace lake compact --to`.")
    expire: Duration = Field(default="7d", description="`headrace lake expire --older-than`.")
    clean: Duration = Field(default="1d", description="`headrace lake clean --older-than`.")

    def compiled(self) -> UpkeepSchedule:
        """What the rest of the code reads."""
        return UpkeepSchedule(**self.model_dump())


class BackfillScheduleFile(FileModel):
    """How history is rebuilt."""

    every: Cron = Field(
        default=CRON_OF["day"], description=f"Length of a chunk, one replay each: {_CRON}.", json_schema_extra={"shown": "`day`"}
    )
    size: _Size = Field(default="10G", description="A chunk that reads more raw waits for an approval.")
    windows: Positive = Field(default=168, description="A chunk that rebuilds more windows waits for an approval.")
    ceiling: _Size | None = Field(default=None, description="A chunk that reads more raw is refused; no approval lifts it.")
    maxMemory: _Size | None = Field(
        default=None, description="Most resident memory of a chunk's processes (`--max-memory`); above it the chunk fails."
    )
    maxCpu: Duration | None = Field(default=None, description="Most CPU time of a chunk (`--max-cpu`); above it the chunk fails.")
    workers: Positive = Field(default=1, description="Worker processes of a chunk (`--max-parallel`).")
    rate: _Size | None = Field(default=None, description="Most bytes of raw per second (`headrace replay run --max-rate`).")
    topics: Annotated[dict[str, _Topic], Worded("expected kafka://HOST:PORT/TOPIC by dataset")] = Field(
        default={}, description="By dataset, a new topic that rebuilt rows are published to too (`--to-topic`)."
    )
    hours: Annotated[str, Read(_hours, {"type": "string", "examples": ["20:00-06:00"]})] | None = Field(
        default=None, description="Times of day, in `timezone`, in which a rebuild may begin."
    )
    respond: Duration = Field(default="7d", description="How long an approval is waited for; then the chunk is refused.")
    timeout: Duration = Field(default="6h", description="Longest time of one task.")

    def compiled(self) -> BackfillSchedule:
        """What the rest of the code reads."""
        return BackfillSchedule(
            every=self.every,
            size_bytes=_bytes(self.size),
            windows=self.windows,
            ceiling_bytes=_bytes(self.ceiling) if self.ceiling else None,
            max_memory=self.maxMemory,
            max_cpu=self.maxCpu,
            workers=self.workers,
            topics=self.topics,
            rate=self.rate,
            hours=self.hours or "",
            respond_s=_seconds(self.respond),
            timeout_s=_seconds(self.timeout),
        )


class SchedulesFile(FileModel):
    """When what runs."""

    name: Name | None = Field(
        default=None, description="In the names of DAGs.", json_schema_extra={"shown": "name of the project's folder"}
    )
    start: Annotated[date, Read(_day, {"type": "string", "format": "date"})] = Field(description="The first day that has a run.")
    timezone: Annotated[str, Read(_zone, {"type": "string", "examples": ["Europe/Berlin"]})] = Field(
        default="UTC", description="Of cron expressions and of times in the names of folders."
    )
    owner: str = Field(default="data", min_length=1, description="Owner of DAGs whose contract names none.")
    runbooks: str = Field(
        default="", description="Address below which the [runbooks](../runbooks/index.md) lie as pages; DAGs link to theirs."
    )
    reports: str = Field(default="", description="Folder for pages of reconciliations and replays.")
    reports_url: str = Field(default="", description="Address of that folder; tasks link to their page.")
    sources: Annotated[dict[str, SourceScheduleFile], Worded("expected {input: …} by source")] = Field(
        default={}, description="By source, when it is ingested."
    )
    streams: Annotated[dict[str, StreamScheduleFile], Worded("expected {input: kafka://…} by source")] = Field(
        default={}, description="By source, a streaming job on Flink."
    )
    destinations: Annotated[dict[str, DestinationScheduleFile], Worded("expected mappings by destination")] = Field(
        default={}, description="By destination, how it is delivered to and reconciled."
    )
    upkeep: UpkeepScheduleFile | None = Field(
        default=None, description="When tables are merged, forgotten and swept; never without."
    )
    checks: Cron | None = Field(default=None, description=f"When `headrace status --check` looks for what is late: {_CRON}.")
    drift: Cron | None = Field(
        default=None, description=f"When `headrace drift` compares what is deployed with the repository: {_CRON}."
    )
    backfill: BackfillScheduleFile | None = Field(
        default=None, description="How history is rebuilt; a DAG per dataset, for `airflow backfill create`."
    )

    @model_validator(mode="after")
    def _no_circle(self) -> SchedulesFile:
        inputs = [*(one.input for one in self.sources.values()), *(one.input for one in self.streams.values())]
        read = {name.rpartition("/")[2] for name in inputs if name.startswith(_KAFKA)}
        for dataset, topic in self.backfill.topics.items() if self.backfill else ():
            if topic.rpartition("/")[2] in read:
                raise wrong(
                    f"backfill.topics.{dataset}: {topic} is what is read; rows would go round in a circle. Name a new topic"
                )
        return self

    def compiled(self, folder: str) -> Schedules:
        """What the rest of the code reads. folder: name of the project's folder."""
        return Schedules(
            name=self.name or re.sub(r"[^a-z0-9_-]+", "-", folder.lower()).strip("-") or "project",
            start=self.start,
            timezone=self.timezone,
            owner=self.owner,
            runbooks=self.runbooks,
            reports=self.reports,
            reports_url=self.reports_url,
            sources={name: one.compiled() for name, one in self.sources.items()},
            streams={name: one.compiled() for name, one in self.streams.items()},
            destinations={name: one.compiled() for name, one in self.destinations.items()},
            upkeep=self.upkeep.compiled() if self.upkeep else None,
            checks=self.checks,
            drift=self.drift,
            backfill=self.backfill.compiled() if self.backfill else None,
        )
