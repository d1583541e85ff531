"""``quality`` of a contract: rules about a partition of its rows. Reference: docs/reference/quality.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from contracts.spec.files.base import FileModel, Read, Worded, problems_of, read_day, wrong
from contracts.spec.files.compared import Compared, ComparedValues, Names, Plain, SeverityName, Unit, read_duration
from contracts.spec.files.quality_rules import RULES
from contracts.spec.model import Column
from contracts.spec.quality import DeclaredDays, QualityCalendar, QualityRule, QualitySpec, RuleKind, Severity
from contracts.spec.quality_checks import rule_problems
from contracts.spec.queries import undetermined
from contracts.spec.yaml_files import Place
from contracts.units import DAY_S, HOUR_S

ENGINE = "headrace"
PLACEHOLDERS = ("table", "object", "column", "property", "from", "to")  # of a query


_LONGEST_NAME = 200


def _shown_name(given: str) -> str:
    if len(given.splitlines()) != 1 or not given.strip():
        raise wrong(f"{given!r} cannot be shown in a line; a name is text without line ends")
    if len(given) > _LONGEST_NAME:
        raise wrong(f"a name of {len(given):,} characters; at most {_LONGEST_NAME}, since every report repeats it")
    return given


class _Item(FileModel):
    """What every item may have."""

    name: Annotated[str, AfterValidator(_shown_name)] | None = Field(
        default=None, description="Unique in the contract; else made from the column and what is measured."
    )
    severity: SeverityName = Field(default="warn", description="What becomes of a partition that breaks it.")
    description: str = Field(default="", description="For people.")
    # Of ODCS, without effect here.
    id: str | None = None
    dimension: str | None = None
    business_impact: str | None = Field(default=None, alias="businessImpact")
    method: str | None = None
    tags: list[str] | None = None
    schedule: str | None = None
    scheduler: str | None = None
    authoritative_definitions: list[Any] | None = Field(default=None, alias="authoritativeDefinitions")
    custom_properties: list[Any] | None = Field(default=None, alias="customProperties")


CARRIED = (
    "id", "dimension", "businessImpact", "method", "tags", "schedule", "scheduler", "authoritativeDefinitions", "customProperties",
)  # fmt: skip


class ArgumentsFile(FileModel):
    """Arguments of a library metric."""

    missing_values: list[Plain | None] | None = Field(
        default=None, alias="missingValues", description="Of `missingValues`: what counts as missing, `null` among them or not."
    )
    valid_values: list[Plain] | None = Field(default=None, alias="validValues", description="Of `invalidValues`: the valid ones.")
    pattern: str | None = Field(default=None, description="Of `invalidValues`: what a valid text matches.")
    properties: Names | None = Field(default=None, description="Of `duplicateValues` of the table: the columns of the key.")


class LibraryItem(Compared, _Item):
    """A rule by one of ODCS's metrics."""

    type: Literal["library"] = "library"
    metric: Annotated[
        Literal["rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues"],
        Worded("{value!r} is no metric; known: rowCount, nullValues, missingValues, invalidValues, duplicateValues"),
    ] = Field(description="What is measured.")
    arguments: ArgumentsFile = Field(default=ArgumentsFile(), description="Of the metric.")
    unit: Unit = Field(default="rows", description="`rows` (default) or `percent` of the rows.")

    def compiled(self, column: str | None) -> QualityRule:
        """What it means. column: that it stands at, None for the table."""
        kind, given = RuleKind(self.metric), self.arguments
        of_table = kind is RuleKind.ROW_COUNT or (kind is RuleKind.DUPLICATE_VALUES and given.properties is not None)
        if column is None and not of_table:
            more = ", or give it arguments: {properties: [...]}" if kind is RuleKind.DUPLICATE_VALUES else ""
            raise wrong(f"metric: {kind} is about a column; write it below the column{more}")
        if column is not None and of_table:
            raise wrong("metric: is about the table; write it below quality of the table, not of a column")
        if kind is RuleKind.ROW_COUNT and self.unit == "percent":
            raise wrong("unit: a count of rows is no percentage")
        allowed = {
            RuleKind.MISSING_VALUES: {"missing_values"}, RuleKind.INVALID_VALUES: {"valid_values", "pattern"},
            RuleKind.DUPLICATE_VALUES: {"properties"},
        }.get(kind, set())  # fmt: skip
        if odd := sorted(given.model_fields_set - allowed):
            raise wrong(f"arguments: {ArgumentsFile.model_fields[odd[0]].alias or odd[0]} is not of {kind}")
        if kind is RuleKind.INVALID_VALUES and given.valid_values is None and given.pattern is None:
            raise wrong("arguments: invalidValues needs validValues, pattern or both")
        values = given.valid_values if kind is RuleKind.INVALID_VALUES else given.missing_values
        if kind is RuleKind.MISSING_VALUES and values is None:
            raise wrong(
                "arguments: missingValues needs missingValues, such as [null, '', 'N/A']; for null alone there is nullValues"
            )
        columns = tuple(given.properties) if given.properties else (column,) if column else ()
        return QualityRule(
            name=self.name or "_".join([*columns, self.metric]), kind=kind, severity=Severity(self.severity), column=column,
            columns=columns, unit=self.unit, expected=self.expected(), values=tuple(values or ()), pattern=given.pattern,
            description=self.description,
        )  # fmt: skip


