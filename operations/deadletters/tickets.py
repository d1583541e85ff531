"""The text of a ticket to whoever can mend a cause. It names no value of a record, and no key of a payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, name_and_major
from contracts.spec.project import Project
from contracts.units import us_text
from lake.location import Lake
from operations.deadletters.causes import Cause, count_causes
from operations.deadletters.selection import LetterSelection


@dataclass(frozen=True)
class Ticket:
    """A ticket. to: whom; subject: one line; text: the rest, lines of plain text."""

    to: str
    source: str
    dataset: str
    subject: str
    text: str


def tickets(lake: Lake, project: Project, selection: LetterSelection, limit: int = 10) -> list[Ticket]:
    """A ticket for each source and dataset of the selected letters.

    Args:
        lake: where.
        project: whose contracts name their owners.
        selection: which letters.
        limit: how many causes at most are told, of all.
    """
    causes = count_causes(lake, project, selection, limit=limit).causes
    sides = dict.fromkeys((cause.what["source"], cause.what["dataset"]) for cause in causes)
    return [
        _ticket(project, source, dataset, [c for c in causes if (c.what["source"], c.what["dataset"]) == (source, dataset)])
        for source, dataset in sides
    ]


def _ticket(project: Project, source: str, dataset: str, causes: Sequence[Cause]) -> Ticket:
    contract = _contract(project, dataset)
    letters = sum(cause.letters for cause in causes)
    owner = contract and " ".join(filter(None, (contract.owner, f"<{contract.contact}>" if contract.contact else None)))
    codes = ", ".join(dict.fromkeys(cause.what["code"] for cause in causes))
    return Ticket(
        to=owner or f"the owner of the contract {dataset}, which names none",
        source=source,
        dataset=dataset,
        subject=f"{source}: {_counted(letters, 'record')} rejected ({codes})",
        text="\n".join(_lines(source, dataset, contract, letters, causes)),
    )


def _contract(project: Project, dataset: str) -> Contract | None:
    try:
        return project.contract(*name_and_major(dataset))
    except ConfigurationError:
        return None


def _lines(source: str, dataset: str, contract: Contract | None, letters: int, causes: Sequence[Cause]) -> Iterator[str]:
    version = f" {contract.version}" if contract else ""
    first, last = min(cause.first_us for cause in causes), max(cause.last_us for cause in causes)
    yield f"{_counted(letters, 'record')} of the source {source} did not become rows of {dataset}: the contract {dataset}{version}"
    yield f"does not allow them. The first came at {us_text(first, 'seconds')}, the last at {us_text(last, 'seconds')}."
    for number, cause in enumerate(causes, 1):
        yield ""
        yield f"{number}. {cause.what['path']}: expected {cause.expected}"
        yield f"   {_counted(cause.letters, 'record')}, code {cause.what['code']}, rule {cause.what['rule']}"
        example: Any = cause.example or {}
        if example.get("shape"):
            yield f"   what is there, in shape: {example['shape']}"
        yield f"   for example: {example.get('position')} (dead letter {example.get('dead_letter_id')})"
        if cause.remedy:
            yield f"   {cause.remedy.advice}"
    yield ""
    yield "Shapes stand for values: A, a and 9 for letters and digits. This text holds no value of a record. Records are kept as"
    yield "they were received: once the cause is mended here they are judged again, and need not be sent again."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
