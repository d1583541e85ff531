"""What is kept of headrace's JSON: run id, ledger, tables, jobs. Knows no Airflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_KEPT = (
    "run_id", "name", "state", "dataset", "branch", "job_id", "flink", "savepoint", "finished_at", "equal", "totals",
    "added", "removed", "changed", "held", "rows", "content_hash", "cost", "estimate", "cost_to_estimate",
)  # fmt: skip
_COUNTS = ("records_in", "out", "duplicate", "late", "filtered", "held", "dead_letter", "pending", "lost")


def summary(document: Any) -> dict[str, Any]:
    """The small part of a document that others act on; empty for one of another shape."""
    if not isinstance(document, dict):
        return {}
    found = {key: document[key] for key in _KEPT if document.get(key) is not None and not isinstance(document[key], (list, tuple))}
    ledgers = document.get("ledger")
    if isinstance(ledgers, dict):
        found["ledger"] = {
            source: {key: entry.get(key, 0) for key in _COUNTS} for source, entry in ledgers.items() if isinstance(entry, dict)
        }
    datasets = document.get("datasets")
    if isinstance(datasets, dict):
        found["tables"] = {
            entry["table"]: {"rows": entry.get("rows"), "content_hash": entry.get("content_hash")}
            for entry in datasets.values()
            if isinstance(entry, dict) and "table" in entry
        }
    reasons = (document.get("verdict") or {}).get("reasons") if isinstance(document.get("verdict"), dict) else None
    return {**found, **({"reasons": reasons} if reasons else {})}


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs as one: ledgers added up, tables as the run that finished last left them."""
    ledger: dict[str, Counter[str]] = {}
    tables: dict[str, Any] = {}
    for part in sorted(parts, key=lambda part: str(part.get("finished_at") or "")):
        for source, entry in (part.get("ledger") or {}).items():
            ledger.setdefault(source, Counter()).update(entry)
        tables |= part.get("tables") or {}
    return {
        "run_ids": [part["run_id"] for part in parts if part.get("run_id")],
        "ledger": {source: {key: counts[key] for key in _COUNTS} for source, counts in ledger.items()},
        "tables": tables,
    }


def unchanged(found: Mapping[str, Any], told: Mapping[str, Any] | None) -> bool:
    """Whether tables are as an event has told them. told: what that held; None where there was none.

    Not where one of the two does not say how they are. Tables without rows of which nobody was told are none that changed.
    """
    tables = (found.get("tables") or {}).values()
    if told is None:
        return bool(tables) and all(table.get("rows") == 0 for table in tables)
    now, then = _content(found), _content(told)
    return bool(now) and None not in now and now == then


def _content(found: Mapping[str, Any]) -> set[Any]:
    """Hashes of the tables; a promotion tells that of its one table by itself."""
    tables = found.get("tables") or {"": found}
    return {table.get("content_hash") for table in tables.values()}


def tables_in_words(found: Mapping[str, Any]) -> str:
    """Tables with rows and content hash."""
    tables = (found.get("tables") or {}).items()
    return "; ".join(f"{name}: {table.get('rows')} rows, {table.get('content_hash')}" for name, table in tables)


def held_by(gates: Any, run_ids: Sequence[str], span: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of what ``headrace quality status --json`` says is held: what concerns a run.

    Args:
        gates: the document.
        run_ids: what one of these was the first to hold.
        span: ``start`` and ``end`` in ISO 8601: what is held of this range, whoever held it first; empty for none.
    """
    start, end = (at(span[name]) if name in span else None for name in ("start", "end"))
    return [
        {"from": hold["from"], "to": hold["to"], "rules": list(hold["rules"]), "severity": hold["severity"]}
        for gate in gates or ()
        for hold in gate["held"]
        if hold["run_id"] in run_ids
        or (hold["severity"] == "stop" and (end is None or at(hold["from"]) < end))  # it keeps back what comes after it
        or (start and end and at(hold["from"]) < end and at(hold["to"]) > start)
    ]


def told(extras: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of events of a dataset, the oldest first: ids of the runs, each once, and the content hash that the last of them told."""
    runs: list[str] = []
    content_hash = None
    for extra in extras:
        runs += [*extra.get("run_ids", ()), *([extra["run_id"]] if extra.get("run_id") else [])]
        tables = list((extra.get("tables") or {}).values()) or [extra]  # a promotion tells that of its one table by itself
        content_hash = tables[-1].get("content_hash") or content_hash
    return {"run_ids": list(dict.fromkeys(runs)), "content_hash": content_hash}


def at(text: str) -> datetime:
    """A time as headrace writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