class SqlItem(ComparedValues, _Item):
    """A rule by a query."""

    type: Literal["sql"]
    query: Annotated[str, Field(min_length=1)] = Field(
        description="One SELECT that gives one value. `${table}` (or `${object}`) is the partition, `${column}` (or `${property}`) "
        "the column that it stands at, `${from}` and `${to}` the bounds of the partition; the same without `$`."
    )
    unit: str = Field(default="", description="Of the value, for people.")

    def compiled(self, column: str | None) -> QualityRule:
        """What it means. column: that it stands at, None for the table."""
        unknown = sorted({name for name in re.findall(r"\$\{(\w*)\}", self.query) if name not in PLACEHOLDERS})
        if unknown:
            raise wrong(f"query: ${{{unknown[0]}}} stands for nothing; known: {', '.join(f'${{{name}}}' for name in PLACEHOLDERS)}")
        if column is None and re.search(r"\{(column|property)\}", self.query):
            raise wrong("query: ${column} is of rules below a column; name the column, or write the rule below it")
        if other := undetermined(self.query):
            raise wrong(
                f"query: {other} does not follow from the rows of the partition, so that the same rows could get another verdict; "
                "of time there are ${from} and ${to}, the bounds of the partition"
            )
        return QualityRule(
            name=self.name or "_".join(filter(None, [column, "sql"])), kind=RuleKind.SQL, severity=Severity(self.severity),
            column=column, columns=(column,) if column else (), unit=self.unit, expected=self.expected(), query=self.query,
            description=self.description,
        )  # fmt: skip


class CustomItem(_Item):
    """A rule of the engine headrace."""

    type: Literal["custom"]
    engine: Literal["headrace"] = Field(description="Items of other engines are carried, and `contract lint` says so.")
    implementation: dict[str, Any] = Field(description="`rule` and its keys, below.")

    def compiled(self, column: str | None) -> QualityRule:
        """What it means. column: that it stands at, None for the table."""
        named = self.implementation.get("rule")
        model = RULES.get(named) if isinstance(named, str) else None
        if model is None:
            raise wrong(f"implementation.rule: {named!r} is no rule; known: {', '.join(RULES)}")
        try:
            parts = model.model_validate(self.implementation).parts(column)
        except ValidationError as error:
            raise _Several([f"implementation{_joined(told)}" for told in problems_of(error, self.implementation)]) from None
        except PydanticCustomError as error:
            raise _Several([f"implementation{_joined(error.message())}"]) from None
        return QualityRule(
            name=self.name or "_".join([*parts.get("columns", ()), str(model.kind)]), kind=model.kind,
            severity=Severity(self.severity), column=column, description=self.description, **parts,
        )  # fmt: skip


class _Several(ValueError):
    """Several sentences about one item."""

    def __init__(self, told: Sequence[str]) -> None:
        super().__init__("; ".join(told))
        self.told = tuple(told)


_ITEMS: dict[str, type[LibraryItem | SqlItem | CustomItem]] = {"library": LibraryItem, "sql": SqlItem, "custom": CustomItem}


def carried(item: Any) -> str | None:
    """Why an item is no rule of ours, in words; None where it is one, or should be."""
    if not isinstance(item, Mapping):
        return None
    if item.get("type") == "text":
        return "is a text for people, and judged by nobody"
    if item.get("type") == "custom" and item.get("engine") != ENGINE:
        return f"is for the engine {item.get('engine')!r}, and not judged here"
    return None


def read_items(given: Any, column: str | None, problems: list[str]) -> Iterator[tuple[str, QualityRule]]:
    """The rules of one ``quality``, each with its place in words.

    Args:
        given: what stands there.
        column: below which; None for the table.
        problems: gets a sentence for each thing that is wrong, beginning with its place.
    """
    prefix = f"column {column}: " if column else ""
    for number, item in enumerate(given or ()):
        if carried(item):
            continue
        where = f"{prefix}quality[{number}]"
        kind = item.get("type", "library")
        model = _ITEMS.get(kind) if isinstance(kind, str) else None
        if model is None:
            problems.append(f"{where}.type: {kind!r} is no type; known: library, sql, custom, text")
            continue
        if "rule" in item:
            problems.append(f"{where}.rule: is of ODCS before 3.1; write metric: {item['rule']}")
            continue
        try:
            yield where, model.model_validate({key: value for key, value in item.items() if value is not None}).compiled(column)
        except ValidationError as error:
            problems += [f"{where}{_joined(told)}" for told in problems_of(error, item)]
        except PydanticCustomError as error:
            problems.append(f"{where}{_joined(error.message())}")
        except _Several as error:
            problems += [f"{where}{_joined(told)}" for told in error.told]


