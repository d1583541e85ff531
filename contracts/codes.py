"""Why a record was rejected: the closed table of rules and the dead-letter codes that they give.

A *rule* is what a contract or reader checks; a *code* is what dashboards count. Every rule has exactly one code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Dead-letter codes. Closed: a new one is a change of the documented interface."""

    MALFORMED = "malformed"
    INVALID_ENCODING = "invalid_encoding"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    MISSING_REQUIRED = "missing_required"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIMESTAMP = "bad_timestamp"
    NOT_IN_ENUM = "not_in_enum"
    BAD_PATTERN = "bad_pattern"
    BAD_LENGTH = "bad_length"
    CROSS_FIELD = "cross_field"
    UNKNOWN_FIELD = "unknown_field"
    RAGGED_ROW = "ragged_row"
    HEADER_MISMATCH = "header_mismatch"
    DAMAGED_INPUT = "damaged_input"
    UNKNOWN_SCHEMA_VERSION = "unknown_schema_version"
    UPCAST_FAILED = "upcast_failed"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    REFUSED = "refused"


RULE_CODES: dict[str, Code] = {
    "syntax": Code.MALFORMED,
    "encoding": Code.INVALID_ENCODING,
    "record_bytes": Code.TOO_LARGE,
    "depth": Code.TOO_DEEP,
    "required": Code.MISSING_REQUIRED,
    "require_any": Code.MISSING_REQUIRED,
    "require_when": Code.MISSING_REQUIRED,
    "type": Code.WRONG_TYPE,
    "range": Code.OUT_OF_RANGE,
    "precision": Code.OUT_OF_RANGE,
    "timestamp": Code.BAD_TIMESTAMP,
    "enum": Code.NOT_IN_ENUM,
    "pattern": Code.BAD_PATTERN,
    "format": Code.BAD_PATTERN,
    "length": Code.BAD_LENGTH,
    "compare": Code.CROSS_FIELD,
    "unknown_field": Code.UNKNOWN_FIELD,
    "fields": Code.RAGGED_ROW,
    "header": Code.HEADER_MISMATCH,
    "damage": Code.DAMAGED_INPUT,
    "schema_version": Code.UNKNOWN_SCHEMA_VERSION,
    "upcast": Code.UPCAST_FAILED,
    "fingerprint": Code.CONFLICTING_DUPLICATE,
    "delivery": Code.REFUSED,
}


@dataclass(frozen=True)
class Violation:
    """One rule that one record broke. Holds no value of the record: values are personal data.

    path: where in the payload, dotted; ``$`` is the record itself, ``a|b`` several fields.
    rule: a key of RULE_CODES.
    expected: what would have been right, in a few words taken from the contract.
    """

    path: str
    rule: str
    expected: str

    @property
    def code(self) -> Code:
        """The dead-letter code of this rule."""
        return RULE_CODES[self.rule]
