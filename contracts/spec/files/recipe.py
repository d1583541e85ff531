"""``recipes/*.yaml``: repairs of records that were rejected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, model_validator

from contracts.errors import ConfigurationError
from contracts.spec.files.base import Description, FileModel, Name, OneOrMore, Read, WholeFile, Worded, wrong
from contracts.spec.files.source import FilterFile
from contracts.spec.files.versions import STEPS, StepFile, read_pattern
from contracts.spec.recipes import Recipe, RecipeExample
from contracts.spec.source import DropRule
from contracts.spec.yaml_files import Document

_LEFT_ALONE = "unchanged"
KEPT_KEYS = ("text", "steps", "when")  # what it does, which a lake keeps


class TextFile(FileModel):
    """Matches in the text of a record that cannot be read, and what comes in their place."""

    pattern: Annotated[str, Read(read_pattern, {"type": "string", "examples": [r",\s*}"]})] = Field(
        description="Regular expression."
    )
    with_: str = Field(alias="with", description="What comes in the place of each match, as it stands.")


class RecipeExampleFile(FileModel):
    """A record and what must come of it."""

    given: Any = Field(alias="in", description="A record as it was received; a text where it cannot be read.")
    out: Any = Field(description="What the recipe makes of it; `unchanged` where it must leave the record alone.")
    name: str = Field(default="", description="What it shows.")

    @model_validator(mode="after")
    def _records(self) -> RecipeExampleFile:
        if not isinstance(self.given, dict | str) or not (isinstance(self.out, dict) or self.out == _LEFT_ALONE):
            raise wrong("expected {in: a record, out: a record or unchanged}")
        return self


class RepairFile(FileModel):
    """What a recipe does."""

    text: list[TextFile] = Field(default=[], description="[Texts](#text) that are replaced before a record is read.")
    steps: list[Annotated[StepFile, Worded(STEPS)]] = Field(default=[], description="[Steps](#steps), one after the other.")
    when: list[FilterFile] = Field(default=[], description="Only records with one of these values at each of these places.")


class RecipeFile(WholeFile):
    """A repair of rejected records."""

    what: ClassVar[str] = "recipe"
    keys: ClassVar[str] = "recipe, steps and examples"
    lacking: ClassVar[dict[str, Any]] = {"examples": "missing; a recipe is tried on examples before it is tried on data"}

    recipe: Name = Field(description="Its name, which history and lake know it by.", examples=["decimal-comma"])
    description: Description = Field(default="", description="What was wrong, and why this is right.")
    dataset: str | None = Field(default=None, description="Only letters of this dataset.", examples=["customer_event"])
    sources: Annotated[list[str], OneOrMore()] = Field(default=[], description="Only records of these sources.")
    codes: Annotated[list[str], OneOrMore()] = Field(default=[], description="Only letters with these codes.")
    when: list[FilterFile] = Field(default=[], description="Only records with one of these values at each of these places.")
    text: list[TextFile] = Field(default=[], description="[Texts](#text) that are replaced before a record is read.")
    steps: list[Annotated[StepFile, Worded(STEPS)]] = Field(default=[], description="[Steps](#steps), one after the other.")
    examples: Annotated[list[RecipeExampleFile], Field(min_length=1)] = Field(
        description="Records and what must come of them, one at least."
    )

    @model_validator(mode="after")
    def _does_something(self) -> RecipeFile:
        if not self.steps and not self.text:
            raise wrong("expected steps, or text; this recipe does nothing")
        return self

    def compiled(self, written: Mapping[str, Any]) -> Recipe:
        """What the rest of the code reads. written: the file as it stands."""
        return Recipe(
            name=self.recipe,
            description=self.description,
            written=json.loads(json.dumps({key: written[key] for key in KEPT_KEYS if written.get(key)})),
            **_compiled(self),
            dataset=self.dataset,
            sources=tuple(self.sources),
            codes=tuple(self.codes),
            examples=tuple(
                RecipeExample(one.name or f"example {number}", one.given, None if one.out == _LEFT_ALONE else one.out)
                for number, one in enumerate(self.examples, 1)
            ),
        )


def load_recipe(path: Path) -> Recipe:
    """Read one recipe.

    Raises:
        ConfigurationError: lists every problem of the file.
    """
    return read_recipe(path)[0]


def read_recipe(path: Path) -> tuple[Recipe, Document]:
    """See ``load_recipe``; with its document."""
    file, document = RecipeFile.read(path)
    return file.compiled(document.value), document


def kept_recipe(name: str, written: Mapping[str, Any]) -> Recipe:
    """A recipe as a lake keeps it: what it does.

    Raises:
        ConfigurationError: a later version wrote it, with what this one does not know.
    """
    try:
        file = RepairFile.model_validate(written)
    except ValidationError:
        raise ConfigurationError(f"recipe {name}: the lake keeps steps of it that this version does not know; upgrade it") from None
    return Recipe(name=name, written=written, **_compiled(file))


def _compiled(file: RepairFile | RecipeFile) -> dict[str, Any]:
    return {
        "texts": tuple((text.pattern, text.with_) for text in file.text),
        "steps": tuple(step.step() for step in file.steps),
        "when": tuple(DropRule(rule.path, frozenset(rule.among)) for rule in file.when),
    }
