"""Operators that wait without a worker: for the folders of an interval, for the hours of a rebuild."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from templates.airflow.command import project_folder
from templates.airflow.operators import BEGAN, HeadraceOperator, some_interval
from templates.airflow.partitions import absolute, landed, names, packed
from templates.airflow.summary import at
from templates.airflow.triggers import LandedTrigger

_SHOWN = 10
_DONE_WITH = ("promoted", "rolling back", "rolled back")  # states of a replay whose name cannot be used again


class PartitionsOperator(BaseOperator):
    """Lists the inputs of an interval, those of one mapped task each; waits in the triggerer for folders that are not there yet.

    Args:
        input: name of a folder by its time (strftime), or an address of Kafka, which is one partition.
        timezone: of the names.
        partition_s: what a folder holds; None for a topic.
        wait_s, marker, missing: as ``schedules.sources`` of ``headrace.yaml`` says.
        project: the project's folder.
    """

    def __init__(
        self,
        *,
        input: str,
        timezone: str,
        partition_s: int | None,
        wait_s: int = 0,
        marker: str = "",
        missing: str = "fail",
        project: str = ".",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input, self.timezone, self.partition_s = input, timezone, partition_s
        self.wait_s, self.marker, self.missing, self.project = wait_s, marker, missing, project

    def execute(self, context: Context) -> list[list[str]]:
        """Inputs by task. XCom tells when it began, too."""
        context["task_instance"].xcom_push(key=BEGAN, value=datetime.now(UTC).isoformat())
        if self.partition_s is None:
            return [[self.input]]
        folders, folder = self._folders(context), project_folder(self.project)
        absent = [each for each in folders if not landed(each, self.marker, folder)]
        if absent and self.wait_s:
            deadline = time.time() + self.wait_s
            self.log.info("waiting for %s", _listed(absent))
            self.defer(trigger=LandedTrigger(absent, self.marker, folder, deadline), method_name="execute_complete")
        return self._inputs(folders, absent, folder)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[list[str]]:
        """After the wait."""
        return self._inputs(self._folders(context), event["missing"], project_folder(self.project))

    def _folders(self, context: Context) -> list[str]:
        span = some_interval(context)
        assert self.partition_s is not None
        if not span:
            raise AirflowFailException("no interval: run it by its schedule, or by hand with a logical date")
        start, end = (at(span[word]) for word in ("start", "end"))
        return names(self.input, start, end, self.partition_s, self.timezone)

    def _inputs(self, folders: list[str], absent: list[str], folder: str) -> list[list[str]]:
        if absent and self.missing == "fail":
            what = f" (complete: with {self.marker} in it)" if self.marker else ""
            raise AirflowFailException(f"not there{what}: {_listed(absent)}; clear this task when it is, or set missing: skip")
        there = [absolute(each, folder) for each in folders if each not in set(absent)]
        if not there:
            raise AirflowSkipException(f"nothing landed in this interval: {_listed(absent)}")
        return packed(there)


class PlanOperator(HeadraceOperator):
    """Plans the replay of a run's interval, and says whether a person must approve it.

    Waits in the triggerer for the hours in which a rebuild may begin. The replay's name follows from the run, so that a task
    that is run again goes on with the same one, until that is promoted; headrace lets no two replays of the same windows be open
    at once.

    Args:
        dataset: what is rebuilt.
        size_bytes, windows: above them a person approves. ceiling_bytes: above it nobody can.
        options: of how it will run, its ceilings of memory and CPU time among them: the estimate and what is above them follow.
        hours: ``20:00-06:00``; empty for any. timezone: of it.
    """

    def __init__(
        self,
        *,
        dataset: str,
        size_bytes: int,
        windows: int,
        ceiling_bytes: int | None = None,
        hours: str = "",
        timezone: str = "UTC",
        options: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(command=["replay", "plan"], **kwargs)
        self.how = dict(options or {})
        self.dataset, self.size_bytes, self.windows, self.ceiling_bytes = dataset, size_bytes, windows, ceiling_bytes
        self.hours, self.timezone = hours, timezone

    def execute(self, context: Context, event: Any = None) -> dict[str, Any]:
        """``{name, start, end, bytes, windows, records, estimate…, needs: […]}``."""
        if (opens := opening(self.hours, self.timezone, datetime.now(UTC))) is not None:
            self.log.info("a rebuild may begin within %s %s; waiting until %s", self.hours, self.timezone, opens.isoformat())
            self.defer(trigger=DateTimeTrigger(moment=opens), method_name="execute")
        span = some_interval(context)
        if not span:
            raise AirflowFailException("no interval: give start and end, or use airflow backfill create")
        name = self._name(replay_name(self.dataset, span["start"], context["task_instance"].run_id), context)
        self.command = ["replay", "plan", name]
        self.options = {"--dataset": self.dataset, "--start": span["start"], "--end": span["end"], **self.how}
        folder = project_folder(self.project)
        outcome = self.headrace(self.arguments(folder), folder)
        self.judge(outcome)
        return {"name": name, **span, **self._verdict(outcome.document)}

    def _name(self, name: str, context: Context) -> str:
        """The replay that a task that is run again goes on with; one of its own where that is done with: a run asked for again."""
        if context["task_instance"].try_number <= 1:
            return name
        folder = project_folder(self.project)
        outcome = self.headrace(["replay", "list", "--project", folder, "--json"], folder)
        self.judge(outcome)
        over = {each["name"] for each in outcome.document or () if each["state"] in _DONE_WITH}
        return next(each for number in count(1) if (each := name if number == 1 else f"{name}-{number}") not in over)

    def _verdict(self, plan: dict[str, Any]) -> dict[str, Any]:
        size, windows = int(plan["bytes"]), int(plan["windows"])
        if self.ceiling_bytes is not None and size > self.ceiling_bytes:
            raise AirflowFailException(
                f"reads {size:,} bytes, above the ceiling of {self.ceiling_bytes:,}; choose a shorter interval"
            )
        if plan["above_ceiling"]:
            raise AirflowFailException("; ".join(plan["above_ceiling"]) + "; choose a shorter interval")
        needs = list(plan["approval_needed"])
        needs += [f"reads {size:,} bytes, above {self.size_bytes:,}"] if size > self.size_bytes else []
        needs += [f"rebuilds {windows:,} windows, above {self.windows:,}"] if windows > self.windows else []
        return {
            "bytes": size,
            "windows": windows,
            "records": plan["records"],
            **{key: value for key, value in plan.items() if key.startswith("estimate")},
            "consumers": plan["consumers"],
            "needs": needs,
        }


def replay_name(dataset: str, start: str, run_id: str) -> str:
    """Name of the replay of a run: it tells dataset and beginning, and no other run has it."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"bf-{dataset.replace('.', '-')[:30]}-{start[:13].replace('-', '').replace('T', 't')}-{digest}".lower()


def opening(hours: str, timezone: str, now: datetime) -> datetime | None:
    """When the hours begin next; None where it is within them now, or there are none."""
    if not hours:
        return None
    local = now.astimezone(ZoneInfo(timezone))
    first, last = (datetime.strptime(text, "%H:%M").time() for text in hours.split("-"))  # noqa: DTZ007 - a time of day
    clock = local.time().replace(tzinfo=None)
    within = first <= clock < last if first < last else clock >= first or clock < last
    if within:
        return None
    opens = local.replace(hour=first.hour, minute=first.minute, second=0, microsecond=0)
    return (opens if opens > local else opens + timedelta(days=1)).astimezone(UTC)


def _listed(folders: Sequence[str]) -> str:
    more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    return ", ".join(folders[:_SHOWN]) + more
