"""What a replay would change, as one JSON-ready document: rows, windows, columns, reasons, ledgers and a few samples.

The two states are compared block by block; what is kept of a row that came or went is its position, and from the positions the
ledgers tell at the end why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import EqualTo

from contracts.codes import Code
from contracts.spec.project import Project
from contracts.units import SECOND_US, us_text
from lake.acts import note_act
from lake.ledger.ledger import LedgerEntry
from lake.location import Lake
from lake.privacy import hidden_ids
from lake.raw.positions import Ints
from lake.runs.manifest import recent_runs
from lake.runs.progress import Progress, Report
from lake.runs.replays import Replay, Step, replay_of
from lake.tables.diff import compare
from lake.tables.iceberg import DEAD_LETTERS, LEDGER
from lake.tables.swap import files_at
from operations.cells import Masked
from operations.replay.states import Place, State, is_published, states_of
from operations.replay.tally import KEY, Tally
from pipelines.replay.costs import taken_by
from pipelines.replay.plan import dataset_of

_RUNS_LOOKED_AT = 20


def difference(
    lake: Lake, project: Project, name: str, *, samples: int = 5, reveal: bool = False, report: Report | None = None
) -> dict[str, Any]:
    """Compare a replay with the live table; of one that was promoted, the live table before with it after.

    Args:
        lake: where.
        project: whose contract says which columns are personal data: their values are masked.
        name: the replay's.
        samples: most rows to show of each kind.
        reveal: show their event ids; the lake records it.
        report: is told of progress.

    Returns:
        The document. Its values are texts, numbers, lists and mappings; times are ISO 8601.

    Raises:
        ConfigurationError: there is no such replay, it was discarded, or has nothing to compare yet.
    """
    replay = replay_of(lake, name)
    _, contract = dataset_of(project, replay.dataset, replay.spec["sources"])
    promoted = is_published(lake, replay)
    live, rebuilt = states_of(lake, replay, promoted=promoted)
    base = None if promoted else files_at(lake.load(replay.table), replay.tag("base"), replay.ranges)
    tally = Tally(replay.spec["window_s"] * SECOND_US, Masked.of(contract), samples, base)
    total = sum(high - low for low, high in replay.ranges)
    for block in compare(live.files, rebuilt.files, replay.ranges, KEY):
        tally.add(block)
        if report:
            done = sum(min(block.to_us, high) - low for low, high in replay.ranges if low < block.to_us)
            report(Progress("compare", done, total, us_text(block.from_us)))
    if reveal:
        note_act(lake, "replay diff", {"replay": name})
    else:
        _hide_ids(lake, tally)
    return {
        **_header(lake, replay, live, rebuilt, promoted=promoted),
        **tally.document(total),
        **_reasons(replay.table, tally, live, rebuilt),
        "ledger": _ledgers(lake, replay, live, rebuilt),
    }


def _hide_ids(lake: Lake, tally: Tally) -> None:
    samples = [sample for found in tally.samples.values() for sample in found]
    hidden = hidden_ids(lake) if samples else str
    for sample in samples:
        sample["event_id"] = hidden(sample["event_id"])


def _header(lake: Lake, replay: Replay, live: State, rebuilt: State, *, promoted: bool) -> dict[str, Any]:
    base = lake.load(replay.table).metadata.snapshot_by_name(replay.tag("base"))
    refs = {
        "base": {"ref": replay.tag("base"), "snapshot_id": base.snapshot_id if base else None},
        "live": {"ref": live.ref, "snapshot_id": live.snapshot_id},
        "replay": {"ref": rebuilt.ref, "snapshot_id": rebuilt.snapshot_id},
    }
    return {
        "replay": replay.name,
        "dataset": replay.dataset,
        "step": str(replay.step),
        **_standing(replay, promoted=promoted),
        **taken_by(replay),
        "ranges": [[us_text(low), us_text(high)] for low, high in replay.ranges],
        "window_s": replay.spec["window_s"],
        "branch": replay.branch,
        "snapshots": refs,
        "contract_versions": {"live": _live_versions(lake, replay, live), "replay": replay.spec["contract_version"]},
        "code_version": replay.spec["code_version"],
    }


def _standing(replay: Replay, *, promoted: bool) -> dict[str, str | None]:
    """What is compared, in a sentence, and the command that may come next."""
    command = "headrace replay"
    if promoted:
        next_ = f"{command} rollback {replay.name}" if replay.step is Step.PROMOTED else None
        state = f"{replay.step}: the live table right before its promotion against the same right after"
        return {"state": state, "next": next_ or (f"{command} promote {replay.name}" if replay.step is Step.PROMOTING else None)}
    if replay.step in (Step.FINISHED, Step.PROMOTING):
        return {"state": f"{replay.step}: the live table against the replay", "next": f"{command} promote {replay.name}"}
    state = f"not finished ({replay.step}): what is not rebuilt yet is told as removed"
    return {"state": state, "next": f"{command} run {replay.name}"}


def _live_versions(lake: Lake, replay: Replay, live: State) -> list[str]:
    """Contract versions that live dead letters and the manifests of recent runs name."""
    runs = [run for run in recent_runs(lake, _RUNS_LOOKED_AT) if run.pipeline != "replay"]
    named = {run.contracts[replay.dataset] for run in runs if replay.dataset in run.contracts}
    try:
        scan = live.lake.load(DEAD_LETTERS).scan(
            row_filter=EqualTo("dataset", replay.dataset), selected_fields=("contract_version",)
        )
    except NoSuchTableError:
        return sorted(named)
    for batch in scan.to_arrow_batch_reader():
        named.update(batch.column(0).unique().to_pylist())
    return sorted(named)


def _reasons(table: str, tally: Tally, live: State, rebuilt: State) -> dict[str, Any]:
    """Why rows were added (the live ledger knows) and removed (the replay's does), counted and of each sample."""
    asked: dict[str, tuple[State, Callable[[LedgerEntry], dict[str, int]]]] = {
        "added": (live, _why_added),
        "removed": (rebuilt, _why_removed),
    }
    why: dict[str, dict[str, int]] = {}
    for kind, (state, reasons) in asked.items():
        why[kind] = reasons(sum(state.ledger(table, tally.positions[kind]).values(), LedgerEntry()))
        for sample in tally.samples[kind]:
            where = {(sample["source"], sample["raw_file"]): [np.array([sample["position"], 1], dtype=np.int64)]}
            sample["why"] = next(iter(reasons(sum(state.ledger(table, where).values(), LedgerEntry()))))
    why["changed"] = {reason: count for reason, count in tally.changed_why.items() if count}
    ordered = {kind: dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for kind, found in why.items()}
    return {"why": ordered, "samples": tally.samples}


def _why_added(entry: LedgerEntry) -> dict[str, int]:
    """What had become of positions in the live lake whose rows only the replay has."""
    found = {
        "late row folded in": entry.late,
        "was filtered": entry.filtered,
        "was never ingested": entry.pending,
        "was in another window": entry.out + entry.outside,
        **_taken_away("was", entry),
        "lost against another row before": entry.duplicate + entry.codes.get(Code.CONFLICTING_DUPLICATE, 0),
        **_by_code("was rejected", entry),
    }
    return {reason: count for reason, count in found.items() if count}


def _why_removed(entry: LedgerEntry) -> dict[str, int]:
    """What became of positions in the replay whose rows only the live table has."""
    found = {
        "filtered now": entry.filtered,
        "its raw was not read": entry.pending,
        "belongs to another window now": entry.outside + entry.out,
        "lost against another row now": entry.duplicate + entry.codes.get(Code.CONFLICTING_DUPLICATE, 0),
        "late now": entry.late,
        **_taken_away("now", entry),
        **_by_code("rejected now", entry),
    }
    return {reason: count for reason, count in found.items() if count}


def _taken_away(when: str, entry: LedgerEntry) -> dict[str, int]:
    found = {"held": entry.held, "expired": entry.expired, "erased": entry.erased, "neither published nor dropped": entry.lost}
    return {f"was {what}" if when == "was" else f"{what} now": count for what, count in found.items()}


def _by_code(told: str, entry: LedgerEntry) -> dict[str, int]:
    codes = {code: count for code, count in entry.codes.items() if code != Code.CONFLICTING_DUPLICATE}
    known = sum(codes.values()) + entry.codes.get(Code.CONFLICTING_DUPLICATE, 0)
    return {f"{told}: {code}": count for code, count in sorted(codes.items())} | {
        f"{told}; its dead letter is gone": max(entry.dead_letter - known, 0)
    }


def _ledgers(lake: Lake, replay: Replay, live: State, rebuilt: State) -> dict[str, Any]:
    """By source, what became of the raw that the replay read: in the live lake, and in the replay."""
    read: dict[Place, list[Ints]] = {}
    rows = Lake(lake.root, lake.catalog_url, replay.branch).load(LEDGER).scan(selected_fields=("source", "raw_file", "runs"))
    for batch in rows.to_arrow_batch_reader():
        for source, raw_file, runs in zip(*(batch.column(n) for n in ("source", "raw_file", "runs")), strict=True):
            read.setdefault((source.as_py(), raw_file.as_py()), []).append(runs.values.to_numpy())
    sides = {"live": live.ledger(replay.table, read), "replay": rebuilt.ledger(replay.table, read)}
    return {source: {side: asdict(entries[source]) for side, entries in sides.items()} for source in sides["replay"]}
