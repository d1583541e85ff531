"""The gate of a dataset: what its rules say of what jobs committed to the audit branch, and what becomes of it.

A pass settles the audit branch, judges every partition that main has in another state, and publishes at once what may be published.
It may be taken at any time, killed at any step, and beside others: what it does follows from the rows, the rules, and what was
accepted. The ledger says *held* of every row that is on the audit branch only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import xxhash

from contracts.errors import ComponentDownError
from contracts.spec.model import Contract
from contracts.spec.quality import QualityRule, Severity
from contracts.units import SECOND_US, us_text, utc_text
from lake.location import Lake
from lake.tables.adopt import adopt
from lake.tables.audit import begin_audit, end_audit
from lake.tables.candidate import Candidate
from lake.tables.gate import note_passed, publish_candidate, publish_settled, turn_holds
from lake.tables.holds import Hold, Range, closed_to, holds_of, lateness_of, partition_length_s
from lake.tables.sweep import Swept
from quality.acceptances import Acceptance, acceptances
from quality.history import State
from quality.judge import judge_partitions
from quality.past import Past
from quality.sql_process import Queries
from quality.store import Judgement, keep_verdicts
from quality.stored import StoredHistory
from quality.verdicts import Partition, RuleVerdict, Verdict, gate_verdict
from quality.view import LakeReferences, LakeView

_MOST_ROUNDS = 1_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """How a pass is taken.

    run_id: of the run. is_complete: nothing more comes for now, so that every partition is judged as a whole; False beside a
    stream; None for: unless a stream feeds the dataset. lateness_s: for how long a stream waits for rows of a partition after its
    end: it is whole once a record was received so long after that. held_too: a person wants it: partitions that are held are judged
    again, also where neither they nor the rules have changed, and by the rules alone that there are now. dry_run: nothing is
    written.
    """

    run_id: str
    is_complete: bool | None = None
    lateness_s: int = 600
    held_too: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class GateReport:
    """What a pass came to.

    run_id: of the run. held: what is kept back now. released: window times of what was held before. published: whether main
    changed. waiting: how many partitions are not whole yet, with rules that need that; stopped: how many were not looked at since a
    rule of severity stop failed before them. pending: with dry_run, how many partitions would be published. is_beside: taken beside
    a stream, where waiting is nothing to tell.
    """

    dataset: str
    run_id: str = ""
    held: tuple[Hold, ...] = ()
    released: tuple[Range, ...] = ()
    published: bool = False
    waiting: int = 0
    stopped: int = 0
    pending: int = 0
    is_beside: bool = False

    def held_within(self, ranges: Sequence[Range]) -> list[Hold]:
        """What is held of these ranges."""
        return [hold for hold in self.held if any(hold.from_us < high and hold.to_us > low for low, high in ranges)]

    @property
    def reasons(self) -> list[str]:
        """Why a bounded run is no success, one sentence each. What an earlier run held is none, but where it stops this one."""
        own = [hold for hold in self.held if hold.run_id == self.run_id]
        return self._told(own or [hold for hold in self.held if self.stopped])

    @property
    def warnings(self) -> list[str]:
        """What to look at though it is no reason against this run, one sentence each."""
        waiting: list[str] = []
        if self.waiting and not self.is_beside:
            waiting = [
                f"{self.waiting} partition{'s' if self.waiting > 1 else ''} of {self.dataset} may still grow, since a stream feeds "
                f"it, and wait for records that tell that they are over; or: headrace quality release {self.dataset} --complete"
            ]
        return [*([] if self.reasons else self._told(self.held)), *waiting]

    def _told(self, held: Sequence[Hold]) -> list[str]:
        if not held:
            return []
        rules = sorted({rule for hold in held for rule in hold.rules})
        after = f"; {self.stopped} after it were not judged, since a rule says stop" if self.stopped else ""
        kept = f"{len(held)} partition{'s' if len(held) > 1 else ''} of {self.dataset}"
        return [f"the gate holds {kept} ({', '.join(rules)}){after}: headrace quality status {self.dataset}"]

    def log(self) -> None:
        """Say what is held where nobody reads a report."""
        for told in (*self.reasons, *self.warnings):
            _log.warning("%s", told)

    def document(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "held": [
                {"from": us_text(h.from_us, "seconds"), "to": us_text(h.to_us, "seconds"), "rules": h.rules, "severity": h.severity}
                for h in self.held
            ],
            "released": [[us_text(low, "seconds"), us_text(high, "seconds")] for low, high in self.released],
            "waiting": self.waiting,
            "stopped": self.stopped,
        }


@dataclass
class _Pass:
    """What a pass knows so far. judged: verdicts by partition and content; kept: those that are in ops.quality."""

    lake: Lake
    contract: Contract
    options: GateOptions
    accepted: dict[Partition, list[Acceptance]]
    history: _PassHistory
    references: LakeReferences
    queries: Queries
    judged: dict[tuple[int, str], list[RuleVerdict]] = field(default_factory=dict)
    kept: set[tuple[int, str]] = field(default_factory=set)


@dataclass(frozen=True)
class _Times:
    """whole_us: up to where partitions are judged as a whole. closed_us: up to where records tell that they are over, if asked."""

    whole_us: int
    closed_us: int | None


@dataclass
class _Ruling:
    """What becomes of the partitions of a candidate, by number. times: when they are whole."""

    times: _Times
    held: dict[int, Hold] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)

    @property
    def blocked(self) -> set[int]:
        """What main keeps as it is."""
        return {*self.held, *self.waiting, *self.stopped}


def rules_id(contract: Contract) -> str:
    """Names the rules as they are: what was judged by others is judged again."""
    return xxhash.xxh3_64_hexdigest(repr(contract.quality).encode())


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
    history = _PassHistory(StoredHistory(lake, contract.dataset, accepted))
    taken = _Pass(lake, contract, options, accepted, history, LakeReferences(lake), queries)
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
        ruling = _ruled(taken, candidate)
        known = holds_of(candidate.table)
        now_held = {hold.span: hold for hold in ruling.held.values()}
        turned = [hold for span, hold in now_held.items() if known.get(span) != hold]
        freed = [span for span in known if span not in now_held]
        if options.dry_run:
            return first, _report(taken, ruling, tuple(freed), False, len(ruling.passed))
        _keep(taken, candidate)
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


def _report(taken: _Pass, ruling: _Ruling, released: tuple[Range, ...], published: bool, pending: int) -> GateReport:
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


def _ruled(taken: _Pass, candidate: Candidate) -> _Ruling:
    """What becomes of each partition that main has in another state, in the order of time."""
    ruling, holds = _Ruling(_times(taken, candidate)), holds_of(candidate.table)
    gating = [rule for rule in taken.contract.quality.rules if rule.severity is not Severity.WARN]
    stopping = {rule.name for rule in gating if rule.severity is Severity.STOP}
    is_stopped = False
    changed = candidate.changed()
    for number in [*changed, *_closed_since(taken, candidate, changed, ruling.times.closed_us)]:
        hold = holds.get(candidate.span(number))
        is_whole = candidate.span(number)[1] <= ruling.times.whole_us
        if number not in changed:  # what main has already cannot be held
            _hold(taken, candidate, number, None, True)
            continue
        if is_stopped:
            ruling.stopped.append(number)
        elif not is_whole and not all(rule.holds_for_parts for rule in gating):
            ruling.waiting.append(number)
        else:
            hold = _hold(taken, candidate, number, hold, is_whole)
            is_stopped = hold is not None and not stopping.isdisjoint(hold.rules)
            if hold is None:
                ruling.passed.append(number)
        if hold is not None:  # also of one that nobody has judged again: nobody let it go
            ruling.held[number] = hold
    return ruling


def _times(taken: _Pass, candidate: Candidate) -> _Times:
    options, before = taken.options, closed_to(candidate.table)
    is_complete = before is None if options.is_complete is None else options.is_complete
    closed_us: int | None = None
    if before is not None or not is_complete:
        told = None if options.is_complete is False else lateness_of(candidate.table)
        closed_us = candidate.received_us() - (options.lateness_s if told is None else told) * SECOND_US
    if is_complete:
        return _Times(max((file.to_us for file in candidate.files), default=0) + candidate.length_us, closed_us)
    return _Times(closed_us or 0, closed_us)


def _closed_since(taken: _Pass, candidate: Candidate, changed: Sequence[int], closed_us: int | None) -> Iterator[int]:
    """Partitions that were published while they grew, and have not been judged as a whole yet."""
    before = closed_to(candidate.table)
    if not taken.contract.gated or before is None or closed_us is None:
        return
    for number in range(before // candidate.length_us, closed_us // candidate.length_us):
        if number not in changed and candidate.content_of(number)[0] != "0":
            yield number


def _hold(taken: _Pass, candidate: Candidate, number: int, known: Hold | None, is_whole: bool) -> Hold | None:
    """Why a partition is held; None where it may be published.

    A rule that gates no more, since it left the contract or only warns now, judges nothing new. What it held stays so, whatever
    rows come, until a person lets it go.
    """
    contract, options = taken.contract, taken.options
    content, by = candidate.content_of(number), rules_id(contract)
    partition = Partition(contract.dataset, *candidate.span(number))
    gating = {rule.name for rule in contract.quality.rules if rule.severity is not Severity.WARN}
    gone = {rule for rule in known.rules if rule not in gating} if known and not options.held_too else set()
    verdicts: Sequence[RuleVerdict] = ()
    if known and known.content == content and not options.held_too and known.judged_by == by:
        failed, severity = known.rules, known.severity
    else:
        verdicts = _verdicts(taken, candidate, number, content, is_whole) if contract.gated else ()
        failed = tuple(sorted({*_failed(verdicts), *gone}))
        worst = {str(gate_verdict(verdicts)), known.severity if known and gone else ""}
        severity = next((str(each) for each in (Severity.STOP, Severity.QUARANTINE) if str(each) in worst), "")
    covering = _covering(taken, partition, content, failed) if failed else []
    if verdicts:
        state = State.ACCEPTED if covering else State.HELD if failed else State.PUBLISHED
        taken.history.add(partition, verdicts, options.run_id, state, any(one.new_normal for one in covering))
    if not failed or covering:
        return None
    if known and not _failed(verdicts):  # this run is not why
        return replace(known, content=content, rules=failed, severity=severity, judged_by=by)
    same = known and (known.content, known.rules, known.severity, known.judged_by) == (content, failed, severity, by)
    now = utc_text(datetime.now(UTC), "milliseconds")
    return known if same and known else Hold(*candidate.span(number), content, failed, severity, by, options.run_id, now)


def _covering(taken: _Pass, partition: Partition, content: str, rules: Sequence[str]) -> list[Acceptance]:
    return [one for one in taken.accepted.get(partition, ()) if one.covers(content, rules)]


def _verdicts(taken: _Pass, candidate: Candidate, number: int, content: str, is_whole: bool) -> list[RuleVerdict]:
    key = number, content
    if key not in taken.judged:
        contract = taken.contract if is_whole else _for_parts(taken.contract)
        files = tuple(file for file in candidate.files if not file.dropped)
        view = LakeView(candidate.table, files, candidate.snapshot.snapshot_id)
        partition = Partition(contract.dataset, *candidate.span(number))
        taken.judged[key] = list(judge_partitions(view, contract, [partition], taken.history, taken.references, taken.queries))
        if not is_whole:
            taken.kept.add(key)  # it is judged again when it is whole
    return taken.judged[key]


def _for_parts(contract: Contract) -> Contract:
    """With the rules that hold for a part of a partition."""
    rules: tuple[QualityRule, ...] = tuple(rule for rule in contract.quality.rules if rule.holds_for_parts)
    return replace(contract, quality=replace(contract.quality, rules=rules))


def _failed(verdicts: Sequence[RuleVerdict]) -> tuple[str, ...]:
    bad = (Verdict.FAILED, Verdict.ERROR)
    return tuple(sorted(each.rule for each in verdicts if each.verdict in bad and each.severity is not Severity.WARN))


def _keep(taken: _Pass, candidate: Candidate) -> None:
    """Keep the verdicts that are not kept yet."""
    at_us = time.time_ns() // 1_000
    new = {key: verdicts for key, verdicts in taken.judged.items() if key not in taken.kept}
    keep_verdicts(
        taken.lake,
        [
            Judgement(
                run_id=taken.options.run_id, at_us=at_us, snapshot_id=candidate.snapshot.snapshot_id,
                contract_version=taken.contract.version, verdict=verdict, content=content,
            )
            for (_, content), verdicts in new.items()
            for verdict in verdicts
        ],
    )  # fmt: skip
    taken.kept |= new.keys()


@dataclass
class _PassHistory:
    """What is known of earlier partitions: what was kept, and what this pass has judged since."""

    stored: StoredHistory
    own: dict[Partition, dict[str, Past]] = field(default_factory=dict)

    def past(self, rule: str, before_us: int) -> Sequence[Past]:
        """See History."""
        found = {past.partition: past for past in self.stored.past(rule, before_us)}
        for partition, by_rule in self.own.items():
            if partition.to_us <= before_us and rule in by_rule:
                found[partition] = by_rule[rule]
        return [found[partition] for partition in sorted(found)]

    def add(
        self, partition: Partition, verdicts: Sequence[RuleVerdict], run_id: str, state: State = State.PUBLISHED,
        new_normal: bool = False,
    ) -> None:  # fmt: skip
        """These are the verdicts of a partition, and what became of it."""
        self.own[partition] = {
            each.rule: Past(
                partition=partition,
                verdict=each.verdict,
                observed=each.observed if isinstance(each.observed, float) else None,
                rows=each.rows,
                observation=each.observation,
                run_id=run_id,
                judged_us=time.time_ns() // 1_000,
                state=state,
                new_normal=new_normal,
            )
            for each in verdicts
        }
