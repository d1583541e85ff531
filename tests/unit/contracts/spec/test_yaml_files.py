"""The reader of YAML files: what asks for more than it looks like, or is no value, ends in one sentence with its line."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from contracts.spec.files.destination import load_destination
from contracts.spec.files.source import load_source
from contracts.spec.files.suppressions import load_suppressions
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from contracts.spec.yaml_files import read_yaml

BOMB = "a0: &a0 [lol, lol, lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
MERGED = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
WRONG = [
    (BOMB, "line 6: its aliases stand for more than 100,000 values"),
    (MERGED, "line 11: its aliases stand for more than 100,000 values"),
    ("a: &a [1, *a]", r"line 1: \*a stands inside of what it repeats"),
    ("a: 1\nb: " + "[" * 3_000 + "]" * 3_000, "line 2: more than 64 levels of nesting"),
    ("a: " + "{a: " * 3_000 + "}" * 3_000, "line 1: more than 64 levels of nesting"),
    ("".join(" " * n + "a:\n" for n in range(3_000)), "line 64: more than 64 levels of nesting"),
    ("a: 1\nb: " + "9" * 5_000, "line 2: '9{40}…' is no number that can be used; a text stands in quotes"),
    ("a: 0x" + "f" * 5_000, "line 1: '0xf{38}…' is no number"),
    ("a: " + ":".join(["59"] * 3_000), "line 1: '59:.*…' is no number"),
    ("a: 1\n\nb: 2026-99-99", "line 3: '2026-99-99' is no date or time that can be used"),
    ("a: 0000-01-01", "line 1: '0000-01-01' is no date or time"),
    ("a: 0b_", "line 1: '0b_' is no number"),
    ("a: 1\nb: 2\na: 3", "line 3: 'a' is there twice"),
    ("a: 1\nb: !!python/object/apply:os.system [id]", "not valid YAML at line 2"),
    ("a: 1\nb: \x1b[2J", "not valid YAML at line 2: a character that YAML does not allow"),
    ("a: [", "not valid YAML at line 1"),
    ("a: b: c", "not valid YAML at line 1"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_a_file_may_not_hold_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text, "utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigurationError, match=rf"^thing {path}: {message}") as caught:
        read_yaml(path, "thing")
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    with pytest.raises(ConfigurationError, match=f"thing {path}: no such file"):
        read_yaml(path, "thing")
    with pytest.raises(ConfigurationError, match=f"thing {tmp_path}: cannot be read: Is a directory"):
        read_yaml(tmp_path, "thing")
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ConfigurationError, match="not valid YAML at line 2: no UTF-8"):
        read_yaml(path, "thing")


def test_aliases_in_measure_are_read(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text("base: &base {in: [bot, test]}\nfilter:\n  - {path: a, <<: *base}\n  - {path: b, <<: *base}\n", "utf-8")
    assert read_yaml(path, "thing").value["filter"] == [{"path": "a", "in": ["bot", "test"]}, {"path": "b", "in": ["bot", "test"]}]


def _suppressions(path: Path) -> Any:
    folder = path.parent / "suppressions"
    folder.mkdir()
    path.rename(folder / path.name)
    contract: Contract = load_contract(Path(load_contract.__code__.co_filename).parents[1] / "datasets" / "order.v1.yaml")
    return load_suppressions([path.parent], contract)


@pytest.mark.parametrize("load", [load_source, load_destination, load_contract, Project.load, _suppressions])
@pytest.mark.parametrize("text", [BOMB, "a: " + "[" * 3_000, "a: 2026-99-99"])
def test_every_kind_of_file_is_read_by_it(load: Callable[[Path], Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / "headrace.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=r"headrace.yaml: line \d"):
        load(path)
