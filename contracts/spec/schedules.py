"""When what runs: ``schedules`` of ``headrace.yaml``, read. A scheduler's files are made from it (``headrace airflow build``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

CRON_OF = {"hour": "0 * * * *", "day": "0 0 * * *"}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_ANY_DAY, _CYCLE_DAYS = date(2023, 1, 1), 3_660  # with a gap between two 29th of February as long as it gets in a century
_ITEM = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


def cron_problem(text: str) -> str | None:
    """Why a text is neither ``hour``, ``day`` nor a cron expression of five fields; None where it is one."""
    if text in CRON_OF:
        return None
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"{text!r} is neither hour, day nor a cron expression of five fields"
    for part, (name, low, high) in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            found = _ITEM.fullmatch(item)
            numbers = [int(found[n]) for n in (1, 2) if found[n] is not None] if found else []
            if not found or not all(low <= number <= high for number in numbers) or numbers != sorted(numbers) or found[3] == "0":
                return f"{text!r}: {item!r} is no {name} from {low} to {high}"
    return None


def longest_gap_s(text: str) -> int:
    """The longest time between two moments of a cron expression, seconds; without changes of clocks."""
    minutes, hours, days, months, weekdays = (
        _numbers(part, low, high) for part, (_, low, high) in zip(CRON_OF.get(text, text).split(), _FIELDS, strict=True)
    )
    any_day, any_weekday = (part.startswith("*") for part in CRON_OF.get(text, text).split()[2::2])
    of_day = [60 * hour + minute for hour in sorted(hours) for minute in sorted(minutes)]
    gaps = [later - earlier for earlier, later in pairwise(of_day)]
    last: int | None = None
    for number in range(_CYCLE_DAYS):
        day = _ANY_DAY + timedelta(days=number)
        on_day, on_weekday = day.day in days, day.isoweekday() % 7 in {weekday % 7 for weekday in weekdays}
        chosen = on_day or on_weekday if not (any_day or any_weekday) else on_day and on_weekday  # as cron has it
        if day.month in months and chosen:
            if last is not None:
                gaps.append(1_440 * number + of_day[0] - last)
            last = 1_440 * number + of_day[-1]
    return 60 * max(gaps, default=1_440 * _CYCLE_DAYS)


def _numbers(part: str, low: int, high: int) -> set[int]:
    """What one field of a cron expression names."""
    found: set[int] = set()
    for item in part.split(","):
        match = _ITEM.fullmatch(item)
        assert match is not None
        first = low if match[1] is None else int(match[1])
        last = int(match[2]) if match[2] else high if match[1] is None or match[3] else first
        found.update(range(first, last + 1, int(match[3] or 1)))
    return found


@dataclass(frozen=True, kw_only=True)
class SourceSchedule:
    """When a source is ingested.

    input: a folder or file, its name by the time of the partition (strftime), or ``kafka://HOST:PORT/TOPIC``. every: cron.
    partition_s: length of one partition, a task each. wait_s: how long to wait for one that is not there yet. marker: file in it
    that says that it is whole. missing: ``fail`` or ``skip``. options: further options of ``headrace ingest``.
    """

    input: str
    every: str
    partition_s: int
    wait_s: int = 0
    marker: str = ""
    missing: str = "fail"
    catchup: bool = True
    retries: int = 4
    timeout_s: int = 3_600
    parallel: int = 4
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DestinationSchedule:
    """When a destination gets its rows: after each change of its dataset. lookback_s: how far back unsettled rows are looked for.

    reconcile: cron, None for never. behind_s: how old rows are that a reconciliation holds against the destination.
    """

    lookback_s: int
    reconcile: str | None = None
    behind_s: int = 86_400
    retries: int = 4
    timeout_s: int = 3_600


@dataclass(frozen=True, kw_only=True)
class StreamSchedule:
    """A job that never ends: deployed, upgraded and looked after.

    input: ``kafka://HOST:PORT/TOPIC``. workers: slots. previous: command of headrace of the version before, or ``$NAME``.
    """

    input: str
    workers: int = 1
    moves_within_s: int = 600
    previous: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UpkeepSchedule:
    """When tables are merged, forgotten and swept; lengths as ``headrace lake`` reads them."""

    every: str = CRON_OF["day"]
    compact: str = "1d"
    expire: str = "7d"
    clean: str = "1d"


@dataclass(frozen=True, kw_only=True)
class BackfillSchedule:
    """How history is rebuilt. every: cron of the chunks. Above size_bytes or windows a person approves; within respond_s.

    hours: ``20:00-06:00``, when a rebuild may begin; empty for any. rate: most bytes of raw a second, as ``--max-rate`` reads it.
    ceiling_bytes, max_memory, max_cpu: what no approval lifts; the latter as the options of that name read it. workers: processes.
    topics: by dataset, where rebuilt rows are published too.
    """

    every: str = CRON_OF["day"]
    size_bytes: int = 10 << 30
    windows: int = 168
    ceiling_bytes: int | None = None
    max_memory: str | None = None
    max_cpu: str | None = None
    workers: int = 1
    rate: str | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    hours: str = ""
    respond_s: int = 604_800
    timeout_s: int = 21_600


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """All of it. name: of the project, in the names of DAGs. start: the first day. timezone: of cron and of folders' names.

    owner: of what has no contract of its own. runbooks: address below which runbooks lie. reports: folder for pages; reports_url:
    its address. checks, drift: cron, None for never.
    """

    name: str
    start: date
    timezone: str = "UTC"
    owner: str = "data"
    runbooks: str = ""
    reports: str = ""
    reports_url: str = ""
    sources: Mapping[str, SourceSchedule] = field(default_factory=dict)
    streams: Mapping[str, StreamSchedule] = field(default_factory=dict)
    destinations: Mapping[str, DestinationSchedule] = field(default_factory=dict)
    upkeep: UpkeepSchedule | None = None
    checks: str | None = None
    drift: str | None = None
    backfill: BackfillSchedule | None = None
