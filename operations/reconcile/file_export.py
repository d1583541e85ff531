"""Files that a destination wrote, or that were made from its warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow.parquet as pq

from contracts.errors import ConfigurationError
from lake.formats.lines import read_text_pieces
from lake.raw.inputs import InputFile, expand_inputs
from lake.storage import storage_of
from operations.reconcile.export import Exported, Fields, object_of
from operations.reconcile.rows import TIME_FIELDS

_BATCH_ROWS = 5_000
_LINE_BYTES = 16 << 20
_PARQUET_MAGIC = b"PAR1"


class FileExport:
    """Files that a destination wrote: JSON lines or Parquet, told apart by their content.

    Args:
        name: the destination's.
        fields: of their records.
        patterns: files, folders or globs.
        exported_at_us: when they were written; None: when the oldest was last changed.

    Raises:
        ConfigurationError: a pattern finds nothing.
    """

    def __init__(self, name: str, fields: Fields, patterns: Sequence[str], exported_at_us: int | None) -> None:
        self._name, self._fields = name, fields
        self._files = expand_inputs(tuple(patterns))
        self.origin = ", ".join(patterns)
        self.as_of_us = min(file.mtime_us for file in self._files) if exported_at_us is None else exported_at_us

    def pages(self) -> Iterator[list[Exported]]:
        """See Export."""
        for file in self._files:
            with storage_of(file.uri).open(file.uri) as opened:
                is_parquet = opened.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
                yield from self._parquet(file, opened) if is_parquet else self._lines(file, opened)

    def _lines(self, file: InputFile, opened: Any) -> Iterator[list[Exported]]:
        number = 0
        for piece in read_text_pieces(opened, 0, _LINE_BYTES):
            if piece.damaged:
                raise ConfigurationError(f"export {file.uri}: ends early or is damaged after line {number:,}; export it again")
            page = []
            for line in piece.text.split(b"\n"):
                number += 1
                if line.strip():
                    page.append(self._line(file, number, line))
            number -= 1  # what follows the last line end
            yield page

    def _line(self, file: InputFile, number: int, line: bytes) -> Exported:
        try:
            return self._fields.exported(line)
        except (ValueError, msgspec.MsgspecError):
            raise ConfigurationError(
                f"export {file.uri}, line {number:,}: expected a JSON object with {self._fields.event_id}; see --id-field"
            ) from None

    def _parquet(self, file: InputFile, opened: Any) -> Iterator[list[Exported]]:
        parquet = pq.ParquetFile(opened)
        names, fields = parquet.schema_arrow.names, self._fields
        if fields.event_id not in names:
            raise ConfigurationError(f"export {file.uri}: has no column {fields.event_id}; is it another: --id-field?")
        has_event = fields.event in names
        moment = next((name for name in TIME_FIELDS if name in names), None)
        columns = [fields.event_id, *([fields.event] if has_event else []), *([moment] if moment else [])]
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
            ids = batch.column(fields.event_id).to_pylist()
            if None in ids:
                raise ConfigurationError(f"export {file.uri}: a row has no {fields.event_id}; is it another column: --id-field?")
            events = batch.column(fields.event).to_pylist() if has_event else [None] * len(ids)
            times = batch.column(moment).to_pylist() if moment else [None] * len(ids)
            try:
                yield [
                    Exported(str(event_id), _json_of(event), None if at is None else _time_json(at))
                    for event_id, event, at in zip(ids, events, times, strict=True)
                ]
            except ValueError:
                raise ConfigurationError(
                    f"export {file.uri}: column {fields.event} holds something else than JSON objects; see --event-field"
                ) from None


def _json_of(value: Any) -> bytes | None:
    """The JSON of an event in a cell: text, bytes or a struct."""
    if value is None:
        return None
    if isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        return object_of(raw.strip())
    return object_of(msgspec.json.encode({k: v for k, v in value.items() if v is not None}))


def _time_json(value: Any) -> bytes:
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return msgspec.json.encode(value)
