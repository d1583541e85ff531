"""Commands of pages run: each block by a test in a clone after ``make demo``, or it is named with the reason why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.graph.docs.not_run import NOT_RUN
from tests.support.pages import ROOT, Block, blocks_of, name_of, pages, run, unseen
from tests.support.readers import Clone
from tests.support.stack import free_ports

_URL = "http://localhost:24480"


def reasons_of(block: Block, not_run: dict[tuple[str, str], str]) -> list[tuple[str, str]]:
    """Entries that fit a block."""
    return [(page, begin) for page, begin in not_run if page == block.page and (begin == "*" or block.text.startswith(begin))]


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.is_shell and not reasons_of(block, NOT_RUN)]


def shown(page: Path) -> Iterator[str]:
    """What a page shows as output: blocks of text right behind blocks that run. What is marked ``txt`` is an example."""
    texts = {block.text for block in to_run(page)}
    before = None
    for block in blocks_of(page):
        if block.language in {"text", ""} and not block.is_shell and before is not None and before.text in texts:
            yield block.text
        before = block


PAGES = [page for page in pages() if to_run(page)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_a_page_run_and_print_what_it_shows(
    page: Path, clone: Clone, environment: dict[str, str], tmp_path: Path
) -> None:
    clone.renew()
    port = str(free_ports().cdp)
    own = {
        "HEADRACE_STACK_HOME": str(tmp_path / "stack"),
        "HEADRACE_STACK_PORT_CDP": port,
        "CDP_URL": f"http://localhost:{port}",
        "PYTHONPATH": str(clone.folder),
    }
    script = "trap 'headrace stack down > /dev/null' EXIT\n" if any("stack up" in block.text for block in to_run(page)) else ""
    script += "\n".join(block.text for block in to_run(page)).replace("localhost:24480", f"localhost:{port}")
    output = run(script, clone.folder, {**environment, **own}).replace(own["CDP_URL"], _URL)
    assert [line for text in shown(page) for line in unseen(text, output)] == [], output


def test_the_demo_prints_what_the_first_page_shows(clone: Clone) -> None:
    (shown_of_demo,) = [block.text for block in blocks_of(ROOT / "README.md") if block.text.startswith("source      in  validated")]
    assert unseen(shown_of_demo, clone.said) == []


def test_the_last_run_of_the_onboarding_guide_says_that_all_is_well(clone: Clone) -> None:
    manifest = json.loads((clone.folder.parent / "helpdesk" / "last-run.json").read_text("utf-8"))
    assert manifest["verdict"] == {"exit_code": 0, "reasons": []}


def test_reasons_why_commands_do_not_run_are_of_blocks_that_are_there() -> None:
    shell = [block for page in pages() for block in blocks_of(page) if block.is_shell]
    used = {entry for block in shell for entry in reasons_of(block, NOT_RUN)}
    assert sorted(set(NOT_RUN) - used) == []
    assert all(NOT_RUN.values())


def test_commands_in_blocks_that_are_not_marked_as_such_are_found() -> None:
    assert [block for page in pages() for block in to_run(page) if block.language != "bash"] == []
    assert Block("a.md", "text", "headrace status\n").is_shell
    assert not Block("a.md", "text", "headrace: no lake\n").is_shell


def test_a_line_that_a_command_does_not_print_would_be_found() -> None:
    assert unseen("a  b\nrun … ended\n", "a b\nrun 7 has ended\n") == []
    assert unseen("a b\nc\n", "a b\nd\n") == ["c"]
