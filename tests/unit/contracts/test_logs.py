"""Log lines: one form, with what they belong to, and no message of an exception."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from contracts import logs
from contracts.logs import LogContext, LogOptions, configure

LOG = logging.getLogger("transforms.read.poll")


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handlers, levels and context as they were."""
    for name in (logs.ENV_LEVEL, logs.ENV_FORMAT):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(logs, "_context", {})
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs._LIBRARIES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_of_text_tells_run_source_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions())
    LogContext("r-1", "web", LogOptions()).apply()
    LOG.warning("topic %s:\n%d records", "t", 3)
    (line,) = said(capsys)
    time, rest = line.split(" ", 1)
    assert len(time) == 20 and time.endswith("Z")
    assert rest == "WARNING transforms.read.poll run=r-1 source=web: topic t: 3 records"


def test_a_line_of_json_has_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(form="json"))
    LogContext("r-1", "web", LogOptions()).apply()
    LOG.error('with "quotes"')
    (line,) = said(capsys)
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "ERROR", "logger": "transforms.read.poll", "run_id": "r-1", "source": "web", "message": 'with "quotes"',
    }  # fmt: skip


def test_of_an_exception_only_the_type_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions())
    try:
        int("jane@example.com")
    except ValueError:
        LOG.exception("cannot be read")
    (line,) = said(capsys)
    assert line.endswith(": cannot be read (ValueError)") and "jane" not in line


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [(None, ["WARNING"], ["WARNING"]), ("info", ["INFO", "WARNING"], ["WARNING"]), ("error", [], []),
     ("debug", ["DEBUG", "INFO", "WARNING"], ["DEBUG", "INFO", "WARNING"])],
)  # fmt: skip
def test_libraries_are_quiet_below_debug(
    level: str | None, ours: list[str], theirs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LogOptions(level))
    for name, expected in (("lake.upkeep", ours), ("pyiceberg.io", theirs)):
        for wanted in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger(name).log(wanted, "x")
        assert [line.split()[1] for line in said(capsys)] == expected


def test_configured_twice_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions())
    configure(LogOptions())
    LOG.warning("x")
    assert len(said(capsys)) == 1


def test_processes_that_are_started_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(LogOptions("info", "json"))
    assert LogOptions.of() == LogOptions("info", "json")
    monkeypatch.setenv(logs.ENV_LEVEL, "loud")
    assert LogOptions.of() == LogOptions(None, "json")


def test_in_a_worker_of_a_cluster_the_handlers_that_are_there_get_our_form(capsys: pytest.CaptureFixture[str]) -> None:
    """The cluster's log puts time and level before each line; there, ``info`` is told too."""
    root = logging.getLogger()
    root.handlers[:] = [theirs := logging.StreamHandler()]
    root.setLevel(logging.WARNING)
    LogContext("r-1", "web", LogOptions()).apply()
    LOG.info("landed")
    assert said(capsys) == ["transforms.read.poll run=r-1 source=web: landed"]
    LogContext("r-1", "web", LogOptions(form="json")).apply()
    assert json.loads(theirs.format(LOG.makeRecord("n", logging.INFO, "f", 1, "m", (), None)))["message"] == "m"
