"""What lint finds: a place, how bad it is, and a sentence with a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from contracts.spec.yaml_files import Place


class Severity(StrEnum):
    """How bad it is. An error is refused where the file is used; a warning should be mended; a note tells what has no effect."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


RULES = {  # by code: what each is about, for reports
    "load": "The file cannot be used as it is.",
    "fit": "A source or destination does not fit its contract.",
    "meaning": "Something may be read otherwise than it is meant.",
    "owner": "A contract has no owner.",
    "description": "A contract or column does not say what it is.",
    "service-level": "A contract promises no freshness, completeness or retention.",
    "consumers": "A contract names nobody who reads it, or columns that are not there.",
    "key": "The key of a dataset and its event id do not agree.",
    "classification": "A column looks like personal data and is not classified.",
    "privacy": "Personal data has no purpose, retention or handling.",
    "identifier": "A column names an identity and does not say which.",
    "deprecation": "Something is still there after its last day.",
    "no-effect": "A key is allowed and has no effect.",
    "unknown-key": "A key that nobody knows.",
    "case": "Names differ only by case.",
    "twice": "One thing has two files.",
    "file-name": "A file's name is not that of what it holds.",
    "unmapped": "A source leaves columns of its contract empty.",
    "unfed": "No source feeds a contract.",
}


@dataclass(frozen=True, order=True)
class Finding:
    """One problem. told: ``key: what is wrong; what to do``."""

    path: Path
    line: int
    told: str
    code: str
    severity: Severity = Severity.WARNING


class Told(NamedTuple):
    """A sentence of a contract, its place, its code and how bad it is."""

    place: Place
    told: str
    code: str
    severity: Severity = Severity.WARNING
