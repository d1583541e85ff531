"""Recipes: how records that were rejected are repaired. Users write them as YAML; the steps are those of upcasts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from contracts.spec.source import DropRule
from contracts.spec.versions import Step


@dataclass(frozen=True)
class RecipeExample:
    """A record, or the text of one that cannot be read, and what comes of it.

    out: None where the recipe leaves such a record alone.
    """

    name: str
    given: Mapping[str, Any] | str
    out: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A repair of records.

    name: of its file. written: texts, steps and conditions as the file has them; a lake keeps it. texts: pattern and what comes in
    the place of its matches, in the text of a record that cannot be read, so before steps; of JSON without ``records:`` only.
    steps: done with a record as it was received, so before upcasts. dataset, sources, codes: whose letters it may repair; None and
    none for all. when: only records with one of these values at each of these paths.
    """

    name: str
    written: Mapping[str, Any]
    steps: tuple[Step, ...]
    texts: tuple[tuple[str, str], ...] = ()
    dataset: str | None = None
    sources: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    when: tuple[DropRule, ...] = ()
    examples: tuple[RecipeExample, ...] = ()
    description: str = ""

    def is_about(self, code: str) -> bool:
        """Whether it may repair letters with this code."""
        return not self.codes or code in self.codes

    @cached_property
    def digest(self) -> str:
        """What tells two recipes apart: what their steps do."""
        return hashlib.sha256(
            json.dumps(self.written, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        ).hexdigest()
