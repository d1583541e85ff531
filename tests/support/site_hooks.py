"""Hooks of mkdocs for ``make docs``: pages that lie outside ``docs/``, and anchors as GitHub makes them.

The same Markdown is read on GitHub and as the site. A link that leaves ``docs/`` leads to a page of the site: to the page made of
another Markdown file, or to one that shows the source file or lists the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages of the site that GitHub shows elsewhere.
OUTSIDE = {
    "ARCHITECTURE.md": "architecture.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "docs/decisions": "decisions/README.md",
    "docs/guides": "guides/index.md",
    "docs/reference": "reference/index.md",
}
_HISTORY = ("decisions/0", "changelog.md", "benchmarks.md", "contributing.md")
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_DECISION = re.compile(r"^# (.+)$", re.MULTILINE)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".java": "java", ".sh": "bash"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors as on GitHub; each decision in the navigation, by the title that it has."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    assert config.nav
    (decisions,) = (entry["Decisions"] for entry in config.nav if "Decisions" in entry)
    decisions += [{_title(path): f"decisions/{path.name}"} for path in sorted((DOCS / "decisions").glob("0*.md"))]
    return config


def _title(path: Path) -> str:
    found = _DECISION.search(path.read_text("utf-8"))
    assert found, path
    return found[1].replace("`", "")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to."""
    for outside, name in OUTSIDE.items():
        if not outside.startswith(("docs/", "README.md")):
            files.append(File.generated(config, name, abs_src_path=str(ROOT / outside)))
    shown: set[Path] = set()
    for page in files.documentation_pages():
        if page.abs_src_path:
            _relinked(page.content_string, Path(page.abs_src_path), page.src_uri, shown.add)
    for path in sorted(shown):
        files.append(File.generated(config, _shown_at(path), content=_source_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ to pages of the site. Pages of history come last in a search."""
    del config, files
    if page.file.src_uri.startswith(_HISTORY):
        page.meta.setdefault("search", {})["boost"] = 0.3
    path = page.file.abs_src_path
    return _relinked(markdown, Path(path), page.file.src_uri, lambda _: None) if path else markdown


def _relinked(text: str, path: Path, src_uri: str, show: Callable[[Path], Any]) -> str:
    kept = path.is_relative_to(DOCS)

    def link(found: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", found[2]):
            return found[0]
        target = (path.parent / found[2]).resolve()
        if kept and target.is_relative_to(DOCS) and target.is_file():
            return found[0]
        name = str(target.relative_to(ROOT))
        if name in OUTSIDE:
            uri = OUTSIDE[name]
        elif target.is_relative_to(DOCS):
            uri = str(target.relative_to(DOCS))
        elif target.exists():
            show(target)
            uri = _shown_at(target)
        else:
            return found[0]  # mkdocs says that it is dead
        return f"{found[1]}{os.path.relpath(uri, os.path.dirname(src_uri) or '.')}{found[3] or ''}{found[4]}"

    out, at = [], 0
    for fence in _FENCE.finditer(text):
        out += [_LINK.sub(link, text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*out, _LINK.sub(link, text[at:])])


def _shown_at(path: Path) -> str:
    return f"source/{str(path.relative_to(ROOT)).replace('/', '-')}.md"


def _source_page(path: Path) -> str:
    """The file, or those of the folder, as they are. Search leaves them out."""
    files = sorted(part for part in path.iterdir() if part.is_file()) if path.is_dir() else [path]
    parts = ["---\nsearch: {exclude: true}\n---\n", f"# {path.relative_to(ROOT)}\n"]
    for file in files:
        parts += [f"## {file.name}\n"] if path.is_dir() else []
        parts.append(f"````{_LANGUAGES.get(file.suffix, 'text')}\n{file.read_text('utf-8')}\n````\n")
    return "\n".join(parts)
