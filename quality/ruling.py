"""What a gate decides of the partitions of a candidate: published, held, or not yet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import xxhash

from contracts.spec.model import Contract
from contracts.spec.quality import QualityRule, Severity
from contracts.units import SECOND_US, utc_text
from lake.location import Lake
from lake.tables.candidate import Candidate
from lake.tables.holds import Hold, Range, closed_to, holds_of, lateness_of
from quality.acceptances import Acceptance
from quality.gate_report import GateOptions
from quality.history import State
from quality.judge import judge_partitions
from quality.past import Past
from quality.sql_process import Queries
from quality.store import Judgement, keep_verdicts
from quality.stored import StoredHistory
from quality.verdicts import Partition, RuleVerdict, Verdict, gate_verdict
from quality.view import LakeReferences, LakeView


@dataclass
class Pass:
    """What a pass knows so far. judged: verdicts by partition and content; kept: those that are in ops.quality."""

    lake: Lake
    contract: Contract
    options: GateOptions
    accepted: dict[Partition, list[Acceptance]]
    history: PassHistory
    references: LakeReferences
    queries: Queries
    judged: dict[tuple[int, str], list[RuleVerdict]] = field(default_factory=dict)
    kept: set[tuple[int, str]] = field(default_factory=set)


@dataclass(frozen=True)
class Times:
    """whole_us: up to where partitions are judged as a whole. closed_us: up to where records tell that they are over, if asked."""

    whole_us: int
    closed_us: int | None


@dataclass
class Ruling:
    """What becomes of the partitions of a candidate, by number. times: when they are whole."""

    times: Times
    held: dict[int, Hold] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)

    @property
    def blocked(self) -> set[int]:
        """What main keeps as it is."""
        return {*self.held, *self.waiting, *self.stopped}


def _rules_id(contract: Contract) -> str:
    """Names the rules as they are: what was judged by others is judged again."""
    return xxhash.xxh3_64_hexdigest(repr(contract.quality).encode())


def ruled(taken: Pass, candidate: Candidate) -> Ruling:
    """What becomes of each partition that main has in another state, in the order of time."""
    ruling, holds = Ruling(_times(taken, candidate)), holds_of(candidate.table)
    gating = [rule for rule in taken.contract.quality.rules if rule.severity is not Severity.WARN]
    stopping = {rule.name for rule in gating if rule.severity is Severity.STOP}
    is_stopped = False
    changed = candidate.changed()
    for number in [*changed, *_closed_since(taken, candidate, changed, ruling.times.closed_us)]:
        hold = holds.get(candidate.span(number)) or _held_otherwise(holds, candidate.span(number))
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


def _held_otherwise(holds: Mapping[Range, Hold], span: Range) -> Hold | None:
    """What holds a partition whose rows were held while partitions were cut in another way: all that held a part of it.

    It is judged anew, since no content fits; what no rule judges any more stays held as it was.
    """
    met = [hold for hold in holds.values() if hold.from_us < span[1] and hold.to_us > span[0]]
    if not met:
        return None
    rules = tuple(sorted({rule for hold in met for rule in hold.rules}))
    severity = max((hold.severity for hold in met), key=lambda said: said == Severity.STOP)
    first = min(met, key=lambda hold: hold.since)
    return Hold(*span, "", rules, severity, "", first.run_id, first.since)


def _times(taken: Pass, candidate: Candidate) -> Times:
    options, before = taken.options, closed_to(candidate.table)
    is_complete = before is None if options.is_complete is None else options.is_complete
    closed_us: int | None = None
    if before is not None or not is_complete:
        told = None if options.is_complete is False else lateness_of(candidate.table)
        closed_us = candidate.received_us() - (options.lateness_s if told is None else told) * SECOND_US
    if is_complete:
        return Times(max((file.to_us for file in candidate.files), default=0) + candidate.length_us, closed_us)
    return Times(closed_us or 0, closed_us)


def _closed_since(taken: Pass, candidate: Candidate, changed: Sequence[int], closed_us: int | None) -> Iterator[int]:
    """Partitions that were published while they grew, and have not been judged as a whole yet."""
    before = closed_to(candidate.table)
    if not taken.contract.gated or before is None or closed_us is None:
        return
    for number in range(before // candidate.length_us, closed_us // candidate.length_us):
        if number not in changed and candidate.content_of(number)[0] != "0":
            yield number


def _hold(taken: Pass, candidate: Candidate, number: int, known: Hold | None, is_whole: bool) -> Hold | None:
    """Why a partition is held; None where it may be published.

    A rule that gates no more, since it left the contract or only warns now, judges nothing new. What it held stays so, whatever
    rows come, until a person lets it go.
    """
    contract, options = taken.contract, taken.options
    content, by = candidate.content_of(number), _rules_id(contract)
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


def _covering(taken: Pass, partition: Partition, content: str, rules: Sequence[str]) -> list[Acceptance]:
    return [one for one in taken.accepted.get(partition, ()) if one.covers(content, rules)]


def _verdicts(taken: Pass, candidate: Candidate, number: int, content: str, is_whole: bool) -> list[RuleVerdict]:
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


def keep_judged(taken: Pass, candidate: Candidate) -> None:
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
class PassHistory:
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
