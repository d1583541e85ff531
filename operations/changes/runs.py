"""What changed from run to run: contracts, specs, versions and options, each told by the first run that worked by it.

What was there before a time is what the last run before it worked by, of each source and destination. Run ids sort by time and hold
the name, so only those runs and the ones since are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from contracts.evolution.datasets import contract_changes
from contracts.evolution.stored_specs import spec_differences
from contracts.spec.model import Contract
from contracts.text import json_text
from contracts.units import utc_text
from lake.kept_contracts import kept_contract, kept_contracts
from lake.kept_specs import DESTINATION, SOURCE, kept_spec
from lake.location import Lake
from lake.runs.basis import RunBasis
from lake.runs.manifest import RunSummary, read_run
from operations.changes.entries import ChangeEntry, ChangeKind

Key = tuple[ChangeKind, str, str]  # kind, whose (of options: the source or destination), name
_OF_ONE_RUN = {"lake", "input", "source", "destination", "start", "end", "until", "from_savepoint", "name", "approved_by", "reason"}
_NOT_GIVEN = "not given"
_ANY_STATE = "-?"  # of a contract of which only the version is known
_STAMP = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True)
class Moment:
    """A run at the moment from which it worked by a basis."""

    at: str
    run: RunSummary
    basis: RunBasis


def run_changes(lake: Lake, since: datetime, until: datetime) -> list[ChangeEntry]:
    """What runs that began in [since, until) worked by and the ones before them did not."""
    known: dict[Key, str] = {}
    found: list[ChangeEntry] = []
    blind = False  # whether an earlier version ran here, which did not tell all that it worked by
    low, high = (utc_text(moment, "milliseconds") for moment in (since, until))
    for moment in sorted(_moments(lake, since, until), key=lambda each: (each.at, each.run.run_id)):
        if moment.at >= high:
            break
        blind = blind or not moment.run.bases
        asked = {key[:2] for key in known if key[0] is ChangeKind.OPTION}
        for key, state in _states(moment, known).items():
            before = known.get(key, _NOT_GIVEN if key[:2] in asked else None)
            known[key] = state
            if moment.at < low or before == state or (before is None and blind):
                continue
            if entry := _entry(lake, moment, key, before, state):
                found.append(entry)
    return found


def run_began(run_id: str) -> datetime | None:
    """When a run began, as its id says; None where it is no run id."""
    try:
        return datetime.strptime(run_id.partition("-")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _moments(lake: Lake, since: datetime, until: datetime) -> Iterator[Moment]:
    """Of the runs in between, those that go on into it, and of each name the last one before."""
    last: dict[str, str] = {}
    inside: list[str] = []
    for run_id in lake.storage.folders(lake.at_key("_runs")):
        began = run_began(run_id)
        if began is None or began >= until:
            continue
        if began >= since:
            inside.append(run_id)
        else:
            last[run_id.partition("-")[2].rpartition("-")[0]] = run_id
    for run in lake.storage.map(lambda run_id: read_run(lake, run_id), [*last.values(), *inside]):
        if run is not None:
            for basis in run.bases or _of_manifest(run):
                yield Moment(basis.since or run.started_at, run, basis)


def _of_manifest(run: RunSummary) -> list[RunBasis]:
    """What a run of an earlier version told at its end; nothing of one that has none, such as a promotion's."""
    document = run.manifest
    if "options" not in document:
        return [] if "version" in document else [RunBasis(headrace="", libraries={})]
    contracts = {dataset: f"{version}{_ANY_STATE}" for dataset, version in run.contracts.items()}
    return [RunBasis(contracts=contracts, options=document["options"], headrace=document["version"], libraries={})]


