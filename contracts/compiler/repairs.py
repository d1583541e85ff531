"""Recipes applied to records, and held against their examples. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from contracts.compiler.versions import BrokenStepError, Record, StepChain
from contracts.spec.recipes import Recipe
from contracts.spec.text import plain_text


class Repairer:
    """Applies one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._chain = StepChain((f"recipe {recipe.name}, step {n}, {step.kind}", step) for n, step in enumerate(recipe.steps, 1))
        self._texts = [(re.compile(pattern), put) for pattern, put in recipe.texts]

    def repaired(self, record: Any, text: bytes | None, read: Callable[[bytes], Any] | None = None) -> Record | None:
        """A record as the recipe makes it; None where it has nothing to do with it, or cannot take a step.

        Args:
            record: as it was received; no dict where it could not be read.
            text: the bytes of one that could not.
            read: gives the record that bytes hold; no dict where they hold none.
        """
        if not isinstance(record, dict):
            record = read(self._mended(text)) if self._texts and read and text is not None else None
            if not isinstance(record, dict):
                return None
        if not self.is_meant(record):
            return None
        try:
            return self._chain.applied(record)
        except BrokenStepError:
            return None

    def is_meant(self, record: Mapping[str, Any]) -> bool:
        """Whether the conditions of the recipe hold of a record."""
        return all(_text_at(record, rule.path.steps) in rule.among for rule in self.recipe.when)

    def _mended(self, raw: bytes) -> bytes:
        text = raw.decode("utf-8", "surrogateescape")
        for pattern, put in self._texts:
            text = pattern.sub(lambda _, put=put: put, text)  # type: ignore[misc]
        return text.encode("utf-8", "surrogateescape")


def failing_examples(recipe: Recipe, read: Callable[[bytes], Any]) -> dict[str, str]:
    """Examples of which something else comes than they say, by name: what, in words. read: see ``Repairer.repaired``."""
    repairer = Repairer(recipe)
    found = {}
    for example in recipe.examples:
        record = None if isinstance(example.given, str) else example.given
        out = repairer.repaired(record, str(example.given).encode("utf-8", "surrogateescape"), read)
        if out is None and example.out is not None:
            found[example.name] = "expected a repaired record, and the recipe leaves it alone or cannot take a step"
        elif out is not None and example.out is None:
            found[example.name] = "expected that the recipe leaves it alone"
        elif out is not None and example.out is not None and not _same(out, example.out):
            found[example.name] = f"expected {_other(example.out, out)}"
    return found


def _same(a: Any, b: Any) -> bool:
    """Equal, and of the same types: 1 is not true, nor "1"."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _other(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Where the two differ, by keys; an example is no data of anybody, but a key is enough."""
    keys = sorted(key for key in {*expected, *found} if not _same(expected.get(key), found.get(key)))
    return f"another value of {', '.join(keys)}"


def _text_at(record: Any, steps: tuple[str, ...]) -> str | None:
    for step in steps:
        record = record.get(step) if isinstance(record, dict) else None
    return plain_text(record)
