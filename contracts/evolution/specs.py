"""What differs between two versions of a source spec or a destination, where somebody depends on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from contracts.spec.destination import Destination
from contracts.spec.source import SourceSpec

# What does not decide what becomes of a record that is within bounds.
_WORDS = {"description", "examples", "revision", "whole", "record_bytes", "max_depth", "name"}
_LONGEST_TOLD = 6


@dataclass(frozen=True)
class SpecChange:
    """One difference. what: a sentence without a full stop; remedy: what to do, empty for nothing."""

    kind: Literal["source", "destination"]
    name: str
    what: str
    remedy: str = ""


def source_changes(before: SourceSpec, after: SourceSpec) -> list[SpecChange]:
    """What is read otherwise, without a revision that says so."""
    if after.revision < before.revision:
        return [
            SpecChange(
                "source",
                after.name,
                f"revision is {after.revision}, was {before.revision}: rows of the higher one would stand for ever",
                f"give it a revision above {before.revision}",
            )
        ]
    names = [f.name for f in fields(SourceSpec) if f.name not in _WORDS and getattr(before, f.name) != getattr(after, f.name)]
    if not names or after.revision > before.revision:
        return []
    told = []
    for name in names:
        if name == "columns":
            changed = sorted(
                c for c in before.columns.keys() | after.columns.keys() if before.columns.get(c) != after.columns.get(c)
            )
            more = f" and {len(changed) - _LONGEST_TOLD} more" if len(changed) > _LONGEST_TOLD else ""
            told.append(f"columns ({', '.join(changed[:_LONGEST_TOLD])}{more})")
        else:
            told.append(_KEYS.get(name, name))
    return [
        SpecChange(
            "source",
            after.name,
            f"{', '.join(told)} changed, and revision is still {after.revision}",
            f"give it revision: {after.revision + 1}, so that a replay's rows take the place of those read before",
        )
    ]


_KEYS = {"filters": "filter"}


def destination_changes(before: Destination, after: Destination) -> list[SpecChange]:
    """What a destination no longer gets, and what leaves that did not."""
    found = []
    paths = [{str(path) for path in destination.paths} for destination in (before, after)]
    if gone := sorted(paths[0] - paths[1]):
        found.append(
            SpecChange(
                "destination", after.name, f"{', '.join(gone)} no longer sent", "ask whoever reads them there before you deliver"
            )
        )
    if lifted := sorted(set(before.consent) - set(after.consent)):
        found.append(
            SpecChange("destination", after.name, f"{', '.join(lifted)} is no longer needed as consent", "see that this is allowed")
        )
    if before.only != after.only:
        found.append(SpecChange("destination", after.name, "other rows leave (filter)", "headrace reconcile shows which"))
    if (before.dataset, before.version) != (after.dataset, after.version):
        found.append(
            SpecChange("destination", after.name, f"its rows are of {after.dataset} {after.version}, were of {before.dataset} "
            f"{before.version}", "deliver the old dataset to its end first")
        )  # fmt: skip
    return found
