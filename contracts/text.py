"""Text of strangers for people: what could steer a terminal, or reorder what is read, is escaped.

Escaped are control characters (C0 and C1, so also ESC and CSI), format characters (bidirectional overrides and isolates, zero-width
ones), line and paragraph separators, surrogates, and what Unicode does not assign. Source: Unicode Standard Annex 9 and Technical
Report 36.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

_HIDDEN = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def printable(text: str | bytes, keep: str = "") -> str:
    """Text with all those characters escaped as Python writes them. keep: characters that stay all the same."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape", "surrogatepass").decode() if _steers(c) and c not in keep else c for c in text)


def json_text(document: Any, default: Callable[[Any], Any] | None = None, indent: int | None = 2) -> str:
    """A document as JSON that shows what it holds, with those characters as JSON escapes them.

    Args:
        document: what ``json.dumps`` takes.
        default: as of ``json.dumps``.
        indent: None for one line.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=default)
    return text if text.isprintable() else re.sub(r"[^\n -~]", _escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if _steers(match[0]) else match[0]


def _steers(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) in _HIDDEN