_KEY = re.compile(r"[A-Za-z_][\w.\[\]]*: ")


def _joined(told: str) -> str:
    """Behind the place of an item: ``.unit: …``, or ``: …`` where the sentence is about the item as a whole."""
    return f".{told}" if _KEY.match(told) else f": {told}"


class DaysFile(FileModel):
    """Days that are not as others."""

    day: Annotated[date, Read(read_day, {"type": "string", "format": "date"})] | None = Field(default=None, description="One day.")
    from_: Annotated[date, Read(read_day, {"type": "string", "format": "date"})] | None = Field(
        default=None, alias="from", description="The first of several days."
    )
    to: Annotated[date, Read(read_day, {"type": "string", "format": "date"})] | None = Field(
        default=None, description="The last of several days."
    )
    treat_as: Annotated[
        Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "ignore"],
        Worded("{value!r} is no weekday such as sunday, nor ignore"),
    ] = Field(default="ignore", description="A weekday that they are like, or `ignore`: they are neither judged nor learnt from.")
    reason: str = Field(default="", description="Why, for people.")

    @model_validator(mode="after")
    def _one_span(self) -> DaysFile:
        given = self.model_fields_set & {"day", "from_", "to"}
        if given not in ({"day"}, {"from_", "to"}):
            raise wrong("expected day, or from and to")
        if self.from_ and self.to and self.to < self.from_:
            raise wrong("to: is before from")
        return self

    def compiled(self) -> DeclaredDays:
        """What it means."""
        first, last = self.day or self.from_, self.day or self.to
        assert first is not None and last is not None
        return DeclaredDays(first, last, self.treat_as, self.reason)


def _length(given: Any) -> int:
    seconds = read_duration(given)
    if seconds % 60 or DAY_S % seconds:
        raise wrong(f"{given!r} does not divide a day; expected such as 15m, 1h, 6h or 1d")
    return seconds


def _zone(given: Any) -> str:
    try:
        ZoneInfo(given)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise wrong(f"{given!r} is no time zone such as Europe/Berlin") from None
    return str(given)


class PartitionsProperty(FileModel):
    """How rows are cut for quality rules, and which days are not as others."""

    length: Annotated[int, Read(_length, {"type": "string", "examples": ["1h", "15m", "1d"]})] = Field(
        default=HOUR_S, description="Of a partition; a part of a day.", json_schema_extra={"shown": "`1h`"}
    )
    zone: Annotated[str, Read(_zone, {"type": "string", "examples": ["Europe/Berlin"]})] = Field(
        default="UTC", description="Whose hours and weekdays history is compared by.", json_schema_extra={"shown": "`UTC`"}
    )
    days: list[DaysFile] = Field(default=[], description="Holidays, backfills and other days.")

    def calendar(self) -> QualityCalendar:
        """Whose hours, and which days."""
        return QualityCalendar(self.zone, tuple(days.compiled() for days in self.days))


def quality_of(
    given: Mapping[str, Any], partitions: PartitionsProperty, columns: Mapping[str, Column], problems: list[str]
) -> QualitySpec:
    """All rules of a contract, those of the table first.

    Args:
        given: the file.
        partitions: how rows are cut.
        columns: of the contract, by name.
        problems: gets a sentence for each thing that is wrong.
    """
    table = given["schema"][0]
    found = [*read_items(table.get("quality"), None, problems)]
    for column in table["properties"]:
        found += read_items(column.get("quality"), str(column.get("name")), problems)
    met: set[str] = set()
    for where, rule in found:
        problems += [f"{where}: {told}" for told in rule_problems(rule, columns)]
        if rule.name in met:
            problems.append(f"{where}.name: two rules are called {rule.name}; give one of them a name of its own")
        met.add(rule.name)
    return QualitySpec(tuple(rule for _, rule in found), partitions.length, partitions.calendar())


_PLACE = re.compile(r"(?:column (\S+): )?quality\[(\d+)\]((?:\.\w+)*)")


def place_of_rule(given: Mapping[str, Any], told: str) -> Place | None:
    """Where a sentence about a rule is of; None where it is about something else."""
    match = _PLACE.match(told)
    if match is None:
        return None
    place: tuple[str | int, ...] = ("schema", 0)
    if match[1]:
        columns = given["schema"][0]["properties"]
        place += ("properties", max((n for n, each in enumerate(columns) if each.get("name") == match[1]), default=0))
    return (*place, "quality", int(match[2]), *match[3].split(".")[1:])
