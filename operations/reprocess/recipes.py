"""Recipes that may be applied: those whose examples come out as they say."""

from __future__ import annotations

from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from contracts.spec.recipes import Recipe
from operations.examples import run_recipe_examples


def tried_recipe(project: Project, name_or_path: str) -> Recipe:
    """A recipe of the project, by name or as a path.

    Raises:
        ConfigurationError: it is not there, is not as it should be, or one of its examples comes out otherwise.
    """
    recipe = project.recipe(name_or_path)
    wrong = [f"{result.name}: {problem}" for result in run_recipe_examples(recipe) for problem in result.problems]
    if wrong:
        raise ConfigurationError("\n".join((f"recipe {recipe.name}: its examples do not come out as they say", *wrong)))
    return recipe
