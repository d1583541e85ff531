"""What a cause means, and what to do about it; a sentence each."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.encode.events import FILTERED, SUPPRESSED
from operations.reconcile import classes
from operations.reconcile.classes import DIFFERENT, EXTRA, MISSING, OTHER_COPY, PENDING, REFUSED, WITHHELD


@dataclass(frozen=True)
class Commands:
    """Commands about one destination and range. settle: a duration as people write it."""

    destination: str
    start: str
    end: str
    settle: str

    @property
    def _deliver(self) -> str:
        return f"headrace deliver {self.destination} --start {self.start} --end {self.end}"

    def explain(self, kind: str, cause: str) -> tuple[str, str | None]:
        """What a cause means, and what to do; None where there is nothing to be done."""
        if (kind, cause) in _FIXED:
            told, do = _FIXED[kind, cause]
            return told.format(settle=self.settle), do and do.format(deliver=self._deliver, destination=self.destination)
        name, _, rest = cause.partition(":")
        if kind == REFUSED:
            letters = f"headrace deadletter list --code refused --source {self.destination}"
            return f"the destination refused it ({cause})", f"{letters}; when mended: {self._deliver} --rows refused"
        if kind == WITHHELD:
            return _withheld(cause), None
        if name == WITHHELD:
            return f"it has it, though it may not leave: {_withheld(rest)}", _DELETE
        return f"it has it, and the row is a dead letter here ({rest})", f"headrace deadletter list --code {rest}; then {_DELETE}"


def _withheld(reason: str) -> str:
    name, _, category = reason.partition(":")
    if name == SUPPRESSED:
        return "its id is suppressed"
    return f"consent to {category} is {'not known' if name.endswith('unknown') else 'denied'}"


_DELETE = "delete it at the destination by id (--json --reveal lists ids; --samples says how many)"
_FIXED: dict[tuple[str, str], tuple[str, str | None]] = {
    (OTHER_COPY, classes.WITHIN_HORIZON): (
        "the destination has the id, with another copy of the event, which the deduplication horizon drops here",
        None,
    ),
    (PENDING, classes.NOT_YET): ("no answer yet, and younger than {settle}", "headrace status shows the queue and its age"),
    (PENDING, classes.AFTER_EXPORT): ("delivered after the export was made", "reconcile again with a newer export"),
    (MISSING, classes.SENT): (
        "a receipt says delivered, and the destination does not have it",
        "ask the destination what it dropped; to send the range once more: {deliver} --rows all",
    ),
    (MISSING, classes.SENT_OTHER): (
        "another version of it was delivered, and the destination does not have it at the times that were read",
        "look further with --margin 7d; still missing: {deliver} --rows all",
    ),
    (MISSING, classes.WITHHELD_BEFORE): ("it was withheld when it was met, and may go now", "{deliver}"),
    (MISSING, classes.NEVER_SENT): ("it was never delivered, and is older than {settle}", "{deliver}"),
    (DIFFERENT, classes.FIRST_SEEN): (
        "the version that was delivered first is not the one that won; the destination keeps the first",
        "where the winner matters: delete it at the destination, then {deliver} --rows all",
    ),
    (DIFFERENT, classes.ALTERED): (
        "its content is none that receipts know: changed there, or sent by somebody else",
        "look at samples there; then delete it there, and {deliver} --rows all",
    ),
    (EXTRA, FILTERED): ("it has it, though the destination's filter leaves it out", _DELETE),
    (EXTRA, classes.LATE): (
        "it was delivered, and came too late for its window: its row lies in the table of late rows",
        "headrace replay run folds late rows in",
    ),
    (EXTRA, classes.NOT_VALIDATED): (
        "a receipt says delivered, and there is no row of it any more: a replay took it out, or it was never published",
        _DELETE,
    ),
    (EXTRA, classes.UNKNOWN_ID): (
        "no row and no receipt has this id: somebody else sends with this write key",
        "give each sender a write key of its own",
    ),
}
