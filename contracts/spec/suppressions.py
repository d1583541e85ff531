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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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
