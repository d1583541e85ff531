"""Reports as one HTML page: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.units import us_text
from operations.html import page_of, plot_of, table_of, text_of, tiles_of, write_html
from operations.quality.kept import HEADRACE, is_bad
from operations.quality.report import Report
from quality.verdicts import RuleVerdict, Verdict

_COLOURS = {Verdict.OK: "green", Verdict.FAILED: "red", Verdict.ERROR: "red", Verdict.LEARNING: "blue", Verdict.SKIPPED: "soft"}
_WORST = (Verdict.ERROR, Verdict.FAILED, Verdict.LEARNING, Verdict.SKIPPED, Verdict.OK)
_OPEN = 20  # broken rules whose details are on the page at once; more are folded away


def write_page(reports: Sequence[Report], path: Path) -> None:
    """Write the page of some reports.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_html(page(reports), path)


def page(reports: Sequence[Report]) -> str:
    """The page as text. Names of anybody are escaped."""
    parts = [part for report in reports for section in _SECTIONS for part in section(report)]
    return page_of(" · ".join(report.title for report in reports), parts)


def _summary(report: Report) -> Iterator[str]:
    colour = "green" if not report.bad and report.judged else "red" if report.bad else "soft"
    yield f'<h2>{text_of(report.dataset)} <span class="soft">contract {text_of(report.contract_version)}</span></h2>'
    yield f'<p class="{colour}">{text_of(report.verdict_words)}</p>'
    partitions = {each.verdict.partition for each in report.judged}
    bad = {each.partition for each in report.bad}
    counts = Counter(each.verdict.verdict for each in report.judged)
    yield tiles_of([
        ("", len(partitions), "partitions judged"), ("red" if bad else "", len(bad), "with broken rules"),
        ("green", counts[Verdict.OK], "verdicts: ok"), ("red" if counts[Verdict.FAILED] else "", counts[Verdict.FAILED], "failed"),
        ("blue" if counts[Verdict.LEARNING] else "", counts[Verdict.LEARNING], "learning"),
        ("", counts[Verdict.SKIPPED], "nothing to judge"),
        ("red" if counts[Verdict.ERROR] else "", counts[Verdict.ERROR], "errors"),
    ])  # fmt: skip


def _begin(report: Report) -> Iterator[str]:
    if report.commands:
        yield "<h2>Begin with</h2>"
        yield from (f"<p><code>{text_of(command)}</code></p>" for command in report.commands)


def _changed(report: Report) -> Iterator[str]:
    if report.first_bad is None:
        return
    yield "<h2>What changed since the last good partition</h2>"
    if report.good is None:
        yield '<p class="soft">No partition before it passed all rules, so there is nothing to compare with.</p>'
        return
    run = f", written by run <code>{text_of(report.good_run)}</code>" if report.good_run else ""
    yield f"<p>Last good: {_span(report.good)}{run}. First bad: {_span(report.first_bad)}.</p>"
    if report.volumes:
        rows = [
            [text_of(source), text_of(good), text_of(bad), text_of(f"{(bad - good) / good:+.0%}" if good else "new")]
            for source, bad, good in report.volumes
        ]
        yield "<h3>Rows by source</h3>"
        yield table_of(("source", "last good", "first bad", "change"), rows, ("last good", "first bad", "change"))
    if not report.changes:
        yield '<p class="soft">No contract, spec, version or option changed, and nobody did anything on record.</p>'
        return
    yield "<h3>Contracts, specs, versions, options, and what people did</h3>"
    for entry in report.changes:
        who = text_of(" ".join(filter(None, (entry.at, entry.kind, entry.by))))
        listed = "".join(f"<li>{text_of(each)}</li>" for each in entry.details)
        yield f'<p>{text_of(entry.what)} <span class="soft">{who}</span></p>' + (f"<ul>{listed}</ul>" if listed else "")


def _rules(report: Report) -> Iterator[str]:
    by_rule: dict[tuple[str, str], list[RuleVerdict]] = {}
    for each in report.judged:
        by_rule.setdefault((each.engine, each.verdict.rule), []).append(each.verdict)
    passed: dict[bool, list[list[str]]] = {False: [], True: []}  # by whether it is folded away
    for (engine, rule), verdicts in by_rule.items():
        worst = min((each.verdict for each in verdicts), key=_WORST.index)
        last = max(verdicts, key=lambda each: each.partition)
        points = report.trends.get(rule, ()) if engine == HEADRACE else ()
        told = [(each.observed, _COLOURS[each.verdict], us_text(each.partition.from_us, "seconds")) for each in points]
        passed[engine != HEADRACE and worst in (Verdict.OK, Verdict.SKIPPED)].append([
            text_of(rule) + (f'<br><span class="soft">{text_of(engine)}</span>' if engine != HEADRACE else ""),
            f'<span class="one {_COLOURS[worst]}">{text_of(worst)}</span>', f'<span class="one">{text_of(last.severity)}</span>',
            text_of(sum(map(is_bad, verdicts))), _observed(last), text_of(last.expected or "as before"), plot_of(told),
        ])  # fmt: skip
    columns = ("rule", "worst", "severity", "broken in", "last observed", "expected", "over time")
    if passed[False]:
        yield "<h2>Rules</h2>"
        yield table_of(columns, sorted(passed[False], key=lambda row: "red" not in row[1]), ("broken in", "last observed"))
    if passed[True]:
        yield f"<details><summary>{text_of(len(passed[True]))} more passed by Great Expectations</summary>"
        yield table_of(columns, passed[True], ("broken in", "last observed")) + "</details>"


def _observed(verdict: RuleVerdict) -> str:
    return text_of(f"{verdict.observed:,.6g}" if isinstance(verdict.observed, float) else verdict.observed or "")


def _broken(report: Report) -> Iterator[str]:
    bad = report.bad
    if not bad:
        return
    yield "<h2>Broken rules</h2>"
    for number, verdict in enumerate(bad):
        if number == _OPEN:
            yield f"<details><summary>{text_of(len(bad) - _OPEN)} more</summary><div>"
        yield f"<details><summary>{_span(verdict.partition)}: <b>{text_of(verdict.rule)}</b>: {text_of(verdict.detail)}</summary>"
        yield f"<div>{''.join(_evidence(report, verdict))}</div></details>"
    if len(bad) > _OPEN:
        yield "</div></details>"


def _evidence(report: Report, verdict: RuleVerdict) -> Iterator[str]:
    yield f'<p class="soft">{text_of(verdict.failing)} of {text_of(verdict.rows)} rows. Values are not shown.</p>'
    rows = []
    for example in report.examples:
        if example.verdict == verdict:
            source, raw_file, position = example.place
            shapes = "; ".join(f"{name}: {told}" for name, told in example.shapes) or "the row is there no more"
            rows.append([text_of(source), f"<code>{text_of(raw_file)}:{position}</code>", text_of(shapes)])
    if rows:
        yield table_of(("source", "raw file and position", "shape of its values"), rows, ())
    if verdict.baseline:
        yield f'<p class="soft">Learnt from {text_of(len(verdict.baseline))} partitions.</p>'


def _documents(report: Report) -> Iterator[str]:
    if report.documents:
        yield "<h2>Data Docs</h2>"
        yield "<p>Pages of Great Expectations, in the lake:</p>"
        yield from (f"<p><code>{text_of(document)}</code></p>" for document in report.documents)


def _span(partition: object) -> str:
    return text_of(partition)


_SECTIONS = (_summary, _begin, _changed, _rules, _broken, _documents)
