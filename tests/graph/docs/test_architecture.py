"""The pages about the code say how it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.package_drawing import drawing

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions")]
_TOP = "contracts|lake|transforms|runners|pipelines|operations|templates|cli|devstack|tests|benchmarks|examples|docs"


def test_the_drawing_of_packages_is_made_from_the_imports() -> None:
    assert f"```text\n{drawing()}\n```" in (ROOT / "ARCHITECTURE.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(rf"`((?:{_TOP})/[\w./-]+)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
