"""Findings as text, as annotations of GitHub, as SARIF 2.1.0 and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contracts.lint.findings import RULES, Finding, Severity
from contracts.version import VERSION

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def text_lines(found: Sequence[Finding], folder: Path) -> list[str]:
    """``file:line: severity: what; what to do``, and what it comes to."""
    lines = [f"{shown(f.path, folder)}:{f.line}: {f.severity}: {f.told} [{f.code}]" for f in found]
    counts = Counter(f.severity for f in found)
    told = [f"{counts[severity]} {severity}{'' if counts[severity] == 1 else 's'}" for severity in Severity]
    return [*lines, ", ".join(told)]


def github_lines(found: Sequence[Finding], folder: Path) -> list[str]:
    """Workflow commands, which GitHub shows beside the line in a pull request."""
    lines = []
    for f in found:
        file, title = _property(shown(f.path, folder)), _property(f.code)
        lines.append(f"::{_COMMANDS[f.severity]} file={file},line={f.line},title={title}::{_data(f.told)}")
    return lines


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(found: Sequence[Finding], folder: Path) -> dict[str, Any]:
    """Static Analysis Results Interchange Format: code scanning of GitHub, GitLab and others reads it."""
    codes = list(RULES)
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "headrace contract lint",
                        "version": VERSION,
                        "rules": [{"id": code, "shortDescription": {"text": text}} for code, text in RULES.items()],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": f.code,
                        "ruleIndex": codes.index(f.code),
                        "level": str(f.severity),
                        "message": {"text": f.told},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": _uri(f.path, folder)},
                                    "region": {"startLine": f.line},
                                }
                            }
                        ],
                    }
                    for f in found
                ],
            }
        ],
    }


def as_json(found: Sequence[Finding], folder: Path) -> dict[str, Any]:
    """Plain JSON."""
    return {
        "findings": [
            {"file": shown(f.path, folder), "line": f.line, "severity": str(f.severity), "code": f.code, "message": f.told}
            for f in found
        ],
        "counts": {str(severity): sum(f.severity is severity for f in found) for severity in Severity},
    }


def shown(path: Path, folder: Path) -> str:
    """A path, from the folder on where it is in there."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _uri(path: Path, folder: Path) -> str:
    return quote(shown(path, folder)) if path.is_relative_to(folder) else path.as_uri()
