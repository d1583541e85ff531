"""A contract as the statement that makes its table in a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contracts.spec.model import Column, ColumnType, Contract

DatabaseName = Literal["duckdb", "postgresql", "bigquery", "snowflake"]


@dataclass(frozen=True)
class _Dialect:
    """How a database writes it. comment: after a column, ``{}`` being the text; None where comments are statements of their own."""

    types: dict[ColumnType, str]
    quote: str = '"'
    decimal: str = "DECIMAL({},{})"
    comment: str | None = None
    replaced: tuple[tuple[str, str], ...] = (("'", "''"),)


_T = ColumnType
_DIALECTS: dict[DatabaseName, _Dialect] = {
    "duckdb": _Dialect(
        {
            _T.STRING: "VARCHAR", _T.INTEGER: "BIGINT", _T.NUMBER: "DOUBLE", _T.BOOLEAN: "BOOLEAN", _T.TIMESTAMP: "TIMESTAMPTZ",
            _T.DATE: "DATE", _T.JSON: "JSON", _T.BOOLEAN_MAP: "MAP(VARCHAR, BOOLEAN)",
        }
    ),
    "postgresql": _Dialect(
        {
            _T.STRING: "text", _T.INTEGER: "bigint", _T.NUMBER: "double precision", _T.BOOLEAN: "boolean",
            _T.TIMESTAMP: "timestamptz", _T.DATE: "date", _T.JSON: "jsonb", _T.BOOLEAN_MAP: "jsonb",
        },
        decimal="numeric({},{})",
    ),
    "bigquery": _Dialect(
        {
            _T.STRING: "STRING", _T.INTEGER: "INT64", _T.NUMBER: "FLOAT64", _T.BOOLEAN: "BOOL", _T.TIMESTAMP: "TIMESTAMP",
            _T.DATE: "DATE", _T.JSON: "JSON", _T.BOOLEAN_MAP: "ARRAY<STRUCT<key STRING, value BOOL>>",
        },
        quote="`",
        decimal="BIGNUMERIC({},{})",
        comment=" OPTIONS(description='{}')",
        replaced=(("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")),
    ),
    "snowflake": _Dialect(
        {
            _T.STRING: "VARCHAR", _T.INTEGER: "NUMBER(19,0)", _T.NUMBER: "FLOAT", _T.BOOLEAN: "BOOLEAN",
            _T.TIMESTAMP: "TIMESTAMP_TZ(6)", _T.DATE: "DATE", _T.JSON: "VARIANT", _T.BOOLEAN_MAP: "OBJECT",
        },
        decimal="NUMBER({},{})",
        comment=" COMMENT '{}'",
        replaced=(("\\", "\\\\"), ("'", "''")),
    ),
}  # fmt: skip
_BIGQUERY_NUMERIC = (29, 9)  # digits before and after the point that NUMERIC takes; BIGNUMERIC takes 38 and 38


def ddl(contract: Contract, database: DatabaseName) -> str:
    """``CREATE TABLE`` of a dataset's columns. Every name is quoted, so that reserved words are names too."""
    dialect = _DIALECTS[database]
    table = _quoted(contract.dataset, dialect)
    lines = [_line(column, contract, dialect, database) for column in contract.columns]
    # Unique is an id only where repeats are one event for ever. BigQuery's keys are not enforced and need not be there.
    if contract.deduplication.horizon_s is None and database != "bigquery":
        lines.append(f"  PRIMARY KEY ({_quoted(contract.event_id, dialect)})")
    text = f"CREATE TABLE {table} (\n" + ",\n".join(lines) + "\n)"
    if dialect.comment is not None and contract.description:
        said = _text(contract.description, dialect)
        text += f"\nOPTIONS(description='{said}')" if database == "bigquery" else f"\nCOMMENT = '{said}'"
    text += ";\n"
    if dialect.comment is None:
        if contract.description:
            text += f"COMMENT ON TABLE {table} IS '{_text(contract.description, dialect)}';\n"
        for column in contract.columns:
            if said := _comment(column):
                text += f"COMMENT ON COLUMN {table}.{_quoted(column.name, dialect)} IS '{_text(said, dialect)}';\n"
    return text


def _line(column: Column, contract: Contract, dialect: _Dialect, database: DatabaseName) -> str:
    line = f"  {_quoted(column.name, dialect)} {_type(column, dialect, database)}"
    if column.required or column.name == contract.event_id:
        line += " NOT NULL"
    said = _comment(column)
    return line + (dialect.comment.format(_text(said, dialect)) if said and dialect.comment else "")


def _type(column: Column, dialect: _Dialect, database: DatabaseName) -> str:
    if column.type is not ColumnType.DECIMAL:
        return dialect.types[column.type]
    fits = column.precision - column.scale <= _BIGQUERY_NUMERIC[0] and column.scale <= _BIGQUERY_NUMERIC[1]
    form = "NUMERIC({},{})" if database == "bigquery" and fits else dialect.decimal
    return form.format(column.precision, column.scale)


def _comment(column: Column) -> str:
    """What a column means, and what one has to know of its values."""
    ends = column.deprecated
    parts = [
        column.description,
        f"In {column.unit}." if column.unit else "",
        f"Classification: {column.classification}." if column.classification else "",
        f"Deprecated until {ends.until}" + (f", use {ends.use}." if ends.use else ".") if ends else "",
    ]
    return " ".join(part for part in parts if part)


def _quoted(name: str, dialect: _Dialect) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`") if dialect.quote == "`" else name.replace('"', '""')
    return dialect.quote + escaped + dialect.quote


def _text(text: str, dialect: _Dialect) -> str:
    for old, new in dialect.replaced:
        text = text.replace(old, new)
    return text.replace("\0", "")
