"""Verdicts and changelogs as people, pull requests and programs read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contracts.evolution.changes import Change, Step
from contracts.evolution.impact import Reader
from contracts.evolution.specs import SpecChange
from contracts.evolution.verdicts import Verdict
from contracts.spec.model import Contract
from contracts.text import printable

Readers = Callable[[Contract, str | None], list[Reader]]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found of one file.

    verdict: None for a file that is not a contract, or is gone. gone: the contract that was there. is_new: nothing to compare with.
    """

    path: Path
    name: str
    verdict: Verdict | None = None
    gone: Contract | None = None
    gone_in_time: bool = False
    is_new: bool = False
    specs: Sequence[SpecChange] = ()
    notes: Sequence[str] = field(default=())

    @property
    def allowed(self) -> bool:
        """Whether nothing stands against it."""
        if self.gone is not None:
            return self.gone_in_time
        return self.verdict is None or self.verdict.allowed


def text_report(checked: Checked, readers: Readers) -> list[str]:
    """Lines for a terminal; nothing of files that did not change."""
    lines = []
    if checked.gone is not None:
        told = (
            "gone, after its deprecation ended"
            if checked.gone_in_time
            else "gone, and it is not deprecated with a date that is over"
        )
        lines.append(f"{checked.name}: {'allowed' if checked.gone_in_time else 'BREAKS'}: the contract is {told}")
        lines += [f"      {reader.kind} {reader.name} {reader.how}" for reader in readers(checked.gone, None)]
    elif checked.is_new:
        lines.append(f"{checked.name}: new, nothing to compare with")
    elif checked.verdict is not None:
        lines += _verdict_lines(checked.name, checked.verdict, readers)
    for spec in checked.specs:
        lines.append(f"{spec.kind} {spec.name}: {spec.what}" + (f"; {spec.remedy}" if spec.remedy else ""))
    return lines + [f"note: {checked.name}: {note}" for note in checked.notes]


def _verdict_lines(name: str, verdict: Verdict, readers: Readers) -> list[str]:
    against = verdict.against[0]
    modes = " and ".join(verdict.modes)
    versions = f"{verdict.after.version} against {_versions(verdict)}"
    if not any(earlier.changes for earlier in verdict.against):
        return [f"{name}: unchanged, {versions}"]
    if verdict.allowed and not verdict.changes:
        return [f"{name}: allowed, {versions}, {modes}"]
    head = "allowed" if verdict.allowed else "BREAKS"
    step = f"needs {_step(verdict.needed)}, {'has ' + _step(verdict.done) if verdict.done is not None else 'goes back'}"
    lines = [f"{name}: {head}, {versions}, {modes}; version: {step}"]
    forbidden = verdict.forbidden
    told = {(change.code, change.column, change.what) for _, change in forbidden}
    for since, change in forbidden:
        lines += _change_lines(change, verdict, readers, "breaks", "" if since == against.version else f" (since {since})")
    for change in verdict.changes:
        if (change.code, change.column, change.what) not in told:
            lines += _change_lines(change, verdict, readers, _word(change), "")
    if verdict.version_problem:
        lines.append(f"  {verdict.version_problem}")
    return lines


def _word(change: Change) -> str:
    return "words" if change.documentation else "loses" if change.lost else "change"


def _change_lines(change: Change, verdict: Verdict, readers: Readers, word: str, since: str) -> list[str]:
    lines = [f"  {word:7} {change.what}{since}"]
    if change.affected:
        lines.append(f"          for {' and '.join(change.affected)}")
    lines += [f"          {reader.kind} {reader.name} {reader.how}" for reader in readers_of(change, verdict, readers)]
    if change.migration:
        lines.append(f"          do: {change.migration}")
    if change.replay:
        lines.append("          rows that are there differ until a replay (headrace replay plan)")
    return lines


def readers_of(change: Change, verdict: Verdict, readers: Readers) -> list[Reader]:
    """Whom of those around a column a change is about; those of a column that is gone still name it."""
    if not change.column:
        return []
    about = {"producers": {"source"}, "consumers": {"destination", "consumer", "rule", "place"}}
    kinds = {kind for who in change.affected for kind in about[who]} | ({"source"} if change.lost else set())
    return [reader for reader in readers(verdict.after, change.column) if reader.kind in kinds]


def _versions(verdict: Verdict) -> str:
    counted = [earlier.version for earlier in verdict.against if earlier.counts]
    return ", ".join(counted[:4]) + (f" and {len(counted) - 4} more" if len(counted) > 4 else "")


def _step(step: Step | None) -> str:
    return "none" if step in (None, Step.NONE) else f"a {step.name.lower()} step"


