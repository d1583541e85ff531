"""How each dead-letter code is mended in place: by a recipe, by the source spec, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from contracts.codes import Code
from contracts.spec.project import Project
from contracts.spec.recipes import Recipe
from lake.ledger.ledger import LedgerEntry, source_ledger
from lake.location import Lake
from lake.raw.log_ids import LogId
from lake.raw.segment_files import RawMessage
from lake.raw.segments import PartitionLog
from lake.tables.publish import table_totals
from operations.deadletters.selection import LetterSelection, select
from operations.reprocess.options import ReprocessOptions, ReprocessReport
from operations.reprocess.recipes import tried_recipe
from operations.reprocess.run import reprocess
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import LandedRaw
from pipelines.replay.select import raw_pieces
from runners.direct import run_bounded
from tests.support.letters import DESK, EVENTS, MARK, SPECS, LetterCase, LetterShop
from transforms.cut import Cut

RECEIVED_MS = 1_793_613_720_000
_TIMES = {"originalTimestamp": "10:02:00.000", "sentAt": "10:02:00.200", "receivedAt": "10:02:00.400"}
_EVENT_2 = {"messageId": f"{MARK}-m-2", "event": f"{MARK} Paid", "userId": f"{MARK}-u-2"} | {
    name: f"2026-11-02T{time}Z" for name, time in _TIMES.items()
}


def _replace(path: str, value: Any) -> dict[str, Any]:
    return {"replace": {"path": path, "with": value}}


RECIPES: dict[Code, dict[str, Any]] = {
    Code.MALFORMED: {"text": [{"pattern": r'\{"note"$', "with": f'{{"note": "{MARK}"}}}}'}]},
    Code.INVALID_ENCODING: {"text": [{"pattern": "Gr\\udcf6\\udcdfe", "with": "Paid"}]},
    Code.OUT_OF_RANGE: {"text": [{"pattern": "1e999", "with": f'"{MARK}"'}]},
    Code.MISSING_REQUIRED: {"steps": [{"default": {"path": "type", "value": "track"}}]},
    Code.WRONG_TYPE: {"steps": [{"cast": {"path": "userId", "type": "text"}}, _replace("userId", f"{MARK}-u-2")]},
    Code.BAD_TIMESTAMP: {"steps": [_replace("originalTimestamp", _EVENT_2["originalTimestamp"])]},
    Code.NOT_IN_ENUM: {"steps": [{"map": {"path": "type", "values": {f"{MARK}view": "track"}}}]},
    Code.BAD_LENGTH: {"steps": [{"replace": {"path": "userId", "pattern": f"^({MARK})+$", "with": f"{MARK}-u-2"}}]},
    Code.UNKNOWN_SCHEMA_VERSION: {"steps": [{"remove": {"path": "schemaVersion"}}]},
    Code.UPCAST_FAILED: {
        "when": [{"path": "schemaVersion", "in": [1]}],
        "steps": [{"remove": {"path": "schemaVersion"}}, {"rename": {"path": "properties.s", "to": "properties.note"}}],
    },
    Code.CONFLICTING_DUPLICATE: {"steps": [_replace(path, value) for path, value in _EVENT_2.items()]},
    Code.BAD_PATTERN: {"steps": [_replace("phone", "+491700000000")]},
    Code.UNKNOWN_FIELD: {"steps": [{"remove": {"path": "nick"}}]},
    Code.CROSS_FIELD: {"steps": [_replace("refunded_amount", 9)]},
}
MENDED_SPECS: dict[Code, tuple[str, dict[str, Any]]] = {
    Code.TOO_LARGE: (EVENTS, {"record_bytes": 1 << 20}),
    Code.TOO_DEEP: (EVENTS, {"max_depth": 64}),
    Code.HEADER_MISMATCH: (DESK, {"columns": {**SPECS[DESK]["columns"], "updated_at": ["Changed", MARK]}}),
}
NOT_IN_PLACE = {
    Code.RAGGED_ROW: "which cell is whose, the exporter knows",
    Code.DAMAGED_INPUT: "what the file held is not there; the whole file is ingested, and the letter closed",
    Code.REFUSED: "a destination is asked again: tests/stack/pipelines/deliver/test_deliver.py",
}
LOG = "0123456789abcdef012345"


def write_recipe(folder: Path, name: str, **document: Any) -> None:
    """A recipe of a project; with an example that only says what it leaves alone, where none is given."""
    document = {"recipe": name, "examples": [{"in": "no record", "out": "unchanged"}], **document}
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(document))


def recipe_for(shop: LetterShop, case: LetterCase) -> Recipe:
    """The recipe that mends a code. Its example is the case's own record, where YAML can hold it."""
    name, text = str(case.code).replace("_", "-"), "text" in RECIPES[case.code]
    given = case.bad[-1].decode("utf-8", "replace") if text else json.loads(case.bad[-1])
    example = {"in": given, "out": json.loads(case.repaired[-1])}
    if case.code is Code.INVALID_ENCODING:
        example = {"in": "no record", "out": "unchanged"}
    write_recipe(shop.folder, name, codes=str(case.code), examples=[example], **RECIPES[case.code])
    return tried_recipe(shop.project, name)


def mend_spec(shop: LetterShop, code: Code) -> None:
    """The source spec as it should have been, on top of what was mended before."""
    source, change = MENDED_SPECS[code]
    path = shop.folder / "sources" / f"{source}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))


def run(project: Project, lake: Lake, **options: Any) -> ReprocessReport:
    """Reprocess in this process. codes, sources, ids, datasets and states go into the selection."""
    chosen = {name: tuple(options.pop(name)) for name in ("codes", "sources", "ids", "datasets", "states") if name in options}
    given = {"selection": LetterSelection(**chosen), "reason": "a test", **options}
    return reprocess(ReprocessOptions(**given), project, lake, lambda _: None)


def open_letters(lake: Lake) -> list[tuple[str, int]]:
    """Code and attempt of all letters that are open, late rows left out."""
    found = select(lake, LetterSelection(stages=("decode", "converge", "deliver")), ["code", "attempt"])
    return sorted((row["code"], row["attempt"]) for batch in found for row in batch.to_pylist())


def land_and_judge(shop: LetterShop, lake: Lake, source: str, payloads: list[bytes]) -> None:
    """Land messages in a log, as a stream does, and run the graph over it."""
    spec, contract = shop.project.source(source)
    messages = [RawMessage(n, RECEIVED_MS, 0, None, value, ()) for n, value in enumerate(payloads)]
    graph = IngestGraph(lake=lake, contract=contract, spec=spec, run_id=f"run-{source}", cut=Cut(by_density=True))
    graph.prepare()
    PartitionLog(lake, source, LogId("topic", LOG, 0), batched=False).land(0, len(messages), messages)
    run_bounded(lambda pipeline: graph.build(LandedRaw(list(raw_pieces(lake, spec)), lake, spec), pipeline))


def ledger(project: Project, lake: Lake, source: str) -> LedgerEntry:
    """Of a whole source."""
    spec, contract = project.source(source)
    return sum(source_ledger(lake, spec, contract.table).values(), LedgerEntry())


def totals(lake: Lake, dataset: str) -> tuple[int, str]:
    """Rows and content hash."""
    rows, digest = table_totals(lake.load(f"validated.{dataset}"))
    return rows, f"{digest:032x}"


def payloads_of(cases: list[LetterCase], *, repaired: bool) -> list[bytes]:
    """The records of cases, one after the other."""
    return [value for case in cases for value in (case.repaired if repaired else case.bad)]
