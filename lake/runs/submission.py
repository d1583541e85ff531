"""What was submitted to a cluster, and how: ``_runs/<run_id>/submission.json``. Enough to find the job, and to submit it again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from contracts.errors import ConfigurationError
from lake.location import Lake
from lake.runs.manifest import encoded, run_file

SUBMISSION = "submission.json"
RESUMED_RUN = "HEADRACE_RESUMED_RUN"
_FROM_SAVEPOINT = "--from-savepoint"


@dataclass(frozen=True)
class Attempt:
    """One submission of a run. job_id: Flink's. from_savepoint: savepoint or retained checkpoint that it started from, if any."""

    job_id: str
    submitted_at: datetime
    from_savepoint: str | None = None


@dataclass(frozen=True)
class Ending:
    """Why a run must not be started again by itself. how: stopped, cancelled or finished. savepoint: where it can go on from."""

    how: str
    at: datetime
    savepoint: str | None = None


@dataclass(frozen=True)
class Submission:
    """A run on a cluster.

    run_id: of the run; all attempts share it.
    argv: arguments of ``headrace``, beginning with the verb, that give the options of the first attempt. Never secrets: only files
    that hold them.
    folder: working directory that relative paths in argv are relative to.
    job_name: name on the cluster of the last attempt's job.
    flink: REST address of the cluster, HOST:PORT or URL.
    attempts: the oldest first; at least one.
    ended: None while the run is meant to go on.
    """

    run_id: str
    argv: tuple[str, ...]
    folder: str
    job_name: str
    flink: str
    attempts: tuple[Attempt, ...]
    ended: Ending | None = None

    @property
    def source(self) -> str:
        """The source's name, as the run id ``<time>-<source>-<random>`` holds it."""
        return self.run_id.partition("-")[2].rpartition("-")[0]

    def is_named(self, job_name: str) -> bool:
        """Whether a job of this name is of this run: the recorded name, or the run id, alone or with a suffix."""
        return job_name in {self.job_name, self.run_id} or job_name.startswith(f"{self.run_id}-")

    @property
    def job_ids(self) -> tuple[str, ...]:
        """Flink's ids of all attempts, the oldest first."""
        return tuple(attempt.job_id for attempt in self.attempts)

    def argv_from(self, savepoint: str | None) -> tuple[str, ...]:
        """The arguments that submit this run again from a savepoint or checkpoint; None: as the first attempt was submitted."""
        return self.argv if savepoint is None else with_savepoint(self.argv, savepoint)


def with_savepoint(argv: Sequence[str], savepoint: str) -> tuple[str, ...]:
    """The arguments with ``--from-savepoint`` set to this, before the ``--`` that Beam's options follow."""
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    rest = argv[len(own) :]
    kept: list[str] = []
    following = iter(own)
    for part in following:
        if part == _FROM_SAVEPOINT:
            next(following, None)
        elif not part.startswith(_FROM_SAVEPOINT + "="):
            kept.append(part)
    return (*kept, _FROM_SAVEPOINT, savepoint, *rest)


def resumed_run_id() -> str | None:
    """The run that this process submits again, None if it submits a new one. ``headrace job supervise`` sets it."""
    return os.environ.get(RESUMED_RUN) or None


def record_submission(lake: Lake, run_id: str, argv: Sequence[str], job_name: str, flink: str, attempt: Attempt) -> Submission:
    """Note an attempt. The first makes the record, with the working directory; a further one is added.

    A further attempt opens a run again that was ended, unless it is a supervisor's: somebody may have ended the run meanwhile.
    """

    def changed(known: Submission | None) -> Submission:
        if known is None:
            return Submission(run_id, tuple(argv), os.getcwd(), job_name, flink, (attempt,))
        if attempt.job_id in known.job_ids:
            return known
        ended = known.ended if resumed_run_id() == run_id else None
        return replace(known, job_name=job_name, flink=flink, attempts=(*known.attempts, attempt), ended=ended)

    return _update(lake, run_id, changed)


def record_ending(lake: Lake, run_id: str, how: str, savepoint: str | None = None) -> Submission:
    """Note that a run ended on purpose, so that nothing starts it again by itself. A noted ending stays, if this has no savepoint.

    Raises:
        ConfigurationError: the run was never submitted.
    """

    def changed(known: Submission | None) -> Submission:
        if known is None:
            raise ConfigurationError(f"run {run_id} in {lake.root} has no {SUBMISSION}: it was not submitted to a cluster")
        if known.ended and not savepoint:
            return known
        return replace(known, ended=Ending(how, datetime.now(UTC), savepoint))

    return _update(lake, run_id, changed)


def _update(lake: Lake, run_id: str, changed: Callable[[Submission | None], Submission]) -> Submission:
    """Replace the record of a run, as if nobody else did so meanwhile; what it is then."""
    location = run_file(lake, run_id, SUBMISSION)
    made: list[Submission] = []

    def change(content: bytes | None) -> bytes | None:
        known = None if content is None else _parsed(location, content)
        made.append(changed(known))
        return None if made[-1] == known else encoded(made[-1])

    lake.storage.update(location, change)
    return made[-1]


def read_submission(lake: Lake, run_id: str) -> Submission | None:
    """The record of a run; None if there is none.

    Raises:
        ConfigurationError: it is damaged.
    """
    location = run_file(lake, run_id, SUBMISSION)
    try:
        return _parsed(location, lake.storage.read(location))
    except FileNotFoundError:
        return None


def _parsed(location: str, content: bytes) -> Submission:
    try:
        return _parse(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigurationError(f"{location}: damaged; restore it, or move it away and submit the job again") from None


def submissions(lake: Lake) -> Iterator[Submission]:
    """All submissions of a lake, the newest run first.

    Raises:
        ConfigurationError: a record is damaged.
    """
    runs = lake.storage.folders(lake.at_key("_runs"))[::-1]
    yield from (found for found in lake.storage.map(lambda run_id: read_submission(lake, run_id), runs) if found)


def restart_point(submission: Submission, newest_of: Callable[[str], str | None]) -> str | None:
    """Where to go on from: the newest complete checkpoint of the last attempt, else what that attempt itself started from.

    None: it started from nothing and completed no checkpoint. What attempts before it left is then no state of this run any more.

    Args:
        submission: the run.
        newest_of: gives the newest complete checkpoint of a job id, None if there is none.
    """
    last = submission.attempts[-1]
    return newest_of(last.job_id) or last.from_savepoint


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[IO[str] | None]:
    """Hold a lock file; gone with the process that holds it. Without wait, gives None where somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield file


def _parse(document: dict[str, Any]) -> Submission:
    ended = document.get("ended")
    return Submission(
        run_id=document["run_id"],
        argv=tuple(document["argv"]),
        folder=document["folder"],
        job_name=document["job_name"],
        flink=document["flink"],
        attempts=tuple(Attempt(a["job_id"], _time(a["submitted_at"]), a.get("from_savepoint")) for a in document["attempts"]),
        ended=Ending(ended["how"], _time(ended["at"]), ended.get("savepoint")) if ended else None,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
