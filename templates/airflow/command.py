"""One call of ``headrace``: started, listened to, ended; its exit code read as what a task has to do next."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

COMMAND, PROJECT = "HEADRACE_COMMAND", "HEADRACE_AIRFLOW_PROJECT"
WRONG_USE = 2  # an exit code of headrace
GRACE_S = 20.0  # between SIGTERM and SIGKILL
LEASH = Path(__file__).with_name("leash.py")
_DETAIL_LINES = 20
_LOGS = ("--log-level", "info", "--log-format", "json")  # a line tells its run
_AIRFLOWS_OWN = ("AIRFLOW__", "_AIRFLOW")


class Verdict(Enum):
    """What an exit code means for a task."""

    RIGHT = "right"
    FINAL = "final"  # running it again would end the same way
    AGAIN = "again"  # it may work later


def verdict(code: int) -> Verdict:
    """Exit codes of headrace: 0 right; 1 the data said no; 2 wrong use; 3 a component is down; 4 a fault. Signals: again."""
    if code == 0:
        return Verdict.RIGHT
    return Verdict.FINAL if code in (1, 2, 4) else Verdict.AGAIN


@dataclass
class Outcome:
    """How a call ended. document: the JSON that it printed, None where it printed none. said: its last lines on stderr.

    run_id: of the run that its log lines tell, if they tell one.
    """

    code: int
    document: Any
    said: list[str] = field(default_factory=list)
    run_id: str | None = None

    @property
    def verdict(self) -> Verdict:
        """What it means for a task."""
        return verdict(self.code)

    def why(self) -> str:
        """Why it did not succeed, in its own words."""
        reasons = self.document.get("verdict", {}).get("reasons") if isinstance(self.document, dict) else None
        told = reasons or [line for line in self.said if line.startswith("headrace:")] or self.said[-1:] or ["it said nothing"]
        return f"exit code {self.code}: " + "; ".join(map(str, told))


def project_folder(default: str) -> str:
    """Where the project lies: as ``HEADRACE_AIRFLOW_PROJECT`` says, else beside the description of the DAGs."""
    return os.environ.get(PROJECT) or default


def there(folder: str | None) -> str | None:
    """The folder, if there is one of that name; else headrace, which is given it too, says that there is no project."""
    return folder if folder is not None and Path(folder).is_dir() else None


def headrace() -> list[str]:
    """The command: ``HEADRACE_COMMAND``, else ``headrace`` on PATH."""
    return shlex.split(os.environ.get(COMMAND, "")) or ["headrace"]


def environment() -> dict[str, str]:
    """What a call sees of ours: all but Airflow's settings, its database's password among them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_AIRFLOWS_OWN)}


def arguments(command: Sequence[str], options: Mapping[str, str], inputs: Sequence[str], project: str) -> list[str]:
    """The arguments of a call. Options without a value are left out."""
    given = [text for name, value in options.items() if value for text in (name, value)]
    return [*command, *given, *(text for one in inputs for text in ("--input", one)), "--project", project, "--json"]


class Call:
    """A call that runs. ``end`` may come from a signal handler.

    Args:
        given: arguments of ``headrace``. tell: gets each line that it says.
        cwd: where it runs.
        command: ``headrace`` of another version.
        undo: arguments of ``headrace`` that end what a run has begun elsewhere, given its id. Where this call is ended, or its
            parent is killed, they are given too, by the leash.
        begun: gets the id of its run, once a line tells it.
    """

    def __init__(
        self,
        given: Sequence[str],
        tell: Callable[[str], None],
        *,
        cwd: str | None = None,
        command: Sequence[str] | None = None,
        undo: Callable[[str], Sequence[str]] | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> None:
        self._tell, self._undo, self._begun = tell, undo, begun
        self.run_id: str | None = None  # as soon as a log line tells it
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by wait
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(LEASH), str(GRACE_S), *(command or headrace()), *_LOGS, *given],
            stdin=subprocess.PIPE, stdout=self._output, stderr=subprocess.PIPE, start_new_session=True, cwd=there(cwd),
            env=environment(),
        )  # fmt: skip

    def wait(self) -> Outcome:
        """Listen until it has ended."""
        said: list[str] = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = self._read(line.decode("utf-8", "replace").rstrip())
            self._tell(text)
            said = [*said[1 - _DETAIL_LINES :], text]
        code = self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with self._output as output:
            output.seek(0)
            return Outcome(code, _document(output.read()), said, self.run_id)

    def _read(self, line: str) -> str:
        """A line as a task's log shows it."""
        told = _document(line.encode()) if line.startswith("{") else None
        if not isinstance(told, dict) or "message" not in told:
            return line
        if self.run_id is None and told.get("run_id"):
            self.run_id = str(told["run_id"])
            self._note_undo(self.run_id)
            if self._begun is not None:
                self._begun(self.run_id)
        where = f"{told['stage']}: " if told.get("stage") else ""
        return f"{told.get('level', 'INFO')} {where}{told['message']}"

    def _note_undo(self, run_id: str) -> None:
        if self._undo is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has just ended
            self._process.stdin.write(json.dumps([*headrace(), *_LOGS, *self._undo(run_id)]).encode() + b"\n")
            self._process.stdin.flush()

    def end(self) -> None:
        """End it and all that it started; returns when nothing is left."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S * 2)
            except subprocess.TimeoutExpired:
                if self._undo is None:  # else it still ends what was begun elsewhere
                    self._process.kill()


def _document(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def run(
    given: Sequence[str], tell: Callable[[str], None], *, cwd: str | None = None, command: Sequence[str] | None = None
) -> Outcome:
    """Call and wait."""
    return Call(given, tell, cwd=cwd, command=command).wait()
