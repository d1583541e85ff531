"""Letters with their bytes, out of the lake: for whoever mends records by hand, or proves to a producer what it sent.

What is exported is personal data, and no longer under the lake's rules. So an act is on record first, files are for their user
alone whatever the project says, none is overwritten, and none lies in the lake or where it might be committed. The history has a
line for each letter before a file appears.

Until all is written, bytes lie in the folder ``.<target>.<digits>.part`` beside the target, which is on record with the act. A
process that is killed leaves it there: delete it.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from contracts.codes import Code
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.acts import checked, note_act
from lake.location import Lake
from lake.raw.records import read_records
from lake.storage import is_object
from lake.tables.iceberg import committed
from lake.tables.letter_history import HISTORY, Act, ensure_history
from operations.deadletters.close import LINE_COLUMNS, count_selected, lines_of
from operations.deadletters.selection import BATCH_ROWS, LetterSelection, select
from operations.deadletters.views import VISIBLE

_CODE = Path(__file__).parents[2]
_READ = (*VISIBLE, "_raw_file", "_position", "raw")
_COLUMNS = tuple(dict.fromkeys((*_READ, *LINE_COLUMNS)))
_CUT = (Code.TOO_LARGE, Code.DAMAGED_INPUT)  # of which the beginning is kept
_LINES = ("jsonl",)
_PLACE = ("source", "_raw_file", "_position")
_END: tuple[float, bytes] = (float("inf"), b"")


class Form(StrEnum):
    """What is written."""

    LETTERS = "letters"  # one file of JSON lines, a letter each, its bytes in it
    RECEIVED = "received"  # a file a source, records as they were received, one a line


@dataclass
class Exported:
    """What was written.

    letters: how many. without_bytes: of them those whose bytes are gone. cut: of them those that are not written as they were
    received, since of such records the beginning alone is kept. files: by path, how many letters.
    """

    letters: int
    without_bytes: int
    files: dict[str, int]
    cut: int = 0


def export_letters(
    lake: Lake, project: Project, selection: LetterSelection, target: Path, *, form: Form, by: str, reason: str
) -> Exported:
    """Write the selected letters with their bytes.

    Args:
        lake: where they are.
        project: whose specs say how bytes are read that a letter does not keep.
        selection: which.
        target: a file that is not there yet; of the form RECEIVED a folder, which is made, for ``<source>.jsonl``.
        form: what is written.
        by: who exports.
        reason: why.

    Raises:
        ConfigurationError: the target is there, or lies where no export may; a source has another format than lines of JSON, and
            the form is RECEIVED; name or reason are blank.
        OSError: the act cannot be recorded, and nothing is exported; or the target cannot be written.
    """
    _refuse_place(lake, target)
    checked(by, "name"), checked(reason, "reason")
    sources = count_selected(lake, selection, "source")
    if not sources:
        return Exported(0, 0, {})
    if form is Form.RECEIVED:
        _refuse_formats(project, sources)
    files = _Files(target, form)
    what = {"letters": sum(sources.values()), "selection": selection.described(), "form": str(form), "target": str(target)}
    note_act(lake, "deadletter export", what | {"scratch": str(files.scratch)}, by=by, reason=reason)
    written = Exported(0, 0, {})
    told: list[pa.Table] = []

    def noted() -> Iterator[pa.RecordBatch]:
        for batch in select(lake, selection, _COLUMNS):
            told.append(lines_of(batch, Act.EXPORTED, by, reason))
            if sum(map(len, told)) >= BATCH_ROWS:
                _tell(lake, told)
            yield batch
        _tell(lake, told)

    with files:
        for letter in _with_bytes(lake, project, noted()):
            _write(files, letter, form, written)
    return written


def _write(files: _Files, letter: Mapping[str, Any], form: Form, written: Exported) -> None:
    written.letters += 1
    if letter["raw"] is None:
        written.without_bytes += 1
    elif form is Form.RECEIVED and letter["code"] in _CUT:
        written.cut += 1
    if form is Form.LETTERS or (letter["raw"] is not None and letter["code"] not in _CUT):
        path = files.write(letter)
        written.files[path] = written.files.get(path, 0) + 1


def _tell(lake: Lake, told: list[pa.Table]) -> None:
    """Put on record which letters leave the lake; each time they do, so that lines of before do not matter."""
    if not told:
        return
    lines = pa.concat_tables(told)
    told.clear()
    ensure_history(lake)
    committed(HISTORY, lambda: lake.catalog().load_table(HISTORY).append(lines))


def _with_bytes(lake: Lake, project: Project, batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Letters with their bytes. Those that keep none come together, so that a raw file is read once for BATCH_ROWS of them."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        yield from (letter for letter in _letters(batch) if letter["raw"] is not None)
        waiting.append(batch.select(_READ).filter(pc.is_null(batch.column("raw"))))
        if sum(map(len, waiting)) >= BATCH_ROWS:
            yield from _read_again(lake, project, waiting)
            waiting = []
    yield from _read_again(lake, project, waiting)


def _read_again(lake: Lake, project: Project, batches: Sequence[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Letters with the bytes of their records in raw; None where these are gone."""
    if not batches:
        return
    letters = pa.Table.from_batches(batches).sort_by([(name, "ascending") for name in _PLACE])
    places = list(zip(*(letters.column(name).to_pylist() for name in ("source", "_raw_file")), strict=True))
    for (source, raw_file), group in groupby(range(len(places)), places.__getitem__):
        first, *more = group
        own = letters.slice(first, 1 + len(more))
        positions = own.column("_position").to_pylist()
        records = _records(lake, project, source, raw_file, positions)
        at, raw = next(records, _END)
        for letter, position in zip(_letters(own), positions, strict=True):
            while at < position:
                at, raw = next(records, _END)
            yield {**letter, "raw": raw if at == position else None}


