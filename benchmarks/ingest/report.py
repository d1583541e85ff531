"""Figures as a document, tables and a README."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ingest.bench import Contest, Series, cpu_s, wall_s
from benchmarks.ingest.contestants import (
    CONTESTANTS,
    DLT,
    DLT_AS_IT_COMES,
    DUCKDB,
    JOB,
    JOB_2,
    LOOP,
    LOOP_2,
    POLARS,
    PYSPARK,
    ROW_JOB,
    Contestant,
    versions,
)
from benchmarks.ingest.measure import Measured
from benchmarks.ingest.sample import ORDERS

README = Path(__file__).parents[1] / "README.md"
_OTHERS = "\n## stream:"
# Times of one over times of the other: above 1 where the other is faster.
RATIOS: tuple[tuple[str, str, float, tuple[Contestant, ...], Contestant], ...] = (
    ("pyspark_to_job_2", "PySpark / the job, two cores", 3.0, (PYSPARK,), JOB_2),
    ("dlt_to_job_2", "dlt / the job, two cores", 12.0, (DLT,), JOB_2),
    ("dlt_as_it_comes_to_job_2", "dlt with its defaults / the job, two cores", 12.0, (DLT_AS_IT_COMES,), JOB_2),
    ("row_job_to_job", "the row job / the job, one core", 12.0, (ROW_JOB,), JOB),
    ("columnar_to_job_2", "the faster of DuckDB and polars / the job, two cores", 0.3, (DUCKDB, POLARS), JOB_2),
    ("loop_to_job", "the loop / the job, one core", 0.8, (LOOP,), JOB),
    ("loop_to_job_2", "the loop / the job, two cores", 0.8, (LOOP_2,), JOB_2),
    ("job_to_job_2", "the job on one core / on two", 1.8, (JOB,), JOB_2),
)
ORDER_AIMS = {"shuffled": 0.8, "half_invalid": 0.7}  # of the speed in order of arrival
FLAT_WITHIN = 0.1
BUSY = 0.05  # share of the cores that others use
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}
Document = dict[str, Any]


def document_of(contests: Mapping[str, Contest], command: str, seed: int, rounds: int) -> Document:
    """Everything that was measured, ready for JSON. contests: by key of the sample, ``ORDER-EVENTS``."""
    samples = {key: _sample_entry(key.split("-")[0], contest) for key, contest in contests.items()}
    measured = {name for entry in samples.values() for name, figures in entry["contestants"].items() if figures["runs"]}
    return {
        "command": command,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seed": seed,
        "rounds": rounds,
        "machine": machine(),
        "others_share": _others_share(contests.values()),
        "versions": {name: versions(BY_NAME[name]) for name in BY_NAME if name in measured},
        "samples": samples,
        "across": across(samples),
    }


def _others_share(contests: Iterable[Contest]) -> float:
    """Of all cores, while contestants ran: what everything else on the machine used."""
    runs = [run for contest in contests for series in contest.series.values() for run in series.runs]
    had_s = sum(run.wall_s for run in runs) * len(os.sched_getaffinity(0))
    return round(sum(run.others_cpu_s for run in runs) / had_s, 3) if had_s else 0.0


def busy_line(document: Document) -> str:
    """Whether the figures are of a machine that had nothing else to do."""
    share = document.get("others_share", 0.0)
    warning = "; wall times and what follows from them are of a busy machine: see ratios by CPU time" if share > BUSY else ""
    return f"Meanwhile everything else on the machine used {share:.0%} of its cores{warning}."


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.machine()
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


def machine_line(host: Mapping[str, Any]) -> str:
    """The same in one line."""
    return f"{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, {host['system']}, Python {host['python']}"


def across(samples: Mapping[str, Document]) -> list[Document]:
    """What is told by several samples: another order against the order of arrival, another size against the smallest."""
    told: list[Document] = []
    plain = {entry["asked"]: entry for entry in samples.values() if entry["order"] == "arrival"}
    for entry in samples.values():
        if entry["order"] != "arrival" and entry["asked"] in plain:
            aim = ORDER_AIMS[entry["order"]]
            for name in (JOB.name, JOB_2.name):
                _add_speed(told, name, plain[entry["asked"]], entry, aim)
    by_size = sorted(plain.values(), key=lambda entry: entry["events"])
    for entry in by_size[1:]:
        for name in (JOB.name, JOB_2.name):
            _add_growth(told, name, by_size[0], entry)
    return told


def _add_speed(told: list[Document], name: str, plain: Document, other: Document, aim: float) -> None:
    one, two = plain["contestants"].get(name), other["contestants"].get(name)
    if one and two and one["runs"] and two["runs"]:
        ratio = round(one["per_million_s"] / two["per_million_s"], 3)
        title = f"speed of {BY_NAME[name].title}, {ORDERS[other['order']]}, of that in order of arrival, {other['events']:,} events"
        by_cpu = round(one["cpu_per_million_s"] / two["cpu_per_million_s"], 3)
        told.append({"title": title, "ratio": ratio, "by_cpu": by_cpu, "aim": aim, "reached": ratio >= aim})


def _add_growth(told: list[Document], name: str, small: Document, large: Document) -> None:
    one, two = small["contestants"].get(name), large["contestants"].get(name)
    if one and two and one["runs"] and two["runs"]:
        ratio = round(two["cpu_per_million_s"] / one["cpu_per_million_s"], 3)
        sizes = f"{large['events']:,} events, of that at {small['events']:,}"
        title = f"CPU time per event of {BY_NAME[name].title}, {sizes}, start included"
        told.append({"title": title, "ratio": ratio, "aim": 1 + FLAT_WITHIN, "reached": ratio <= 1 + FLAT_WITHIN})


def _sample_entry(order: str, contest: Contest) -> Document:
    ratios, cpu_ratios = (_ratios(contest, figure) for figure in (wall_s, cpu_s))
    return {
        "order": order,
        "asked": contest.sample.asked,
        "events": contest.sample.events,
        "size_bytes": contest.sample.size_bytes,
        "rows": contest.result.rows,
        "content_hash": contest.result.content_hash,
        "dead_letters": dict(contest.result.dead_letters),
        "contestants": {name: _series_entry(series) for name, series in contest.series.items()},
        "ratios": ratios,
        "cpu_ratios": cpu_ratios,
    }


def _ratios(contest: Contest, figure: Callable[[Measured], float]) -> dict[str, float]:
    found = {}
    for name, _, _, ones, other in RATIOS:
        ratios = [ratio for one in ones if (ratio := contest.ratio(one, other, figure)) is not None]
        if ratios:
            found[name] = round(min(ratios), 3)
    return found


def _series_entry(series: Series) -> Document:
    entry: Document = {
        "output": series.output, "differs": series.differs, "refused": series.refused, "missing": series.missing,
        "events": series.events, "runs": len(series.runs),
    }  # fmt: skip
    if not series.runs:
        return entry
    per_million = series.per_million(wall_s)
    return entry | {
        "wall_s": _median(run.wall_s for run in series.runs),
        "cpu_s": _median(run.cpu_s for run in series.runs),
        "peak_mib": round(max(run.peak_bytes for run in series.runs) / 2**20),
        "per_million_s": _median(per_million),
        "cpu_per_million_s": _median(series.per_million(cpu_s)),
        "events_per_s": round(1_000_000 / statistics.median(per_million)),
        "wall_s_of_rounds": [round(run.wall_s, 2) for run in series.runs],
        "cpu_s_of_rounds": [round(run.cpu_s, 2) for run in series.runs],
        "others_share": _median(run.others_cpu_s / (run.wall_s * len(os.sched_getaffinity(0))) for run in series.runs),
        "wall_s_of_starts": [round(run.wall_s, 2) for run in series.starts],
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def sample_lines(entry: Document) -> list[str]:
    """One sample's table and ratios, as Markdown that also reads well on a terminal."""
    letters = sum(entry["dead_letters"].values())
    same = [name for name, figures in entry["contestants"].items() if figures["output"] == "same"]
    lines = [
        f"{entry['events']:,} events ({entry['size_bytes'] / 1e6:,.0f} MB), {ORDERS[entry['order']]}: {entry['rows']:,} rows, "
        f"{letters:,} dead letters.",
        "",
        *_table(entry),
        "",
    ]
    fastest = min(same, key=lambda name: entry["contestants"][name]["per_million_s"])
    lines.append(f"The least wall time per event with the job's output: {BY_NAME[fastest].title}.")
    lines += ["", *map("- {}".format, _remarks(entry)), *map("- {}".format, ratio_lines(entry))]
    return lines


