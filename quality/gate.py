"""The gate of a dataset: what its rules say of what jobs committed to the audit branch, and what becomes of it.

A pass settles the audit branch, judges every partition that main has in another state, and publishes at once what may be published.
It may be taken at any time, killed at any step, and beside others: what it does follows from the rows, the rules, and what was
accepted. The ledger says *held* of every row that is on the audit branch only.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import ComponentDownError
from contracts.spec.model import Contract
from lake.location import Lake
from lake.tables.adopt import adopt
from lake.tables.audit import begin_audit, end_audit
from lake.tables.candidate import Candidate
from lake.tables.gate import note_passed, publish_candidate, publish_settled, turn_holds
from lake.tables.holds import Range, holds_of, partition_length_s
from lake.tables.sweep import Swept
from quality.acceptances import acceptances
from quality.gate_report import GateOptions, GateReport
from quality.ruling import Pass, PassHistory, Ruling, keep_judged, ruled
from quality.sql_process import Queries
from quality.stored import StoredHistory
from quality.view import LakeReferences

_MOST_ROUNDS = 1_000


def pass_gate(lake: Lake, contract: Contract, options: GateOptions, sweep: Callable[[], Swept]) -> tuple[Swept, GateReport]:
    """Take what jobs committed to the audit branch of a dataset through its gate.

    Args:
        lake: where; branch None.
        contract: the dataset's. Where it has no gate any more, what is held stays so until somebody releases it.
        options: how.
        sweep: settles the audit branch.

    Returns:
        The first sweep, and what the pass came to.

    Raises:
        ConfigurationError: the audit branch was deleted and is lost; a rule asks for what is not installed.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    with Queries() as queries:
        return _passed(lake, contract, options, sweep, queries)


def foreseen(lake: Lake, contract: Contract, candidate: Candidate) -> Ruling:
    """What a pass would decide of a candidate that is not on the audit branch, such as a replay; nothing is written.

    Args:
        lake: where.
        contract: of a gated dataset.
        candidate: what would be judged.
    """
    lake, accepted = lake.public, acceptances(lake, contract.dataset)
    history = PassHistory(StoredHistory(lake, contract.dataset, accepted))
    with Queries() as queries:
        options = GateOptions(run_id="", dry_run=True)
        return ruled(Pass(lake, contract, options, accepted, history, LakeReferences(lake), queries), candidate)


def _passed(
    lake: Lake, contract: Contract, options: GateOptions, sweep: Callable[[], Swept], queries: Queries
) -> tuple[Swept, GateReport]:
    lake, name = lake.public, contract.table
    length_s = contract.quality.partition_s if contract.gated else partition_length_s(lake.load(name))
    if length_s is None:
        return sweep(), GateReport(contract.dataset)
    if not options.dry_run:
        begin_audit(lake, name, length_s, options.run_id)
    accepted = acceptances(lake, contract.dataset)
    history = PassHistory(StoredHistory(lake, contract.dataset, accepted))
    taken = Pass(lake, contract, options, accepted, history, LakeReferences(lake), queries)
    first: Swept | None = None
    released: set[Range] = set()
    for _ in range(_MOST_ROUNDS):
        if not options.dry_run:
            adopt(lake, name, contract.event_id, options.run_id)
        swept = Swept(0, 0, None) if options.dry_run else sweep()
        first = first or swept
        candidate = Candidate.of(lake, name, length_s) or (Candidate.newest(lake, name) if options.dry_run else None)
        if candidate is None:
            if swept.snapshot_id is None:
                return first, GateReport(contract.dataset)
            continue
        ruling = ruled(taken, candidate)
        known = holds_of(candidate.table)
        now_held = {hold.span: hold for hold in ruling.held.values()}
        turned = [hold for span, hold in now_held.items() if known.get(span) != hold]
        freed = [span for span in known if span not in now_held]
        if options.dry_run:
            return first, _report(taken, ruling, tuple(freed), False, len(ruling.passed))
        keep_judged(taken, candidate)
        if turned or freed:
            if turn_holds(lake, name, candidate, turned, freed, options.run_id):
                released |= set(freed)
            continue
        published = publish_candidate(lake, name, candidate, ruling.blocked, options.run_id)
        if published is None:
            continue
        blocked = [candidate.span(number) for number in ruling.blocked]
        publish_settled(lake, name, contract.event_id, options.run_id, blocked)
        lateness_s = options.lateness_s if options.is_complete is False else None
        note_passed(lake, name, candidate, ruling.times.closed_us, lateness_s)
        if not contract.gated and not ruling.blocked:
            end_audit(lake, name, candidate.snapshot.snapshot_id)
        return first, _report(taken, ruling, tuple(sorted(released - now_held.keys())), published, 0)
    raise ComponentDownError(f"gate of {contract.dataset}: no rest after {_MOST_ROUNDS} rounds; are too many runs writing at once?")


def _report(taken: Pass, ruling: Ruling, released: tuple[Range, ...], published: bool, pending: int) -> GateReport:
    return GateReport(
        dataset=taken.contract.dataset,
        run_id=taken.options.run_id,
        held=tuple(hold for _, hold in sorted(ruling.held.items())),
        released=released,
        published=published,
        waiting=len(ruling.waiting),
        stopped=len(ruling.stopped),
        pending=pending,
        is_beside=taken.options.is_complete is False,
    )
