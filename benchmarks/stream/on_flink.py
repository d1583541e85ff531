"""What contestants that are jobs on the stack's Flink have in common."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping

from benchmarks.stream.processes import command_line
from devstack.stack import Stack
from runners.flink.rest import FlinkRest

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class OnFlink:
    """A job of a stack; ``start`` sets its id."""

    stack: Stack
    may_differ = False
    _job_id = ""

    @property
    def _rest(self) -> FlinkRest:
        return FlinkRest(self.stack.flink_rest)

    def processes(self) -> Mapping[int, str]:
        """The cluster's processes and their names; each Python worker by a number."""
        named = {"jobmanager": "JobManager"}  # all else is TaskManagers
        own = [name for name in self.stack.processes if name != "kafka"]
        found = {pid: named.get(name, "TaskManager") for name in own if (pid := self.stack.pid(name)) is not None}
        workers = [pid for pid in self.stack.worker_pids() if "boot.py" in command_line(pid)]
        return found | {pid: f"Python worker {number}" for number, pid in enumerate(workers, 1)}

    def failure(self) -> str | None:
        """Of the job, the last; None where it never failed."""
        last = self._rest.last_failure(self._job_id) if self._job_id else None
        return last.cause if last else None

    def checkpoints(self) -> Mapping[int, int]:
        """Sizes of the last completed checkpoints by their id; the cluster remembers ten."""
        try:
            with _OPENER.open(f"{self._rest.url}/jobs/{self._job_id}/checkpoints", timeout=10) as answer:
                history = json.load(answer)["history"]
        except OSError:  # too busy for this look
            return {}
        return {c["id"]: c.get("checkpointed_size", c["state_size"]) for c in history if c["status"] == "COMPLETED"}

    def restarts(self) -> int:
        """By the cluster itself."""
        return self._rest.health(self._job_id).restarts or 0

    def stop(self) -> None:
        """Cancel the job, and wait for its end."""
        if self._job_id:
            self._rest.cancel(self._job_id)
            self._rest.wait_ended(self._job_id)
