"""The horizon and the gate of a dataset, one after the other: what stands between what jobs commit and what is published."""

from __future__ import annotations

from functools import partial

from contracts.spec.model import Contract
from lake.location import Lake
from lake.tables.audit import is_audited
from lake.tables.sweep import Swept
from quality.gate import pass_gate
from quality.gate_report import GateOptions, GateReport
from transforms.converge.settle import settle
from transforms.cut import Cut


def settle_and_gate(
    lake: Lake, contract: Contract, options: GateOptions, cut: Cut | None = None
) -> tuple[Swept, GateReport | None]:
    """Apply the horizon to what jobs committed, and publish what may be published of a gated dataset.

    Args:
        lake: where. On a branch, such as that of a replay, nothing is judged: that is done when it is promoted.
        contract: the dataset's. Where it has no gate, and its table has none either, this is the horizon alone.
        options: of the gate, and the run.
        cut: see ``settle``.

    Returns:
        What the horizon dropped; what the gate came to, None without one.

    Raises:
        ConfigurationError: the audit branch was deleted and is lost; a rule asks for what is not installed.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    sweep = partial(settle, lake, contract, options.run_id, cut)
    if lake.branch is not None or not (contract.gated or is_audited(lake, contract.table)):
        return sweep(), None
    return pass_gate(lake, contract, options, sweep)


def gate_beside(lake: Lake, contract: Contract, options: GateOptions, cut: Cut) -> Swept:
    """The same beside a stream: what it holds is in the log too."""
    swept, report = settle_and_gate(lake, contract, options, cut)
    if report:
        report.log()
    return swept