def github_report(checked: Checked, readers: Readers, root: Path) -> list[str]:
    """Workflow commands that GitHub shows beside the lines of a pull request.

    Source: GitHub's "Workflow commands for GitHub Actions", which also says what is escaped.
    """
    file = checked.path.relative_to(root).as_posix() if checked.path.is_relative_to(root) else str(checked.path)

    def command(kind: str, column: str | None, title: str, message: str) -> str:
        line = line_of(checked.path, column)
        place = f"file={_property(file)},line={line},title={_property(title)}"
        return f"::{kind} {place}::{_data(message)}"

    lines = []
    if checked.gone is not None and not checked.allowed:
        who = "; ".join(f"{reader.kind} {reader.name} {reader.how}" for reader in readers(checked.gone, None))
        message = f"the contract is gone, and it is not deprecated with a date that is over. {who}"
        lines.append(f"::error title={_property(checked.name)}::{_data(message)}")
    if verdict := checked.verdict:
        told = {(change.code, change.column, change.what) for _, change in verdict.forbidden}
        for since, change in verdict.forbidden:
            lines.append(command("error", change.column, f"{checked.name}: breaks {since}", _sentence(change, verdict, readers)))
        for change in verdict.changes:
            if (change.code, change.column, change.what) not in told and not change.documentation:
                lines.append(command("notice", change.column, f"{checked.name}: change", _sentence(change, verdict, readers)))
        if verdict.version_problem:
            lines.append(command("error", "version", f"{checked.name}: version", verdict.version_problem))
    for spec in checked.specs:
        lines.append(command("warning", None, f"{spec.kind} {spec.name}", f"{spec.what}; {spec.remedy}"))
    return lines + [command("notice", None, checked.name, note) for note in checked.notes]


def _sentence(change: Change, verdict: Verdict, readers: Readers) -> str:
    parts = [change.what]
    if change.affected:
        parts.append(f"for {' and '.join(change.affected)}")
    who = [f"{reader.kind} {reader.name} {reader.how}" for reader in readers_of(change, verdict, readers)]
    return ". ".join(filter(None, (", ".join(parts), "; ".join(who), change.migration and f"Do: {change.migration}"))) + "."


def _data(text: str) -> str:
    return printable(text, keep="\n").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def line_of(path: Path, column: str | None) -> int:
    """Where a file speaks of a column, or has a key; 1 where it does not."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 1
    wanted = re.compile(rf"(?:\bname:\s*[\"']?{re.escape(column or '')}\b)|(?:^{re.escape(column or '')}:)")
    return next((number for number, line in enumerate(lines, 1) if column and wanted.search(line)), 1)


def document(checked: Checked, readers: Readers) -> dict[str, Any]:
    """As JSON; docs/reference/compatibility.md has the fields."""
    verdict = checked.verdict
    told: dict[str, Any] = {
        "file": str(checked.path),
        "name": checked.name,
        "allowed": checked.allowed,
        "new": checked.is_new,
        "gone": checked.gone is not None,
        "specs": [asdict(spec) for spec in checked.specs],
        "notes": list(checked.notes),
    }
    if verdict is None:
        return told
    forbidden = {(change.code, change.column, change.what): since for since, change in verdict.forbidden}
    changes = {(c.code, c.column, c.what): c for _, c in verdict.forbidden} | {
        (c.code, c.column, c.what): c for c in verdict.changes
    }
    return told | {
        "dataset": verdict.after.name,
        "version": verdict.after.version,
        "against": [earlier.version for earlier in verdict.against if earlier.counts],
        "modes": list(verdict.modes),
        "step_needed": verdict.needed.name.lower(),
        "step_done": None if verdict.done is None else verdict.done.name.lower(),
        "version_problem": verdict.version_problem,
        "changes": [
            {
                "code": change.code,
                "column": change.column,
                "what": change.what,
                "breaks": sorted(change.breaks),
                "affects": list(change.affected),
                "forbidden_since": forbidden.get(key),
                "migration": change.migration,
                "replay": change.replay,
                "readers": [asdict(reader) for reader in readers_of(change, verdict, readers)],
            }
            for key, change in changes.items()
        ],
    }


def changelog(before: Contract, after: Contract, changes: Iterable[Change]) -> list[str]:
    """What changed, in words: what breaks somebody, what does not, and what is documentation."""
    groups: dict[str, list[Change]] = {"Breaking": [], "Compatible": [], "Documentation": []}
    for change in changes:
        group = "Documentation" if change.documentation else "Breaking" if change.affected else "Compatible"
        groups[group].append(change)
    same = f"{after.name} {before.version} to {after.version}"
    if not any(groups.values()):
        return [f"{same}: nothing changed"]
    lines = [same]
    for title, found in groups.items():
        lines += ["", title] if found else []
        for change in found:
            who = f", for {' and '.join(change.affected)}" if change.affected else ""
            lines.append(f"- {change.what}{who}")
            lines += [f"  Do: {change.migration}."] if change.migration else []
            lines += ["  Rows that are there differ until a replay."] if change.replay else []
    return lines
