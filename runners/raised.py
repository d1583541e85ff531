"""What a worker raised, found in the text that came from it."""

from __future__ import annotations

import re

from contracts import errors
from contracts.errors import HeadraceError

_RAISED = re.compile(r"^(?:Caused by: )?contracts\.errors\.(\w+): (.+?)(?: \[while running '.*)?$", re.MULTILINE)


def raised_in(text: str) -> HeadraceError | None:
    """The last error of ours that a traceback, or a Java stack trace around one, names; None where there is none."""
    for name, message in reversed(_RAISED.findall(text)):
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, HeadraceError):
            return kind(message)
    return None
