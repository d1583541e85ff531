"""Examples of source specs and recipes: read as a job reads them, and held against what must come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from contracts.codes import RULE_CODES
from contracts.compiler.exact import decode_json
from contracts.compiler.repairs import failing_examples
from contracts.compiler.rows import canonical_values
from contracts.compiler.values import TextForm, convert
from contracts.spec.model import Column, ColumnType, Contract
from contracts.spec.recipes import Recipe
from contracts.spec.source import SourceSpec
from contracts.spec.versions import Example, matches, steps_from
from contracts.units import us_text
from lake.formats import ParsedRecords
from lake.formats.jsonl import parse_messages
from lake.raw.batch import RawBlock
from transforms.decode.kernel import DecodedRecords, RecordDecoder

RECEIVED_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z: when an example was received that does not say it itself
_AS_EXPECTED = TextForm(text=True, epoch={None: "ms"})


@dataclass(frozen=True)
class ExampleResult:
    """What became of one example. problems: where it is not as expected, a sentence each; none where it is."""

    source: str  # or the recipe
    name: str
    outcome: str
    problems: tuple[str, ...]


def run_examples(spec: SourceSpec, contract: Contract) -> Iterator[ExampleResult]:
    """Read each example of a source."""
    decoder = RecordDecoder(contract, spec, "example")
    for number, example in enumerate(spec.examples, 1):
        outcome, problems = _judged(example, decoder.decode_block(_block(example, spec)), contract)
        yield ExampleResult(spec.name, example.name or f"example {number}", outcome, tuple(problems))


def run_recipe_examples(recipe: Recipe) -> Iterator[ExampleResult]:
    """Repair each example of a recipe."""
    failing = failing_examples(recipe, _read)
    for example in recipe.examples:
        problems = (failing[example.name],) if example.name in failing else ()
        yield ExampleResult(f"recipe {recipe.name}", example.name, "repaired" if example.out else "left alone", problems)


def _read(text: bytes) -> Any:
    try:
        return decode_json(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def without_examples(spec: SourceSpec) -> list[str]:
    """Accepted versions that are read through upcasts, and of which no example shows how."""
    rule = spec.schema_version
    if rule is None:
        return []
    shown = {version for example in spec.examples if (version := _version_of(example, spec))}
    older = sorted(text for text in rule.accepted if steps_from(text, rule.upcasts))
    return [text for text in older if not any(matches(version, text) for version in shown)]


def _version_of(example: Example, spec: SourceSpec) -> str | None:
    rule = spec.schema_version
    if rule is None or example.version is not None or rule.path is None:
        return example.version or (rule.constant if rule else None)
    value = example.payload
    for step in rule.path.steps:
        value = value.get(step) if isinstance(value, dict) else None
    return rule.default if value is None else str(value)


def _block(example: Example, spec: SourceSpec) -> RawBlock:
    if spec.format in ("jsonl", "json_array"):
        parsed = parse_messages(spec, [msgspec.json.encode(example.payload)])
    else:
        payload = {k: v if v is None else str(v) for k, v in example.payload.items()} if spec.text else example.payload
        parsed = ParsedRecords([payload], lambda _: b"")
    parsed.versions = [example.version] * len(parsed.records)
    count = len(parsed.records)
    return RawBlock(parsed, np.arange(count), ["example"] * count, [RECEIVED_US] * count)


def _judged(example: Example, decoded: DecodedRecords, contract: Contract) -> tuple[str, list[str]]:
    if decoded.records != 1:
        return "", [f"holds {decoded.records} records; an example is one"]
    if decoded.filtered:
        outcome, rules = "filtered", list[str]()
    elif len(decoded.dead_letters):
        violations = decoded.dead_letters.column("violations").to_pylist()[0]
        outcome, rules = "rejected", [v["rule"] for v in violations]
        told = "; ".join(f"{v['path']}: {v['rule']}, expected {v['expected']}" for v in violations)
    else:
        outcome, rules = "row", []
    expected = "filtered" if example.filtered else "rejected" if example.rejected is not None else "row"
    if outcome != expected:
        return outcome, [f"expected {expected}, got {outcome}" + (f" ({told})" if outcome == "rejected" else "")]
    if outcome == "rejected":
        return outcome, _other_rules(example.rejected or (), rules)
    return outcome, [] if outcome == "filtered" else list(_other_values(dict(example.row or ()), decoded, contract))


def _other_rules(expected: Sequence[str], rules: Sequence[str]) -> list[str]:
    """Expected are rules or codes; each is broken, and no other."""
    missing = [text for text in expected if not any(text in (rule, RULE_CODES[rule]) for rule in rules)]
    more = [rule for rule in rules if not {rule, RULE_CODES[rule]} & set(expected)]
    problems = [f"expected to break {', '.join(missing)}"] if missing else []
    return problems + ([f"breaks {', '.join(dict.fromkeys(more))} too"] if more else [])


def _other_values(expected: dict[str, Any], decoded: DecodedRecords, contract: Contract) -> Iterator[str]:
    for name, value in expected.items():
        column = contract.by_name.get(name)
        if column is None:
            yield f"{contract.name} has no column {name}"
            continue
        wanted, broken = convert(_anything(column), msgspec.to_builtins(value), _AS_EXPECTED)
        found = canonical_values(decoded.rows.column(name))[0]
        if broken:
            yield f"{name}: the expected value is no {column.type}"
        elif wanted != found:
            yield f"{name}: expected {_shown(column, wanted)}, got {_shown(column, found)}"


def _anything(column: Column) -> Column:
    """The column without its rules: an expected value may be one that no payload may bring."""
    return replace(Column(name=column.name, type=column.type), precision=column.precision, scale=column.scale,
                   json_container=column.json_container, accept=frozenset({"text", "epoch"}))  # fmt: skip


def _shown(column: Column, value: Any) -> str:
    if column.type is ColumnType.TIMESTAMP and isinstance(value, int):
        return us_text(value)
    return "no value" if value is None else str(value)
