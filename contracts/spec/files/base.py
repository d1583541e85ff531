"""What the models of files share: words for what does not fit, and types that several files have.

Messages repeat a value only where their words say so (``{value!r}``): it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from contracts.errors import ConfigurationError
from contracts.spec.documents import Problem, ProblemsError
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text
from contracts.spec.yaml_files import Document, read_yaml
from contracts.units import DURATION_UNITS

_SHAPE = {"missing", "extra_forbidden"}
_WORDS = {
    "missing": "missing",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "string_type": "expected a text; a number that is one stands in quotes",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
}


class FileModel(BaseModel):
    """A mapping in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class WholeFile(FileModel):
    """A file. what: in messages; keys: what it has, in messages; lacking: sentences for keys that are missing."""

    what: ClassVar[str]
    keys: ClassVar[str]
    lacking: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        """A key without a value is not there; nor is one that is required and empty."""
        needed = {field.alias or name for name, field in cls.model_fields.items() if field.is_required()} - cls.lacking.keys()
        return {str(k): v for k, v in given.items() if v is not None and not (k in needed and v in ("", [], {}))}

    @classmethod
    def read(cls, path: Path) -> tuple[Self, Document]:
        """Read a file.

        Raises:
            ConfigurationError: it is not there, is no YAML, or is not as it should be; names every problem with its line.
        """
        document = read_yaml(path, cls.what)
        may_be_empty = not any(field.is_required() for field in cls.model_fields.values())
        given = {} if document.value is None and may_be_empty else document.value
        if not isinstance(given, dict):
            raise ConfigurationError(f"{cls.what} {path}: expected a mapping with {cls.keys}")
        try:
            return cls.model_validate(given), document
        except ValidationError as error:
            raise ProblemsError(cls.what, path, _problems(error, document, cls)) from None


def _problems(error: ValidationError, document: Document, model: type[WholeFile]) -> Iterable[Problem]:
    known = ", ".join(sorted(field.alias or name for name, field in model.model_fields.items()))
    for found in error.errors(include_url=False):
        place = found["loc"]
        if len(place) == 1 and found["type"] == "extra_forbidden":
            told = f"no key {place[0]!r}; known: {known}"
        elif len(place) == 1 and found["type"] == "missing":
            told = f"{place[0]}: {model.lacking.get(str(place[0]), 'missing')}"
        else:
            told = _told(found, document.there(place))
        yield Problem(document.line(place), told)


def problems_of(error: ValidationError, given: Any) -> Iterable[str]:
    """Sentences about a part of a file: what pydantic found, in our words."""
    for found in error.errors(include_url=False):
        place: list[str | int] = []
        node: Any = given
        for step in found["loc"]:  # as far as it is there
            if not isinstance(node, dict | list) or (step not in node if isinstance(node, dict) else not isinstance(step, int)):
                break
            place, node = [*place, step], node[step]  # type: ignore[index]
        yield _told(found, place)


def _told(found: Any, there: Iterable[str | int]) -> str:
    place, kind = found["loc"], found["type"]
    told = found["msg"] if kind == "told" else _WORDS.get(kind, found["msg"][0].lower() + found["msg"][1:])
    key = _shown(place if kind == "missing" else place[:-1] if kind == "extra_forbidden" else there)
    if kind == "extra_forbidden":
        told = f"no key {place[-1]!r}"
    return f"{key}: {told}" if key else told


def _shown(place: Iterable[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def wrong(told: str) -> PydanticCustomError:
    """What does not fit, in words."""
    return PydanticCustomError("told", cast(Any, told))


def wrong_at(title: str, found: Iterable[tuple[str, tuple[str | int, ...]]]) -> None:
    """Raise where several things do not fit, each at its place."""
    details = [InitErrorDetails(type=wrong(told), loc=place, input=None) for told, place in found]
    if details:
        raise ValidationError.from_exception_data(title, details, hide_input=True)


@dataclass(frozen=True)
class Worded:
    """Says in one sentence what is expected, where what is given has another shape. What is wrong inside of it is told by itself.

    told: may hold ``{value!r}``. whole: the sentence stands for what is wrong inside too.
    """

    told: str
    whole: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook."""

        def check(value: Any, go: Callable[[Any], Any]) -> Any:
            try:
                return go(value)
            except ValidationError as error:
                found = error.errors(include_url=False, include_input=False, include_context=False)
                shape = any(e["type"] != "told" and (not e["loc"] or (len(e["loc"]) == 1 and e["type"] in _SHAPE)) for e in found)
                if self.whole or shape:
                    raise wrong(self.told.replace("{value!r}", repr(value))) from None
                raise

        return core_schema.no_info_wrap_validator_function(check, handler(source))


class OneOrMore:
    """A list, or the one that stands in place of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook."""
        return core_schema.no_info_before_validator_function(lambda v: v if isinstance(v, list) else [v], handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Pydantic's hook."""
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


@dataclass(frozen=True, eq=False)
class Read:
    """A value that a function reads; it raises ``wrong``. schema: what editors are told."""

    function: Callable[[Any], Any]
    schema: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook."""
        return core_schema.no_info_plain_validator_function(self.function)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Pydantic's hook."""
        return dict(self.schema)


def read_path(text: Any) -> PayloadPath:
    """A path in a payload."""
    if isinstance(text, bool):
        raise wrong("expected a path such as context.page.url; YAML reads yes, no, on and off as true and false: put it in quotes")
    try:
        return PayloadPath.parse(text)
    except (ValueError, AttributeError, TypeError) as error:
        raise wrong(str(error) if isinstance(error, ValueError) else "expected a path such as context.page.url") from None


def _plain(value: Any) -> str:
    if (text := plain_text(value)) is None:
        raise wrong("expected a text, a whole number, true or false; other values stand in quotes")
    return text


def read_day(given: Any) -> date:
    """YAML reads a date as one; a text is a date too."""
    try:
        return given if type(given) is date else date.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        raise wrong(f"{given!r} is not a day such as 2027-01-31") from None


def duration_s(value: Any, units: str = "dhms") -> int | None:
    """Seconds of ``30d``; None where it is no duration."""
    match = re.fullmatch(rf"([1-9][0-9]{{0,5}})([{units}])", str(value))
    return int(match[1]) * DURATION_UNITS[match[2]] if match else None


PLAIN_SCHEMA: dict[str, Any] = {"type": ["string", "integer", "number", "boolean"]}
Path_ = Annotated[PayloadPath, Read(read_path, {"type": "string", "examples": ["context.page.url"]})]
Plain = Annotated[str, Read(_plain, PLAIN_SCHEMA)]
Plains = Annotated[list[Plain], OneOrMore()]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$"), Worded("{value!r} is not lower case letters, digits, _ and -")]
Major = Annotated[int, Field(ge=1), Worded("{value!r} is not a major version such as 1")]
Positive = Annotated[int, Field(ge=1), Worded("{value!r} is not a positive number")]
Boolean = Annotated[bool, Worded("{value!r} is not true or false")]
Description = Annotated[Any, Read(str, {"type": "string"})]
