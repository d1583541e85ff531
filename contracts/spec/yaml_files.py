"""The one reader of YAML files that users write: what is wrong with one is a sentence with file and line, whatever is in it.

Beyond YAML's own rules: a key stands once in a mapping, and aliases, nesting and numbers have bounds, so that a small file cannot
take memory or time that it does not look like.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from contracts.errors import ConfigurationError

_MOST_DEEP = 64
_MOST_REPEATED = 100_000  # values that aliases add to those that are written
_MOST_NUMBER = 10**30  # above it Python may not even print one
_SHOWN = 40
_KINDS = {"int": "number", "float": "number", "timestamp": "date or time", "bool": "boolean"}


Place = Sequence[str | int]  # keys and indexes that lead to a value


@dataclass(frozen=True)
class Document:
    """What a file holds, None where it is empty, and on which line each value of it stands."""

    path: Path
    value: Any
    root: Node | None = field(default=None, repr=False, compare=False)

    def line(self, place: Place) -> int:
        """The line of a value, of its key in a mapping; of the nearest around it, where it is not there."""
        line, node = 1, self.root
        for step in place:
            found = _part(node, step)
            if found is None:
                break
            named, node = found
            line = named.start_mark.line + 1
        return line

    def there(self, place: Place) -> Place:
        """The place as far as the file has it."""
        node = self.root
        for number, step in enumerate(place):
            found = _part(node, step)
            if found is None:
                return place[:number]
            node = found[1]
        return place


def read_yaml(path: Path, what: str) -> Document:
    """What a file holds.

    Args:
        path: the file.
        what: it is, in the words of messages.

    Raises:
        ConfigurationError: it is not there, cannot be read, or is not valid YAML within the bounds; says at which line.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{what} {path}: no such file") from None
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{what} {path}: not valid YAML at line {_line(error.object, error.start)}: no UTF-8") from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Document(path, None if root is None else loader.construct_document(root), root)
    except _BoundError as error:
        raise ConfigurationError(f"{what} {path}: line {error.line}: {error}") from None
    except yaml.reader.ReaderError as error:
        line = _line(text.encode("utf-32-le"), 4 * error.position, 4)
        raise ConfigurationError(f"{what} {path}: not valid YAML at line {line}: a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{what} {path}: not valid YAML{where}") from None


class _BoundError(Exception):
    """What YAML allows and a file of a user has no use for."""

    def __init__(self, node: Node | yaml.Event, told: str) -> None:
        super().__init__(told)
        self.line = (node.start_mark.line if node.start_mark else 0) + 1


class _Loader(yaml.SafeLoader):
    """Builds plain values, and looks at every node before."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._written = 0
        self._sizes: dict[Node, int] = {}  # values of a node, those behind aliases included

    def compose_node(self, parent: Node | None, index: Any) -> Any:
        """One node and what is in it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        node: Any
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node not in self._sizes:
                raise _BoundError(event, f"*{event.anchor} stands inside of what it repeats")
            return node
        self._depth += 1
        self._written += 1
        if self._depth > _MOST_DEEP:
            raise _BoundError(event, f"more than {_MOST_DEEP} levels of nesting")
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[node] = 1 + sum(self._sizes[part] for part in _parts(node))
        if self._sizes[node] > self._written + _MOST_REPEATED:
            raise _BoundError(node, f"its aliases stand for more than {_MOST_REPEATED:,} values")
        if isinstance(node, MappingNode):
            _check_keys(node)
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """The value of a node."""
        with contextlib.suppress(ValueError, OverflowError):
            value = super().construct_object(node, deep)
            if type(value) is not int or abs(value) < _MOST_NUMBER:
                return value
        kind = _KINDS.get(str(node.tag).rpartition(":")[2], "value")
        raise _BoundError(node, f"{_shown(str(node.value))} is no {kind} that can be used; a text stands in quotes")


def _parts(node: Node | None) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _part(node: Node | None, step: str | int) -> tuple[Node, Node] | None:
    """The node that a step leads to, after the one that is shown for it."""
    if isinstance(node, MappingNode):
        named = [(key, value) for key, value in node.value if isinstance(key, ScalarNode) and key.value == str(step)]
        return named[-1] if named else None  # what was merged in comes first
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _check_keys(node: MappingNode) -> None:
    met = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            if (key.tag, key.value) in met:
                raise _BoundError(key, f"{_shown(key.value)} is there twice")
            met.add((key.tag, key.value))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _line(encoded: bytes, place: int, width: int = 1) -> int:
    return encoded[:place].count(b"\n".ljust(width, b"\0")) + 1
