"""Every page can be read: lines fit, links and anchors lead somewhere, the site's navigation has each page once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.support.pages import DOCS, FENCE, ROOT, name_of, pages

WIDTH = 132
# A row of a table is one line in Markdown, so it may be wider. What is wider than this had better be a list.
ROW_WIDTH = 200
# How many rows are. Make one a list, and lower its number; none may be added.
WIDE_ROWS = {
    "ARCHITECTURE.md": 10,
    "docs/guides/delivery.md": 3,
    "docs/guides/local-stack.md": 5,
    "docs/guides/scale-out.md": 7,
    "docs/guides/streaming.md": 4,
    "docs/performance.md": 10,
    "docs/reference/contracts.md": 4,
    "docs/reference/dead-letters.md": 3,
    "docs/reference/destinations.md": 2,
    "docs/reference/lake.md": 7,
    "docs/reference/sources.md": 2,
    "docs/reference/tests.md": 1,
}
# Made by `make bench`, or written while this rule came.
NOT_MEASURED = {"benchmarks/README.md", "docs/guides/object-storage.md"}
PICTURES = sorted((DOCS / "assets" / "pictures").glob("*.svg"))

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def every_page() -> list[Path]:
    """Pages for readers, and those beside the code."""
    folders = ("benchmarks", "examples", "contracts", "transforms", "pipelines", "runners", "tests")
    return sorted({*pages(), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))})


def anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them of headings, and the site too (tests/support/site_hooks.py)."""
    found: set[str] = set()
    for title in _HEADING.findall(FENCE.sub("", page.read_text("utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(next(name for n in range(99) if (name := f"{slug}-{n}" if n else slug) not in found))
    return found


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    return broken


def long_lines(page: Path) -> list[str]:
    """Lines beyond the width that are no row of a table, by number."""
    lines = enumerate(page.read_text("utf-8").splitlines(), 1)
    return [f"{page.name}:{number}: {len(line)}" for number, line in lines if len(line) > WIDTH and not line.startswith("|")]


def wide_rows(page: Path) -> int:
    return sum(len(line) > ROW_WIDTH for line in page.read_text("utf-8").splitlines() if line.startswith("|"))


@pytest.mark.parametrize("page", every_page(), ids=name_of)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_a_missing_file_or_heading_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Two words, `code`\n")
    (tmp_path / "a.md").write_text(
        "# A\n[1](b.md#two-words-code) [2](b.md#none) [3](c.md) [4](#a) [5](#b) [6](https://example.com) ![7](d.svg)\n"
    )
    assert broken_links(tmp_path / "a.md") == ["b.md#none", "c.md", "#b", "d.svg"]


@pytest.mark.parametrize("page", [page for page in pages() if name_of(page) not in NOT_MEASURED], ids=name_of)
def test_lines_of_a_page_fit(page: Path) -> None:
    assert long_lines(page) == []
    assert wide_rows(page) == WIDE_ROWS.get(name_of(page), 0), f"rows of tables beyond {ROW_WIDTH} characters in {page.name}"


def test_a_long_line_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("\n".join(["é" * WIDTH, "e" * (WIDTH + 1), "```", "f" * 200, "```", f"|{'g' * 300}|"]))
    assert long_lines(page) == ["a.md:2: 133", "a.md:4: 200"]
    assert wide_rows(page) == 1


def in_navigation(entry: Any) -> Iterator[str]:
    """Pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from in_navigation(part)


def test_every_page_is_in_the_navigation_once_and_decisions_are_put_there() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    times = Counter(in_navigation(site["nav"]))
    outside = {"architecture.md", "benchmarks.md", "contributing.md", "changelog.md"}
    decisions = {str(page.relative_to(DOCS)) for page in (DOCS / "decisions").glob("0*.md")}
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - decisions
    assert set(times) == there | outside
    assert [page for page, number in times.items() if number > 1] == []


def test_each_kind_of_page_has_an_index_that_names_all_of_its_pages() -> None:
    for kind in ("concepts", "guides", "reference"):
        index = DOCS / kind / "index.md"
        named = {target.partition("#")[0] for target in _LINK.findall(index.read_text("utf-8"))}
        assert {page.name for page in (DOCS / kind).glob("*.md")} - named == {"index.md"}, kind


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_is_used_says_what_it_shows_and_is_read_in_light_and_dark(picture: Path) -> None:
    text = picture.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    assert "prefers-color-scheme: dark" in text and 'class="ground"' in text
    assert not re.search(r"(?:href|url\()[=\"']*https?:", text)
    of_others = PICTURES[0].read_text("utf-8")
    style = re.compile(r"<style>.*?</style>", re.DOTALL)
    assert style.findall(text) == style.findall(of_others), "pictures share their colours"
    assert any(f"pictures/{picture.name})" in page.read_text("utf-8") for page in DOCS.rglob("*.md"))
