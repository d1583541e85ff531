"""Keeps a streaming run on its cluster: submits it again from its newest checkpoint when it is lost or failed.

A Flink cluster restarts a job by itself as long as its JobManager lives. Without high availability a JobManager that dies forgets
its jobs; the checkpoints stay. This closes that gap.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import ComponentDownError, ConfigurationError, GaveUpError, UnknownJobError
from lake.location import Lake
from lake.runs.submission import (
    Attempt,
    Ending,
    Submission,
    exclusive,
    read_submission,
    record_ending,
    record_submission,
    restart_point,
)
from runners.flink.rest import FlinkRest, Job
from runners.jobs.restart import RETAINED, kept_checkpoint
from runners.jobs.resubmit import HEADRACE, resubmit, supervisor_folder
from runners.jobs.target import job_of

LOG = "resubmit.log"
_LOCK = "supervise.lock"
_ENDINGS = {"FINISHED": "finished", "CANCELED": "cancelled"}
_LOOKS_UNTIL_LOST = 2  # a cluster that has just come up may not list yet what it is about to recover
_LONGEST_SILENCE_S, _LONGEST_PAUSE_S = 60.0, 300.0  # between looks at a cluster that does not answer; after a failed submission
_SLOT_WAIT_S = 60.0  # some clusters start TaskManagers only for a job that waits


@dataclass(frozen=True)
class Event:
    """One line of the log.

    event: found, following, state, warning, down, back, lost, failed, resubmitting, resubmitted, refused,
    cancelling, ended.
    """

    at: datetime
    run_id: str
    event: str
    text: str


@dataclass
class Supervisor:
    """Looks after one run until it ends on purpose.

    lake, run_id: the run; its record says on which cluster and how it was submitted.
    max_restarts, per_s: how many resubmissions in this time are too many, seconds.
    report: is called with every event.
    command: what runs the recorded arguments. poll_s: time between two looks, and the shortest pause after a failure.
    submit_deadline_s: a resubmission that takes longer is killed and counts as failed. refresh_s: how old answers of the cluster
    may be, its ``web.refresh-interval``.
    """

    lake: Lake
    run_id: str
    max_restarts: int
    per_s: float
    report: Callable[[Event], None]
    command: Sequence[str] = HEADRACE
    poll_s: float = 5.0
    submit_deadline_s: float = 900.0
    refresh_s: float = 3.5
    _restarts: deque[float] = field(default_factory=deque)
    _seen: dict[str, str] = field(default_factory=dict)  # job id: its newest retained checkpoint, as the cluster listed it
    _silent: int = 0  # looks in a row that got no answer
    _refused: int = 0  # resubmissions in a row that failed
    _missing: int = 0  # looks in a row that did not find the job
    _slots: int = 1  # what the job took when it ran
    _shown: tuple[str, str] | None = None  # job id and state that were reported last

    def run(self) -> Ending:
        """Supervise until the run ends: finished, or stopped or cancelled by somebody.

        Raises:
            ConfigurationError: no such run, or somebody else supervises it.
            ComponentDownError: too many resubmissions.
        """
        with self._exclusively():
            while True:
                submission = self._submission()
                if submission.ended:
                    return self._end(submission.ended)
                try:
                    self._step(submission)
                    time.sleep(self.poll_s)
                except GaveUpError:
                    raise
                except UnknownJobError:  # forgotten since it was listed; the next look finds it missing
                    time.sleep(self.poll_s)
                except ComponentDownError as error:
                    if not self._silent:
                        self._report("down", f"{error} Waiting.")
                    self._silent += 1
                    self._back_off(self._silent, _LONGEST_SILENCE_S)

    def _step(self, submission: Submission) -> None:
        """One look, and what follows from it."""
        rest = FlinkRest(submission.flink)
        job = job_of(submission, rest.jobs())
        if self._silent:
            self._report("back", "the cluster answers again")
            self._silent = 0
        if job is None:
            self._missing += 1
            if self._missing >= _LOOKS_UNTIL_LOST:
                self._report("lost", f"the cluster at {submission.flink} no longer knows job {submission.job_ids[-1]}")
                self._resubmit(submission, rest)
            return
        self._missing = 0
        submission = self._adopt(submission, job, rest)
        self._show(job, submission, rest)
        if job.state == "FAILED":
            failure = rest.last_failure(job.job_id)
            self._report("failed", f"job {job.job_id} failed: {failure.cause if failure else 'no cause given'}")
            self._resubmit(submission, rest)
        elif job.ended:
            saved = self._saved(rest, job.job_id)
            record_ending(self.lake, self.run_id, "stopped" if saved and job.state == "FINISHED" else _ENDINGS[job.state], saved)
        else:
            if job.state == "RUNNING":
                self._refused, self._slots = 0, rest.slots_of(job.job_id)
            found = rest.checkpoints(job.job_id)
            if found and found.last and found.last.external_path and RETAINED.fullmatch(found.last.external_path):
                self._seen[job.job_id] = found.last.external_path

    def _saved(self, rest: FlinkRest, job_id: str) -> str | None:
        """The savepoint that a job ended with: a stop with savepoint, by whomever, finishes the job."""
        for pause_s in (0.0, self.refresh_s):  # what the cluster says of its checkpoints may be older than the job's end
            time.sleep(pause_s)
            found = rest.checkpoints(job_id)
            if found and found.last and found.last.is_savepoint:
                return found.last.external_path
        return None

    def _adopt(self, submission: Submission, job: Job, rest: FlinkRest) -> Submission:
        """Takes up a job of this run that is not in its record: whoever submitted it was killed before writing it down."""
        if job.job_id in submission.job_ids:
            return submission
        found = rest.checkpoints(job.job_id)
        start = (found and found.restored_from) or self._restart_point(submission, rest)  # one that failed at once has none
        attempt = Attempt(job.job_id, job.started_at, start)
        self._report("found", f"job {job.job_id} is on the cluster under this run's name and was not in its record; taken up")
        return record_submission(self.lake, self.run_id, submission.argv, submission.job_name, submission.flink, attempt)

    def _resubmit(self, submission: Submission, rest: FlinkRest) -> None:
        """Submit the run again from where it can go on.

        Raises:
            GaveUpError: too many.
        """
        now = time.monotonic()
        while self._restarts and self._restarts[0] <= now - self.per_s:
            self._restarts.popleft()
        if len(self._restarts) >= self.max_restarts:
            raise GaveUpError(
                f"run {self.run_id}: resubmitted {self.max_restarts} times within {self.per_s:,.0f} s and not running; gave up. "
                f"Look for the cause (headrace job status {self.run_id}; {self._log}), then supervise again"
            )
        try:
            start = self._restart_point(submission, rest)
        except ComponentDownError as error:
            self._refuse(f"not resubmitted: {error}")
            return
        self._await_slot(rest)
        self._restarts.append(now)
        number = f"{len(self._restarts)} of at most {self.max_restarts}"
        self._report("resubmitting", f"from {start or 'the beginning: there is no checkpoint'} ({number} in {self.per_s:,.0f} s)")
        code = resubmit(submission, start, self._log, command=self.command, deadline_s=self.submit_deadline_s)
        self._missing = 0
        if code:
            self._refuse(f"the submission ended with exit code {code}; {self._log} says why")
            return
        after = self._submission()
        if after.attempts == submission.attempts:
            raise GaveUpError(
                f"run {self.run_id}: the submission ended well but noted no job in the run's record; "
                "see what runs now with: headrace job list"
            )
        self._report("resubmitted", f"as job {after.job_ids[-1]}")
        if after.ended:
            self._report("cancelling", f"job {after.job_ids[-1]}: the run was {after.ended.how} while it was submitted")
            rest.cancel(after.job_ids[-1])

    def _restart_point(self, submission: Submission, rest: FlinkRest) -> str | None:
        return restart_point(submission, lambda job_id: kept_checkpoint(rest, job_id, self._seen.get(job_id)))

    def _await_slot(self, rest: FlinkRest) -> None:
        deadline = time.monotonic() + _SLOT_WAIT_S
        while rest.free_slots() < self._slots and time.monotonic() < deadline:
            time.sleep(min(1.0, self.poll_s))

    def _submission(self) -> Submission:
        found = read_submission(self.lake, self.run_id)
        if found is None:
            raise ConfigurationError(f"run {self.run_id} in {self.lake.root} was not submitted to a cluster")
        return found

    def _show(self, job: Job, submission: Submission, rest: FlinkRest) -> None:
        if self._shown == (job.job_id, job.state):
            return
        if self._shown is None or self._shown[0] != job.job_id:
            self._report(
                "following", f"job {job.job_id} ({job.state}) on {submission.flink}, submission {len(submission.attempts)}"
            )
            if not job.ended and not rest.keeps_checkpoints(job.job_id):
                self._report("warning", "the job's checkpoints are deleted when it fails: it can then only begin anew")
        else:
            self._report("state", f"job {job.job_id}: {self._shown[1]} -> {job.state}")
        self._shown = (job.job_id, job.state)

    def _end(self, ending: Ending) -> Ending:
        self._report("ended", f"{ending.how}" + (f" with savepoint {ending.savepoint}" if ending.savepoint else ""))
        return ending

    def _refuse(self, text: str) -> None:
        self._report("refused", text)
        self._refused += 1
        self._back_off(self._refused, _LONGEST_PAUSE_S)

    def _back_off(self, times: int, longest_s: float) -> None:
        time.sleep(min(self.poll_s * 2.0 ** min(times - 1, 16), longest_s))

    def _report(self, event: str, text: str) -> None:
        self.report(Event(datetime.now(UTC), self.run_id, event, text))

    @property
    def _log(self) -> Path:
        return supervisor_folder(self.lake, self.run_id) / LOG

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        self._submission()
        path = supervisor_folder(self.lake, self.run_id) / _LOCK
        with exclusive(path, wait=False) as lock:
            if lock is None:
                holder = path.read_text("utf-8").strip() or "another process"
                raise ConfigurationError(f"run {self.run_id} is supervised already, by {holder}")
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            lock.flush()
            yield