def _letters(batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]]:
    names = [name for name in _READ if name not in ("_raw_file", "_position")]
    for part in range(0, len(batch), 1_024):  # bytes of a whole batch may be a gigabyte of Python's
        yield from batch.slice(part, 1_024).select(names).to_pylist()


def _records(lake: Lake, project: Project, source: str, raw_file: str, positions: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Records in raw; none where they, or the spec that reads them, are gone."""
    with suppress(ConfigurationError):
        yield from read_records(lake, project.source(source)[0], raw_file, positions)


class _Files:
    """The files of an export, for the user alone. They appear when all is written, so that a part never passes for the whole."""

    def __init__(self, target: Path, form: Form) -> None:
        self._target, self._form = target, form
        self.scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        self._open: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        self.scratch.mkdir(0o700)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._open.values():
            file.close()
        try:
            if kind is None:
                self._publish()
        except FileExistsError:
            raise ConfigurationError(f"{self._target} has appeared meanwhile; an export overwrites nothing: name another") from None
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _publish(self) -> None:
        if self._form is Form.RECEIVED:
            self._target.mkdir(0o700)  # refused where something is there by now; our own empty folder is replaced
            self.scratch.rename(self._target)
        elif self._open:
            _move(self.scratch / self._target.name, self._target)

    def write(self, letter: Mapping[str, Any]) -> str:
        """Add a letter to its file; where that will be."""
        name = self._target.name if self._form is Form.LETTERS else f"{letter['source']}.jsonl"
        if name not in self._open:
            handle = os.open(self.scratch / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(handle, 0o600)
            self._open[name] = os.fdopen(handle, "wb")
        self._open[name].write((_line(letter) if self._form is Form.LETTERS else _one_line(letter["raw"])) + b"\n")
        return str(self._target if self._form is Form.LETTERS else self._target / name)


def _move(file: Path, target: Path) -> None:
    """Give a file its name, unless something has that name by now."""
    try:
        os.link(file, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        file.rename(target)


def _one_line(raw: bytes) -> bytes:
    """A record that stands in a line; line ends in a message are blanks of JSON."""
    return raw.rstrip(b"\r\n").replace(b"\r", b" ").replace(b"\n", b" ")


def _line(letter: Mapping[str, Any]) -> bytes:
    """A letter as JSON: its bytes as text where they are UTF-8, else in base 64."""
    document = dict(letter)
    raw = document.pop("raw")
    try:
        document["raw"] = None if raw is None else raw.decode()
    except UnicodeDecodeError:
        document["raw_base64"] = base64.b64encode(raw).decode()
    return msgspec.json.encode(document)


def _refuse_place(lake: Lake, target: Path) -> None:
    place = target.resolve()
    parent = target.parent.resolve()
    if place.exists() or target.is_symlink():
        raise ConfigurationError(f"{target} is there already; an export overwrites nothing: name another")
    if not parent.is_dir():
        raise ConfigurationError(f"{target}: there is no folder {target.parent}; make it first, for you alone")
    if not is_object(lake.root) and place.is_relative_to(Path(lake.root).resolve()):
        raise ConfigurationError(f"{target} lies in the lake, whose files are the lake's alone: name a place elsewhere")
    if place.is_relative_to(_CODE) or any((folder / ".git").exists() for folder in (parent, *parent.parents)):
        raise ConfigurationError(f"{target} lies in a clone, where personal data might be committed: name a place elsewhere")


def _refuse_formats(project: Project, sources: Mapping[str, int]) -> None:
    for source in sources:
        try:
            spec, _ = project.source(source)
        except ConfigurationError:
            continue  # a destination's refusals: events as they were sent, which are JSON
        if spec.format not in _LINES or spec.wire_format or spec.records is not None:
            what = "items of a list" if spec.records is not None else f"of the format {spec.wire_format or spec.format}"
            raise ConfigurationError(
                f"source {source}: its records are {what}, and cannot stand one a line. Leave out --as received, or choose other "
                "sources by --source"
            )
