"""All figures of a run, and those of earlier ones, on one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ingest.charts import Bar, bars_of, lines_of
from benchmarks.ingest.contestants import JOB, JOB_2, LOOP
from benchmarks.ingest.report import BY_NAME, RATIOS, across_lines, busy_line, machine_line, sample_lines, version_lines
from benchmarks.ingest.sample import ORDERS
from operations.html import page_of, table_of, text_of, write_html

Document = dict[str, Any]


def write_page(document: Document, history: Sequence[Document], path: Path) -> None:
    """Write the page.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_html(page_of("headrace beside its peers", _parts(document, history)), path)


def _parts(document: Document, history: Sequence[Document]) -> Iterator[str]:
    told = f"{text_of(machine_line(document['machine']))}; {document['date']}; <code>{text_of(document['command'])}</code>"
    yield f'<p class="soft">{told}</p><p class="soft">{text_of(busy_line(document))}</p>'
    yield (
        "<p>Medians over the rounds, in which the contestants take turns; the line is the spread of the rounds. "
        '<span class="green">Green</span>: the same output as the job. <span class="amber">Amber</span>: other output or '
        "another input, as told below the bars, so its time is of other work.</p>"
    )
    for entry in document["samples"].values():
        yield f"<h2>{entry['events']:,} events, {text_of(ORDERS[entry['order']])}</h2>"
        yield "<p>Wall time</p>" + bars_of(_bars(entry, "wall_s", "per_million_s"), "s a million")
        yield "<p>CPU time</p>" + bars_of(_bars(entry, "cpu_s", "cpu_per_million_s"), "s a million")
        yield _ratios(entry)
        yield _list(line.removeprefix("- ") for line in sample_lines(entry) if line.startswith("- ") and "(aim" not in line)
    if document["across"]:
        yield "<h2>Orders and sizes</h2>" + _list(across_lines(document["across"]))
    yield "<h2>CPU time per event by size</h2>" + lines_of(_by_size(document), "events", "s of CPU a million")
    if document.get("budget"):
        yield _budget(document["budget"])
    yield from _over_time(history)
    yield "<h2>Contestants</h2>" + _list(version_lines(document))


def _bars(entry: Document, figure: str, per_million: str) -> list[Bar]:
    bars = []
    for name, figures in entry["contestants"].items():
        if figures["runs"]:
            scale = figures[per_million] / figures[figure] if figures[figure] else 1.0
            rounds = figures[f"{figure}_of_rounds"]
            note = "" if figures["output"] == "same" else figures["output"]
            colour = "blue" if name in (JOB.name, JOB_2.name) else "amber" if note else "green"
            label = BY_NAME[name].title.replace("`", "")
            bars.append(Bar(label, figures[per_million], min(rounds) * scale, max(rounds) * scale, colour, note))
    return sorted(bars, key=lambda bar: bar.value)


def _ratios(entry: Document) -> str:
    rows = []
    for name, title, aim, _, _ in RATIOS:
        if name in entry["ratios"]:
            ratio = entry["ratios"][name]
            colour = "green" if ratio >= aim else "red"
            by_cpu = f"{entry['cpu_ratios'][name]:.2f}"
            rows.append([text_of(title), f'<span class="{colour}">{ratio:.2f}</span>', f"{aim:g}", by_cpu])
    return table_of(["time of one / time of the other", "ratio", "aim", "by CPU time"], rows, ["ratio", "aim", "by CPU time"])


def _by_size(document: Document) -> dict[str, list[tuple[float, float]]]:
    plain = sorted((e for e in document["samples"].values() if e["order"] == "arrival"), key=lambda entry: entry["events"])
    series: dict[str, list[tuple[float, float]]] = {}
    for entry in plain:
        for name, figures in entry["contestants"].items():
            if figures["runs"] and name in (JOB.name, JOB_2.name, LOOP.name, "duckdb"):
                series.setdefault(BY_NAME[name].title.replace("`", ""), []).append((entry["events"], figures["cpu_per_million_s"]))
    return series


def _budget(budget: Document) -> str:
    bars = [Bar(stage, value, value, value) for stage, value in budget["us_per_event"].items()]
    told = f"{budget['events']:,} events, one worker, {sum(budget['us_per_event'].values()):.1f} µs of CPU time an event."
    return f"<h2>What the job spends, by stage</h2><p>{told}</p>" + bars_of(bars, "µs")


def _over_time(history: Sequence[Document]) -> Iterator[str]:
    """One chart per sample that was measured at least once."""
    keys = list(dict.fromkeys(key for entry in history for key in entry["samples"]))
    for key in keys:
        runs = [entry for entry in history if key in entry["samples"]]
        names = [f"{entry['date']} {entry['commit'][:7]}" for entry in runs]
        for what, ratios in (("wall", "ratios"), ("CPU", "cpu_ratios")):
            series: dict[str, list[tuple[float, float]]] = {}
            for name, title, *_ in RATIOS:
                points = [
                    (float(i), run["samples"][key][ratios][name])
                    for i, run in enumerate(runs)
                    if name in run["samples"][key][ratios]
                ]
                if points:
                    series[title] = points
            events = runs[0]["samples"][key]["events"]
            order = ORDERS[runs[0]["samples"][key]["order"]]
            yield f"<h2>Over time: ratios of {what} time, {events:,} events, {text_of(order)}</h2>" + lines_of(
                series, "", "ratio", names
            )


def _list(lines: Iterator[str] | Sequence[str]) -> str:
    items = "".join(f"<li>{text_of(line.replace('**', '').replace('`', ''))}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