def _states(moment: Moment, known: Mapping[Key, str]) -> dict[Key, str]:
    """What a run worked by; of an option that it was not given, and the run before was, that."""
    basis, whose = moment.basis, moment.run.source
    given = {} if moment.run.pipeline == "replay" else basis.options  # a replay has those of its own alone
    options = {name: _text(value) for name, value in given.items() if name not in _OF_ONE_RUN}
    if given:
        names = {name for kind, owner, name in known if (kind, owner) == (ChangeKind.OPTION, whose)}
        options = dict.fromkeys(names - options.keys(), _NOT_GIVEN) | options
    return {
        **{(ChangeKind.CONTRACT, "", name): state for name, state in basis.contracts.items()},
        **{(ChangeKind.SOURCE, "", name): state for name, state in basis.sources.items()},
        **{(ChangeKind.DESTINATION, "", name): state for name, state in basis.destinations.items()},
        **({(ChangeKind.CODE, "", "headrace"): basis.headrace} if basis.headrace else {}),
        **{(ChangeKind.LIBRARY, "", name): state for name, state in basis.libraries.items()},
        **{(ChangeKind.OPTION, whose, name): value for name, value in options.items()},
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value, str, indent=None)


def _entry(lake: Lake, moment: Moment, key: Key, before: str | None, after: str) -> ChangeEntry | None:
    """None for what is no change: of versions and options that are told for the first time, what was there before is not known."""
    kind, whose, name = key
    entry = ChangeEntry(
        at=moment.at, kind=kind, subject=name, what="", before=before, after=after,
        datasets=tuple(sorted(moment.basis.contracts)), run_id=moment.run.run_id,
    )  # fmt: skip
    if kind is ChangeKind.CONTRACT:
        return _contract_entry(lake, replace(entry, datasets=(name,)))
    if kind in (ChangeKind.SOURCE, ChangeKind.DESTINATION):
        return _spec_entry(lake, entry)
    if before is None:
        return None
    if kind is ChangeKind.OPTION:
        return replace(entry, subject=whose, what=f"--{name.replace('_', '-')} is {after}, was {before}")
    return replace(entry, what=f"{name} is {after}, was {before}", datasets=())


def _contract_entry(lake: Lake, entry: ChangeEntry) -> ChangeEntry | None:
    assert entry.after is not None
    if entry.before is None:
        return replace(entry, what=f"{entry.subject}: the first run with it, by contract {_version(entry.after)}")
    old, new = (_contract(lake, entry.subject, state) for state in (entry.before, entry.after))
    if old is None or new is None or old == new:
        same = _version(entry.before) == _version(entry.after)
        return None if same else replace(entry, what=_versions(entry) + "; what changed in it is not known")
    details = tuple(f"{change.what}{_whom(change.affected)}" for change in contract_changes(old, new, on=_day(entry.at)))
    return replace(entry, what=_versions(entry), details=details)


def _versions(entry: ChangeEntry) -> str:
    before, after = _version(entry.before or ""), _version(entry.after or "")
    if before == after:
        return f"{entry.subject}: contract {after} is another, under the same version"
    return f"{entry.subject}: contract {after}, was {before}"


def _version(state: str) -> str:
    return state.partition("-")[0]


def _contract(lake: Lake, dataset: str, state: str) -> Contract | None:
    """A state of a contract; of an earlier version of Headrace, which told only the contract's version, the last one of that."""
    if not state.endswith(_ANY_STATE):
        return kept_contract(lake, dataset, state)
    states: Sequence[Contract] = [each for each in kept_contracts(lake, dataset) if each.version == _version(state)]
    return states[-1] if states else None


def _whom(affected: Sequence[str]) -> str:
    return f", for {' and '.join(affected)}" if affected else ""


def _day(at: str) -> Any:
    return datetime.fromisoformat(at).date()


_SPECS: Mapping[ChangeKind, str] = {ChangeKind.SOURCE: SOURCE, ChangeKind.DESTINATION: DESTINATION}


def _spec_entry(lake: Lake, entry: ChangeEntry) -> ChangeEntry:
    kind, name = _SPECS[entry.kind], entry.subject
    if entry.before is None:
        return replace(entry, what=f"{kind} {name}: the first run with it")
    texts = [kept_spec(lake, kind, name, state) for state in (entry.before, entry.after or "")]
    try:
        details = tuple(spec_differences(texts[0], texts[1])) if texts[0] and texts[1] else ()
    except ValueError:
        details = ()
    return replace(
        entry, what=f"{kind} {name}: another spec" + ("" if details else "; what changed in it is not known"), details=details
    )
