"""``schema_version`` and ``examples`` of a source spec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from contracts.spec.files.base import FileModel, OneOrMore, Path_, Plain, Plains, Read, Worded, read_path, wrong, wrong_at
from contracts.spec.paths import PayloadPath
from contracts.spec.text import plain_text
from contracts.spec.versions import Example, SchemaVersionRule, Step, Upcast, is_pattern, matches, steps_from

_MOST_DIGITS = 40


def _of_record(text: Any) -> PayloadPath:
    path = read_path(text)
    if path.envelope:
        raise wrong(f"{text}: a step changes the record, not what is around it")
    return path


Place = Annotated[PayloadPath, Read(_of_record, {"type": "string", "examples": ["context.page.url"]})]
_Places = Annotated[list[Place], Field(min_length=2), Worded("expected two paths or more")]


def _decimal(value: Any) -> str:
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or max(len(number.as_tuple().digits), abs(number.adjusted())) > _MOST_DIGITS:
        raise wrong(f'{value!r} is not a decimal number such as "0.01"')
    return f"{number:f}"


def _factor(value: Any) -> str:
    if Decimal(text := _decimal(value)) == 0:
        raise wrong("0 loses every value")
    return text


def read_pattern(value: Any) -> str:
    """A regular expression."""
    try:
        re.compile(value)
    except (re.error, TypeError):
        raise wrong(f"{value!r} is no regular expression") from None
    return str(value)


def _json_value(value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float | bool | list | dict):
        raise wrong(f"{value!r} is no value of JSON; a date stands in quotes")
    return value


_Decimal = Annotated[str, Read(_decimal, {"type": ["string", "number"], "examples": ["0.01"]})]
_Value = Annotated[Any, Read(_json_value, {})]


class _Rename(FileModel):
    path: Place = Field(description="Where the value stands.")
    to: Place = Field(description="Where it goes.")

    def step(self) -> Step:
        return Step(kind="rename", paths=(self.path,), into=(self.to,))


class _Default(FileModel):
    path: Place = Field(description="Where a value may be missing.")
    value: _Value = Field(description="What stands there then.")

    def step(self) -> Step:
        return Step(kind="default", paths=(self.path,), value=self.value)


class _Split(FileModel):
    path: Place = Field(description="Where the text stands.")
    at: str = Field(min_length=1, description="What it is split at.")
    into: _Places = Field(description="Where the parts go; the last has the rest.")

    def step(self) -> Step:
        return Step(kind="split", paths=(self.path,), into=tuple(self.into), separator=self.at)


class _Join(FileModel):
    paths: _Places = Field(description="Where the parts stand.")
    with_: str = Field(alias="with", description="What stands between them.")
    into: Place = Field(description="Where the text goes.")

    def step(self) -> Step:
        return Step(kind="join", paths=tuple(self.paths), into=(self.into,), separator=self.with_)


class _Unit(FileModel):
    path: Place = Field(description="Where the number stands.")
    to: Place | None = Field(default=None, description="Where it goes; where it stood.")
    factor: Annotated[str, Read(_factor, {"type": ["string", "number"], "examples": ["0.01"]})] = Field(
        default="1", description="It is multiplied by this, in decimal digits."
    )
    offset: _Decimal = Field(default="0", description="Then this is added.")

    def step(self) -> Step:
        return Step(kind="unit", paths=(self.path,), into=_into(self.to), factor=self.factor, offset=self.offset)


class _Widen(FileModel):
    path: Place = Field(description="Where the value stands.")
    type: Literal["number", "text"] = Field(description="What it becomes.")

    def step(self) -> Step:
        return Step(kind="widen", paths=(self.path,), type=self.type)


class _Cast(FileModel):
    path: Place = Field(description="Where the value stands.")
    type: Literal["integer", "number", "text", "boolean"] = Field(description="What it becomes; a value that is none is an error.")

    def step(self) -> Step:
        return Step(kind="cast", paths=(self.path,), type=self.type)


class _Replace(FileModel):
    path: Place = Field(description="Where the value stands; nothing happens where there is none.")
    pattern: Annotated[str, Read(read_pattern, {"type": "string", "examples": ["[^0-9]"]})] | None = Field(
        default=None, description="Regular expression: its matches in the text are replaced. Without it the whole value is."
    )
    with_: _Value = Field(alias="with", description="What comes in their place; with `pattern` a text, taken as it stands.")

    @model_validator(mode="after")
    def _text_for_text(self) -> _Replace:
        if self.pattern is not None and not isinstance(self.with_, str):
            raise wrong("with: matches of a pattern are replaced by a text")
        return self

    def step(self) -> Step:
        return Step(kind="replace", paths=(self.path,), value=self.with_, pattern=self.pattern)


class _Map(FileModel):
    path: Place = Field(description="Where the value stands.")
    to: Place | None = Field(default=None, description="Where it goes; where it stood.")
    values: dict[str | int | bool, _Value] = Field(min_length=1, description="Old value to new value.")
    otherwise: Literal["keep", "reject"] = Field(default="reject", description="What becomes of another value.")

    def step(self) -> Step:
        values = tuple((plain_text(old) or "", new) for old, new in self.values.items())
        return Step(kind="map", paths=(self.path,), into=_into(self.to), values=values, otherwise=self.otherwise)


class _Remove(FileModel):
    path: Place = Field(description="What goes away.")

    def step(self) -> Step:
        return Step(kind="remove", paths=(self.path,))


def _into(path: Any) -> tuple[Any, ...]:
    return () if path is None else (path,)


STEPS = (
    "expected one of rename, default, split, join, unit, widen, cast, replace, map, remove, such as {rename: {path: a, to: b.c}}"
)


class StepFile(FileModel):
    """One step: a mapping with one of these keys."""

    rename: _Rename | None = Field(default=None, description="A value goes to another place.")
    default: _Default | None = Field(default=None, description="A value where there is none.")
    split: _Split | None = Field(default=None, description="A text becomes several.")
    join: _Join | None = Field(default=None, description="Several texts become one.")
    unit: _Unit | None = Field(default=None, description="A number in another unit: `factor` × value + `offset`.")
    widen: _Widen | None = Field(default=None, description="A value becomes a number or a text.")
    cast: _Cast | None = Field(default=None, description="A value becomes another type, if it is one.")
    replace: _Replace | None = Field(default=None, description="A value, or what matches in a text, gives way to another.")
    map: _Map | None = Field(default=None, description="Each old value has a new one.")
    remove: _Remove | None = Field(default=None, description="A field goes away.")

    @model_validator(mode="after")
    def _one(self) -> StepFile:
        if len(self.model_fields_set) != 1:
            raise wrong(STEPS)
        return self

    def step(self) -> Step:
        """What it means."""
        (name,) = self.model_fields_set
        step: Step = getattr(self, name).step()
        return step


class UpcastFile(FileModel):
    """How records of one version become records of the next."""

    from_: Plain = Field(alias="from", description="Version that is read; may be a pattern such as `1.*`.")
    to: Plain = Field(description="Version that it becomes.")
    steps: list[Annotated[StepFile, Worded(STEPS)]] = Field(description="What is done, one after the other.")

    def compiled(self) -> Upcast:
        """What it means."""
        return Upcast(self.from_, self.to, tuple(step.step() for step in self.steps))


_SHOWN = "expected {path: …, accepted: [1, 2], default: 1}"


class SchemaVersionFile(FileModel):
    """Version of the payload's own schema."""

    path: Path_ | None = Field(default=None, description="Where in the payload.")
    header: str | None = Field(
        default=None, min_length=1, description="Name of a header of the message; of several with that name the last."
    )
    registry: Literal[True] | None = Field(
        default=None, description="`true`: the version that the registry gave the schema of the message."
    )
    constant: Plain | None = Field(default=None, description="The version of all records of this source.")
    accepted: Plains = Field(
        description='Known versions; `2`, `2.0` and `"2"` are the same. Patterns `1.*` and `1-*` stand for every version of a '
        "major."
    )
    default: Plain | None = Field(
        default=None, description="The version of a record that has none; without it such a record is rejected."
    )
    upcasts: list[UpcastFile] = Field(default=[], description="[How older versions become the newest](#upcasts).")

    @model_validator(mode="after")
    def _one_place(self) -> SchemaVersionFile:
        if sum(value is not None for value in (self.path, self.header, self.registry, self.constant)) != 1:
            raise wrong("expected one of path, header, registry and constant: " + _SHOWN)
        froms = [upcast.from_ for upcast in self.upcasts]
        if twice := sorted({version for version in froms if froms.count(version) > 1}):
            raise wrong(f"upcasts: two begin at version {twice[0]}; which one would hold?")
        wrong_at("schema_version", self._loose_ends())
        return self

    def _loose_ends(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        rule = self.compiled()
        for number, upcast in enumerate(rule.upcasts):
            if not any(upcast.from_version == text or matches(upcast.from_version, text) for text in rule.accepted):
                yield f"version {upcast.from_version} is not among accepted, so no record comes here", ("upcasts", number, "from")
            if is_pattern(upcast.to_version):
                yield f"{upcast.to_version} stands for several versions; name one", ("upcasts", number, "to")
            elif not any(matches(upcast.to_version, text) for text in rule.accepted):
                yield f"version {upcast.to_version} is not among accepted", ("upcasts", number, "to")
            elif upcast in steps_from(upcast.to_version, rule.upcasts):
                yield f"leads from {upcast.from_version} back to itself", ("upcasts", number)

    def compiled(self) -> SchemaVersionRule:
        """What it means."""
        return SchemaVersionRule(
            accepted=frozenset(self.accepted), path=self.path, header=self.header, registry=bool(self.registry),
            constant=self.constant, default=self.default, upcasts=tuple(upcast.compiled() for upcast in self.upcasts),
        )  # fmt: skip


class ExampleFile(FileModel):
    """A payload and what must come of it."""

    payload: Any = Field(description="A record; with `records` a batch of one.")
    name: str = Field(default="", description="What it shows.")
    version: Plain | None = Field(default=None, description="What a header or the registry would say.")
    row: dict[str, Any] | None = Field(default=None, description="Columns of its row, those that matter.")
    rejected: Annotated[list[str], OneOrMore(), Field(min_length=1)] | None = Field(
        default=None, description="Rules or codes that it breaks, all of them."
    )
    filtered: Literal[True] | None = Field(default=None, description="`true`: a filter takes it out.")

    @model_validator(mode="after")
    def _one_outcome(self) -> ExampleFile:
        if sum(value is not None for value in (self.row, self.rejected, self.filtered)) != 1:
            raise wrong("expected one of row: {column: value}, rejected: [rules] and filtered: true")
        return self

    def compiled(self) -> Example:
        """What it means."""
        row = None if self.row is None else tuple(self.row.items())
        rejected = None if self.rejected is None else tuple(self.rejected)
        return Example(payload=self.payload, name=self.name, version=self.version, row=row, rejected=rejected,
                       filtered=bool(self.filtered))  # fmt: skip


SchemaVersion = Annotated[SchemaVersionFile, Worded(_SHOWN)]
