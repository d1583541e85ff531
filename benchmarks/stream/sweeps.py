"""What the job's sweeps did: read from its log, from the table's snapshots, and from how old the settled one was. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from pyiceberg.table.snapshots import Operation, Snapshot

from lake.tables.iceberg import ROWS_PROPERTY

_DONE = re.compile(r"sweep of (\S+): (\d+) rows dropped in ([\d.]+) s, of CPU ([\d.]+) s")
_PUT_OFF = re.compile(r"sweep of (\S+) put off: (.*)")


@dataclass(frozen=True)
class Sweep:
    """One that ended, as its log line tells. cpu_s: of its thread; Arrow reads files of 20,000 rows and more in others."""

    dropped: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Commits:
    """Commits of sweeps, and the snapshots that they made on either branch."""

    commits: int
    on_main: int
    on_dropped: int


@dataclass(frozen=True)
class SweepFigures:
    """What the horizon cost and gave in a run.

    published, dropped, folded, refused: messages by what became of them; together all that were sent. left: copies that were still
    published when everything was accounted for and no sweep had come for longer than their interval. sweeps: those that dropped
    something or nothing, in order. put_off: causes. settled_age_s: looked at while messages were sent, after the warm-up.
    """

    published: int
    dropped: int
    folded: int
    refused: int
    left: int
    sweeps: Sequence[Sweep]
    put_off: Sequence[str]
    commits: Commits
    settled_age_s: Sequence[float]

    def lines(self) -> list[str]:
        """For people."""
        ages, cpu, wall = self.settled_age_s or [0.0], [s.cpu_s for s in self.sweeps], [s.wall_s for s in self.sweeps]
        return [
            f"{self.published:,} published + {self.dropped:,} dropped + {self.folded:,} folded + {self.refused:,} refused, "
            "as many as were sent",
            f"{len(self.sweeps)} sweeps, {len(self.put_off)} put off; {self.commits.commits} commits, with {self.commits.on_main} "
            f"snapshots of main and {self.commits.on_dropped} of dropped",
            f"CPU of the sweeps' threads {sum(cpu):.1f} s, of one sweep {_told(cpu)}; it took {_told(wall)}",
            f"oldest unsettled commit {_told(ages)}",
            f"{self.left:,} copies were left published after the last message until others came",
        ]


def _told(values: Sequence[float]) -> str:
    return f"{median(values):.1f} s (median), {max(values):.1f} s (most)" if values else "–"


def swept(log: Iterable[str], table: str) -> tuple[list[Sweep], list[str]]:
    """The sweeps of a table that ended, and the causes of those that were put off."""
    done, put_off = [], []
    for line in log:
        if (found := _DONE.search(line)) and found[1] == table:
            done.append(Sweep(int(found[2]), float(found[3]), float(found[4])))
        elif (found := _PUT_OFF.search(line)) and found[1] == table:
            put_off.append(found[2])
    return done, put_off


def commits_of_sweeps(main: Sequence[Snapshot], dropped: Sequence[Snapshot]) -> Commits:
    """Those commits that took rows from main, and that brought some to the dropped ones: nothing but a sweep does either.

    Args:
        main: its snapshots, the oldest first.
        dropped: those of the branch of dropped rows.
    """
    taken = [part for part, change in _changes(main) if change < 0]
    brought = [part for part, change in _changes(dropped) if change > 0]
    return Commits(len(taken), sum(taken), sum(brought))


def _changes(branch: Sequence[Snapshot]) -> Iterator[tuple[int, int]]:
    """Per commit how many snapshots it made, and by how many rows there were more after it."""
    rows = made = 0
    for snapshot in branch:
        assert snapshot.summary
        properties, made = snapshot.summary.additional_properties, made + 1
        if ROWS_PROPERTY in properties or snapshot.summary.operation == Operation.APPEND:  # else half a transaction
            now = int(properties["total-records"])
            yield made, now - rows
            rows, made = now, 0
