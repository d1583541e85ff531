"""Options that select dead letters, the same for every verb that takes several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from contracts.codes import RULE_CODES, Code
from operations.deadletters.selection import LetterSelection, TimeOf
from runners.option_readers import moment

_MOMENT = moment(unit_us=1)


def _time(_context: click.Context, _parameter: click.Parameter, given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return int(_MOMENT(given))
    except ValueError as error:
        raise click.BadParameter(f"{given!r}: expected {error}") from None


_OPTIONS = (
    click.option("--id", "ids", multiple=True, metavar="ID", help="Only this letter: its id, or the beginning of it. Repeatable."),
    click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only of this dataset. Repeatable."),
    click.option("--code", "codes", multiple=True, type=click.Choice([str(c) for c in Code]), help="Only this code. Repeatable."),
    click.option("--rule", "rules", multiple=True, type=click.Choice(sorted(RULE_CODES)), help="Only this rule. Repeatable."),
    click.option("--source", "sources", multiple=True, metavar="NAME", help="Only of this source. Repeatable."),
    click.option(
        "--contract-version", "contract_versions", multiple=True, metavar="VERSION", help="Only judged by this. Repeatable."
    ),
    click.option("--since", "since_us", metavar="TIME", callback=_time, help="Only from this moment on."),
    click.option("--until", "until_us", metavar="TIME", callback=_time, help="Only before this moment."),
    click.option(
        "--time-of", type=click.Choice([str(t) for t in TimeOf]), default=str(TimeOf.RECEIVED), show_default=True,
        help="Which time --since and --until are of.",
    ),
)  # fmt: skip


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command is given them as ``selection``."""

    def selecting(**given: Any) -> Any:
        chosen = {name: given.pop(name) for name in _NAMES}
        return command(**given, selection=LetterSelection(**{**chosen, "time_of": TimeOf(chosen["time_of"])}))

    selecting.__name__, selecting.__doc__ = command.__name__, command.__doc__
    selecting.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        option(selecting)
    return selecting


_NAMES = ("ids", "datasets", "codes", "rules", "sources", "contract_versions", "since_us", "until_us", "time_of")
