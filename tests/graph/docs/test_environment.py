"""docs/reference/environment.md names every variable of ours that the code knows, and no other."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.support.processes import ROOT

PACKAGES = ("cli", "contracts", "devstack", "lake", "operations", "pipelines", "runners", "templates", "transforms")
_NAME = re.compile(r"(?<!__)HEADRACE_[A-Z_]*[A-Z]|FLINK_REST\b")


# Set by the local stack, for workers and for Airflow; read before a worker can import.
_TWICE = {"HEADRACE_WORKER_LOG_DIR", "HEADRACE_FILES", "HEADRACE_COMMAND"}


def files() -> list[Path]:
    return [
        path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.suffix in {".py", ".yaml", ""} and path.is_file()
    ]


def in_code() -> set[str]:
    return {found for path in files() for found in _NAME.findall(path.read_text("utf-8"))}


def test_the_page_names_every_variable_of_ours_and_no_other() -> None:
    page = set(_NAME.findall((ROOT / "docs/reference/environment.md").read_text("utf-8")))
    assert page - {"HEADRACE_STACK_PORT_KAFKA"} == in_code()


def test_a_variable_is_named_in_one_module() -> None:
    modules = (
        set(re.findall(rf"[\"\']({_NAME.pattern})[\"\']", path.read_text("utf-8"))) for path in files() if path.suffix == ".py"
    )
    times = Counter(name for names in modules for name in names)
    assert {name for name, count in times.items() if count > 1} == _TWICE
    assert len(times) > 10
