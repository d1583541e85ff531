"""100,000 mutated lines: the verdict of each against a reference that shares nothing with it but the exported schema."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contracts.compiler.schemas import json_schema
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from lake.raw.files import RawChunk
from tests.support.mutate import mutate_line
from tests.support.reference import UndecodableError, decode_strictly, validator
from tests.support.tiers import thinned
from tests.support.web_events import BASE_EVENTS
from transforms.decode.kernel import RecordDecoder

LINES = 25_000
RECEIVED_AT_US = 1_762_077_600_000_000
DECODING_CODES = {"malformed", "invalid_encoding", "too_deep", "too_large"}
WEBSHOP = Path(__file__).parents[3] / "examples" / "webshop"


@cache
def web() -> tuple[SourceSpec, Contract]:
    """The website's source and its contract."""
    return Project.load(WEBSHOP).source("web")


@cache
def schema_validator() -> Any:
    """Of the exported schema, compiled once."""
    spec, contract = web()
    return validator(json_schema(contract, spec))


def reference_verdict(line: bytes) -> tuple[str, str | None]:
    """(accepted | filtered | rejected, the code where it is the parser that rejects)."""
    spec, _ = web()
    try:
        record = decode_strictly(line, max_bytes=spec.record_bytes, max_depth=spec.max_depth)
    except UndecodableError as error:
        return "rejected", error.args[0]
    context = record.get("context")
    if isinstance(context, dict) and context.get("traffic") in ("bot", "synthetic"):
        return "filtered", None
    return ("accepted" if schema_validator().is_valid(record) else "rejected"), None


def verdicts(lines: list[bytes], folder: Path) -> dict[int, tuple[str, str | None]]:
    """What the real decoder makes of these lines in a file, by position."""
    spec, contract = web()
    path = folder / "mutants.jsonl"
    path.write_bytes(b"\n".join(lines))
    chunk = RawChunk("f" * 64, str(path), RECEIVED_AT_US, 0, len(lines), 0, path.stat().st_size)
    decoded = RecordDecoder(contract, spec, "run").decode(chunk)
    out: dict[int, tuple[str, str | None]] = {}
    places = [
        *((position, ("accepted", None)) for position in decoded.rows.column("_position").to_pylist()),
        *((letter["_position"], ("rejected", letter["code"])) for letter in decoded.dead_letters.to_pylist()),
        *((position, ("filtered", None)) for positions in decoded.filtered.values() for position in positions.tolist()),
    ]
    for position, verdict in places:
        assert position not in out, f"line {position} has two outcomes"
        out[position] = verdict
    return out


@pytest.mark.parametrize("seed", thinned(range(4), 2))
def test_every_mutated_line_gets_the_verdict_of_the_reference(seed: int, tmp_path: Path) -> None:
    rng = Random(f"fuzz:{seed}")
    lines = [BASE_EVENTS[0], *(mutate_line(rng.choice(BASE_EVENTS), rng) for _ in range(LINES - 1))]
    found = verdicts(lines, tmp_path)
    assert found.keys() == set(range(LINES)), "every line has exactly one outcome"
    disagreements = []
    tally: Counter[tuple[str, str | None]] = Counter()
    for position, line in enumerate(lines):
        verdict, code = found[position]
        expected, expected_code = reference_verdict(line)
        parser_code = expected_code or (code if code not in DECODING_CODES else "none of the parser's codes")
        if (verdict, code) != (expected, parser_code):
            disagreements.append((line[:2_000], (verdict, code), (expected, expected_code)))
        tally[verdict, code] += 1
    assert not disagreements, f"{len(disagreements)} disagreements (ours, reference), such as {disagreements[:3]}"
    common = {("accepted", None), ("filtered", None)} | {("rejected", c) for c in (*DECODING_CODES, "wrong_type", "bad_timestamp")}
    assert all(tally[key] for key in common), f"the mutants reach too little: {tally}"
