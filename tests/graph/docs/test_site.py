"""What ``make docs`` asks of the site finds what is wrong with one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.pages import DOCS, ROOT
from tests.support.site_check import ANSWERS, Search, from_elsewhere, unanswered

SECTIONS = [
    {"location": "reference/dead-letters.html", "title": "Dead letters", "text": "<p>Rejected records.</p>"},
    {"location": "concepts/fold.html#rules", "title": "Rules", "text": "<p>A loser is a <code>dead letter</code>.</p>"},
    {"location": "decisions/0002.html", "title": "One dead letter", "text": "", "boost": 0.1},
    {"location": "index.html", "title": "Start", "text": "letter"},
]


def test_search_puts_titles_first_wants_every_word_and_knows_singular_and_plural() -> None:
    search = Search({"docs": SECTIONS})
    assert search.pages("dead letter") == ["reference/dead-letters", "decisions/0002", "concepts/fold"]
    assert search.pages("Dead LETTERS") == search.pages("dead letter")
    assert search.pages("reject") == ["reference/dead-letters"]
    assert search.pages("dead kafka") == []


def test_terms_without_an_answer_are_named() -> None:
    wrong = unanswered({"docs": SECTIONS})
    assert len(wrong) == len(ANSWERS) - 1
    assert not any("'dead letter'" in line for line in wrong)


def test_pages_that_answer_are_there() -> None:
    assert len(ANSWERS) >= 20
    assert {page for pages in ANSWERS.values() for page in pages if not (DOCS / f"{page}.md").exists()} == set()


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example.com/a.js"></script>',
        '<link href="//fonts.example.com/a.css" rel="stylesheet">',
        '<img alt="x" src=https://example.com/a.png>',
        "<style>a { background: url(https://example.com/a.png) }</style>",
    ],
)
def test_what_a_page_would_load_over_the_network_is_found(page: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(f'<a href="https://example.com">x</a><code>{page}</code>')
    assert from_elsewhere(tmp_path) == []
    (tmp_path / "a.html").write_text(page)
    assert len(from_elsewhere(tmp_path)) == 1


def test_the_check_ends_with_1_where_the_site_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search_index.json").write_text('{"docs": [{"location": "a.html", "title": "A", "text": ""}]}')
    command = [sys.executable, "-m", "tests.support.site_check", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == len(ANSWERS)


def test_the_site_asks_for_no_font_and_has_its_own_worker() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert site["theme"]["font"] is False
    own = [*site["extra"]["polyfills"], *site["extra_css"]]
    assert [path for path in own if not (DOCS / path).exists()] == []
    assert "offline" in site["plugins"] and not site["use_directory_urls"]
