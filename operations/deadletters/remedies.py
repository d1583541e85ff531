"""What to do about a cause: whose turn it is, in a sentence, and the command to begin with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contracts.codes import Code
from contracts.spec.project import Project
from operations.deadletters.late import LATE


class Turn(StrEnum):
    """Who can mend it most likely."""

    CONTRACT = "mend the contract"
    SOURCE = "mend the source spec"
    RECIPE = "repair by a recipe"
    PRODUCER = "ask the producer"
    FILE = "fetch the file again"
    DESTINATION = "mend the destination"
    FOLD_IN = "fold the late rows in"


@dataclass(frozen=True)
class Remedy:
    """What to do. turn: whose it is. advice: a sentence. command: what to begin with."""

    turn: Turn
    advice: str
    command: str


_SHOW, _TEST, _TICKET = "headrace deadletter show {id}", "headrace contract test {source}", "headrace deadletter ticket {cause}"
_REPROCESS = "headrace deadletter reprocess {cause} --dry-run"
_BY_CODE: dict[str, tuple[Turn, str, str]] = {
    Code.MALFORMED: (Turn.PRODUCER, "The sender writes JSON by hand, or lines are cut: have it use a JSON library.", _TICKET),
    Code.INVALID_ENCODING: (
        Turn.SOURCE,
        "A CSV in another encoding: set csv.encoding. JSON must be UTF-8: ask the producer.",
        _TEST,
    ),
    Code.TOO_LARGE: (
        Turn.PRODUCER,
        "A file in a field, or a missing line end; raise record_bytes if such records are right.",
        _TICKET,
    ),
    Code.TOO_DEEP: (Turn.PRODUCER, "A serialised graph of objects: have it flattened, or raise max_depth.", _TICKET),
    Code.MISSING_REQUIRED: (Turn.SOURCE, "If a field was renamed, give the column a second path; else ask the producer.", _TEST),
    Code.WRONG_TYPE: (
        Turn.RECIPE,
        "Cast what is there now by a recipe; let the contract accept text, or ask the producer.",
        _REPROCESS,
    ),
    Code.OUT_OF_RANGE: (Turn.CONTRACT, "Check the unit; widen the contract if such values are right.", _TEST),
    Code.BAD_TIMESTAMP: (
        Turn.CONTRACT,
        "If the form is right, accept it: no_zone, with a timezone in the source spec, or epoch; a recipe repairs what is there.",
        _TEST,
    ),
    Code.NOT_IN_ENUM: (Turn.CONTRACT, "A new value that is right: add it to the contract, in a minor version.", _TEST),
    Code.BAD_PATTERN: (Turn.PRODUCER, "Have it mended at the form that takes it; replace what is there by a recipe.", _TICKET),
    Code.BAD_LENGTH: (Turn.SOURCE, "Text in a field for ids, most often: check which path the column is mapped to.", _TEST),
    Code.CROSS_FIELD: (Turn.PRODUCER, "Two fields contradict each other: look at both, then ask whoever writes them.", _TICKET),
    Code.UNKNOWN_FIELD: (Turn.SOURCE, "A new field: map it, or list it under ignore.", _TEST),
    Code.RAGGED_ROW: (Turn.PRODUCER, "An unquoted delimiter in a text: have the exporter quote.", _TICKET),
    Code.HEADER_MISMATCH: (
        Turn.SOURCE,
        "A column was renamed, or the delimiter changed: correct the spec, or ask for the old header.",
        _TEST,
    ),
    Code.DAMAGED_INPUT: (Turn.FILE, "The transfer broke off, or it is another kind of file: fetch it again and ingest it.", _SHOW),
    Code.UNKNOWN_SCHEMA_VERSION: (Turn.SOURCE, "A new release of the sender: extend accepted, and the mapping or upcasts.", _TEST),
    Code.UPCAST_FAILED: (Turn.SOURCE, "A record that is not as its version says: mend upcasts and raise revision.", _TEST),
    Code.CONFLICTING_DUPLICATE: (Turn.PRODUCER, "One id with two contents: ids are not unique, or a retry was changed.", _TICKET),
    Code.REFUSED: (Turn.DESTINATION, "Mend the mapping of the destination, then deliver the refused ones again.", _SHOW),
    LATE: (Turn.FOLD_IN, "They are right, and came late: fold them in; raise the allowed lateness if they are many.", _REPROCESS),
}


def remedy_of(example: Mapping[str, Any], project: Project) -> Remedy:
    """What to do about a letter's cause.

    Args:
        example: a letter: dead_letter_id, code, source, stage, dataset; violation, the first.
        project: a source that it does not know has no spec to test.
    """
    turn, advice, command = _BY_CODE[example["code"]]
    if command is _TEST and example["source"] not in project.source_names:
        command = _SHOW
    cause = f"--source {shlex.quote(example['source'])} " + ("--late" if example["code"] == LATE else f"--code {example['code']}")
    return Remedy(turn, advice, command.format(id=example["dead_letter_id"], source=shlex.quote(example["source"]), cause=cause))
