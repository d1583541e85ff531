"""Which reading of a record stands: a number for the revision of contract and source spec that it was read by.

A higher one is of a newer contract, or of the same one and a newer spec. Majors have tables of their own, and so no part in it.
"""

from __future__ import annotations

from contracts.spec.model import Contract
from contracts.spec.source import MOST_REVISION

_PART = MOST_REVISION + 1


def revision_number(contract: Contract, spec_revision: int) -> int:
    """The number of a reading."""
    minor, patch = ([*map(int, contract.version.split(".")[1:]), 0, 0])[:2]
    return (minor * _PART + patch) * _PART + spec_revision


def revision_text(major: int, number: int | None) -> str:
    """The same for people, such as ``1.2.0, spec revision 3``."""
    if number is None:
        return "before there were revisions"
    versions, spec = divmod(number, _PART)
    minor, patch = divmod(versions, _PART)
    return f"{major}.{minor}.{patch}, spec revision {spec}"
