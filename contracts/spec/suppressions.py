"""Suppressions: ids whose records must never come back, whatever is ingested, replayed or rolled back.

``policies/suppressions/*.yaml``, one column of one dataset a file::

    dataset: customer_event
    column: user_id
    sha256:        # of the value as UTF-8, in hex:  printf %s "$ID" | sha256sum
      - 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b

Hashes, so that the list of those who were forgotten does not remember them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract
from contracts.spec.yaml_files import read_yaml

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Suppressions:
    """Suppressed values by column, as SHA-256."""

    by_column: Mapping[str, frozenset[bytes]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_column)

    def holds(self, column: str, text: str) -> bool:
        """Whether this value of a column is suppressed."""
        hashes = self.by_column.get(column)
        return hashes is not None and hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() in hashes

    def matching(self, columns: Mapping[str, Sequence[Any]]) -> set[int]:
        """Indexes of rows with a suppressed value, from columns of strings or integers (None is none)."""
        found: set[int] = set()
        for column in self.by_column.keys() & columns.keys():
            values = columns[column]
            hits = {value for value in set(values) if value is not None and self.holds(column, str(value))}
            if hits:
                found.update(i for i, value in enumerate(values) if value in hits)
        return found


NOTHING = Suppressions()


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
    for path in sorted(path for folder in folders for path in (folder / "suppressions").glob("*.yaml")):
        try:
            document = read_yaml(path, "file")
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        if not isinstance(document, dict) or set(document) != {"dataset", "column", "sha256"}:
            problems.append(f"{path}: expected dataset, column and sha256")
            continue
        if document["dataset"] != contract.name:
            continue
        column, hashes = document["column"], document["sha256"] or []
        if column not in {c.name for c in contract.columns}:
            problems.append(f"{path}: dataset {contract.name} has no column {column}")
        elif not isinstance(hashes, list) or not all(isinstance(h, str) and _SHA256.fullmatch(h) for h in hashes):
            problems.append(f"{path}: sha256 is a list of 64 hexadecimal digits each, in lower case")
        else:
            found.setdefault(column, set()).update(map(bytes.fromhex, hashes))
    if problems:
        raise ConfigurationError("suppressions: " + "\n  - ".join(["", *problems]))
    return Suppressions({column: frozenset(hashes) for column, hashes in found.items() if hashes})
