"""The options by which verbs of ``headrace deadletter`` choose letters."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import click

from cli.console import plain_errors
from contracts.codes import RULE_CODES, Code
from contracts.units import SECOND_US
from operations.deadletters.late import LATE, RULE
from operations.deadletters.selection import LetterSelection, TimeOf
from operations.deadletters.states import State
from runners.option_readers import duration, moment

STAGES = ("decode", "converge", "deliver", LATE)
_moment = moment(unit_us=1)


class _When(click.ParamType[int]):
    """A time, or for how long ago; as microseconds since 1970."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return time.time_ns() // 1_000 - duration(value) * SECOND_US
        except ValueError:
            pass
        try:
            return int(_moment(value))
        except ValueError:
            self.fail(f"{value!r}: expected a time such as 2026-11-23T06:00:00Z, or how long ago, such as 24h", param, ctx)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that choose letters; the command gets ``selection`` in their place, a ``LetterSelection``."""

    @functools.wraps(command)
    @plain_errors
    def run(
        datasets: tuple[str, ...],
        codes: tuple[str, ...],
        rules: tuple[str, ...],
        sources: tuple[str, ...],
        stages: tuple[str, ...],
        versions: tuple[str, ...],
        ids: tuple[str, ...],
        since: int | None,
        until: int | None,
        time_of: str,
        states: tuple[str, ...],
        **others: Any,
    ) -> Any:
        selection = LetterSelection(
            datasets=datasets,
            codes=codes,
            rules=rules,
            sources=sources,
            stages=stages,
            contract_versions=versions,
            ids=ids,
            since_us=since,
            until_us=until,
            time_of=TimeOf(time_of),
            states=tuple(map(State, states)),
        )
        return command(selection=selection, **others)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


def _several(flag: str, name: str, metavar: str, text: str) -> Any:
    return click.option(flag, name, multiple=True, metavar=metavar, help=f"{text} May be given several times.")


_OPTIONS = (
    _several("--source", "sources", "NAME", "Only of this source, or refused by this destination."),
    click.option("--code", "codes", multiple=True, type=click.Choice([*map(str, Code), LATE]), help="Only with this code."),
    click.option(
        "--rule", "rules", multiple=True, metavar="RULE", type=click.Choice([*RULE_CODES, RULE]), help="Only where it is broken."
    ),
    _several("--dataset", "datasets", "NAME", "Only of this dataset."),
    _several("--contract-version", "versions", "VERSION", "Only judged by this version of a contract."),
    click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Only from this stage."),
    click.option("--since", type=_When(), metavar="TIME", help="Only from this time on, or of so long ago, such as 24h."),
    click.option("--until", type=_When(), metavar="TIME", help="Only before this time."),
    click.option(
        "--time", "time_of", type=click.Choice([str(t) for t in TimeOf]), default="received", show_default=True,
        help="Which time --since and --until mean.",
    ),
    click.option(
        "--state", "states", multiple=True, type=click.Choice([str(s) for s in State]),
        help="Only in this state; else those that are open or given up.",
    ),
    _several("--id", "ids", "ID", "Only this letter, by its id or the beginning of it."),
)  # fmt: skip
