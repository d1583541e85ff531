"""What is asked for, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.spec.recipes import Recipe
from lake.ledger.ledger import LedgerEntry
from operations.deadletters.selection import LetterSelection
from quality.gate_report import GateReport

MOST_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class ReprocessOptions:
    """What is read again, and how.

    selection: which letters. recipe: repairs the records that are rejected; None for none. late: late rows in place of dead
    letters. max_attempts: letters that were read so often, the first time included, are given up. dry_run: write nothing. by,
    reason: who does it and why; recorded. samples: of a dry run, examples of each outcome. workers: processes.
    """

    selection: LetterSelection = field(default_factory=LetterSelection)
    recipe: Recipe | None = None
    late: bool = False
    max_attempts: int = MOST_ATTEMPTS
    dry_run: bool = False
    by: str | None = None
    reason: str | None = None
    samples: int = 3
    workers: int = 1


@dataclass
class ReprocessReport:
    """What came of letters, or would.

    selected: how many were read again. aside: how many were not, by why. outcomes: by source, code before and outcome. codes_now:
    of those that still fail. repaired: by the recipe. others: of those that it would have repaired, how many another recipe had
    repaired before, by its name. examples: of a dry run. ledger: of the positions that were read again, by source. gates: what
    those of gated datasets came to. warnings: what to look at though it is no reason against this run.
    """

    run_id: str
    dry_run: bool
    selected: int = 0
    aside: dict[str, int] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    codes_now: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    others: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, LedgerEntry] = field(default_factory=dict)
    gates: dict[str, GateReport] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many came to this."""
        return sum(count for (_, _, came), count in self.outcomes.items() if came == outcome)

    @property
    def exit_code(self) -> int:
        """1 where letters still fail, a gate holds what came of them, or the ledger does not add up."""
        return 1 if self.reasons else 0

    def document(self) -> Mapping[str, Any]:
        """As JSON."""
        return {
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "selected": self.selected,
            "not_read_again": self.aside,
            "letters": [
                {"source": source, "code": code, "outcome": str(outcome), "letters": count}
                for (source, code, outcome), count in sorted(self.outcomes.items())
            ],
            "codes_now": dict(self.codes_now),
            "repaired": self.repaired,
            "repaired_before": dict(self.others),
            "examples": self.examples,
            "ledger": self.ledger,
            "gates": {dataset: gate.document() for dataset, gate in self.gates.items()},
            "reasons": self.reasons,
            "warnings": self.warnings,
        }
