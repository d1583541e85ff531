"""Figures as a document, a table and a README."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ingest.bench import CONTESTANTS, JOB, JOB_2, LOOP, LOOP_2, ROW_JOB, Contest, Series, cpu_s, wall_s

README = Path(__file__).parents[1] / "README.md"
AIM_ROW, AIM_LOOP = 15.0, 0.6
_OTHERS = "\n## stream:"
RATIOS = (
    ("row_job_to_job", "time of the row job / time of the job, a million events", AIM_ROW, ROW_JOB, JOB),
    ("loop_to_job", "speed of the job / speed of the loop, one core", AIM_LOOP, LOOP, JOB),
    ("loop_to_job_2", "speed of the job / speed of the loop, two cores", AIM_LOOP, LOOP_2, JOB_2),
)
ORDERS = {"arrival": "in order of arrival", "shuffled": "event times shuffled over 24 h"}


def document_of(contests: Mapping[str, Contest], command: str, seed: int, rounds: int) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    return {
        "command": command,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seed": seed,
        "rounds": rounds,
        "machine": machine(),
        "samples": {order: _sample_entry(contest) for order, contest in contests.items()},
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text("utf-8").splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _sample_entry(contest: Contest) -> dict[str, Any]:
    return {
        "events": contest.sample.events,
        "size_bytes": contest.sample.size_bytes,
        "rows": contest.result.rows,
        "content_hash": contest.result.content_hash,
        "dead_letters": dict(contest.result.dead_letters),
        "contestants": {c.name: _series_entry(contest.series[c.name]) for c in CONTESTANTS},
        "ratios": {name: round(contest.ratio(a, b), 3) for name, _, _, a, b in RATIOS},
        "cpu_ratios": {name: round(contest.ratio(a, b, cpu_s), 3) for name, _, _, a, b in RATIOS},
    }


def _series_entry(series: Series) -> dict[str, Any]:
    per_million = series.per_million(wall_s)
    return {
        "events": series.events,
        "wall_s": _median(run.wall_s for run in series.runs),
        "cpu_s": _median(run.cpu_s for run in series.runs),
        "peak_mib": round(max(run.peak_bytes for run in series.runs) / 2**20),
        "per_million_s": _median(per_million),
        "cpu_per_million_s": _median(series.per_million(cpu_s)),
        "events_per_s": round(1_000_000 / statistics.median(per_million)),
        "wall_s_of_rounds": [round(run.wall_s, 2) for run in series.runs],
        "wall_s_of_starts": [round(run.wall_s, 2) for run in series.starts],
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def sample_lines(order: str, entry: Mapping[str, Any]) -> list[str]:
    """One sample's table and ratios, as Markdown that also reads well on a terminal."""
    letters = sum(entry["dead_letters"].values())
    lines = [
        f"{entry['events']:,} events ({entry['size_bytes'] / 1e6:,.0f} MB), {ORDERS[order]}: {entry['rows']:,} rows, "
        f"{letters:,} dead letters; the same from all contestants.",
        "",
    ]
    heads = ("contestant", "cores", "events", "wall s", "CPU s", "wall s/million", "CPU s/million", "events/s", "peak MiB")
    cells: list[tuple[str, ...]] = [heads]
    for contestant in CONTESTANTS:
        figures = entry["contestants"][contestant.name]
        numbers = (f"{figures[name]:.1f}" for name in ("wall_s", "cpu_s", "per_million_s", "cpu_per_million_s"))
        rates = (f"{figures['events_per_s']:,}", f"{figures['peak_mib']:,}")
        cells.append((contestant.title, str(contestant.cores), f"{figures['events']:,}", *numbers, *rates))
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for number, row in enumerate(cells):
        padded = (
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("| " + " | ".join(padded) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    lines.append("")
    for name, title, aim, _, _ in RATIOS:
        ratio, by_cpu = entry["ratios"][name], entry["cpu_ratios"][name]
        lines.append(f"- {title}: **{ratio:.2f}** (aim {aim:g}{'' if ratio >= aim else ', not reached'}; by CPU time {by_cpu:.2f})")
    return lines


def write_readme(figures: Path) -> None:
    """Write ``benchmarks/README.md`` from a document of figures; its sections on other benchmarks stay as they are."""
    document = json.loads(figures.read_text("utf-8"))
    host = document["machine"]
    tables = [
        line
        for order, entry in document["samples"].items()
        for line in (f"### {ORDERS[order].capitalize()}", "", *sample_lines(order, entry), "")
    ]
    values = {
        "command": document["command"],
        "date": document["date"],
        "seed": document["seed"],
        "rounds": document["rounds"],
        "machine": f"{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, {host['system']}, Python {host['python']}",
        "tables": "\n".join(tables).rstrip(),
    }
    text = (Path(__file__).parent / "readme.template.md").read_text("utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", str(value))
    before = README.read_text("utf-8") if README.is_file() else ""
    _, heading, others = before.partition(_OTHERS)
    README.write_text(text + heading + others, "utf-8")
