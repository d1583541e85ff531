"""Whether a contract may change as it does: its mode against every earlier version that the mode looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from contracts.evolution.changes import (
    MODES,
    Change,
    Step,
    is_transitive,
    next_version,
    step_between,
    step_of,
    version_numbers,
)
from contracts.evolution.datasets import contract_changes
from contracts.spec.model import Compatibility, Contract


@dataclass(frozen=True)
class Against:
    """What changed since one earlier version. counts: whether the mode looks at this version; the last one always does."""

    version: str
    changes: tuple[Change, ...]
    counts: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a contract may change so.

    modes: what it is held against: its mode, and its earlier one where that changed. against: the newest version first. needed: the
    step that tells what changed since the newest version, done: the step that its version took, None where that went down.
    """

    after: Contract
    modes: tuple[Compatibility, ...]
    against: tuple[Against, ...]
    needed: Step
    done: Step | None

    @property
    def new_major(self) -> bool:
        """Whether it is another major version: a table beside the old one, that promises nothing to its readers."""
        return self.done is Step.MAJOR

    @property
    def changes(self) -> tuple[Change, ...]:
        """What changed since the newest version."""
        return self.against[0].changes if self.against else ()

    @property
    def forbidden(self) -> list[tuple[str, Change]]:
        """What a mode rules out, each with the version since which it did; said once."""
        if self.new_major:
            return []
        found: dict[tuple[str, str | None, str], tuple[str, Change]] = {}
        for earlier in self.against:
            for change in earlier.changes if earlier.counts else ():
                if any(change.forbidden(mode) for mode in self.modes):
                    found.setdefault((change.code, change.column, change.what), (earlier.version, change))
        return list(found.values())

    @property
    def version_problem(self) -> str | None:
        """What is wrong with the version that the new contract has; None for nothing."""
        if not self.against:
            return None
        before = self.against[0].version
        if self.done is None:
            return f"version: {self.after.version} is before {before}; versions go up"
        if self.done < self.needed and self.needed > Step.PATCH:
            wanted = next_version(before, self.needed)
            place = ""
            if self.needed is Step.MAJOR:
                place = f" in a file of its own, {self.after.name}.v{version_numbers(wanted)[0]}.yaml, beside this one"
            return f"version: {self.after.version} after {before}, but the change needs {wanted}{place}"
        return None

    @property
    def allowed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.forbidden and self.version_problem is None


def judge(after: Contract, earlier: Sequence[Contract], on: date | None = None) -> Verdict:
    """Hold a contract against its earlier versions.

    Args:
        after: the new contract.
        earlier: its earlier versions, the newest last; those of other major versions do not count.
        on: the day on which deprecations count; today, where it is None.
    """
    newest = earlier[-1] if earlier else None
    modes = tuple(dict.fromkeys([newest.compatibility, after.compatibility])) if newest else (after.compatibility,)
    looked_at = [before for before in earlier if before.major == after.major or before is newest]
    transitive = any(is_transitive(mode) for mode in modes)
    against = tuple(
        Against(before.version, tuple(contract_changes(before, after, on)), before is newest or transitive)
        for before in reversed(looked_at)
    )
    if newest is None:
        return Verdict(after=after, modes=modes, against=(), needed=Step.NONE, done=Step.NONE)
    needed = max(step_of(against[0].changes, mode) for mode in modes)
    return Verdict(after=after, modes=modes, against=against, needed=needed, done=step_between(newest.version, after.version))


def allowing_modes(after: Contract, earlier: Sequence[Contract], on: date | None = None) -> list[Compatibility]:
    """The modes that allow a change, were the version to say so."""
    found = [tuple(contract_changes(before, after, on)) for before in earlier]
    return [
        mode
        for mode in MODES
        if not any(change.forbidden(mode) for changes in (found if is_transitive(mode) else found[-1:]) for change in changes)
    ]
