"""Suppressions as users write them: ``policies/suppressions/*.yaml``, one column of one dataset a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from contracts.errors import ConfigurationError
from contracts.spec.documents import refuse
from contracts.spec.files.base import WholeFile, Worded
from contracts.spec.model import Contract
from contracts.spec.suppressions import Suppressions

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SuppressionsFile(WholeFile):
    """Ids whose records must never come back."""

    what: ClassVar[str] = "suppressions"
    keys: ClassVar[str] = "dataset, column and sha256"
    lacking: ClassVar[dict[str, Any]] = {"sha256": "missing; [] suppresses nothing"}

    dataset: str = Field(description="The [contract](contracts.md) whose rows are looked at.", examples=["customer_event"])
    column: str = Field(description="Its column that holds the ids.", examples=["user_id"])
    sha256: Annotated[list[_Hash], Worded("is a list of 64 hexadecimal digits each, in lower case", whole=True)] = Field(
        description='SHA-256 of each id as UTF-8, in hex: `printf %s "$ID" | sha256sum`.'
    )


def load_suppressions(folders: Sequence[Path], contract: Contract) -> Suppressions:
    """The suppressions of a contract's dataset.

    Args:
        folders: of policies; their ``suppressions/*.yaml`` are read.
        contract: whose columns they may name.

    Raises:
        ConfigurationError: a file is not what it should be; names every problem.
    """
    found: dict[str, set[bytes]] = {}
    problems: list[str] = []
    for path in suppression_files(folders):
        try:
            file, document = SuppressionsFile.read(path)
            if file.dataset not in (contract.name, contract.dataset):
                continue
            if file.column not in contract.by_name:
                refuse("suppressions", document, [f"column: dataset {contract.dataset} has no column {file.column}"])
            found.setdefault(file.column, set()).update(map(bytes.fromhex, file.sha256))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Suppressions({column: frozenset(hashes) for column, hashes in found.items() if hashes})


def suppression_files(folders: Sequence[Path]) -> list[Path]:
    """The files of suppressions in folders of policies."""
    return sorted(path for folder in folders for path in (folder / "suppressions").glob("*.yaml"))
