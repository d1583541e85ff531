"""``headrace changes``: everything that changed around a lake in a time, sorted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from contracts.compiler.timestamps import parse_timestamp
from contracts.errors import ConfigurationError
from contracts.units import us_to_datetime, utc_text
from lake.location import Lake
from lake.runs.manifest import read_run
from operations.changes.acts import acts
from operations.changes.entries import ChangeEntry, ChangeKind
from operations.changes.gates import gate_changes
from operations.changes.runs import run_began, run_changes
from operations.changes.volume import volume_changes

_TICK = timedelta(milliseconds=1)  # to which times are told


def changes_between(
    lake: Lake, since: datetime, until: datetime, datasets: Sequence[str] = (), kinds: Sequence[ChangeKind] = ()
) -> list[ChangeEntry]:
    """What changed in [since, until), the earliest first: the same for the same lake, whoever asks and when.

    Args:
        lake: whose manifests, records and tables say so.
        since: from here on.
        until: to here.
        datasets: only what may concern one of these; empty for everything.
        kinds: only these; empty for all.
    """
    wanted = set(kinds or ChangeKind)
    low, high = (utc_text(moment, "milliseconds") for moment in (since, until))
    found = [] if wanted <= {ChangeKind.ACT, ChangeKind.GATE, ChangeKind.VOLUME} else run_changes(lake, since, until)
    if ChangeKind.ACT in wanted:
        found += [entry for entry in acts(lake) if low <= entry.at < high]
    if ChangeKind.GATE in wanted:
        found += gate_changes(lake, since, until)
    if ChangeKind.VOLUME in wanted:
        found += volume_changes(lake, since, until)
    chosen = (e for e in found if e.kind in wanted and (not datasets or any(map(e.concerns, datasets))))
    return sorted(chosen, key=lambda entry: entry.order)


def moment_of(lake: Lake, text: str) -> datetime:
    """The time behind ``--since`` and ``--until``: a time; or a run, right after it began, so that what it worked by is what was.

    Raises:
        ConfigurationError: it is neither.
    """
    if (began := run_began(text)) is not None:
        if read_run(lake, text) is None:
            raise ConfigurationError(f"no run {text!r} in this lake; headrace status lists the last ones")
        return _ceiled(began)
    microseconds = parse_timestamp(text, None)
    if microseconds is None:
        raise ConfigurationError(f"{text!r}: expected a run that headrace status lists, or a time such as 2026-11-02T10:00:00Z")
    return us_to_datetime(microseconds)


def _ceiled(moment: datetime) -> datetime:
    """The next millisecond: times in records are cut to them."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000) + _TICK
