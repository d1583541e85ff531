"""Recipes as users write them, and their examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigurationError
from contracts.spec.files.recipe import kept_recipe, load_recipe
from operations.examples import run_recipe_examples

RECIPE: dict[str, Any] = {
    "recipe": "price",
    "codes": "wrong_type",
    "when": [{"path": "type", "in": "page"}],
    "text": [{"pattern": r",\s*}", "with": "}"}],
    "steps": [{"replace": {"path": "p.price", "pattern": ",", "with": "."}}, {"cast": {"path": "p.price", "type": "number"}}],
    "examples": [
        {"in": {"type": "page", "p": {"price": "1,5"}}, "out": {"type": "page", "p": {"price": 1.5}}},
        {"in": {"type": "track", "p": {"price": "1,5"}}, "out": "unchanged"},
        {"in": '{"type": "page", "p": {"price": "2,5"}, }', "out": {"type": "page", "p": {"price": 2.5}}},
    ],
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "price.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (RECIPE | changes).items() if v is not ...}))
    return path


def problems(path: Path) -> list[str]:
    return [f"{result.name}: {problem}" for result in run_recipe_examples(load_recipe(path)) for problem in result.problems]


def test_examples_come_out_as_they_say(tmp_path: Path) -> None:
    assert problems(written(tmp_path)) == []


@pytest.mark.parametrize(
    ("example", "told"),
    [
        ({"in": {"type": "page", "p": {"price": "1,5"}}, "out": {"type": "page", "p": {"price": "1.5"}}}, "another value of p"),
        ({"in": {"type": "page", "p": {"price": "a"}}, "out": {"type": "page"}}, "leaves it alone or cannot take a step"),
        ({"in": {"type": "page"}, "out": "unchanged"}, "expected that the recipe leaves it alone"),
    ],
)
def test_an_example_that_comes_out_otherwise_is_told(example: dict[str, Any], told: str, tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, examples=[{**example, "name": "this one"}]))
    assert problem.startswith("this one: ") and told in problem


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"examples": ...}, "examples: missing; a recipe is tried on examples before it is tried on data"),
        ({"steps": ..., "text": ...}, "this recipe does nothing"),
        ({"steps": [{"replace": {"path": "a", "pattern": "(", "with": ""}}]}, "is no regular expression"),
        ({"steps": [{"replace": {"path": "a", "pattern": "b", "with": 1}}]}, "replaced by a text"),
        ({"steps": [{"move": {"path": "a"}}]}, "expected one of rename"),
        ({"examples": [{"in": [], "out": {}}]}, "expected {in: a record, out: a record or unchanged}"),
        ({"recipe": "No Name"}, "is not lower case letters"),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_recipe(written(tmp_path, **changes))
    assert told in str(caught.value)


def test_a_lake_keeps_what_it_does_and_tells_recipes_apart_by_that(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path))
    kept = kept_recipe("price", recipe.written)
    assert (kept.steps, kept.texts, kept.when, kept.digest) == (recipe.steps, recipe.texts, recipe.when, recipe.digest)
    assert load_recipe(written(tmp_path, recipe="other", description="x")).digest == recipe.digest
    assert load_recipe(written(tmp_path, when=[])).digest != recipe.digest
    numbers = [{"map": {"path": "a", "values": {1: "x", "b": "z"}}}]
    assert load_recipe(written(tmp_path, steps=numbers)).digest, "keys of several types"
    with pytest.raises(ConfigurationError, match="upgrade it"):
        kept_recipe("later", {"steps": [{"conjure": {"path": "a"}}]})
