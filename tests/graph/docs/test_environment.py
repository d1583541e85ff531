"""docs/reference/environment.md names every variable of ours that the code knows, and no other."""

from __future__ import annotations

import re

from tests.support.processes import ROOT

PACKAGES = ("cli", "contracts", "devstack", "lake", "operations", "pipelines", "runners", "templates", "transforms")
_NAME = re.compile(r"(?<!__)HEADRACE_[A-Z_]*[A-Z]|FLINK_REST\b")


def in_code() -> set[str]:
    files = [
        path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.suffix in {".py", ".yaml", ""} and path.is_file()
    ]
    return {found for path in files for found in _NAME.findall(path.read_text("utf-8"))}


def test_the_page_names_every_variable_of_ours_and_no_other() -> None:
    page = set(_NAME.findall((ROOT / "docs/reference/environment.md").read_text("utf-8")))
    assert page - {"HEADRACE_STACK_PORT_KAFKA"} == in_code()
