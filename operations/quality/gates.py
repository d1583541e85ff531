"""Gates of a lake's datasets: what they hold, and the two things that people do about it, accept and release."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, name_and_major
from contracts.spec.project import Project
from contracts.spec.quality import Severity
from contracts.units import datetime_to_us
from lake.acts import note_act
from lake.location import Lake
from lake.runs.clock import RunClock, new_run_id
from lake.tables.audit import is_audited
from lake.tables.candidate import Candidate
from lake.tables.gate import unjudged_s
from lake.tables.holds import Hold, Range, holds_of, partition_length_s
from lake.upkeep import all_tables
from quality.acceptances import Acceptance, accept, acceptances
from quality.gate_report import GateOptions, GateReport
from quality.store import Judgement, judgements, newest
from quality.verdicts import Partition
from transforms.converge.gate import settle_and_gate

_STUCK_S = 600.0


@dataclass(frozen=True)
class HeldPartition:
    """A held partition as people look at it.

    rows: that are held. verdicts: the newest of the rules that it failed. accepted: what a person said of just these rows and
    rules; None where nobody did. public_rows: of the last good state, which readers see.
    """

    dataset: str
    hold: Hold
    rows: int
    verdicts: tuple[Judgement, ...]
    accepted: Acceptance | None
    public_rows: int


@dataclass(frozen=True)
class GateState:
    """A gate. behind: how many partitions readers see in another state than jobs left them, held ones among them."""

    dataset: str
    partition_s: int
    held: tuple[HeldPartition, ...]
    behind: int


@dataclass(frozen=True)
class GateNote:
    """A gate in short. held: how many partitions. unjudged_s: for how long rows that jobs committed have waited for a pass."""

    dataset: str
    held: int
    unjudged_s: float

    @property
    def is_stuck(self) -> bool:
        """Whether passes fail, or nobody takes any: a stream takes one a minute."""
        return self.unjudged_s > _STUCK_S


def gates(lake: Lake, datasets: Sequence[str] = ()) -> Iterator[GateState]:
    """The gates of a lake.

    Args:
        lake: where.
        datasets: only of these; all where there are none.

    Raises:
        ConfigurationError: one of them has no gate.
    """
    tables = [name for name in all_tables(lake) if name.startswith("validated.") and is_audited(lake, name)]
    known = {name.removeprefix("validated."): name for name in tables}
    if odd := [dataset for dataset in datasets if dataset not in known]:
        raise ConfigurationError(
            f"{', '.join(odd)}: has no gate in this lake; there is: {', '.join(known) or 'none'}. A dataset has one once a job ran "
            "with a contract that has a rule of severity quarantine or stop"
        )
    for dataset in datasets or known:
        yield _state(lake, dataset, known[dataset])


def gate_notes(lake: Lake) -> Iterator[GateNote]:
    """Gates that somebody has to look at: that hold something, or that nobody takes a pass of."""
    catalog, now_s = lake.catalog(), time.time()
    for name in (name for name in all_tables(lake) if name.startswith("validated.")):
        table = catalog.load_table(name)
        if partition_length_s(table) is not None:
            note = GateNote(name.removeprefix("validated."), len(holds_of(table)), unjudged_s(lake, name, now_s))
            if note.held or note.is_stuck:
                yield note


def _state(lake: Lake, dataset: str, name: str) -> GateState:
    table = lake.public.load(name)
    accepted = acceptances(lake, dataset)
    held = []
    candidate = Candidate.newest(lake, name)
    for hold in holds_of(table).values():
        partition = Partition(dataset, *hold.span)
        found = judgements(lake, dataset=dataset, from_us=hold.from_us, to_us=hold.to_us)
        told = [each for (of, rule), each in newest(found).items() if of == partition and rule in hold.rules]
        said = next((one for one in accepted.get(partition, ()) if one.covers(hold.content, hold.rules)), None)
        shown = candidate.public_rows(hold.span)
        rows = int(hold.content.partition("-")[0])
        held.append(HeldPartition(dataset, hold, rows, tuple(sorted(told, key=lambda one: one.verdict.rule)), said, shown))
    return GateState(dataset, partition_length_s(table) or 0, tuple(held), len(candidate.changed()))


def accept_held(
    lake: Lake,
    dataset: str,
    chosen: Sequence[Range],
    *,
    by: str,
    reason: str,
    new_normal: bool = False,
    as_of_us: int | None = None,
) -> list[tuple[Acceptance, bool]]:
    """Overrule the verdicts on held partitions, as they were judged. Nothing is published by that.

    Args:
        lake: where.
        dataset: whose.
        chosen: window times of the partitions; all that are held where there are none.
        by: who, by name.
        reason: why.
        new_normal: what came is to be expected from now on.
        as_of_us: when the person looked, microseconds: what was held after that, nobody has seen.

    Returns:
        What holds of each, and whether it was said just now.

    Raises:
        ConfigurationError: a partition is not held, or was judged again since; name or reason are blank.
    """
    (state,) = gates(lake, [dataset])
    found = []
    wanted = chosen_of(state, chosen)
    for held in wanted:
        if as_of_us is not None and datetime_to_us(datetime.fromisoformat(held.hold.since)) > as_of_us:
            raise ConfigurationError(
                f"{Partition(dataset, *held.hold.span)}: was judged at {held.hold.since}, after you looked; nothing was accepted. "
                f"Look again: headrace quality status {dataset}"
            )
    for held in wanted:
        partition = Partition(dataset, *held.hold.span)
        found.append(accept(lake, partition, held.hold.content, held.hold.rules, by=by, reason=reason, new_normal=new_normal))
    return found


def chosen_of(state: GateState, chosen: Sequence[Range]) -> list[HeldPartition]:
    """Held partitions that reach into these ranges; all where there are none.

    Raises:
        ConfigurationError: nothing is held of one of them.
    """
    if not chosen:
        return list(state.held)
    found = [h for h in state.held if any(h.hold.from_us < high and h.hold.to_us > low for low, high in chosen)]
    for low, high in chosen:
        if not any(held.hold.from_us < high and held.hold.to_us > low for held in found):
            raise ConfigurationError(
                f"{state.dataset}: nothing is held there; headrace quality status {state.dataset} tells what is"
            )
    return found


def release(lake: Lake, project: Project, dataset: str, *, by: str | None, dry_run: bool, is_complete: bool = False) -> GateReport:
    """Judge what is held again, and publish what passes now or was accepted; and everything else that may be published.

    What was held by rules that gate no more is published too, by name: so nothing gets through by a rule that is taken away.

    Args:
        lake: where.
        project: with the contract.
        dataset: whose.
        by: who, by name; needed where something is held by a rule that the contract has no more.
        dry_run: change nothing, and tell what would come of it.
        is_complete: nothing more comes for now, though a stream has fed the dataset: every partition is judged as a whole.

    Raises:
        ConfigurationError: the dataset has no gate; a name is needed.
        ComponentDownError: no commit succeeded before the deadline; may be done again.
    """
    (state,) = gates(lake, [dataset])
    contract = contract_of(project, dataset)
    gating = {rule.name for rule in contract.quality.rules if rule.severity is not Severity.WARN}
    gone = sorted({rule for held in state.held for rule in held.hold.rules} - gating)
    if gone and not by:
        raise ConfigurationError(
            f"{dataset}: something is held by {', '.join(gone)}, which the contract has no more, or only as a warning; "
            "to let it go give --by NAME"
        )
    run_id = new_run_id(f"release-{dataset}", RunClock())
    if not dry_run:
        what = {"dataset": dataset, "held": len(state.held), "run_id": run_id}
        note_act(lake, "quality release", what, by=by)
    options = GateOptions(run_id=run_id, is_complete=is_complete or None, held_too=True, dry_run=dry_run)
    _, report = settle_and_gate(lake, contract, options)
    assert report is not None
    return report


def contract_of(project: Project, dataset: str) -> Contract:
    """The contract by which jobs write a dataset."""
    source = next(iter(project.sources_of(dataset)), None)
    return project.source(source)[1] if source else project.contract(*name_and_major(dataset))
