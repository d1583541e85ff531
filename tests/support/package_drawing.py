"""The drawing of packages in ARCHITECTURE.md, made from the imports: ``python -m tests.support.package_drawing``.

A line is a level: what stands on it imports from the lines below it only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
_WIDTH = 132 - 18  # of a page, but for the names of packages
_DRAWN = ("contracts", "lake", "quality", "transforms", "runners", "pipelines", "operations")


def drawing() -> str:
    """Levels of the top-level packages, then of what is in each."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["root_packages"]
    graph = grimp.build_graph(*packages, cache_dir=None)
    imports = [(importer, imported) for importer in graph.modules for imported in graph.find_modules_directly_imported_by(importer)]
    lines = _drawn("", _levels(packages, _between(packages, imports)))
    for package in _DRAWN:
        parts = sorted(graph.find_children(package))
        levels = _levels(parts, _between(parts, imports))
        if len(levels) > 1:
            lines += ["", *_drawn(package, levels)]
    return "\n".join(lines)


def _between(names: Iterable[str], imports: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Which of these packages imports from which others of them."""
    found: dict[str, set[str]] = {name: set() for name in names}
    owner = {name: name for name in found}

    def owner_of(module: str) -> str | None:
        while module and module not in owner:
            module = module.rpartition(".")[0]
        return owner.get(module)

    for importer, imported in imports:
        above, below = owner_of(importer), owner_of(imported)
        if above and below and above != below:
            found[above].add(below)
    return found


def _levels(names: Iterable[str], imports: Mapping[str, set[str]]) -> list[list[str]]:
    """From the top down. Raises graphlib.CycleError where imports go in a circle."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(imports).static_order():  # what is imported comes first
        depth[name] = 1 + max((depth[other] for other in imports[name]), default=-1)
    by_level: dict[int, list[str]] = {}
    for name in names:
        by_level.setdefault(depth[name], []).append(name)
    return [sorted(by_level[level]) for level in sorted(by_level, reverse=True)]


def _drawn(package: str, levels: list[list[str]]) -> list[str]:
    rows = [row for level in levels for row in _folded([name.removeprefix(f"{package}.") for name in level])]
    head = f"{package}/" if package else "imports go down"
    return [f"{head:16}  {rows[0]}", *(f"{'':16}  {row}" for row in rows[1:])]


def _folded(names: list[str]) -> list[str]:
    """One level; what does not fit on its line stands below, a little to the right."""
    rows = [""]
    for name in names:
        if len(rows[-1]) + 3 + len(name) > _WIDTH:
            rows.append("  ")
        rows[-1] += ("   " if rows[-1].strip() else "") + name
    return rows


if __name__ == "__main__":
    print(drawing())
