"""Figures of runs as a table for the terminal, a JSON document, and Markdown for ../README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.ingest.report import machine
from benchmarks.stream.contestants import OURS
from benchmarks.stream.run import Figures

FRESHNESS_AIM_S, WRITTEN_AIM = 90.0, 8.0
_HEADS = ("job", "messages/s", "seconds", "held", "lag", "immediate ms p50/p95/p99/max", "window visible s p50/p99/max",
          "rows written/row", "checkpoint B/message", "cores used", "CPU µs/message", "output")  # fmt: skip
_NONE = "–"


@dataclass
class Found:
    """What was measured.

    highest: per job the highest rate that was held; None where none was. failed: runs of peers that have no figures, and why.
    """

    highest: dict[str, int | None] = field(default_factory=dict)
    runs: list[Figures] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Beside:
    """A job beside ours. Rates: theirs over ours. CPU: µs a message, each at its highest rate held, and theirs over ours."""

    job: str
    rate_ratio: float | None
    cpu_us: float | None
    cpu_ratio: float | None


def beside_ours(found: Found) -> list[Beside]:
    """All others that have a figure; nothing where ours has none."""
    names = dict.fromkeys([*found.highest, *(run.job for run in found.runs)])
    our_rate, our_cpu = found.highest.get(OURS), _cpu_us(OURS, found.runs)
    others = []
    for name in names:
        rate, cpu = found.highest.get(name), _cpu_us(name, found.runs)
        rates = round(rate / our_rate, 3) if rate and our_rate else None
        cpus = round(cpu / our_cpu, 2) if cpu and our_cpu else None
        if name != OURS and (rates or cpus):
            others.append(Beside(name, rates, cpu, cpus))
    return others


def _cpu_us(name: str, runs: Sequence[Figures]) -> float | None:
    """At the highest rate that it held."""
    held = [run for run in runs if run.job == name and run.cpu_us is not None]
    return max(held, key=lambda run: run.rate).cpu_us if held else None


def document_of(command: str, found: Found) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    return {
        "command": command,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "highest_rate_held": found.highest,
        "beside_ours": [asdict(each) for each in beside_ours(found)],
        "failed": found.failed,
        "runs": [run.to_json() for run in found.runs],
    }


def lines_of(found: Found) -> list[str]:
    """All figures, as Markdown that also reads well on a terminal."""
    lines = _table([_HEADS, *map(_cells, found.runs)])
    lines += ["", *_highest_lines(found.highest), *map(_beside_line, beside_ours(found)), ""]
    for run in found.runs:
        lines += [f"- {run.job}, {run.rate:,}/s: {line}" for line in _notes(run)]
    return lines + [f"- no figures: {reason}" for reason in found.failed]


def _beside_line(each: Beside) -> str:
    told = []
    if each.rate_ratio is not None:
        told.append(f"its highest rate held is **{each.rate_ratio:.2f}** of ours")
    if each.cpu_ratio is not None:
        told.append(f"a message takes **{each.cpu_ratio:.2f}** times our CPU, {each.cpu_us:.0f} µs")
    return f"- {each.job}: {'; '.join(told)}"


def _highest_lines(highest: Mapping[str, int | None]) -> list[str]:
    return [
        f"- highest rate held by {job}: " + ("none of those tried" if rate is None else f"**{rate:,} messages/s**")
        for job, rate in highest.items()
    ]


def _cells(run: Figures) -> tuple[str, ...]:
    return (
        run.job, f"{run.rate:,}", f"{run.seconds:.0f}", "no" if run.not_held else "yes", f"{run.lag:,}",
        _joined(run.latency_ms, ("p50", "p95", "p99", "max"), ".0f"), _joined(run.freshness_s, ("p50", "p99", "max"), ".1f"),
        _NONE if run.written_per_row is None else f"{run.written_per_row:.2f}",
        _NONE if run.checkpoint_bytes is None else f"{run.checkpoint_bytes:.0f}",
        f"{sum(run.cpu.cpu_s.values()) / run.cpu.wall_s:.2f}",
        _NONE if run.cpu_us is None else f"{run.cpu_us:.0f}", f"{run.differs.rows:,} rows differ" if run.differs else "same",
    )  # fmt: skip


def _joined(values: Mapping[str, float] | None, names: Sequence[str], form: str) -> str:
    return _NONE if values is None else " / ".join(format(values[name], form) for name in names)


def _notes(run: Figures) -> list[str]:
    notes = [f"not held: {reason}" for reason in run.not_held]
    if run.differs:
        notes.append(f"puts out something else: {run.differs}")
    if run.freshness_s and run.freshness_s["p99"] > FRESHNESS_AIM_S:
        notes.append(f"windows are visible after {run.freshness_s['p99']:.0f} s (p99; aim {FRESHNESS_AIM_S:.0f}, not reached)")
    if run.written_per_row and run.written_per_row > WRITTEN_AIM:
        notes.append(f"{run.written_per_row:.1f} rows written per row (aim {WRITTEN_AIM:.0f}, not reached)")
    used = ", ".join(
        f"{name} {seconds:.1f} s ({run.cpu.resident_mib.get(name, 0):,} MiB)" for name, seconds in sorted(run.cpu.cpu_s.items())
    )
    notes.append(f"CPU over {run.cpu.wall_s:.0f} s (largest resident memory): {used}")
    if run.tables:
        told = (f"{name} {t['commits_per_hour']:.0f} commits, {t['files_per_hour']:.0f} files" for name, t in run.tables.items())
        notes.append(f"an hour: {'; '.join(told)}")
    if run.sweeps:
        notes += run.sweeps.lines()
    notes.append(run.limit)
    return notes


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        padded = (
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("| " + " | ".join(padded) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    return lines
