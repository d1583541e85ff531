"""Which reading of a record stands: a number for the revision of contract and source spec that it was read by.

A higher one is of a newer contract, or of the same one and a newer spec. Majors have tables of their own, and so no part in it.
"""

from __future__ import annotations

from contracts.spec.model import Contract

MOST = 999_999  # of each part but the first


def revision_number(contract: Contract, spec_revision: int) -> int:
    """The number of a reading."""
    minor, patch = ([*map(int, contract.version.split(".")[1:]), 0, 0])[:2]
    return (minor * (MOST + 1) + patch) * (MOST + 1) + spec_revision


def revision_text(major: int, number: int | None) -> str:
    """The same for people, such as ``1.2.0, spec revision 3``."""
    if number is None:
        return "before there were revisions"
    versions, spec = divmod(number, MOST + 1)
    minor, patch = divmod(versions, MOST + 1)
    return f"{major}.{minor}.{patch}, spec revision {spec}"
