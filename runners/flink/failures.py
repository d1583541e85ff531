"""What a Java stack trace of Flink says about the cause, in one line and without values of records."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Messages of these speak of machines and settings. Others may quote what they worked on: of those only the class is shown.
_TELL = (
    "org.apache.flink.", "org.apache.beam.runners.", "org.apache.beam.vendor.grpc.", "java.io.", "java.net.", "java.nio.",
    "java.util.concurrent.", "java.lang.OutOfMemoryError", "contracts.errors.", "OSError", "MemoryError", "FileNotFoundError",
    "PermissionError", "ConnectionError", "ConnectionRefusedError", "ConnectionResetError", "BrokenPipeError", "TimeoutError",
)  # fmt: skip
_JAVA_CAUSE = re.compile(r"^(?:Caused by: )?((?:[a-z_]\w*\.)+[A-Z][\w$]*)(?:: (.*))?$", re.MULTILINE)
_PYTHON_CAUSE = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?:: ?(.*))?$")
_PYTHON_PLACE = re.compile(r'^\s+File "([^"]+)", line (\d+)', re.MULTILINE)
_STEP = re.compile(r"\[while running '([^']+)'\]")
_TRACEBACK = "Traceback (most recent call last):"
_LONGEST = 300


def plain_failure(trace: str) -> str:
    """The root cause in one line: the last ``Caused by``, or in a trace of a Python worker its last exception with step and place.

    The message is kept where its class speaks of the cluster, or is this project's (whose messages quote no values); of other
    exceptions only the class is given, since messages of parsers and converters hold what they could not read.
    """
    if _TRACEBACK in trace:
        return _python_failure(trace[trace.rindex(_TRACEBACK) + len(_TRACEBACK) :])
    causes = [match for match in _JAVA_CAUSE.finditer(trace) if match.start() == 0 or match[0].startswith("Caused by: ")]
    if not causes:
        return "no cause given"
    return _told(causes[-1][1], causes[-1][2])


def first_line(errors: Sequence[str]) -> str:
    """The last of the errors that a REST answer lists, its first line, without the class name of the handler's exception."""
    lines = (errors[-1] if errors else "").strip().splitlines()
    return re.sub(r"^(?:[\w$]+\.)+[\w$]*(?:Exception|Error): ", "", lines[0])[:_LONGEST] if lines else "no reason given"


def _python_failure(trace: str) -> str:
    lines = trace.splitlines()[1:]
    named = next((line for line in lines if line and not line[0].isspace()), "")  # first line after the frames, which are indented
    match = _PYTHON_CAUSE.match(named)
    if match is None:
        return "an exception in a Python worker"
    frames = "\n".join(lines[: lines.index(named)])
    places, steps = _PYTHON_PLACE.findall(frames), _STEP.findall(trace)
    where = f" at {'/'.join(places[-1][0].split('/')[-2:])}:{places[-1][1]}" if places else ""
    step = f" in step {steps[-1]}" if steps else ""
    return _told(match[1], _STEP.sub("", match[2] or "").strip()) + where + step


def _told(name: str, message: str | None) -> str:
    short = name.rpartition(".")[2]
    return f"{short}: {message}"[:_LONGEST].rstrip(". ") if message and name.startswith(_TELL) else short
