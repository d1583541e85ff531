"""Log lines: one form for all that a process says, each with the run, the source and the stage that it belongs to.

.. code-block:: text

    2026-11-26T12:47:27Z WARNING transforms.read.poll run=20261126T… source=web stage=ReadKafka: topic web-events, partition 0: …
    {"time": "2026-11-26T12:47:27Z", "level": "WARNING", "logger": "transforms.read.poll", "run_id": "20261126T…", "source": "web",
     "stage": "ReadKafka", "message": "topic web-events, partition 0: …"}

Of an exception only its type is told: messages of parsers quote what they could not read.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime

ENV_LEVEL, ENV_FORMAT = "HEADRACE_LOG_LEVEL", "HEADRACE_LOG_FORMAT"
LEVELS, FORMATS = ("debug", "info", "warning", "error"), ("text", "json")
_LIBRARIES = ("apache_beam", "botocore", "boto3", "google", "httpx", "httpcore", "pyiceberg", "s3transfer", "urllib3")
_context: dict[str, str] = {}


@dataclass(frozen=True)
class LogOptions:
    """How lines are written.

    level: one of LEVELS; None for ``warning`` here and ``info`` in the log of a cluster. Libraries say what is a warning or worse,
    and everything with ``debug``. form: one of FORMATS.
    """

    level: str | None = None
    form: str = "text"

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> LogOptions:
        """Those of the environment; what is none of the known words counts as not set."""
        level, form = environ.get(ENV_LEVEL, ""), environ.get(ENV_FORMAT, "")
        return cls(level if level in LEVELS else None, form if form in FORMATS else cls.form)

    def put(self, environ: MutableMapping[str, str]) -> None:
        """For processes that this one starts."""
        environ[ENV_FORMAT] = self.form
        if self.level:
            environ[ENV_LEVEL] = self.level


@dataclass(frozen=True)
class LogContext:
    """What the lines of a run have in common; goes to workers with the steps of the run."""

    run_id: str
    source: str
    options: LogOptions

    @classmethod
    def here(cls, run_id: str, source: str) -> LogContext:
        """With the options of this process."""
        return cls(run_id, source, LogOptions.of())

    def apply(self) -> None:
        """From now on the lines of this process belong to that run. In a worker of a cluster its handlers get our form."""
        _context.update(run_id=self.run_id, source=self.source)
        root = logging.getLogger()
        if any(isinstance(handler, _Handler) for handler in root.handlers):
            return
        _set_levels(self.options.level or "info")
        for handler in root.handlers:
            handler.setFormatter(_Json() if self.options.form == "json" else _Bare())


def configure(options: LogOptions) -> None:
    """Send what this process logs to stderr, in one form. A second call takes the place of the first, and ours that of Python's."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Handler) or type(handler) is logging.StreamHandler:  # Python's own, of some library's first words
            root.removeHandler(handler)
    handler = _Handler()
    handler.setFormatter(_Json() if options.form == "json" else _Text())
    root.addHandler(handler)
    root.addFilter(_is_of_use)
    _set_levels(options.level or "warning")
    options.put(os.environ)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Beam warns at import of Google clients that are not installed; nobody who runs a pipeline on files needs to know."""
    return "apitools" not in record.getMessage()


def _set_levels(name: str) -> None:
    level = logging.getLevelNamesMapping()[name.upper()]
    root = logging.getLogger()
    root.setLevel(level)
    for handler in root.handlers:
        if isinstance(handler, _Handler):  # Beam's workers lower the level of the logger
            handler.setLevel(level)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(level if name == "debug" else max(level, logging.WARNING))


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """To stderr, as it is when a line is written: tests and progress bars exchange it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        """Where to."""
        return sys.stderr


class _Form(logging.Formatter):
    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """What a line says, but for its message."""
        stage = _stage()
        at = datetime.fromtimestamp(record.created, UTC)
        found = {"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "level": record.levelname, "logger": record.name, **_context}
        return found | ({"stage": stage} if stage else {})

    def message(self, record: logging.LogRecord) -> str:
        """The text, in one line."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            text = f"{text} ({record.exc_info[0].__name__})"
        return " ".join(text.splitlines())


class _Json(_Form):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record) | {"message": self.message(record)}, ensure_ascii=False)


class _Text(_Form):
    def format(self, record: logging.LogRecord) -> str:
        found = self.fields(record)
        return f"{found['time']} {found['level']} {self.named(found)}: {self.message(record)}"

    def named(self, found: Mapping[str, str]) -> str:
        """The logger, and where the line belongs."""
        names = {"run_id": "run", "source": "source", "stage": "stage"}
        return " ".join([found["logger"], *(f"{short}={found[name]}" for name, short in names.items() if name in found)])


class _Bare(_Text):
    """Behind a time and a level that the log of a cluster puts before each line."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.named(self.fields(record))}: {self.message(record)}"


def _stage() -> str | None:
    """The step of the pipeline that this thread is in, if it is in one."""
    sampler = sys.modules.get("apache_beam.runners.worker.statesampler")
    tracker = sampler.get_current_tracker() if sampler else None
    state = tracker.current_state() if tracker else None
    name = getattr(getattr(state, "name_context", None), "step_name", None)
    return name if isinstance(name, str) and name else None
