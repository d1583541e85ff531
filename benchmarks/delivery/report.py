"""Figures as a document, and as Markdown that also reads well on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.delivery.bench import COMMAND, READER, SEGMENT, SEGMENT_2, Contest, Run, Timed, names, titles
from benchmarks.ingest.report import machine

AIM = 5.0
LOUD = 0.05  # share of the cores that other processes may use before figures are no more than a hint
RATIOS = {
    "reader": ("one reader", READER.name),
    "command": ("`headrace deliver`, without its start", COMMAND.name),
    "command_with_start": ("`headrace deliver`, its start included", COMMAND.name),
}
BASES = {"default": (SEGMENT.name,), "faster": (SEGMENT.name, SEGMENT_2.name)}
_TOLD = {"default": "as it comes", "faster": "with one thread or two, whichever is faster"}
_HEADS = ("contestant", "events/s", "wall s", "start s", "CPU ms/1,000", "endpoint CPU ms/1,000", "others")


def document_of(command: str, contests: Sequence[Contest], size_bytes: int, rounds: int) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    return {
        "command": command,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "rounds": rounds,
        "events": contests[0].events,
        "bytes_per_event": round(size_bytes / contests[0].events),
        "endpoints": {contest.endpoint.name: _entry(contest) for contest in contests},
    }


def _entry(contest: Contest) -> dict[str, Any]:
    return {
        "title": contest.endpoint.title,
        "contestants": {name: _figures(contest, name) for name in names(contest)},
        "ratios": {key: _ratios(contest, key) for key in RATIOS},
        "others_share": round(max(run.others for runs in contest.runs.values() for run in runs), 3),
    }


def _ratios(contest: Contest, key: str) -> dict[str, float]:
    wall_s = _whole_s if key.endswith("start") else _wall_s
    return {base: round(contest.ratio(RATIOS[key][1], wall_s, clients), 2) for base, clients in BASES.items()}


def _figures(contest: Contest, name: str) -> dict[str, Any]:
    def median(figure: Any) -> float:
        return contest.median(name, figure)

    started = contest.runs[name][0].timed.startup_s is not None
    per_thousand = 1e6 / contest.events
    return {
        "events_per_s": round(contest.events / median(lambda run: run.timed.wall_s)),
        "wall_s": round(median(lambda run: run.timed.wall_s), 3),
        "startup_s": round(median(lambda run: run.timed.startup_s), 2) if started else None,
        "cpu_ms_per_1000": round(median(lambda run: run.timed.cpu_s) * per_thousand, 1),
        "endpoint_cpu_ms_per_1000": round(median(lambda run: run.endpoint_cpu_s) * per_thousand, 1),
        "others_share": round(median(_others), 3),
        "wall_s_of_rounds": [round(run.timed.wall_s, 3) for run in contest.runs[name]],
    }


def _others(run: Run) -> float:
    return run.others


def _wall_s(timed: Timed) -> float:
    return timed.wall_s


def _whole_s(timed: Timed) -> float:
    return timed.wall_s + (timed.startup_s or 0.0)


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """All of a document's figures."""
    lines = [f"{document['events']:,} events of {document['bytes_per_event']} bytes; medians of {document['rounds']} rounds."]
    for entry in document["endpoints"].values():
        lines += ["", f"To {entry['title']}:", "", *_table(entry["contestants"]), ""]
        for key, (title, _) in RATIOS.items():
            ratios = entry["ratios"][key]
            default, faster = (f"**{ratios[base]:.2f}** {told}{_judged(key, ratios[base])}" for base, told in _TOLD.items())
            lines.append(f"- speed of {title} / of Segment's client: {default}, {faster}")
        if entry["others_share"] > LOUD:
            lines.append(f"- other processes used up to {entry['others_share']:.0%} of the cores: a hint, not a figure to quote")
    return lines


def _judged(key: str, ratio: float) -> str:
    if key != "reader":
        return ""
    return f" (aim {AIM:g}{'' if ratio >= AIM else ', not reached'})"


def _table(contestants: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [_HEADS, *(_cells(titles()[name], figures) for name, figures in contestants.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + ":" if i else "-" * (w + 2) for i, w in enumerate(widths)) + "|")
    return lines


def _cells(title: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    started = figures["startup_s"]
    return (
        title, f"{figures['events_per_s']:,}", f"{figures['wall_s']:.2f}", "" if started is None else f"{started:.1f}",
        f"{figures['cpu_ms_per_1000']:.1f}", f"{figures['endpoint_cpu_ms_per_1000']:.1f}", f"{figures['others_share']:.0%}",
    )  # fmt: skip
