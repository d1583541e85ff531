"""Whether a query of a quality rule asks for what does not follow from the rows, such as the time or a random number."""

from __future__ import annotations

import re

# Names of values that are written without brackets.
_CLOCK = ("current_timestamp", "current_date", "current_time", "localtimestamp", "localtime")
# Functions whose answer follows from the clock, from chance or from the engine. DuckDB knows more of itself, and is asked again
# before a query is run; a test holds the two together.
UNDETERMINED = frozenset(
    {
        *_CLOCK,
        "currval", "current_catalog", "current_connection_id", "current_database", "current_query", "current_query_id",
        "current_role", "current_schema", "current_schemas", "current_setting", "current_transaction_id", "current_user",
        "gen_random_uuid", "get_current_time", "get_current_timestamp", "getvariable", "in_search_path", "nextval", "now", "query",
        "query_table", "random", "reservoir_quantile", "session_user", "setseed", "setval", "sleep_ms", "stats", "today",
        "transaction_timestamp", "txid_current", "user", "uuid", "uuidv4", "uuidv7", "vector_type", "version", "write_log",
    }
)  # fmt: skip
_NO_CODE = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\1", re.DOTALL
)  # comments, texts, names in quotes
_CALLED = re.compile(r"\b(\w+)\s*\(")
_NAMED = re.compile(rf"(?<!\.)\b({'|'.join(_CLOCK)})\b(?!\s*\()", re.IGNORECASE)
_SAMPLE = re.compile(r"\b(?:TABLESAMPLE|USING\s+SAMPLE)\b", re.IGNORECASE)


def undetermined(query: str) -> str | None:
    """What a query asks for that does not follow from the rows of a partition; None where nothing is found."""
    code = _NO_CODE.sub(_blank, query)
    called = next((name for name in _CALLED.findall(code) if name.lower() in UNDETERMINED), None)
    if called:
        return f"{called}()"
    named = _NAMED.search(code)
    if named:
        return named[1]
    return "a sample" if _SAMPLE.search(code) else None


def _blank(found: re.Match[str]) -> str:
    """In place of a text; a function may be called by its name in quotes."""
    return found[0][1:-1] if found[0].startswith('"') and re.match(r"\s*\(", found.string[found.end() :]) else " "
