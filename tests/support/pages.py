"""Markdown pages as tests see them: their blocks, and how those that are commands are run as a reader would."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COMMANDS_S = 120
FENCE = re.compile(r"^( *)(`{3,})([\w-]*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:headrace |make |python3? -m |pip |kubectl |curl |docker |helm |source \S*activate|export [A-Z])")
# What the command line says of itself: usage and examples of each verb, made from the verbs.
_MADE = {"docs/reference/cli.md"}


@dataclass(frozen=True)
class Block:
    """A fenced block. page: its path below the root."""

    page: str
    language: str
    text: str

    @property
    def is_shell(self) -> bool:
        """Whether it is commands, marked as such or not."""
        if self.page in _MADE:
            return False
        return self.language in {"bash", "sh", "shell", "console"} or bool(_COMMAND.match(self.text))


_INSTALLS = re.compile(r"\b(?:pip3?|uv|apt-get|npm)\b[^\n;|&]*\b(?:install|uninstall|sync|add)\b")


def pages() -> list[Path]:
    """Pages for readers."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "benchmarks" / "README.md"])


def name_of(page: Path) -> str:
    """Its path below the root."""
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def blocks_of(page: Path) -> list[Block]:
    """Fenced blocks of a page, without the indent that they have in a list."""
    found = FENCE.findall(page.read_text("utf-8"))
    return [Block(name_of(page), kind, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)) for indent, _, kind, body in found]


def outside_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that lie in no fenced block."""
    blank = FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    yield from enumerate(blank.splitlines(), 1)


def run(script: str, folder: Path, environment: Mapping[str, str], within_s: float = COMMANDS_S) -> str:
    """What commands print. Fails where one of them does, and runs none where one would install packages: other tests use them."""
    assert not _INSTALLS.search(script), (
        f"a page's commands install packages; name the block in tests/graph/docs/not_run.py: {script}"
    )
    script = re.sub(r"^source \.venv/bin/activate$", "", script, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def unseen(expected: str, output: str) -> list[str]:
    """Lines that the page shows and the output has not; … stands for anything."""
    seen = {" ".join(line.split()) for line in output.splitlines()}
    missing = []
    for line in expected.splitlines():
        pattern = re.compile(".*".join(map(re.escape, " ".join(line.split()).split("…"))))
        if not any(pattern.fullmatch(text) for text in seen):
            missing.append(line)
    return missing
