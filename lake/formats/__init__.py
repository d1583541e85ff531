"""File formats: bytes in, numbered records out.

Every format answers two questions with the same code, so that both give the same numbers: where the records of a file begin
(``scan``, at landing) and what they are (``read``, at decoding). Positions are ordinals of records in the file, from 0.
"""

from __future__ import annotations

from lake.formats.base import Bookmark, Format, ParsedRecords, RecordBlock
from lake.formats.registry import format_for

__all__ = ["Bookmark", "Format", "ParsedRecords", "RecordBlock", "format_for"]