def _table(entry: Document) -> list[str]:
    heads = (
        "contestant", "cores", "events", "output", "wall s", "of rounds", "CPU s", "wall s/million", "CPU s/million", "events/s",
        "peak MiB",
    )  # fmt: skip
    cells: list[tuple[str, ...]] = [heads]
    for name, figures in entry["contestants"].items():
        contestant = BY_NAME[name]
        first = (contestant.title, str(contestant.cores), f"{figures['events']:,}", figures["output"])
        cells.append((*first, *(_numbers(figures) if figures["runs"] else ["–"] * (len(heads) - len(first)))))
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    left = {0, 3}
    lines = []
    for number, row in enumerate(cells):
        padded = [
            cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(padded) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (w + 2) if i in left else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    return lines


def _numbers(figures: Document) -> list[str]:
    walls = figures["wall_s_of_rounds"]
    per_million = (f"{figures[name]:.1f}" for name in ("per_million_s", "cpu_per_million_s"))
    spread = f"{min(walls):.1f}–{max(walls):.1f}"
    return [
        f"{figures['wall_s']:.1f}",
        spread,
        f"{figures['cpu_s']:.1f}",
        *per_million,
        f"{figures['events_per_s']:,}",
        f"{figures['peak_mib']:,}",
    ]


def _remarks(entry: Document) -> list[str]:
    """In what a peer's figures are of other work than the job's."""
    told = []
    for name, figures in entry["contestants"].items():
        title = BY_NAME[name].title
        if figures["missing"]:
            told.append(f"{title}: no figures. {figures['missing']}")
        if figures["refused"]:
            told.append(
                f"{title} does not take this input, so it ran on the lines that any reader of JSON takes: `{figures['refused']}`"
            )
        if figures["differs"]:
            told.append(f"{title} puts out something else: {'; '.join(figures['differs'])}")
    return told


def ratio_lines(entry: Document) -> list[str]:
    """Ratios against their aims, and whether they compare equal outputs."""
    lines = []
    for name, title, aim, ones, _ in RATIOS:
        if name in entry["ratios"]:
            ratio, by_cpu = entry["ratios"][name], entry["cpu_ratios"][name]
            missed = "" if ratio >= aim else ", not reached"
            other = [c.title for c in ones if entry["contestants"].get(c.name, {}).get("output") not in ("same", None)]
            remark = f"; output or input of {', '.join(other)} is not the job's" if other else ""
            lines.append(f"{title}: **{ratio:.2f}** (aim {aim:g}{missed}; by CPU time {by_cpu:.2f}{remark})")
    return lines


def across_lines(told: Sequence[Document]) -> list[str]:
    """What several samples say together."""
    lines = []
    for item in told:
        by_cpu = f"; by CPU time {item['by_cpu']:.2f}" if "by_cpu" in item else ""
        missed = "" if item["reached"] else ", not reached"
        lines.append(f"{item['title']}: **{item['ratio']:.2f}** (aim {item['aim']:g}{missed}{by_cpu})")
    return lines


def version_lines(document: Document) -> list[str]:
    """Each contestant: what it is made of and what it does less."""
    lines = []
    for name, packages in document.get("versions", {}).items():
        contestant = BY_NAME[name]
        made_of = ", ".join(f"{package} {number}" for package, number in packages.items())
        parts = [part for part in (made_of, contestant.does_less and f"does less: {contestant.does_less}") if part]
        if parts:
            lines.append(f"{contestant.title}: {'; '.join(parts)}.")
    return lines


def write_readme(figures: Path) -> None:
    """Write ``benchmarks/README.md`` from a document of figures; its sections on other benchmarks stay as they are."""
    document = json.loads(figures.read_text("utf-8"))
    tables = [
        line
        for entry in document["samples"].values()
        for line in (f"### {entry['events']:,} events, {ORDERS[entry['order']]}", "", *sample_lines(entry), "")
    ]
    values = {
        "command": document["command"],
        "date": document["date"],
        "seed": document["seed"],
        "rounds": document["rounds"],
        "machine": machine_line(document["machine"]),
        "busy": busy_line(document),
        "versions": "\n".join(f"- {line}" for line in version_lines(document)),
        "across": "\n".join(f"- {line}" for line in across_lines(document.get("across", ()))),
        "tables": "\n".join(tables).rstrip(),
    }
    text = (Path(__file__).parent / "readme.template.md").read_text("utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", str(value))
    before = README.read_text("utf-8") if README.is_file() else ""
    _, heading, others = before.partition(_OTHERS)
    README.write_text(text + heading + others, "utf-8")
