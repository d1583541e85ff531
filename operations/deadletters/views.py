"""Dead letters for people: find them, explain one, count them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, NotEqualTo, StartsWith

from contracts.compiler.judge import payload_paths
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.acts import note_act
from lake.location import Lake
from lake.privacy import hidden_ids
from lake.raw.log_ids import LogId, is_log, offset_of, position_of
from lake.raw.records import read_record
from lake.receipts.receipts import LANE_PREFIX
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, DEAD_LETTERS, WITHDRAWN

VISIBLE = tuple(name for name in DEAD_LETTER_SCHEMA.names if name != "raw" and not name.startswith("_"))
COUNTED_BY = ("code", "source", "path")
_HIDDEN = "(hidden; show it with --reveal)"  # ids are made by clients, some of mail addresses


def find_letters(
    lake: Lake,
    project: Project,
    source: str | None = None,
    code: str | None = None,
    *,
    id_prefix: str = "",
    limit: int | None = None,
    reveal: bool = False,
) -> list[dict[str, Any]]:
    """Dead letters by source and position.

    Args:
        lake: where.
        project: whose sources say which keys of a path are their own; keys of the payload are hidden like its values.
        source: only of this source.
        code: only with this code.
        id_prefix: only those whose id begins so.
        limit: how many at most.
        reveal: with raw bytes, where they are kept, event ids and keys of the payload.
    """
    terms: list[BooleanExpression] = [NotEqualTo("code", WITHDRAWN)]
    terms += [EqualTo("source", source)] if source else []
    terms += [EqualTo("code", code)] if code else []
    terms += [StartsWith("dead_letter_id", id_prefix)] if id_prefix else []
    try:
        table = lake.catalog().load_table(DEAD_LETTERS)
    except NoSuchTableError:
        return []
    wanted = (*VISIBLE, "_raw_file", "_position", *(("raw",) if reveal else ()))
    condition = And(*terms) if len(terms) > 1 else terms[0]
    rows = table.scan(row_filter=condition, selected_fields=wanted).to_arrow()
    rows = rows.sort_by([("source", "ascending"), ("_raw_file", "ascending"), ("_position", "ascending")])
    letters: list[dict[str, Any]] = rows.slice(0, limit).drop_columns(["_raw_file", "_position"]).to_pylist()
    return letters if reveal else _hidden(lake, project, letters)


def _hidden(lake: Lake, project: Project, letters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Letters without event ids and keys of the payload."""
    known = {source: _paths_of(project, source) for source in {letter["source"] for letter in letters}}
    hidden = hidden_ids(lake) if letters else str
    for letter in letters:
        letter["event_id"] = letter["event_id"] and _HIDDEN
        for violation in letter["violations"]:
            own, key = _split(violation, known[letter["source"]])
            violation["path"] = own + (f"(key {hidden(key)})" if key else "")
    return letters


def _paths_of(project: Project, source: str) -> frozenset[str]:
    """Paths that a source spec names; none of a source that the project does not know."""
    try:
        spec, contract = project.source(source)
    except ConfigurationError:
        return frozenset()
    return frozenset(payload_paths(contract, spec).values())


def _split(violation: Mapping[str, Any], known: frozenset[str]) -> tuple[str, str]:
    """What of a path the spec names, and what is a key of the payload: an unknown field, or one of a map of booleans."""
    path = str(violation["path"])
    if violation["rule"] == "unknown_field":
        return "", path
    if (violation["rule"], violation["expected"]) != ("type", "boolean") or path in known:
        return path, ""
    own = max((name for name in known if path.startswith(f"{name}.")), key=len, default=path.partition(".")[0])
    return (f"{own}.", path[len(own) + 1 :]) if own != path else (path, "")


def explain_letter(lake: Lake, project: Project, id_prefix: str, *, reveal: bool) -> dict[str, Any]:
    """One dead letter, by its id or the beginning of it; ``raw`` holds its bytes where they are revealed.

    Raises:
        ConfigurationError: there is none, or there are several; its raw file or log is gone.
    """
    letters = find_letters(lake, project, id_prefix=id_prefix, limit=3, reveal=reveal)
    if len(letters) != 1:
        many = "several dead letters begin with" if letters else "no dead letter"
        raise ConfigurationError(f"{many} {id_prefix!r}; ids are shown by: headrace deadletter list")
    (letter,) = letters
    if reveal:
        note_act(lake, "deadletter show", {"dead_letter_id": letter["dead_letter_id"]})
    if reveal and letter["raw"] is None:
        spec, _ = project.source(letter["source"])
        raw_file, _, ordinal = letter["position"].rpartition(":")
        letter["raw"] = read_record(lake, spec, raw_file, int(ordinal))
    return letter


def count_letters(lake: Lake, project: Project, source: str | None, code: str | None, by: str) -> Counter[str]:
    """Dead letters counted by one of COUNTED_BY; the path is that of the first violation."""
    letters = find_letters(lake, project, source, code)
    return Counter(str(x["violations"][0]["path"] if by == "path" else x[by]) for x in letters)


def batched_sources(project: Project, sources: Iterable[str]) -> set[str]:
    """Which of these sources have several records in a message; of those that the project does not know nothing is said."""
    found = set()
    for source in sources:
        with contextlib.suppress(ConfigurationError):
            if project.source(source)[0].records is not None:
                found.add(source)
    return found


def short_position(position: str, batched: bool = False) -> str:
    """A position for a table: the raw file's first digits and the ordinal; topic, partition and offset of a log.

    Args:
        position: as a dead letter has it.
        batched: whether messages of the source hold several records; then the index in the message follows the offset.
    """
    raw_file, _, ordinal = position.rpartition(":")
    if raw_file.startswith(LANE_PREFIX):  # refused by a destination
        topic, _, lane = raw_file.removeprefix(LANE_PREFIX).split(":")
        return f"{topic}[{lane}]:{ordinal}"
    if not is_log(raw_file):
        return f"{raw_file[:12]}:{ordinal}"
    log, number = LogId.parse(raw_file), int(ordinal)
    offset = offset_of(number, batched)
    return f"{log.topic}[{log.partition}]:{offset}" + (f"/{number - position_of(offset, 0, True)}" if batched else "")


def first_violation(letter: dict[str, Any]) -> str:
    """The first violation and how many more there are."""
    violations = letter["violations"]
    more = f" (+{len(violations) - 1})" if len(violations) > 1 else ""
    return f"{violations[0]['path']}: {violations[0]['expected']}{more}"
